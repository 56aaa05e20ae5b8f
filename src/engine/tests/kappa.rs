//! Tests of a replay that replaces a source with several streams and topics.

use std::fs;
use std::sync::Arc;

use super::components::{collect, count_to, stream};
use super::{Builder, Exit, MemoryStore, PATIENCE, RunOptions, shuffle};
use crate::engine::kappa::{Request, rewrite};
use crate::engine::start;
use crate::error::{Error, Result};
use crate::post::Post;
use crate::spout::{Route, Spout, SpoutConfig, SpoutContext};
use crate::tuple::{Fields, StreamId, Streams};
use crate::value::Value;

/// A source of notes that can't be reached. Deleted notes have a stream of their own.
struct Notes;

impl SpoutConfig for Notes {
    fn streams(&self) -> Streams {
        Streams::default_with(Fields::of_posts()).and("deletes", Fields::of_posts())
    }

    fn splits(&self) -> Result<Vec<String>> {
        Err(Error::fatal("nobody asks the source"))
    }

    fn kinds(&self) -> Option<Vec<String>> {
        Some(vec!["note".into(), "delete".into()])
    }

    fn router(&self) -> Option<Arc<dyn Route>> {
        Some(Arc::new(ByKind))
    }

    fn build(&self, _: &SpoutContext) -> Result<Box<dyn Spout>> {
        Err(Error::fatal("nobody starts the source"))
    }
}

struct ByKind;

impl Route for ByKind {
    fn route(&self, post: &Post) -> (StreamId, Value) {
        let topics =
            if post.ends_with(b"\"storm\"}") { vec![Value::from("weather")] } else { Vec::new() };
        (
            if post.kind() == "delete" { stream(1) } else { StreamId::DEFAULT },
            Value::List(topics.into()),
        )
    }
}

fn text(tuples: Vec<Vec<Value>>) -> Vec<String> {
    let one = |values: Vec<Value>| {
        let mut json = Vec::new();
        crate::tuple::to_json(&Fields::of_posts(), &values, &mut json);
        String::from_utf8(json).unwrap()
    };
    tuples.into_iter().map(one).collect()
}

fn request(lake: &tempfile::TempDir) -> Request {
    Request { given: vec![lake.path().to_str().unwrap().parse().unwrap()], ..Request::default() }
}

#[test]
fn each_post_is_on_its_stream_with_its_topics() {
    let lake = tempfile::tempdir().unwrap();
    let partition = lake.path().join("2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7");
    fs::create_dir(&partition).unwrap();
    fs::write(
        partition.join("0000000"),
        "[{\"note\":\"storm\"},{\"delete\":1},{\"gap\":2},{\"note\":\"sun\"}]",
    )
    .unwrap();
    let ((posts, seen), (deletes, deleted)) = (collect(), collect());
    let topology = Builder::new().spout("notes", 2, Notes).spout("more", 1, count_to(0));
    let topology = topology.sink("posts", 1, posts, &[shuffle("notes")]).sink(
        "deletes",
        1,
        deletes,
        &[shuffle("notes:deletes")],
    );
    let error = rewrite(&topology.0, &request(&lake)).err().unwrap().chain();
    assert!(error.contains("--replay notes=") && error.contains("--replay more="), "{error}");

    let kappa = rewrite(
        &topology.0,
        &Request { only: vec!["posts".into(), "deletes".into()], ..request(&lake) },
    )
    .unwrap();
    let options = RunOptions::new(Arc::<MemoryStore>::default(), lake.path().join("state"));
    assert_eq!(start(kappa.topology, options).unwrap().wait(PATIENCE), Some(Exit::Finished));
    assert_eq!(
        text(seen.visible()),
        [
            r#"{"post":{"note":"storm"},"kind":"note","topics":["weather"]}"#,
            r#"{"post":{"note":"sun"},"kind":"note","topics":[]}"#
        ]
    );
    assert_eq!(text(deleted.visible()), [r#"{"post":{"delete":1},"kind":"delete","topics":[]}"#]);
    assert_eq!(kappa.strays.kinds().into_iter().collect::<Vec<_>>(), [("gap".to_owned(), 1)]);
}

#[test]
fn no_lake_takes_the_place_of_a_source_that_makes_no_posts() {
    let lake = tempfile::tempdir().unwrap();
    let (sink, _) = collect();
    let topology = Builder::new().spout("numbers", 1, count_to(3)).sink(
        "sink",
        1,
        sink,
        &[shuffle("numbers")],
    );
    let error = rewrite(&topology.0, &request(&lake)).err().unwrap().chain();
    assert!(error.contains("\"numbers\" (Test) makes no posts"), "{error}");
}
