//! The bounds of a jq expression, put into its syntax tree before it is compiled.
//!
//! jq is a whole programming language: an expression may loop without an end, double a text until
//! no memory is left, or call itself until the stack ends. So each place of the tree by which work
//! or values can grow is given a call of a native filter that counts *steps*: the body of each
//! definition (those of jq's own library included), each round of `reduce` and `foreach`, each
//! value of `.[]`, `..`, `range` and `,`, each array, object, text and sum that is made. A value
//! costs as many steps as it has parts, counted as it would be printed: a value that shares its
//! parts can be small in memory and endless on paper.
//!
//! The count depends on the expression and its input alone, never on a clock: a replay refuses the
//! same tuples as the live run.

use std::cell::Cell;
use std::hint::black_box;

use jaq_core::box_iter::box_once;
use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::native::{Fun, v};
use jaq_core::ops::Math;
use jaq_core::path::{Part, Path};
use jaq_core::{DataT, Exn, Lut, Native, data};
use jaq_json::{Num, Val};
use jaq_std::ValT as _;

use crate::post::DEPTH_MAX;
use crate::post::check::is_one_value;

/// The steps that an expression may take for one tuple where a topology says nothing else. A post
/// has some hundred parts, so that an expression that looks at each of them stays far below. More
/// would let a bad expression hold up its task for longer than a quarter of a second a tuple, and
/// hold more than some 64 MiB.
pub const STEPS_USUAL: u32 = 250_000;

/// The elements of a list that count as one step when the list is made or passed on. Fewer would
/// forbid lists of some thousand elements that are made one by one.
const ELEMENTS_A_STEP: usize = 16;

/// The bytes of a text that count as one step.
const BYTES_A_STEP: usize = 256;

/// The stack that an expression may use, of the 2 MiB that a thread has. Less would forbid
/// expressions that call themselves some hundred times; more would leave too little for what jq's
/// own filters use on top.
const STACK_BYTES_MAX: usize = 1 << 20;

/// The largest text that `*` may make, so that it isn't made before it is counted.
const REPEATED_BYTES_MAX: f64 = 1e7;

/// The bound that an expression ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Its steps.
    Steps,
    /// The depth of a value.
    Depth,
    /// The stack.
    Stack,
    /// The size of a number or a text.
    Size,
}

/// What one run of an expression shares with the native filters.
pub struct Run<'a> {
    pub lut: &'a Lut<Bounded>,
    pub tuple: Val,
    pub steps_left: Cell<usize>,
    pub exceeded: Cell<Option<Bound>>,
    stack_base: usize,
}

impl<'a> Run<'a> {
    pub fn new(lut: &'a Lut<Bounded>, tuple: Val, steps_max: u32) -> Self {
        Self {
            lut,
            tuple,
            steps_left: Cell::new(steps_max as usize),
            exceeded: Cell::new(None),
            stack_base: stack_pointer(),
        }
    }

    /// Ends the run: unlike an error, this can't be caught by `try`.
    fn exceed(&self, bound: Bound) -> Exn<'a, Val> {
        self.exceeded.set(Some(bound));
        Exn::halt(1)
    }

    fn spend(&self, steps: usize) -> Result<(), Exn<'a, Val>> {
        match self.steps_left.get().checked_sub(steps) {
            Some(left) => {
                self.steps_left.set(left);
                Ok(())
            }
            None => Err(self.exceed(Bound::Steps)),
        }
    }

    /// A step, in which this value is passed on.
    fn tick(&self, value: &Val) -> Result<(), Exn<'a, Val>> {
        if self.stack_base.abs_diff(stack_pointer()) > STACK_BYTES_MAX {
            return Err(self.exceed(Bound::Stack));
        }
        self.spend(1 + own_steps(value))
    }

    /// Counts all parts of a value, and refuses one that is nested too deep.
    pub fn measure(&self, value: &Val, levels: usize) -> Result<(), Exn<'a, Val>> {
        self.spend(1 + own_steps(value))?;
        let Some(levels) = levels.checked_sub(1) else { return Err(self.exceed(Bound::Depth)) };
        match value {
            Val::Arr(elements) => {
                elements.iter().try_for_each(|element| self.measure(element, levels))
            }
            Val::Obj(members) => members.iter().try_for_each(|(key, value)| {
                self.measure(key, levels)?;
                self.measure(value, levels)
            }),
            _ => Ok(()),
        }
    }

    /// The product, unless it is too large to be made.
    fn product(&self, left: Val, right: Val) -> Result<Val, Exn<'a, Val>> {
        let too_large = match (&left, &right) {
            (Val::Num(_), Val::Num(_)) => {
                let both_whole = left.is_int() && right.is_int();
                let size = left.as_f64().unwrap_or(0.0) * right.as_f64().unwrap_or(0.0);
                both_whole && !size.is_finite()
            }
            (text @ (Val::TStr(_) | Val::BStr(_)), times @ Val::Num(_))
            | (times @ Val::Num(_), text @ (Val::TStr(_) | Val::BStr(_))) => {
                let bytes = text.as_bytes().map_or(0, <[u8]>::len) as f64;
                times.as_f64().unwrap_or(0.0) * bytes > REPEATED_BYTES_MAX
            }
            _ => false,
        };
        if too_large {
            return Err(self.exceed(Bound::Size));
        }
        let product = (left * right)?;
        self.tick(&product)?;
        Ok(product)
    }
}

/// About where the stack ends now.
#[inline(never)]
fn stack_pointer() -> usize {
    let local = 0_u8;
    std::ptr::from_ref(black_box(&local)).addr()
}

/// The steps for the size of a value, without its parts.
fn own_steps(value: &Val) -> usize {
    match value {
        Val::TStr(text) | Val::BStr(text) => text.len() / BYTES_A_STEP,
        Val::Arr(elements) => elements.len() / ELEMENTS_A_STEP,
        Val::Obj(members) => members.len() / ELEMENTS_A_STEP,
        _ => 0,
    }
}

/// jq's values, with the bounds of a run beside them.
pub struct Bounded;

impl DataT for Bounded {
    type V<'a> = Val;
    type Data<'a> = &'a Run<'a>;
}

impl<'a> data::HasLut<'a, Bounded> for &'a Run<'a> {
    fn lut(&self) -> &'a Lut<Bounded> {
        self.lut
    }
}

// No filter of a topology file can have one of these names.
const TICK: &str = "!tick";
const MEASURED: &str = "!measured";
const PRODUCT: &str = "!product";
const FACTOR: &str = "$!factor";
const TUPLE: &str = "!tuple";

/// Natives of jq that would let an expression see or change the outside, or a clock: a filter is a
/// function of its tuple.
const WITHHELD: [&str; 7] =
    ["env", "now", "localtime", "strflocaltime", "halt", "debug_empty", "stderr_empty"];

/// Definitions that use those, or print.
const WITHHELD_DEFINITIONS: [&str; 4] = ["halt", "halt_error", "debug", "stderr"];

/// Natives whose result may be larger or nested deeper than what they get.
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

/// The native filters that an expression can call.
pub fn natives() -> impl Iterator<Item = Fun<Bounded>> {
    let library = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let replaced = ["range", "fromjson"];
    let kept =
        library.filter(move |(name, _, _)| !WITHHELD.contains(name) && !replaced.contains(name));
    kept.chain(own_natives())
}

/// The definitions of jq's library, with their bounds.
pub fn definitions<'s>() -> impl Iterator<Item = Def<&'s str>> {
    let library = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let library = library.filter(|def| !WITHHELD_DEFINITIONS.contains(&def.name));
    library.map(|def| -> Def<&'s str> { definition(def) })
}

fn own_natives() -> [Fun<Bounded>; 6] {
    let tick = Native::<Bounded>::new(|cv| {
        let ticked = cv.0.data().tick(&cv.1);
        box_once(ticked.map(|()| cv.1))
    })
    .with_paths(|cv| {
        let ticked = cv.0.data().tick(&cv.1.0);
        box_once(ticked.map(|()| cv.1))
    })
    .with_update(|cv, update| match cv.0.data().tick(&cv.1) {
        Ok(()) => update(cv.1),
        Err(exceeded) => box_once(Err(exceeded)),
    });
    let measured = Native::<Bounded>::new(|cv| {
        let measured = cv.0.data().measure(&cv.1, DEPTH_MAX);
        box_once(measured.map(|()| cv.1))
    });
    let product = Native::<Bounded>::new(|mut cv| {
        let right = cv.0.pop_var();
        let left = cv.0.pop_var();
        box_once(cv.0.data().product(left, right))
    });
    let range = Native::<Bounded>::new(|mut cv| {
        let by = cv.0.pop_var();
        let to = cv.0.pop_var();
        let from = cv.0.pop_var();
        let run = *cv.0.data();
        Box::new(range(run, from, to, by))
    });
    let from_json = Native::<Bounded>::new(|cv| box_once(from_json(&cv.1).map_err(Exn::from)));
    let tuple = Native::<Bounded>::new(|cv| box_once(Ok(cv.0.data().tuple.clone())));
    [
        (TICK, v(0), tick),
        (MEASURED, v(0), measured),
        (PRODUCT, v(2), product),
        ("range", v(3), range),
        ("fromjson", v(0), from_json),
        (TUPLE, v(0), tuple),
    ]
}

/// `range`, a step for each number.
fn range<'a>(
    run: &'a Run<'a>,
    from: Val,
    to: Val,
    by: Val,
) -> impl Iterator<Item = Result<Val, Exn<'a, Val>>> {
    let zero = Val::Num(Num::Int(0));
    let (up, down) = (by > zero, by < zero);
    let mut next = Some(from);
    std::iter::from_fn(move || {
        let number = next.take()?;
        let inside = if up {
            number < to
        } else if down {
            number > to
        } else {
            number != to
        };
        if !inside {
            return None;
        }
        if let Err(exceeded) = run.tick(&number) {
            return Some(Err(exceeded));
        }
        match number.clone() + by.clone() {
            Ok(sum) => next = Some(sum),
            Err(error) => return Some(Err(error.into())),
        }
        Some(Ok(number))
    })
}

/// `fromjson` of one strict JSON value, nested no deeper than a post may be: the parser uses stack
/// for each level.
fn from_json(value: &Val) -> Result<Val, jaq_json::Error> {
    let text = value.try_as_utf8_bytes_owned()?;
    let parsed = if is_one_value(&text, DEPTH_MAX) {
        jaq_json::read::parse_single(&text).ok()
    } else {
        None
    };
    let flaw = || format!("not one JSON value that is nested at most {DEPTH_MAX} deep");
    parsed.ok_or_else(|| jaq_json::Error::str(flaw()))
}

fn call(name: &str) -> Term<&str> {
    Term::Call(name, Vec::new())
}

fn pipe<'s>(left: Term<&'s str>, right: Term<&'s str>) -> Term<&'s str> {
    Term::BinOp(left.into(), BinaryOp::Pipe(None), right.into())
}

/// A term that comes with the value of `$tuple`.
pub fn with_tuple(term: Term<&str>) -> Term<&str> {
    let bound = BinaryOp::Pipe(Some(Pattern::Var("$tuple")));
    Term::BinOp(call(TUPLE).into(), bound, term.into())
}

/// A definition with the bounds in its body. Its calls stay tail calls: what returns the values of
/// a call as they are still does.
fn definition(def: Def<&str>) -> Def<&str> {
    Def { body: pipe(call(TICK), term(def.body)), ..def }
}

/// The term with the bounds.
pub fn term(found: Term<&str>) -> Term<&str> {
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
        // `{name}` and `{$name}` are told by the form of the key.
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
        // `l += r` is `r as $x | l |= . + $x`.
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
                // `{$name}` is told by the form of the key.
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
