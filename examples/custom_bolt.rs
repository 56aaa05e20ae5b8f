//! A bolt of your own: cargo run --example custom_bolt -- run examples/shout.ron
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waterspout::bolt::{Bolt, BoltConfig, BoltContext, Output};
use waterspout::component::{Component, Problem};
use waterspout::error::Result;
use waterspout::tuple::{Fields, Streams, Tuple};
/// Emits a text field in capitals. (These comments are what `components show Shout` prints.)
#[derive(Deserialize, Serialize, JsonSchema)]
struct Shout {
    /// The field that holds the text.
    field: String,
}
impl Component for Shout {
    const NAME: &'static str = "Shout";
    const GUARANTEE: &'static str = "keeps nothing: each text goes on with the tuple it came in";
}
impl BoltConfig for Shout {
    // What it emits, given the fields of its inputs; what is wrong is found by `validate` already.
    fn streams(&self, inputs: &[Fields]) -> Result<Streams, Vec<Problem>> {
        let missing = |input: &Fields| Problem {
            field: "field",
            what: format!("not among {input}"),
            candidates: None,
        };
        let bad: Vec<_> = inputs
            .iter()
            .filter(|input| input.position(&self.field).is_none())
            .map(missing)
            .collect();
        if bad.is_empty() {
            Ok(Streams::default_with(Fields::new([&self.field])))
        } else {
            Err(bad)
        }
    }
    // Makes one task. Where each input has its text is looked up here, once, and not for every
    // tuple.
    fn build(&self, context: &BoltContext) -> Result<Box<dyn Bolt>> {
        Ok(Box::new(ShoutTask(
            context.inputs.iter().filter_map(|input| input.position(&self.field)).collect(),
        )))
    }
}
struct ShoutTask(Vec<usize>);
impl Bolt for ShoutTask {
    fn execute(&mut self, tuple: Tuple<'_>, out: &mut Output) -> Result<()> {
        let text = tuple.value(self.0[tuple.input]).as_text().unwrap_or_default();
        out.emit([text.to_uppercase().into()]);
        Ok(())
    }
}
fn main() -> std::process::ExitCode {
    waterspout::cli::main(waterspout::components::standard().bolt::<Shout>())
}
