//! `Null`: discards a stream.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Sink, SinkConfig, SinkContext};
use crate::component::{Component, Problem};
use crate::error::Result;
use crate::tuple::{Fields, Tuple};

/// Takes every tuple and writes nothing: for measuring, and for trying a topology out.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Null {}

impl Component for Null {
    const NAME: &'static str = "Null";
    const GUARANTEE: &'static str = "keeps nothing, so there is nothing to lose or to repeat";
}

impl SinkConfig for Null {
    fn check(&self, _inputs: &[Fields]) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    fn build(&self, _context: SinkContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(NullSink))
    }

    fn blocks(&self) -> bool {
        false
    }
}

struct NullSink;

impl Sink for NullSink {
    fn write(&mut self, _tuple: Tuple<'_>) -> Result<()> {
        Ok(())
    }
}
