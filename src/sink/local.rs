//! `Local`: writes posts into a lake in a folder.

use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lake::{LakeSink, Style, without_posts};
use super::{Sink, SinkConfig, SinkContext};
use crate::component::{Component, Problem};
use crate::epoch::Promise;
use crate::error::{Error, Result};
use crate::lake::disk::check_writable;
use crate::lake::form::{Compression, Format};
use crate::lake::left::LeftPartitions;
use crate::lake::names::Names;
use crate::lake::publish::{Place, Rename};
use crate::lake::recover::recover;
use crate::lake::root::Root;
use crate::lake::staging::{Publish, STAGING, Staging};
use crate::lake::store::Store;
use crate::lake::store::local::LocalStore;
use crate::tuple::Fields;

/// Writes posts into a lake in a folder: `<root>/<boundary>-<uuid>/0000000`, each file one JSON
/// array, or what `format` and `compression` say.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Local {
    /// The folder of the lake. It is made if it is missing; any number of tasks and processes may
    /// write into one.
    #[schemars(extend("format" = "path"))]
    pub root: PathBuf,
    /// The form of partition names: `2015-12-18T00:00:00-<uuid>`, or `Basic`,
    /// `20151218T000000Z-<uuid>`, since the globs of Hadoop and Spark can't take colons.
    #[serde(default)]
    pub names: Names,
    /// The format of a file: one JSON array on one line, or `Ndjson`, one post a line
    /// (`0000000.ndjson`).
    #[serde(default)]
    pub format: Format,
    /// The compression of a closed file: `Gzip` (`0000000.json.gz`, `0000000.ndjson.gz`),
    /// `Zstd` (`….zst`), or not at all. Each task does it on its own thread.
    #[serde(default)]
    pub compression: Compression,
    #[serde(skip)]
    left: LeftPartitions,
}

impl Component for Local {
    const NAME: &'static str = "Local";
    const GUARANTEE: &'static str = "each post of a completed checkpoint is in exactly one file, synced and never torn; \
         a file becomes visible whole, when the checkpoint after its close is complete";
}

impl Local {
    fn absolute_root(&self) -> Result<PathBuf> {
        std::path::absolute(&self.root).map_err(|cause| {
            Error::fatal(format!("bad root \"{}\"", self.root.display())).because(cause)
        })
    }

    fn style(&self) -> Style {
        Style { names: self.names, format: self.format, compression: self.compression }
    }
}

impl SinkConfig for Local {
    fn check(&self, inputs: &[Fields]) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        if self.root.as_os_str().is_empty() {
            problems.push(Problem {
                field: "root",
                what: "expected a folder, found nothing".into(),
                candidates: None,
            });
        }
        problems.extend(without_posts(Self::NAME, inputs));
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn check_online(&self) -> Result<Option<String>> {
        check_writable(&self.absolute_root()?).map(Some)
    }

    fn build(&self, context: SinkContext) -> Result<Box<dyn Sink>> {
        let (name, root) = (self.place(&context)?, self.absolute_root()?);
        Rename.staging(&name)?.refuse_links()?;
        // What a killed tool left in the staging folder must not prevent the start.
        let _ = LocalStore::new(root).clean_up(context.clock.now());
        let mut sink = LakeSink::new(Arc::new(Rename), name, context, self.style(), &self.left)?;
        sink.make_staging()?;
        Ok(Box::new(sink))
    }

    fn place(&self, context: &SinkContext) -> Result<String> {
        place(self.absolute_root()?, context).name()
    }

    fn recover(&self, place: &str, promises: &[Promise]) -> Result<Vec<Promise>> {
        let staging = Rename.staging(place)?;
        self.left.find(place, &staging, promises);
        recover(&staging, promises)
    }

    fn writes_to(&self) -> Option<Root> {
        Some(Root::Folder(self.root.clone()))
    }

    fn open_lake(&self) -> Result<Option<Arc<dyn Store>>> {
        Ok(Some(Arc::new(LocalStore::new(self.absolute_root()?))))
    }

    fn lake_root(&self) -> Option<PathBuf> {
        self.absolute_root().ok()
    }
}

/// The sink for dead letters: a lake inside the lake, or inside the topology's state.
pub(crate) struct DeadLetters {
    root: PathBuf,
    left: LeftPartitions,
}

impl DeadLetters {
    /// Returns the sink for a folder under the root of a lake.
    pub(crate) fn under(root: PathBuf) -> Self {
        Self { root, left: LeftPartitions::default() }
    }

    fn partitions(&self) -> PathBuf {
        self.root.join("_dead")
    }
}

impl SinkConfig for DeadLetters {
    fn check(&self, inputs: &[Fields]) -> Result<(), Vec<Problem>> {
        let mut problems = without_posts(Local::NAME, inputs).peekable();
        if problems.peek().is_none() { Ok(()) } else { Err(problems.collect()) }
    }

    fn build(&self, context: SinkContext) -> Result<Box<dyn Sink>> {
        let name = self.place(&context)?;
        // A process that was killed may have left half a file of letters, which must not prevent
        // the start.
        let _ = LocalStore::new(self.partitions()).clean_up(context.clock.now());
        Ok(Box::new(LakeSink::new(Arc::new(Rename), name, context, Style::default(), &self.left)?))
    }

    fn place(&self, context: &SinkContext) -> Result<String> {
        place(self.partitions(), context).name()
    }

    fn recover(&self, place: &str, promises: &[Promise]) -> Result<Vec<Promise>> {
        let staging = Rename.staging(place)?;
        self.left.find(place, &staging, promises);
        recover(&staging, promises)
    }
}

/// Returns the folder where the files of a place are staged, if the place is in the staging folder
/// of a lake.
pub(super) fn staged_in(place: &str) -> Option<Staging> {
    let staging = Rename.staging(place).ok()?;
    let of_all = staging.folder.ancestors().nth(2)?.file_name()?;
    (of_all == STAGING).then_some(staging)
}

fn place(root: PathBuf, context: &SinkContext) -> Place {
    Place::new(root, &context.run, &context.component, context.task)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use bytes::Bytes;
    use time::macros::datetime;

    use super::*;
    use crate::clock::ManualClock;
    use crate::epoch::{Barrier, MicroBatch};
    use crate::error::Kind;
    use crate::tuple::Tuple;
    use crate::value::Value;

    fn context(inputs: Vec<Fields>, task: usize) -> SinkContext {
        SinkContext {
            component: "lake".into(),
            task,
            run: "run".into(),
            inputs,
            micro_batch: MicroBatch::default(),
            boundary: datetime!(2026-02-03 12:00:00 UTC),
            durable: true,
            state: "/nowhere".into(),
            clock: ManualClock::at(datetime!(2026-02-03 12:34:56 UTC)),
        }
    }

    fn local(root: PathBuf) -> Local {
        let Style { names, format, compression } = Style::default();
        Local { root, names, format, compression, left: LeftPartitions::default() }
    }

    fn last_barrier() -> Barrier {
        let boundary = datetime!(2026-02-03 12:00:00 UTC);
        Barrier {
            epoch: 1,
            now: datetime!(2026-02-03 12:34:57 UTC),
            boundary,
            last: true,
            durable: true,
        }
    }

    fn finish(sink: &mut dyn Sink) {
        let prepared = sink.prepare(&last_barrier()).unwrap()().unwrap();
        sink.commit(prepared.promises)().unwrap();
    }

    fn files(root: &Path) -> Vec<String> {
        let pattern = format!("{}/2*/*", root.display());
        glob::glob(&pattern)
            .unwrap()
            .map(|path| fs::read_to_string(path.unwrap()).unwrap())
            .collect()
    }

    #[test]
    fn the_field_named_post_is_written_from_each_input() {
        let root = tempfile::tempdir().unwrap();
        let local = local(root.path().into());
        let inputs = vec![Fields::of_posts(), Fields::new(["score", "post"])];
        local.check(&inputs).unwrap();
        let mut sink = local.build(context(inputs, 0)).unwrap();
        let post = |text: &'static str| Value::Json(Bytes::from_static(text.as_bytes()));
        sink.write(Tuple::new(&[post("{\"tweet\":1}"), Value::Null, Value::Null], 0)).unwrap();
        sink.write(Tuple::new(&[Value::Int(1), post("{\"tweet\":\r\n2}")], 1)).unwrap();
        let error = sink.write(Tuple::new(&[Value::Null, Value::from("{}")], 1)).unwrap_err();
        assert_eq!(error.kind(), Kind::Rejected);
        finish(sink.as_mut());
        assert_eq!(files(root.path()), ["[{\"tweet\":1},{\"tweet\":  2}]"]);
        assert_eq!(
            fs::read_dir(root.path()).unwrap().count(),
            2,
            "the staging is gone, and the index is there"
        );
    }

    #[test]
    fn an_input_without_posts_is_a_problem_that_says_what_to_do() {
        let problems = local(PathBuf::new()).check(&[Fields::new(["word", "count"])]).unwrap_err();
        assert_eq!(
            problems.iter().map(|problem| problem.field).collect::<Vec<_>>(),
            ["root", "inputs"]
        );
        assert!(
            problems[1].what.contains(r#"declares "word", "count"; take the input"#),
            "{}",
            problems[1].what
        );
    }

    #[test]
    fn a_root_that_cannot_be_made_stops_the_start() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let error = local(root.path().join("file"))
            .build(context(vec![Fields::of_posts()], 0))
            .err()
            .unwrap();
        assert!(error.chain().contains("file/_staging/run/lake-0"), "{error:?}");
    }

    #[test]
    fn many_tasks_write_one_root_without_knowing_of_each_other() {
        let root = tempfile::tempdir().unwrap();
        let local = Arc::new(local(root.path().join("new/lake")));
        let threads: Vec<_> = (0..8)
            .map(|task| {
                let local = Arc::clone(&local);
                std::thread::spawn(move || {
                    let mut sink = local.build(context(vec![Fields::of_posts()], task)).unwrap();
                    for i in 0..100 {
                        let post = Value::Json(format!("{{\"tweet\":{}}}", task * 100 + i).into());
                        sink.write(Tuple::new(&[post], 0)).unwrap();
                    }
                    finish(sink.as_mut());
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let files = files(&local.root);
        assert_eq!(files.len(), 8);
        assert_eq!(files.iter().map(|file| file.matches("tweet").count()).sum::<usize>(), 800);
        assert_eq!(
            fs::read_dir(&local.root).unwrap().count(),
            9,
            "nothing but partitions and the index is left"
        );
    }

    #[test]
    fn dead_letters_are_a_lake_inside_the_lake() {
        let lake = tempfile::tempdir().unwrap();
        let (dead, config) = (lake.path().join("_dead"), DeadLetters::under(lake.path().into()));
        let mut sink = config.build(context(vec![Fields::new(["post"])], 0)).unwrap();
        finish(sink.as_mut());
        assert_eq!(
            fs::read_dir(lake.path()).unwrap().count(),
            0,
            "without dead letters there is no folder"
        );
        let mut sink = config.build(context(vec![Fields::new(["post"])], 0)).unwrap();
        sink.write(Tuple::new(&[Value::Json("{\"post\":1}".into())], 0)).unwrap();
        assert!(dead.join("_staging/run/lake-0").is_dir());
        finish(sink.as_mut());
        assert_eq!(files(&dead), ["[{\"post\":1}]"]);
        assert_eq!(fs::read_dir(lake.path()).unwrap().count(), 1);
    }
}
