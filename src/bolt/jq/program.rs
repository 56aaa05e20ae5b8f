//! A compiled jq expression, and its problems with their places.

use std::fmt::Write as _;

use jaq_core::compile::{self, Undefined};
use jaq_core::load::parse::{Def, Parser, Term};
use jaq_core::load::{Arena, File, Lexer, Loader, lex, parse};
use jaq_core::{Compiler, Ctx, Filter, Vars};
use jaq_json::Val;

use super::bounds::{self, Bound, Bounded, Run};
use super::tree;
use crate::component::Problem;
use crate::error::{Error, Result};
use crate::post::DEPTH_MAX;

/// The maximum number of values that an expression may give per tuple. With more, one post could
/// fill the channels to all later bolts.
pub(crate) const OUTPUTS_MAX: usize = 10_000;

/// The maximum number of characters of a run-time error that are shown: jq's errors repeat whole
/// values.
const ERROR_CHARS_MAX: usize = 300;

/// The maximum number of characters of the expression in an error.
const EXCERPT_CHARS_MAX: usize = 20;

/// The name of the definition that contains the expression.
const MAIN: &str = "waterspout_main";

/// The variable with the other fields of the tuple.
const TUPLE: &str = "$tuple";

/// A jq expression that can be run.
pub(crate) struct Program {
    filter: Filter<Bounded>,
    /// True if the expression reads `$tuple`.
    pub uses_tuple: bool,
    steps_max: u32,
}

/// A flaw of an expression.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    what: String,
    /// The undefined name, and the defined names.
    candidates: Option<(String, Vec<String>)>,
}

impl Flaw {
    /// Returns the flaw as a problem of the field with the expression.
    pub(crate) fn problem(self, field: &'static str) -> Problem {
        Problem { field, what: self.what, candidates: self.candidates }
    }

    /// Returns the description of the flaw.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    fn at(code: &str, part: &str, what: &str) -> Self {
        Self { what: format!("{}: {what}", place(code, part)), candidates: None }
    }
}

impl Program {
    /// Compiles an expression.
    ///
    /// # Errors
    /// If the expression has a flaw: the first one, with its place.
    pub(crate) fn compile(code: &str, steps_max: u32) -> Result<Self, Flaw> {
        let parsed = parse_expression(code)?;
        let uses_tuple = code.contains(TUPLE);
        let bounded = tree::term(parsed);
        let body = if uses_tuple { tree::with_tuple(bounded) } else { bounded };
        let main = Def { name: MAIN, args: Vec::new(), body };
        let arena = Arena::default();
        let loader = Loader::new(tree::definitions().chain([main]));
        // No module is loaded: the expression is among the definitions, and `import` isn't parsed.
        let modules = loader
            .load(&arena, File { code: MAIN, path: () })
            .map_err(|_| Flaw { what: "can't be loaded".into(), candidates: None })?;
        let compiler = Compiler::default().with_funs(bounds::natives());
        let filter = compiler.compile(modules).map_err(|errors| {
            let first = errors.into_iter().flat_map(|(_, errors)| errors).next();
            match first {
                Some(error) => undefined(code, error),
                None => Flaw { what: "can't be compiled".into(), candidates: None },
            }
        })?;
        Ok(Self { filter, uses_tuple, steps_max })
    }

    /// Runs the expression on a value. `take` gets each output, and returns true to continue.
    ///
    /// # Errors
    /// If the expression fails on this value or exceeds one of its bounds, or `take` fails.
    pub(crate) fn run(
        &self,
        input: Val,
        tuple: Val,
        mut take: impl FnMut(Val) -> Result<bool>,
    ) -> Result<()> {
        let run = Run::new(&self.filter.lut, tuple, self.steps_max);
        let context = Ctx::<Bounded>::new(&run, Vars::new([]));
        let mut outputs = 0;
        for output in self.filter.id.run((context, input)) {
            let output = match output {
                Ok(output) => output,
                Err(exception) => return Err(self.failed(&run, exception)),
            };
            outputs += 1;
            if outputs > OUTPUTS_MAX {
                let what = format!("the jq filter gives more than {OUTPUTS_MAX} values");
                return Err(Error::rejected(what));
            }
            run.measure(&output, DEPTH_MAX).map_err(|exceeded| self.failed(&run, exceeded))?;
            if !take(output)? {
                break;
            }
        }
        Ok(())
    }

    fn failed(&self, run: &Run<'_>, exception: jaq_core::Exn<'_, Val>) -> Error {
        let Some(bound) = run.exceeded.get() else {
            return match exception.get_err() {
                Ok(error) => Error::rejected(format!("the jq filter fails: {}", excerpt(&error))),
                Err(_) => Error::rejected("the jq filter breaks out of a label that has ended"),
            };
        };
        Error::rejected(match bound {
            Bound::Steps => format!(
                "the jq filter takes more than {} steps for this tuple: it may loop without an \
                 end, or max_steps is too small",
                self.steps_max
            ),
            Bound::Depth => {
                format!("the jq filter makes a value that is nested more than {DEPTH_MAX} deep")
            }
            Bound::Stack => "the jq filter calls itself too deep: expected a recursion that ends, \
                             or one whose last step is the call"
                .into(),
            Bound::Size => {
                "the jq filter multiplies to a number or a text that is too large".into()
            }
        })
    }
}

/// Returns an error as text, which is cut off before it becomes long.
fn excerpt(error: &jaq_json::Error) -> String {
    struct Cut(String);
    impl std::fmt::Write for Cut {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            let room = ERROR_CHARS_MAX.saturating_sub(self.0.chars().count());
            self.0.extend(text.chars().take(room));
            if text.chars().nth(room).is_some() {
                self.0.push('…');
                return Err(std::fmt::Error);
            }
            Ok(())
        }
    }
    let mut cut = Cut(String::new());
    // An error of the formatter only means that the text was cut.
    let _ = write!(cut, "{error}");
    // `error("no")` is shown as plain text.
    serde_json::from_str(&cut.0).unwrap_or(cut.0)
}

fn parse_expression(code: &str) -> Result<Term<&str>, Flaw> {
    let tokens = Lexer::new(code).lex().map_err(|errors| match errors.into_iter().next() {
        Some(error) => unreadable(code, &error),
        None => Flaw::at(code, code, "can't be read"),
    })?;
    let parsed = Parser::new(&tokens).parse(|parser| parser.term());
    parsed.map_err(|errors| match errors.into_iter().next() {
        Some((expected, found)) => unexpected(code, &expected, lex::Token::opt_as_str(found, code)),
        None => Flaw::at(code, code, "can't be parsed"),
    })
}

fn unreadable(code: &str, (expected, found): &lex::Error<&str>) -> Flaw {
    let what = match expected {
        lex::Expect::Delim(open) => {
            let closing = with_article(expected.as_str());
            format!("expected {closing} for the {open} {}", place(code, open))
        }
        _ => format!("expected {}, found {}", with_article(expected.as_str()), quoted(found)),
    };
    Flaw::at(code, found, &what)
}

fn unexpected(code: &str, expected: &parse::Expect<&str>, found: &str) -> Flaw {
    let what = match expected {
        parse::Expect::Nothing => format!("expected the end, found {}", quoted(found)),
        parse::Expect::Just(text) => format!("expected \"{text}\", found {}", quoted(found)),
        _ => format!("expected {}, found {}", with_article(expected.as_str()), quoted(found)),
    };
    Flaw::at(code, found, &what)
}

/// Adds the article to jq's word for an expected part.
fn with_article(expected: &str) -> String {
    match expected.as_bytes().first() {
        _ if expected.contains(" or ") => expected.to_owned(),
        Some(b'a' | b'e' | b'i' | b'o' | b'u') => format!("an {expected}"),
        _ => format!("a {expected}"),
    }
}

fn undefined(code: &str, (found, undefined): compile::Error<&str>) -> Flaw {
    if !is_inside(code, found) {
        // The definitions of the library itself are compiled in tests.
        return Flaw { what: format!("\"{found}\" isn't defined"), candidates: None };
    }
    let (what, candidates) = match (found, &undefined) {
        ("reduce", _) => ("expected \"reduce … as $name (first; next)\"".into(), None),
        ("foreach", _) => ("expected \"foreach … as $name (first; next; give)\"".into(), None),
        ("$ENV" | "env" | "input" | "inputs" | "now" | "debug" | "stderr" | "halt", _) => (
            format!(
                "{found} isn't available: the filter of a topology only has access to its tuple"
            ),
            None,
        ),
        (_, Undefined::Filter(arguments)) => (
            format!("there is no filter \"{found}\" with {arguments} arguments"),
            Some((found.to_owned(), filter_names())),
        ),
        (_, Undefined::Var) => {
            let what = format!("there is no variable {found}");
            (what, Some((found.to_owned(), vec![TUPLE.into()])))
        }
        (_, other) => (format!("there is no {} \"{found}\"", other.as_str()), None),
    };
    Flaw { candidates, ..Flaw::at(code, found, &what) }
}

/// Returns the names of all filters that an expression can call.
fn filter_names() -> Vec<String> {
    let natives = bounds::natives().map(|(name, _, _)| name);
    let mut names: Vec<_> = tree::definitions().map(|def| def.name).chain(natives).collect();
    names.retain(|name| !name.starts_with('!'));
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(String::from).collect()
}

fn is_inside(code: &str, part: &str) -> bool {
    let (code, part) = (code.as_bytes().as_ptr_range(), part.as_bytes().as_ptr_range());
    code.start <= part.start && part.end <= code.end
}

/// Returns the place of a part of the expression: "at line 2, character 5", or "at character 5".
fn place(code: &str, part: &str) -> String {
    if !is_inside(code, part) {
        return "in the expression".into();
    }
    let before = &code[..part.as_ptr().addr() - code.as_ptr().addr()];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let character = before[line_start..].chars().count() + 1;
    if !code.contains('\n') {
        return format!("at character {character}");
    }
    let line = before.matches('\n').count() + 1;
    format!("at line {line}, character {character}")
}

fn quoted(found: &str) -> String {
    if found.trim().is_empty() {
        return "the end".into();
    }
    let mut text: String = found.chars().take(EXCERPT_CHARS_MAX).collect();
    if text.len() < found.len() {
        text.push('…');
    }
    format!("\"{text}\"")
}
