//! The bounds of a jq expression while it runs: the counter of its steps, and the native filters
//! that it can call. `tree` inserts the calls of the filters that count into the expression.

use std::cell::Cell;
use std::hint::black_box;

use jaq_core::box_iter::box_once;
use jaq_core::native::{Fun, v};
use jaq_core::{DataT, Exn, Lut, Native, data};
use jaq_json::{Num, Val};
use jaq_std::ValT as _;

use crate::post::DEPTH_MAX;
use crate::post::check::is_one_value;

/// The default for the steps that an expression may take per tuple. A post has some hundred parts,
/// so an expression that looks at each of them needs far fewer. A larger number would let a bad
/// expression hold up its task for more than a quarter of a second per tuple, and use more than
/// about 64 MiB.
pub(crate) const STEPS_USUAL: u32 = 250_000;

/// The number of elements of a list that count as one step when the list is made or passed on. A
/// smaller number would forbid lists of some thousand elements that are built one by one.
const ELEMENTS_A_STEP: usize = 16;

/// The number of bytes of a text that count as one step.
const BYTES_A_STEP: usize = 256;

/// The stack that an expression may use, out of the 2 MiB of a thread. With less, expressions that
/// call themselves some hundred times would be refused; with more, too little would be left for
/// jq's own filters.
const STACK_BYTES_MAX: usize = 1 << 20;

/// The largest text that `*` may make. It is checked before the text is made and counted.
const REPEATED_BYTES_MAX: f64 = 1e7;

/// The bound that an expression exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The number of steps.
    Steps,
    /// The depth of a value.
    Depth,
    /// The stack.
    Stack,
    /// The size of a number or a text.
    Size,
}

/// The state that a run of an expression shares with the native filters.
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

    /// Ends the run. Unlike an error, that can't be caught by `try`.
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

    /// Counts a step that passes on this value.
    fn tick(&self, value: &Val) -> Result<(), Exn<'a, Val>> {
        if self.stack_base.abs_diff(stack_pointer()) > STACK_BYTES_MAX {
            return Err(self.exceed(Bound::Stack));
        }
        self.spend(1 + own_steps(value))
    }

    /// Counts all parts of a value, and refuses one that is nested too deeply.
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

    /// Returns the product, unless it would be too large.
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

/// Returns the approximate position of the end of the stack.
#[inline(never)]
fn stack_pointer() -> usize {
    let local = 0_u8;
    std::ptr::from_ref(black_box(&local)).addr()
}

/// Returns the steps for the size of a value, without its parts.
fn own_steps(value: &Val) -> usize {
    match value {
        Val::TStr(text) | Val::BStr(text) => text.len() / BYTES_A_STEP,
        Val::Arr(elements) => elements.len() / ELEMENTS_A_STEP,
        Val::Obj(members) => members.len() / ELEMENTS_A_STEP,
        _ => 0,
    }
}

/// jq's values, with access to the bounds of a run.
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

// No filter in a topology file can have one of these names.
pub(crate) const TICK: &str = "!tick";
pub(crate) const MEASURED: &str = "!measured";
pub(crate) const PRODUCT: &str = "!product";
pub(crate) const TUPLE: &str = "!tuple";

/// jq's native filters that would let an expression see or change its environment, or read a clock:
/// a filter must be a function of its tuple.
const WITHHELD: [&str; 7] =
    ["env", "now", "localtime", "strflocaltime", "halt", "debug_empty", "stderr_empty"];

/// Returns the native filters that an expression can call.
pub(crate) fn natives() -> impl Iterator<Item = Fun<Bounded>> {
    let library = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let replaced = ["range", "fromjson"];
    let kept =
        library.filter(move |(name, _, _)| !WITHHELD.contains(name) && !replaced.contains(name));
    kept.chain(own_natives())
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

/// `range`, with a step for each number.
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

/// `fromjson` for one strict JSON value, nested no deeper than a post may be: the parser uses stack
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
