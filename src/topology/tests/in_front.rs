//! Tests of bolts that a sink asks for in front of itself.

use std::sync::Arc;

use expect_test::expect;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{LoadOptions, Topology, explain, graph_text, parse};
use super::components::registry;
use crate::bolt::{Bolt, BoltConfig, BoltContext};
use crate::component::{Component, Problem};
use crate::error::{Error, Result};
use crate::sink::{BoltInFront, Sink, SinkConfig, SinkContext};
use crate::tuple::{Fields, Streams};

/// Keeps rows that a bolt reads from numbers.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Rows {}

impl Component for Rows {
    const NAME: &'static str = "Rows";
    const GUARANTEE: &'static str = "each row once";
}

/// Makes rows of numbers.
struct Read;

impl BoltConfig for Read {
    fn streams(&self, _: &[Fields]) -> Result<Streams, Vec<Problem>> {
        Ok(Streams::default_with(Fields::new(["key", "row"])))
    }

    fn build(&self, _: &BoltContext) -> Result<Box<dyn Bolt>> {
        Err(Error::fatal("not to be run"))
    }
}

impl SinkConfig for Rows {
    fn check(&self, _: &[Fields]) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    fn bolt_in_front(&self, stream: &str, fields: &Fields) -> Option<BoltInFront> {
        let is_raw = stream == "default" && fields.position("number").is_some();
        is_raw.then(|| BoltInFront {
            type_name: "Read",
            guarantee: "keeps nothing",
            config: Arc::new(Read),
            explained: "Read()".into(),
            keys: vec!["key"],
        })
    }

    fn build(&self, _: SinkContext) -> Result<Box<dyn Sink>> {
        Err(Error::fatal("not to be run"))
    }
}

const FED_WITH_RAW: &str = r#"Topology(
    name: "t",
    spouts: { "a": Spout(run: Numbers()), "b": Spout(run: Numbers()) },
    bolts: {
        "rows": Bolt(
            run: Rows(),
            inputs: [Shuffle("a"), Shuffle("a:odd"), LocalOrShuffle("b")],
            parallelism_hint: 2,
        ),
        "void": Bolt(run: Void(), inputs: [Shuffle("b")]),
    },
)"#;

fn loaded(text: &str) -> Topology {
    parse("t.ron", text, &registry().sink::<Rows>(), &LoadOptions::default()).unwrap()
}

#[test]
fn a_bolt_stands_between_the_sink_and_the_inputs_that_need_it() {
    expect![[r#"
        topology "t"

        spout  a          Numbers  1 task
        spout  b          Numbers  1 task
        bolt   rows~read  Read     2 tasks
               put in front of rows
               <- a: Shuffle
               <- b: LocalOrShuffle
        sink   rows       Rows     2 tasks
               <- a:odd: Shuffle
               <- rows~read: Fields("key")
               guarantee: each row once
        sink   void       Void     1 task
               <- b: Shuffle
               guarantee: nothing is "kept"
    "#]]
    .assert_eq(&graph_text(&loaded(FED_WITH_RAW)));
}

#[test]
fn an_explained_topology_names_the_inputs_of_its_file_and_loads_to_the_same() {
    let explained = explain(&loaded(FED_WITH_RAW));
    assert!(!explained.contains('~'), "{explained}");
    assert!(
        explained.contains(r#"[Shuffle("a:odd"), Shuffle("a"), LocalOrShuffle("b")]"#),
        "{explained}"
    );
    assert_eq!(graph_text(&loaded(&explained)), graph_text(&loaded(FED_WITH_RAW)));
}
