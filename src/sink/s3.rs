//! `S3`: writes posts into a lake in a bucket.

use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lake::{LakeSink, Style, without_posts};
use super::outbox::OutboxBound;
use super::waiting::Waiting;
use super::{Delivered, OnFull, Sink, SinkConfig, SinkContext};
use crate::component::{Component, Problem};
use crate::epoch::{Barrier, Job, Prepared, Promise};
use crate::error::{Error, Result};
use crate::lake::backlog::Admission;
use crate::lake::form::{Compression, Format};
use crate::lake::index::Index;
use crate::lake::left::LeftPartitions;
use crate::lake::names::Names;
use crate::lake::recover::recover;
use crate::lake::root::Root;
use crate::lake::staging::{Publish, Staging};
use crate::lake::store::Store;
use crate::lake::store::retried::Retried;
use crate::lake::store::s3::{self, ConditionalPut, S3 as Bucket, StartProbe, with_bucket_access};
use crate::lake::upload::Uploader;
use crate::lake::writers;
use crate::tuple::{Fields, Tuple};
use crate::units::ByteSize;

/// The folder of a topology's state that holds data that isn't uploaded yet.
const OUTBOX: &str = "outbox";

with_bucket_access! {
    /// Writes posts into a lake in a bucket of S3, or of a server that speaks like it:
    /// `s3://<bucket>/<prefix>/<boundary>-<uuid>/0000000`, each object one JSON array, or what
    /// `format` and `compression` say. What isn't uploaded yet is on this machine's disk, in the
    /// topology's state. What isn't given comes from the environment (`AWS_ACCESS_KEY_ID`,
    /// `AWS_REGION`, `AWS_ENDPOINT_URL`, …), a web identity, the shared files in `~/.aws`, or a
    /// metadata service.
    #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    pub struct S3 {
        /// The bucket's name. The bucket must exist; any number of tasks and processes may write
        /// into it.
        pub bucket: String,
        /// The prefix of all keys: the lake's root in the bucket.
        #[serde(default)]
        pub prefix: String,
        /// The way to put an object that must not replace another: `IfNoneMatch`, or `HeadThenPut`
        /// for servers that answer 501 to it. Then a second topology that writes the same keys,
        /// such as one started from a copy of the state folder, overwrites objects without anybody
        /// noticing it. Without it: as `WATERSPOUT_S3_CONDITIONAL_PUT` in the environment says, or
        /// `IfNoneMatch`.
        #[serde(default)]
        pub conditional_put: Option<ConditionalPut>,
        /// The form of partition names: `2015-12-18T00:00:00-<uuid>`, or `Basic`,
        /// `20151218T000000Z-<uuid>`, since the globs of Hadoop and Spark can't take colons.
        #[serde(default)]
        pub names: Names,
        /// The format of a file: one JSON array on one line, or `Ndjson`, one post a line
        /// (`0000000.ndjson`).
        #[serde(default)]
        pub format: Format,
        /// The compression of a closed file: `Gzip` (`0000000.json.gz`,
        /// `0000000.ndjson.gz`), `Zstd` (`….zst`), or not at all. Each task does it on its own
        /// thread.
        #[serde(default)]
        pub compression: Compression,
        /// The bound on the data that isn't uploaded, on this machine's disk, for each task.
        #[serde(default = "outbox")]
        pub outbox: ByteSize,
        /// The reaction to a full outbox: the spouts upstream pause until half of it is uploaded,
        /// or tuples that don't fit are dropped and counted.
        #[serde(default)]
        pub on_full: OnFull,
        #[serde(skip)]
        left: LeftPartitions,
    }
}

fn outbox() -> ByteSize {
    ByteSize(10 << 30)
}

impl Component for S3 {
    const NAME: &'static str = "S3";
    const GUARANTEE: &'static str = "each post of a completed checkpoint is in exactly one object, \
        which appears whole; \
         what isn't uploaded yet depends on this machine's disk, and what on_full: Drop drops is \
         counted";
}

impl S3 {
    fn target(&self) -> Bucket {
        Bucket { conditional_put: self.conditional_put, ..Bucket::from(self) }
    }

    fn bound(&self) -> OutboxBound {
        OutboxBound { bytes_max: self.outbox.0, on_full: self.on_full }
    }

    fn style(&self) -> Style {
        Style { names: self.names, format: self.format, compression: self.compression }
    }
}

impl SinkConfig for S3 {
    fn check(&self, inputs: &[Fields]) -> Result<(), Vec<Problem>> {
        let problem = |(field, what)| Problem { field, what, candidates: None };
        let mut problems: Vec<_> = self.target().problems().into_iter().map(problem).collect();
        if self.outbox.0 == 0 {
            problems.push(problem((
                "outbox",
                "expected a size above 0, since everything goes through it".into(),
            )));
        }
        problems.extend(without_posts(Self::NAME, inputs));
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn check_online(&self) -> Result<Option<String>> {
        let target = self.target();
        s3::probe(s3::open(&target)?.as_ref(), target.way_to_put()?)?;
        Ok(Some(format!("\"{}\" is there and can be written to", target.address())))
    }

    fn build(&self, context: SinkContext) -> Result<Box<dyn Sink>> {
        let upload = Arc::new(Upload::to(self.target())?);
        // One task checks the bucket for all tasks.
        let note = writers::object(&context.state, context.durable);
        let probe = if context.task == 0 {
            Some(StartProbe::begin(Arc::clone(&upload.store), note)?)
        } else {
            None
        };
        let publisher: Arc<dyn Publish> = Arc::clone(&upload) as _;
        let clock = Arc::clone(&context.clock);
        let mut sink =
            LakeSink::new(publisher, self.place(&context)?, context, self.style(), &self.left)?;
        sink.make_staging()?;
        let backlog = Arc::clone(&upload.uploader.backlog);
        let admission = Admission::new(backlog, self.bound().bytes_before_dropping());
        let waiting = Arc::new(Waiting::new(self.target().address(), clock));
        Ok(Box::new(S3Sink { sink, upload, probe, admission, waiting }))
    }

    fn place(&self, context: &SinkContext) -> Result<String> {
        Place::of(self.target(), context)?.name()
    }

    fn recover(&self, place: &str, promises: &[Promise]) -> Result<Vec<Promise>> {
        let staging = Place::named(place)?.staging();
        self.left.find(place, &staging, promises);
        recover(&staging, promises)
    }

    fn outbox_bytes_max(&self) -> Option<u64> {
        self.bound().bytes_before_pausing()
    }

    fn writes_to(&self) -> Option<Root> {
        Some(Root::of_bucket(&self.target()))
    }

    fn open_lake(&self) -> Result<Option<Arc<dyn Store>>> {
        s3::open(&self.target()).map(Some)
    }
}

/// The place where a task keeps files until they are uploaded, and their destination, which stays
/// the same if the topology's file is changed.
#[derive(Serialize, Deserialize)]
struct Place {
    /// The task's own folder in the outbox.
    staged: PathBuf,
    /// The bucket, without credentials: an upload uses the credentials that are current at that
    /// time.
    to: Bucket,
}

impl Place {
    fn of(target: Bucket, context: &SinkContext) -> Result<Self> {
        let outbox = std::path::absolute(context.state.join(OUTBOX)).map_err(|cause| {
            Error::fatal(format!("bad state \"{}\"", context.state.display())).because(cause)
        })?;
        let staged = Staging::new(&outbox, &context.run, &context.component, context.task).folder;
        Ok(Self { staged, to: without_credentials(target) })
    }

    /// Returns the place as a promise names it, in JSON.
    fn name(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|cause| {
            Error::fatal(format!("bad place \"{}\"", self.staged.display())).because(cause)
        })
    }

    fn named(name: &str) -> Result<Self> {
        let place: Self = serde_json::from_str(name).map_err(|cause| {
            Error::fatal(format!("bad place \"{name}\" in a promise: expected one of S3"))
                .because(cause)
        })?;
        let absolute = place.staged.is_absolute();
        if absolute {
            Ok(place)
        } else {
            Err(Error::fatal(format!("bad place \"{name}\" in a promise")))
        }
    }

    fn staging(self) -> Staging {
        Staging { folder: self.staged }
    }
}

/// Returns the folder where the files of a place are staged, if the place is in an outbox.
pub(super) fn staged_in(place: &str) -> Option<Staging> {
    let staging = Place::named(place).ok()?.staging();
    let of_all = staging.folder.ancestors().nth(2)?.file_name()?;
    (of_all == OUTBOX).then_some(staging)
}

fn without_credentials(bucket: Bucket) -> Bucket {
    Bucket { access_key_id: None, secret_access_key: None, session_token: None, ..bucket }
}

/// Publishes by uploads.
struct Upload {
    target: Bucket,
    store: Arc<dyn Store>,
    uploader: Uploader,
}

impl Upload {
    /// Creates the publisher. Sends nothing yet, so a server that is down doesn't delay the start.
    fn to(target: Bucket) -> Result<Self> {
        Ok(Self { store: s3::open_for_uploads(&target)?, target, uploader: Uploader::default() })
    }

    /// Returns the destination of a place, which differs from the configured one if the topology's
    /// file was changed since.
    fn to_store(&self, to: Bucket) -> Result<Arc<dyn Store>> {
        let ours = self.target.clone();
        let target = Bucket {
            access_key_id: ours.access_key_id,
            secret_access_key: ours.secret_access_key,
            session_token: ours.session_token,
            conditional_put: ours.conditional_put,
            ..to
        };
        if target == self.target {
            Ok(Arc::clone(&self.store))
        } else {
            s3::open_for_uploads(&target)
        }
    }
}

impl Publish for Upload {
    fn staging(&self, place: &str) -> Result<Staging> {
        Ok(Place::named(place)?.staging())
    }

    fn publish(&self, place: &str, promises: &[Promise], _durable: bool) -> Result<()> {
        let place = Place::named(place)?;
        let store = self.to_store(place.to.clone())?;
        self.uploader.upload(&store, &place.staging(), promises)
    }

    fn publish_left(&self, place: &str, promises: &[Promise], _durable: bool) -> Result<()> {
        let place = Place::named(place)?;
        let store = self.to_store(place.to.clone())?;
        self.uploader.upload_left(&store, &place.staging(), promises)
    }

    fn index(&self, place: &str, index: &Index, _durable: bool) -> Result<()> {
        self.uploader.index(&self.to_store(Place::named(place)?.to)?, index)
    }

    fn store(&self, place: &str) -> Result<Option<Arc<dyn Store>>> {
        Ok(Some(Arc::new(Retried::new(self.to_store(Place::named(place)?.to)?))))
    }
}

/// One task that writes a lake in a bucket.
struct S3Sink {
    sink: LakeSink,
    upload: Arc<Upload>,
    /// True if the server accepts any put at all.
    probe: Option<StartProbe>,
    admission: Admission,
    waiting: Arc<Waiting>,
}

impl Sink for S3Sink {
    fn write(&mut self, tuple: Tuple<'_>) -> Result<()> {
        let bytes = self.sink.length(&tuple);
        if !self.admission.admits(bytes) {
            return Ok(());
        }
        self.sink.write(tuple)?;
        self.upload.uploader.backlog.wrote(bytes);
        Ok(())
    }

    fn dropped(&self) -> u64 {
        self.admission.dropped()
    }

    fn prepare(&mut self, barrier: &Barrier) -> Result<Job<Prepared>> {
        if let Some(refusal) = self.probe.as_ref().and_then(StartProbe::take_refusal) {
            return Err(refusal);
        }
        let mut job = self.sink.prepare(barrier)?;
        let backlog = Arc::clone(&self.upload.uploader.backlog);
        let written = backlog.written();
        Ok(Box::new(move || {
            let prepared = job()?;
            backlog.prepared(&prepared.promises, written);
            Ok(prepared)
        }))
    }

    fn commit(&mut self, promises: Vec<Promise>) -> Job<Delivered> {
        self.upload.uploader.backlog.owes(&promises);
        let mut job = self.sink.commit(promises);
        let waiting = Arc::clone(&self.waiting);
        Box::new(move || waiting.observe(job()))
    }
}

impl Drop for S3Sink {
    fn drop(&mut self) {
        // A server that doesn't answer must not delay the return to a checkpoint.
        self.upload.uploader.stop();
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::clock::ManualClock;
    use crate::epoch::MicroBatch;
    use crate::secret::Secret;

    fn s3() -> S3 {
        S3 {
            bucket: "lake".into(),
            prefix: "a/b".into(),
            endpoint: Some("http://127.0.0.1:1".into()),
            region: None,
            path_style: None,
            access_key_id: Some(Secret::new("id")),
            secret_access_key: Some(Secret::new("hidden")),
            session_token: None,
            conditional_put: None,
            names: Names::default(),
            format: Format::default(),
            compression: Compression::default(),
            outbox: outbox(),
            on_full: OnFull::default(),
            left: LeftPartitions::default(),
        }
    }

    fn context(state: &std::path::Path) -> SinkContext {
        SinkContext {
            component: "lake".into(),
            task: 3,
            run: "run".into(),
            inputs: vec![Fields::of_posts()],
            micro_batch: MicroBatch::default(),
            boundary: datetime!(2026-02-03 12:00:00 UTC),
            durable: true,
            state: state.into(),
            clock: ManualClock::at(datetime!(2026-02-03 12:34:56 UTC)),
        }
    }

    #[test]
    fn each_problem_names_its_field() {
        let bad = S3 {
            bucket: "Bad".into(),
            endpoint: Some("nowhere".into()),
            outbox: ByteSize(0),
            ..s3()
        };
        let problems = bad.check(&[Fields::new(["word"])]).unwrap_err();
        let fields: Vec<_> = problems.iter().map(|problem| problem.field).collect();
        assert_eq!(fields, ["bucket", "endpoint", "outbox", "inputs"]);
        s3().check(&[Fields::of_posts()]).unwrap();
    }

    #[test]
    fn a_place_tells_where_it_delivers_and_no_secret() {
        let state = tempfile::tempdir().unwrap();
        let name = s3().place(&context(state.path())).unwrap();
        assert!(!name.contains("hidden"), "{name}");
        let place = Place::named(&name).unwrap();
        assert_eq!(place.staged, state.path().join("outbox/run/lake-3"));
        let elsewhere = Upload::to(Bucket { bucket: "other".into(), ..s3().target() }).unwrap();
        assert_eq!(elsewhere.to_store(place.to).unwrap().address("key"), "s3://lake/a/b/key");
        for bad in ["", "/folder", "{}", &name.replace(state.path().to_str().unwrap(), "state")] {
            assert!(Place::named(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_server_that_is_down_stops_no_start() {
        let state = tempfile::tempdir().unwrap();
        let sink = s3().build(context(state.path())).unwrap();
        assert!(state.path().join("outbox/run/lake-3").is_dir());
        drop(sink);
    }
}
