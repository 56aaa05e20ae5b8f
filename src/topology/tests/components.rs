//! Components for tests of the loader. They run nothing.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bolt::{Bolt, BoltConfig, BoltContext};
use crate::component::{Component, Problem};
use crate::error::{Error, Result};
use crate::registry::Registry;
use crate::sink::{Sink, SinkConfig, SinkContext};
use crate::spout::{Spout, SpoutConfig, SpoutContext};
use crate::tuple::{Fields, Streams};
use crate::units::{ByteSize, Interval};

/// Returns the registry of the test's components.
pub(crate) fn registry() -> Registry {
    Registry::empty().spout::<Numbers>().bolt::<Shout>().sink::<Void>()
}

/// Makes numbers.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Numbers {
    /// The number of numbers to make.
    #[serde(default)]
    count: Option<u64>,
    /// The interval between two numbers.
    #[serde(default = "second")]
    every: Interval,
    /// The order of the numbers.
    #[serde(default)]
    order: Order,
    /// A secret.
    #[serde(default)]
    token: Option<String>,
    /// Texts.
    #[serde(default)]
    topics: Vec<String>,
}

/// The order of numbers.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
enum Order {
    /// From the smallest.
    #[default]
    Up,
    /// From the largest.
    Down,
    /// Shuffled.
    Random {
        /// The seed of the random order.
        seed: u64,
        /// The interval within which numbers are shuffled.
        #[serde(default)]
        within: Option<Interval>,
    },
}

fn second() -> Interval {
    Interval(std::time::Duration::from_secs(1))
}

impl Component for Numbers {
    const NAME: &'static str = "Numbers";
    const ALIASES: &'static [&'static str] = &["N"];
    const GUARANTEE: &'static str = "each number once";
}

impl SpoutConfig for Numbers {
    fn streams(&self) -> Streams {
        Streams::default_with(Fields::new(["number", "kind"])).and("odd", Fields::new(["number"]))
    }

    fn splits(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn tasks_max(&self) -> Option<usize> {
        Some(4)
    }

    fn build(&self, _: &SpoutContext) -> Result<Box<dyn Spout>> {
        Err(Error::fatal("not to be run"))
    }
}

/// Adds a loud field.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Shout {
    /// The field whose text is made loud.
    field: String,
    /// Variables of the environment.
    #[serde(default)]
    env: BTreeMap<String, String>,
}

impl Component for Shout {
    const NAME: &'static str = "Shout";
    const GUARANTEE: &'static str = "keeps nothing";
}

fn missing(field: &'static str, name: &str, fields: &Fields) -> Problem {
    Problem {
        field,
        what: format!("the input declares {fields}, not \"{name}\""),
        candidates: Some((name.into(), fields.names().to_vec())),
    }
}

impl BoltConfig for Shout {
    fn streams(&self, inputs: &[Fields]) -> Result<Streams, Vec<Problem>> {
        let fields = &inputs[0];
        if fields.position(&self.field).is_none() {
            return Err(vec![missing("field", &self.field, fields)]);
        }
        Ok(Streams::default_with(Fields::new([self.field.clone(), "loud".into(), "number".into()])))
    }

    fn build(&self, _: &BoltContext) -> Result<Box<dyn Bolt>> {
        Err(Error::fatal("not to be run"))
    }
}

/// Keeps nothing.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Void {
    /// A size with a default.
    #[serde(default = "mebibyte")]
    limit: ByteSize,
    /// A field that the input must have.
    #[serde(default)]
    needs: Option<String>,
}

fn mebibyte() -> ByteSize {
    ByteSize(1 << 20)
}

impl Component for Void {
    const NAME: &'static str = "Void";
    const GUARANTEE: &'static str = "nothing is \"kept\"";
}

impl SinkConfig for Void {
    fn check(&self, inputs: &[Fields]) -> Result<(), Vec<Problem>> {
        let lacks = |fields: &&Fields| {
            self.needs.as_ref().is_some_and(|needs| fields.position(needs).is_none())
        };
        let needs = self.needs.clone().unwrap_or_default();
        let problems: Vec<_> =
            inputs.iter().filter(lacks).map(|fields| missing("needs", &needs, fields)).collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn build(&self, _context: SinkContext) -> Result<Box<dyn Sink>> {
        Err(Error::fatal("not to be run"))
    }
}
