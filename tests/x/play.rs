//! A fake platform, and the program that captures from it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::TOPICS;
use super::support::platform::check::Checked;
use super::support::platform::shared::Inner;
use super::support::platform::{Kind, Place, Platform};
use super::support::{Ended, Running, Sandbox, lake, repository, total};

/// Much more than anything here takes.
const LIMIT: Duration = Duration::from_secs(90);

/// A platform, and what captures from it.
pub struct Play {
    pub platform: Platform,
    pub sandbox: Sandbox,
    pub sets: Vec<String>,
    /// Whether something that is no post was sent.
    pub dead: bool,
    /// When the program was started last: its reports count from then on.
    started: Cell<Instant>,
}

impl Play {
    /// The template of the repository, with a search that is less late than X's, so that gaps are filled soon.
    pub fn new(seed: u64) -> Self {
        let platform = Platform::start(seed);
        platform.topics(&TOPICS);
        platform.set(|settings| settings.x_keep_alive = Duration::from_millis(200));
        let mut play = Self {
            platform,
            sandbox: Sandbox::new(),
            sets: Vec::new(),
            dead: false,
            started: Cell::new(Instant::now()),
        };
        play.set(&format!("base_url=\"{}\"", play.platform.url()));
        play.set("topics=[\"#storm\", \"rust lang\", \"from:alice\"]");
        play.set("search_late=\"100ms\"");
        play.set("budget=None");
        play
    }

    pub fn set(&mut self, option: &str) {
        self.sets.push(format!("spouts.tweets.run.{option}"));
    }

    pub fn file() -> String {
        repository("topologies/x.ron")
    }

    pub fn arguments<'a>(&'a self, command: &[&'a str], file: &'a str) -> Vec<&'a str> {
        let sets = self.sets.iter().flat_map(|set| ["--set", set.as_str()]);
        command.iter().copied().chain([file]).chain(sets).collect()
    }

    pub fn start(&self) -> Running {
        let (file, token) = (Self::file(), self.platform.token(Kind::Tweet));
        self.started.set(Instant::now());
        self.sandbox.start_with(&self.arguments(&["run"], &file), &[("X_BEARER_TOKEN", &token)])
    }

    /// Starts it, and waits for its stream.
    pub fn streaming(&self) -> Running {
        let before = self.streams();
        let running = self.start();
        self.wait_for_stream(before + 1);
        running
    }

    /// How many streams were let in so far.
    pub fn streams(&self) -> usize {
        self.platform.with(|inner| streams(inner))
    }

    pub fn wait_for_stream(&self, number: usize) {
        self.platform.wait_until("stream", |inner| streams(inner) >= number);
    }

    pub fn gaps(&self) -> Vec<Value> {
        let file = Self::file();
        let token = self.platform.token(Kind::Tweet);
        let ended = self.sandbox.run_with(&["gaps", &file, "--json"], &[("X_BEARER_TOKEN", &token)]);
        serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {} {}", ended.out, ended.err))
    }

    /// Waits until all gaps are filled, and at least so many.
    pub fn filled(&self, least: usize) {
        let began = Instant::now();
        loop {
            let gaps = self.gaps();
            if gaps.len() >= least && gaps.iter().all(|gap| gap["filled"] == true) {
                return;
            }
            assert!(began.elapsed() < LIMIT, "not filled: {gaps:#?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// What was offered is on its way through a socket: it is there when three reports say nothing new.
    pub fn settle(&self, running: &mut Running) {
        let (seen, now) = (Cell::new((None, 0)), self.started.get().elapsed().as_secs_f64());
        running.wait_for("rest", |report| {
            // Those from before were not read yet.
            if report["uptime_s"].as_f64().unwrap_or_default() < now {
                return false;
            }
            let (received, (last, same)) = (Some(total(report, "lake", "received")), seen.get());
            seen.set((received, if received == last { same + 1 } else { 0 }));
            seen.get().1 == 3
        });
    }

    /// Stops it, and compares the lake with the truth.
    pub fn end(&self, mut running: Running, code: i32) -> (Ended, Checked) {
        self.settle(&mut running);
        running.terminate();
        let ended = running.end().with(code);
        let checked = self.check();
        self.platform.assert_hidden(&ended.err);
        self.platform.assert_kept(&[&self.sandbox.path("state"), &self.sandbox.path("lake")]);
        (ended, checked)
    }

    pub fn check(&self) -> Checked {
        let posts = lake(&self.sandbox.path("lake"), self.dead);
        let ledger = Value::from(self.gaps()).to_string();
        self.platform.check(Kind::Tweet, &TOPICS).with_edits().ledger(&ledger).lake(&posts)
    }

    pub fn lake(&self) -> Vec<Value> {
        let posts = lake(&self.sandbox.path("lake"), self.dead);
        posts.iter().map(|post| serde_json::from_str(post).unwrap()).collect()
    }
}

fn streams(inner: &Inner) -> usize {
    inner.log.iter().filter(|seen| seen.place == Place::XStream && seen.status == 200).count()
}
