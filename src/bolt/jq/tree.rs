//! Inserts the bounds of a jq expression into its syntax tree before it is compiled.
//!
//! jq is a complete programming language: an expression may loop for ever, double a text until the
//! memory is exhausted, or call itself until the stack overflows. So at each place of the tree that
//! can make work or values grow, a call of a native filter is inserted that counts *steps*: in the
//! body of each definition (including those of jq's own library), in each round of `reduce` and
//! `foreach`, for each value of `.[]`, `..`, `range` and `,`, and for each array, object, text and
//! sum that is made. A value costs as many steps as it has parts in its printed form: a value that
//! shares its parts can be small in memory and endless in print.
//!
//! The count depends only on the expression and its input, never on a clock: a replay refuses the
//! same tuples as the live run.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::ops::Math;
use jaq_core::path::{Part, Path};

use super::bounds::{MEASURED, PRODUCT, TICK, TUPLE};

const FACTOR: &str = "$!factor";

/// Definitions that use the withheld filters, or print.
const WITHHELD_DEFINITIONS: [&str; 4] = ["halt", "halt_error", "debug", "stderr"];

/// Native filters whose result may be larger or nested deeper than their input.
const GROWING: [&str; 18] = [
    "tojson",
    "fromjson",
    "explode",
    "implode",
    "escape_html",
    "escape_sh",
    "encode_uri",
    "encode_base64",
    "tobytes",
    "indices",
    "matches",
    "split_",
    "split_matches",
    "group_by",
    "key_values",
    "path",
    "path_value",
    "sort_by",
];

/// Returns the definitions of jq's library, with their bounds.
pub(crate) fn definitions<'s>() -> impl Iterator<Item = Def<&'s str>> {
    let library = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let library = library.filter(|def| !WITHHELD_DEFINITIONS.contains(&def.name));
    library.map(|def| -> Def<&'s str> { definition(def) })
}

fn call(name: &str) -> Term<&str> {
    Term::Call(name, Vec::new())
}

fn pipe<'s>(left: Term<&'s str>, right: Term<&'s str>) -> Term<&'s str> {
    Term::BinOp(left.into(), BinaryOp::Pipe(None), right.into())
}

/// Returns a term that gets the value of `$tuple`.
pub(crate) fn with_tuple(term: Term<&str>) -> Term<&str> {
    let bound = BinaryOp::Pipe(Some(Pattern::Var("$tuple")));
    Term::BinOp(call(TUPLE).into(), bound, term.into())
}

/// Returns a definition with the bounds in its body. Its calls stay tail calls: a definition that
/// returns the values of a call unchanged still does so.
fn definition(def: Def<&str>) -> Def<&str> {
    Def { body: pipe(call(TICK), term(def.body)), ..def }
}

/// Returns the term with the bounds.
pub(crate) fn term(found: Term<&str>) -> Term<&str> {
    match found {
        Term::Id | Term::Num(_) | Term::Break(_) | Term::Var(_) => found,
        Term::Arr(None) => found,
        Term::Recurse => pipe(found, call(TICK)),
        Term::Str(format, parts) => text(format, parts),
        Term::Arr(Some(inner)) => pipe(Term::Arr(Some(boxed(*inner))), call(MEASURED)),
        Term::Obj(members) => object(members),
        Term::Neg(inner) => Term::Neg(boxed(*inner)),
        Term::BinOp(left, operator, right) => operation(*left, operator, *right),
        Term::Label(name, inner) => Term::Label(name, boxed(*inner)),
        Term::Fold(name, source, variables, parts) => {
            let mut parts: Vec<_> = parts.into_iter().map(term).collect();
            if let Some(update) = parts.get_mut(1) {
                *update = pipe(call(TICK), std::mem::take(update));
            }
            Term::Fold(name, boxed(*source), pattern(variables), parts)
        }
        Term::TryCatch(inner, catch) => {
            Term::TryCatch(boxed(*inner), catch.map(|catch| boxed(*catch)))
        }
        Term::IfThenElse(branches, otherwise) => {
            let branches = branches.into_iter().map(|(a, b)| (term(a), term(b))).collect();
            Term::IfThenElse(branches, otherwise.map(|otherwise| boxed(*otherwise)))
        }
        Term::Def(definitions, inner) => {
            let definitions = definitions.into_iter().map(definition).collect();
            Term::Def(definitions, boxed(*inner))
        }
        Term::Call(name, arguments) => {
            let grows = GROWING.contains(&name);
            let call = Term::Call(name, arguments.into_iter().map(term).collect());
            if grows { pipe(call, self::call(MEASURED)) } else { call }
        }
        Term::Path(inner, path) => steps_of_path(*inner, path),
    }
}

fn boxed(found: Term<&str>) -> Box<Term<&str>> {
    Box::new(term(found))
}

fn text<'s>(format: Option<&'s str>, parts: Vec<StrPart<&'s str, Term<&'s str>>>) -> Term<&'s str> {
    let computed = parts.iter().any(|part| matches!(part, StrPart::Term(_)));
    let bounded = |part| match part {
        StrPart::Term(inner) => StrPart::Term(term(inner)),
        other => other,
    };
    let text = Term::Str(format, parts.into_iter().map(bounded).collect());
    if computed { pipe(text, call(MEASURED)) } else { text }
}

fn object<'s>(members: Vec<(Term<&'s str>, Option<Term<&'s str>>)>) -> Term<&'s str> {
    if members.is_empty() {
        return Term::Obj(members);
    }
    let bounded = |(key, value): (Term<&'s str>, Option<_>)| match value {
        Some(value) => (term(key), Some(term(value))),
        // The form of the key distinguishes `{name}` and `{$name}`.
        None => (key, None),
    };
    pipe(Term::Obj(members.into_iter().map(bounded).collect()), call(MEASURED))
}

fn operation<'s>(
    left: Term<&'s str>,
    operator: BinaryOp<&'s str>,
    right: Term<&'s str>,
) -> Term<&'s str> {
    let (left, right) = (term(left), term(right));
    let joined = |operator, right| Term::BinOp(left.clone().into(), operator, Box::new(right));
    match operator {
        BinaryOp::Comma => joined(operator, pipe(call(TICK), right)),
        BinaryOp::Math(Math::Mul) => Term::Call(PRODUCT, vec![left, right]),
        BinaryOp::Math(_) => pipe(joined(operator, right), call(TICK)),
        BinaryOp::Cmp(_) | BinaryOp::Or | BinaryOp::And => {
            pipe(joined(operator, right), call(TICK))
        }
        BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateAlt => {
            joined(operator, pipe(right, call(MEASURED)))
        }
        // `l += r` means `r as $x | l |= . + $x`.
        BinaryOp::UpdateMath(math) => {
            let factor = Term::Var(FACTOR);
            let result = match math {
                Math::Mul => Term::Call(PRODUCT, vec![Term::Id, factor]),
                _ => {
                    let sum = Term::BinOp(Term::Id.into(), BinaryOp::Math(math), Box::new(factor));
                    pipe(sum, call(TICK))
                }
            };
            let update = joined(BinaryOp::Update, result);
            let bind = BinaryOp::Pipe(Some(Pattern::Var(FACTOR)));
            Term::BinOp(right.into(), bind, update.into())
        }
        BinaryOp::Pipe(Some(variables)) => joined(BinaryOp::Pipe(Some(pattern(variables))), right),
        BinaryOp::Pipe(None) | BinaryOp::Alt => joined(operator, right),
    }
}

fn pattern(found: Pattern<&str>) -> Pattern<&str> {
    match found {
        Pattern::Var(name) => Pattern::Var(name),
        Pattern::Arr(inner) => Pattern::Arr(inner.into_iter().map(pattern).collect()),
        Pattern::Obj(members) => {
            let bounded = |(key, inner)| match key {
                // The form of the key tells that it is `{$name}`.
                Term::Var(_) => (key, pattern(inner)),
                key => (term(key), pattern(inner)),
            };
            Pattern::Obj(members.into_iter().map(bounded).collect())
        }
    }
}

fn steps_of_path<'s>(inner: Term<&'s str>, path: Path<Term<&'s str>>) -> Term<&'s str> {
    let iterates = path.0.iter().any(|(part, _)| matches!(part, Part::Range(..)));
    let bounded = |part| match part {
        Part::Index(index) => Part::Index(term(index)),
        Part::Range(from, to) => Part::Range(from.map(term), to.map(term)),
    };
    let path = path.0.into_iter().map(|(part, optional)| (bounded(part), optional)).collect();
    let path = Term::Path(boxed(inner), Path(path));
    if iterates { pipe(path, call(TICK)) } else { path }
}
