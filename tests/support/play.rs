//! A fake platform, and the program that captures from it by one of the repository's topologies.

use std::cell::Cell;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::platform::check::Checked;
use super::platform::shared::Inner;
use super::platform::{Fault, Kind, Place, Platform, Weather};
use super::{Ended, Running, Sandbox, lake, repository, total};

/// A time that is much longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(90);

/// Returns the faults within a stream; `pause` is the time between the bytes of a stream that
/// dribbles.
pub(crate) fn stream_faults(pause: Duration) -> Vec<Fault> {
    vec![
        Fault::CutLine,
        Fault::CutCharacter,
        Fault::Reset,
        Fault::Close,
        Fault::Duplicate,
        Fault::Reorder,
        Fault::Disconnect,
        Fault::Unknown,
        Fault::Dribble(pause),
    ]
}

/// A capture from the fake platform under test.
pub(crate) struct Play {
    pub platform: Platform,
    pub sandbox: Sandbox,
    pub sets: Vec<String>,
    /// True if input that isn't a post was sent.
    pub dead: bool,
    kind: Kind,
    stream: Place,
    file: String,
    /// The environment variable that has the token.
    token: &'static str,
    topics: &'static [&'static str],
    /// The time of the program's last start: its reports count from then on.
    started: Cell<Instant>,
}

impl Play {
    /// Makes a play with the topology of this name.
    pub(crate) fn new(
        seed: u64,
        (kind, stream): (Kind, Place),
        name: &str,
        token: &'static str,
        topics: &'static [&'static str],
    ) -> Self {
        let platform = Platform::start(seed);
        platform.topics(topics);
        let file = repository(&format!("topologies/{name}.ron"));
        let (sandbox, sets, started) = (Sandbox::new(), Vec::new(), Cell::new(Instant::now()));
        Self { platform, sandbox, sets, dead: false, kind, stream, file, token, topics, started }
    }

    /// Sets a field of the spout.
    pub(crate) fn set(&mut self, option: &str) {
        let spout = if self.kind == Kind::Tweet { "tweets" } else { "posts" };
        self.sets.push(format!("spouts.{spout}.run.{option}"));
    }

    pub(crate) fn run(&self, command: &[&str]) -> Ended {
        let token = self.platform.token(self.kind);
        self.sandbox.run_with(&self.arguments(command), &[(self.token, &token)])
    }

    pub(crate) fn arguments<'a>(&'a self, command: &[&'a str]) -> Vec<&'a str> {
        let sets = self.sets.iter().flat_map(|set| ["--set", set.as_str()]);
        command.iter().copied().chain([self.file.as_str()]).chain(sets).collect()
    }

    pub(crate) fn start(&self) -> Running {
        let token = self.platform.token(self.kind);
        self.started.set(Instant::now());
        self.sandbox
            .start_with(&self.arguments(&["run", "--interval", "1s"]), &[(self.token, &token)])
    }

    /// Starts the program, and waits for its streams.
    pub(crate) fn streaming(&self, streams: usize) -> Running {
        let before = self.streams();
        let running = self.start();
        self.wait_for_stream(before + streams);
        running
    }

    /// Returns the number of streams that gave posts so far.
    pub(crate) fn streams(&self) -> usize {
        self.platform.with(|inner| self.streams_of(inner))
    }

    fn streams_of(&self, inner: &Inner) -> usize {
        inner.log.iter().filter(|seen| seen.place == self.stream && seen.gives_us.is_some()).count()
    }

    pub(crate) fn wait_for_stream(&self, number: usize) {
        self.platform.wait_until("stream", |inner| self.streams_of(inner) >= number);
    }

    pub(crate) fn gaps(&self) -> Vec<Value> {
        let token = self.platform.token(self.kind);
        let ended = self.sandbox.run_with(&["gaps", &self.file, "--json"], &[(self.token, &token)]);
        serde_json::from_str(&ended.out)
            .unwrap_or_else(|error| panic!("{error}: {} {}", ended.out, ended.err))
    }

    /// Waits until there are at least `least` gaps and all are filled.
    pub(crate) fn filled(&self, least: usize) {
        self.wait_for_gaps("filled", |gaps| {
            gaps.len() >= least && gaps.iter().all(|gap| gap["filled"] == true)
        });
    }

    /// Waits until at least `least` gaps are in the ledger.
    pub(crate) fn noted(&self, least: usize) {
        self.wait_for_gaps("noted", |gaps| gaps.len() >= least);
    }

    fn wait_for_gaps(&self, what: &str, so: impl Fn(&[Value]) -> bool) {
        let began = Instant::now();
        loop {
            let gaps = self.gaps();
            if so(&gaps) {
                return;
            }
            assert!(began.elapsed() < LIMIT, "not {what}: {gaps:#?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Publishes one more wanted post, and waits until it was sent.
    pub(crate) fn last(&self) {
        let last = self.platform.publish_text(self.kind, "the last #storm", 3);
        self.platform.wait_offered(&[last]);
    }

    /// Waits until all offered posts are in the lake: some may be on their way through a socket, so
    /// three reports in a row must have the same count.
    pub(crate) fn settle(&self, running: &mut Running) {
        let (seen, now) = (Cell::new((None, 0)), self.started.get().elapsed().as_secs_f64());
        running.wait_for("rest", |report| {
            // Reports from before this call were not read yet.
            if report["uptime_s"].as_f64().unwrap_or_default() < now {
                return false;
            }
            let (received, (last, same)) = (Some(total(report, "lake", "received")), seen.get());
            seen.set((received, if received == last { same + 1 } else { 0 }));
            seen.get().1 == 3
        });
    }

    /// Stops the program, and compares the lake with the truth.
    pub(crate) fn end(&self, mut running: Running, code: i32) -> (Ended, Checked) {
        self.settle(&mut running);
        running.terminate();
        let ended = running.end().with(code);
        let checked = self.check(None);
        self.platform.assert_hidden(&ended.err);
        self.platform.assert_kept(&[&self.sandbox.path("state"), &self.sandbox.path("lake")]);
        (ended, checked)
    }

    /// Compares the lake with the truth from a time on, in µs, or from the beginning of the stream.
    pub(crate) fn check(&self, since_us: Option<i64>) -> Checked {
        let posts = lake(&self.sandbox.path("lake"), self.dead);
        let ledger = Value::from(self.gaps()).to_string();
        let check =
            self.platform.check(self.kind, self.topics).with_edits().with_deletes().ledger(&ledger);
        if let Some(us) = since_us { check.since(us) } else { check }.lake(&posts)
    }

    pub(crate) fn lake(&self) -> Vec<Value> {
        let posts = lake(&self.sandbox.path("lake"), self.dead);
        posts.iter().map(|post| serde_json::from_str(post).unwrap()).collect()
    }
}

impl Play {
    /// Lets every kind of fault happen by chance at these places, with kills in between.
    pub(crate) fn weather(&self, seed: u64, places: Vec<Place>) -> Running {
        let moment = Duration::from_millis(20);
        let mut faults = stream_faults(Duration::from_micros(100));
        faults.extend([
            Fault::Refuse,
            Fault::Status(503),
            Fault::Slow(moment),
            Fault::Stall(moment),
        ]);
        let mut running = self.streaming(1);
        self.last();
        self.platform.weather(Weather { seed, one_in: 40, faults, places });
        for _ in 0..4 {
            let publishing =
                self.platform.publish_at_rate(self.kind, 100, Duration::from_millis(1_500));
            publishing.join().expect("nothing goes wrong with that");
            running.kill();
            running.end();
            running = self.start();
        }
        self.platform.calm();
        running
    }
}
