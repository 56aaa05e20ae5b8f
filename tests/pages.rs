//! The sources that ask again and again, `Facebook` and `YouTube`, against the fake platform,
//! through the program itself: with every fault, with kills, and with all that the platforms say no
//! to. The lake is compared with the truth.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

mod support;

use std::time::Duration;

use support::platform::check::Checked;
use support::platform::world::{channel_id, now_us, page_id};
use support::platform::{Fault, Item, Kind, Place, Platform};
use support::prism::{self, Prism};
use support::{Ended, Running, Sandbox, lake, repository, total};

/// The pages and channels that are read: authors of the world.
const AUTHORS: [usize; 2] = [1, 2];

/// A platform, and what captures from it.
struct Play {
    kind: Kind,
    platform: Platform,
    sandbox: Sandbox,
    sets: Vec<String>,
    token: String,
    /// When it began, in µs: what is posted from then on is wanted.
    since_us: i64,
}

impl Play {
    fn facebook(seed: u64) -> Self {
        let mut play = Self::new(Kind::Post, seed);
        let pages = AUTHORS.map(|author| format!("Page(\"{}\")", page_id(author)));
        play.set(&format!("topics=[{}]", pages.join(", ")));
        play.set("poll=\"100ms\"");
        play.platform.set(|settings| settings.facebook_calls = 1_000_000);
        play
    }

    /// By channels, whose reads are cheap.
    fn channels(seed: u64) -> Self {
        let mut play = Self::new(Kind::Video, seed);
        let channels = AUTHORS.map(|author| format!("Channel(\"{}\")", channel_id(author)));
        play.set(&format!("topics=[{}]", channels.join(", ")));
        play.set("poll=\"100ms\"");
        play.many_units();
        play
    }

    /// By a topic, whose searches are few.
    fn searches(seed: u64) -> Self {
        let mut play = Self::new(Kind::Video, seed);
        play.set("topics=[\"#storm\"]");
        play.many_units();
        play
    }

    fn many_units(&mut self) {
        self.set("searches_per_day=500000");
        self.set("units_per_day=100000000");
        self.platform.set(|settings| {
            settings.youtube_searches = 1_000_000;
            settings.youtube_units = 1_000_000;
        });
    }

    fn new(kind: Kind, seed: u64) -> Self {
        let platform = Platform::start(seed);
        platform.topics(&["#storm", "rust lang"]);
        let (token, since_us) = (platform.token(kind), now_us());
        let mut play =
            Self { kind, platform, sandbox: Sandbox::new(), sets: Vec::new(), token, since_us };
        let path = if kind == Kind::Video { "/youtube/v3" } else { "" };
        play.set(&format!("base_url=\"{}{path}\"", play.platform.url()));
        play
    }

    fn set(&mut self, option: &str) {
        let spout = if self.kind == Kind::Post { "posts" } else { "videos" };
        self.sets.push(format!("spouts.{spout}.run.{option}"));
    }

    fn file(&self) -> String {
        repository(if self.kind == Kind::Post {
            "topologies/facebook.ron"
        } else {
            "topologies/youtube.ron"
        })
    }

    fn arguments<'a>(&'a self, command: &[&'a str], file: &'a str) -> Vec<&'a str> {
        let sets = self.sets.iter().flat_map(|set| ["--set", set.as_str()]);
        command.iter().copied().chain([file]).chain(sets).collect()
    }

    fn environment(&self) -> [(&'static str, String); 1] {
        let name = if self.kind == Kind::Post { "FACEBOOK_TOKEN" } else { "YOUTUBE_API_KEY" };
        [(name, self.token.clone())]
    }

    fn start(&self) -> Running {
        let (file, [(name, token)]) = (self.file(), self.environment());
        self.sandbox.start_with(&self.arguments(&["run"], &file), &[(name, &token)])
    }

    fn run(&self, command: &[&str]) -> Ended {
        let (file, [(name, token)]) = (self.file(), self.environment());
        self.sandbox.run_with(&self.arguments(command, &file), &[(name, &token)])
    }

    /// The address for lists of posts.
    fn list(&self) -> Place {
        match self.kind {
            Kind::Post => Place::FacebookPosts,
            _ if self.sets.iter().any(|set| set.contains("Channel")) => Place::YouTubePlaylist,
            _ => Place::YouTubeSearch,
        }
    }

    /// Returns true if the post should be captured.
    fn wants(&self, item: &Item) -> bool {
        match self.list() {
            Place::YouTubeSearch => item.topics().any(|topic| topic == "#storm"),
            _ => AUTHORS.contains(&item.author()),
        }
    }

    /// So many that are wanted, and others.
    fn publish(&self, count: usize) -> Vec<usize> {
        let wanted = (0..count)
            .map(|number| self.publish_one(&format!("a #storm, number {number}"), number))
            .collect();
        self.platform.publish(self.kind, count);
        wanted
    }

    fn publish_one(&self, text: &str, number: usize) -> usize {
        self.platform.publish_text(self.kind, text, AUTHORS[number % AUTHORS.len()])
    }

    /// Waits until the lake's sink has had all that is wanted, stops it, and compares the lake with
    /// the truth.
    fn end(&self, mut running: Running, items: &[usize]) -> (Ended, Checked) {
        self.platform.wait_offered(items);
        // What was offered is on its way through a socket.
        let wanted = self
            .platform
            .with(|inner| inner.world.of(self.kind).filter(|(_, item)| self.wants(item)).count());
        running.wait_for("the rest", |report| total(report, "lake", "received") >= wanted as u64);
        running.terminate();
        let ended = running.end().with(0);
        self.platform.assert_hidden(&ended.err);
        self.platform.assert_kept(&[&self.sandbox.path("state"), &self.sandbox.path("lake")]);
        let posts = lake(&self.sandbox.path("lake"), false);
        let gaps = self.run(&["gaps", "--json"]);
        let check =
            self.platform.check(self.kind, &["#storm"]).ledger(&gaps.out).since(self.since_us);
        (ended, check.wanted(|item| self.wants(item)).lake(&posts))
    }
}

#[test]
fn the_posts_of_pages_are_captured_once_in_both_styles_of_paging() {
    for (seed, by_time) in [(1, false), (2, true)] {
        let play = Play::facebook(seed);
        play.platform.set(|settings| settings.facebook_time_paging = by_time);
        play.platform.history(Kind::Post, 400, 3_000);
        let running = play.start();
        play.publish(150);
        let last = play.publish(150);
        let (_, checked) = play.end(running, &last);
        assert!(checked.there >= 300 && checked.excused == 0, "{checked:?}");
    }
}

#[test]
fn nothing_that_goes_wrong_with_facebook_loses_a_post() {
    let faults = [
        Fault::Status(503),
        Fault::Code(1, None),
        Fault::Code(2, None),
        Fault::Refuse,
        Fault::Close,
        Fault::CutLine,
        Fault::CutCharacter,
        Fault::Reorder,
        Fault::Duplicate,
    ];
    let play = Play::facebook(3);
    // Much less than a page has.
    play.platform.set(|settings| settings.facebook_limit = 7);
    let running = play.start();
    for fault in faults {
        play.platform.fault(Place::FacebookPosts, fault);
        let items = play.publish(20);
        play.platform.wait_until("fault", |inner| inner.faults.waiting() == 0);
        // The next fault meets another request, so that the waits don't add up.
        play.platform.wait_offered(&items);
    }
    let last = play.publish(20);
    let (_, checked) = play.end(running, &last);
    assert!(checked.there >= 100 && checked.excused == 0, "{checked:?}");
}

#[test]
fn an_edit_of_a_post_of_facebook_is_captured_once_though_nothing_says_that_it_is_one() {
    let play = Play::facebook(20);
    let mut running = play.start();
    let items = play.publish(40);
    play.platform.wait_offered(&items);
    running.wait_for("the posts", |report| total(report, "lake", "received") >= 40);
    let edited: Vec<_> = items.iter().copied().step_by(4).collect();
    edited.iter().for_each(|item| _ = play.platform.edit(*item));
    running.wait_for("the edits", |report| total(report, "lake", "received") >= 50);
    let last = play.publish(4);
    let (_, checked) = play.end(running, &last);
    assert!(checked.edits == 10 && checked.excused == 0, "{checked:?}");
}

#[test]
fn a_proof_of_the_apps_secret_is_sent_where_facebook_demands_one() {
    let mut play = Play::facebook(22);
    play.platform.set(|settings| settings.facebook_proof = true);
    play.start().end().with(1).says(&["set app_secret"]);
    play.sandbox.write("secret", "hush-hush");
    play.set("app_secret=File(\"secret\")");
    let running = play.start();
    let items = play.publish(20);
    let (ended, checked) = play.end(running, &items);
    assert!(checked.there >= 20 && !ended.err.contains("hush-hush"), "{checked:?}");
}

#[test]
fn a_limit_of_facebook_is_waited_for_and_shown() {
    let play = Play::facebook(4);
    play.platform.fault(Place::FacebookPosts, Fault::Code(4, None));
    play.platform.set(|settings| settings.facebook_business = false);
    let mut running = play.start();
    running.wait_for("the state", |report| report.to_string().contains("limit reached until"));
    running.terminate();
    running.end().with(0);
    assert!(play.platform.requests().at(Place::FacebookPosts).len() <= 2);
}

#[test]
fn ten_kills_of_facebook_lose_nothing_and_repeat_nothing() {
    ten_kills(&Play::facebook(5));
}

#[test]
fn ten_kills_of_youtube_lose_nothing_and_repeat_nothing() {
    ten_kills(&Play::channels(6));
}

#[test]
fn ten_kills_between_searches_lose_nothing_and_repeat_nothing() {
    ten_kills(&Play::searches(21));
}

fn ten_kills(play: &Play) {
    for kill in 0..10 {
        let running = play.start();
        let items = play.publish(20 + kill);
        if kill % 2 == 0 {
            play.platform.wait_offered(&items);
        } else {
            let asked = play.platform.requests().at(play.list()).len();
            play.platform.wait_until("a request", |inner| {
                inner.log.iter().filter(|seen| seen.place == play.list()).count() > asked
            });
        }
        running.kill();
        drop(running.end());
    }
    let running = play.start();
    let last = play.publish(10);
    let (_, checked) = play.end(running, &last);
    assert!(checked.there >= 200 && checked.excused == 0, "{checked:?}");
}

#[test]
fn a_token_that_is_refused_stops_and_says_what_to_do() {
    for (play, what) in [(Play::facebook(7), "token"), (Play::channels(8), "key")] {
        let running = play.start();
        let items = play.publish(5);
        play.platform.wait_offered(&items);
        play.platform.revoke(play.kind);
        let ended = running.end().with(1);
        play.platform.assert_hidden(&ended.err);
        ended.says(&[what]);
        play.run(&["validate", "--online"]).with(1).says(&[what]);
    }
}

#[test]
fn videos_of_channels_come_with_their_statistics() {
    let play = Play::channels(9);
    let running = play.start();
    play.publish(120);
    let last = play.publish(60);
    let (_, checked) = play.end(running, &last);
    assert!(checked.there >= 180 && checked.excused == 0, "{checked:?}");
    let posts = lake(&play.sandbox.path("lake"), false);
    assert!(posts.iter().all(|post| post.contains("\"statistics\"")), "{}", posts[0]);
}

#[test]
fn a_topic_is_searched_for_through_loops_and_disorder() {
    for (seed, loops, disorder) in
        [(10, false, false), (11, true, false), (12, false, true), (13, true, true)]
    {
        let play = Play::searches(seed);
        play.platform.set(|settings| {
            (settings.youtube_loops, settings.youtube_disorder) = (loops, disorder)
        });
        let running = play.start();
        play.publish(130);
        let last = play.publish(40);
        let (_, checked) = play.end(running, &last);
        assert!(checked.there >= 170 && checked.excused == 0, "{checked:?}");
    }
}

#[test]
fn nothing_that_goes_wrong_with_youtube_loses_a_video() {
    let faults = [
        Fault::Status(503),
        Fault::RateLimited(Duration::from_secs(1)),
        Fault::Refuse,
        Fault::Close,
        Fault::CutLine,
        Fault::CutCharacter,
    ];
    let play = Play::searches(14);
    let running = play.start();
    for fault in faults {
        play.platform.fault(Place::YouTubeSearch, fault.clone());
        play.platform.fault(Place::YouTubeVideos, fault);
        play.publish(20);
        play.platform.wait_until("faults", |inner| inner.faults.waiting() == 0);
    }
    let last = play.publish(20);
    let (_, checked) = play.end(running, &last);
    assert!(checked.there >= 100 && checked.excused == 0, "{checked:?}");
}

#[test]
fn a_quota_that_is_used_up_is_waited_for_and_not_asked_again() {
    let mut play = Play::new(Kind::Video, 15);
    play.set("topics=[\"#storm\"]");
    play.set("searches_per_day=1000");
    play.platform.set(|settings| settings.youtube_searches = 0);
    let mut running = play.start();
    running.wait_for("the state", |report| {
        report.to_string().contains("quota of searches used until")
    });
    running.terminate();
    running.end().with(0);
    assert_eq!(play.platform.requests().at(Place::YouTubeSearch).len(), 1);
}

#[test]
fn counts_are_read_again_and_a_video_that_is_gone_is_deleted() {
    for mut play in [Play::facebook(16), Play::channels(17)] {
        play.set("refresh=[\"1s\"]");
        let mut running = play.start();
        let items: Vec<_> = (0..10).map(|number| play.publish_one("a #storm", number)).collect();
        play.platform.wait_offered(&items);
        running.wait_for("the posts", |report| total(report, "lake", "received") >= 10);
        if play.kind == Kind::Video {
            play.platform.delete(items[0]);
        }
        running.wait_for("counts", |report| total(report, "lake", "received") >= 20);
        running.terminate();
        running.end().with(0);
        let posts = lake(&play.sandbox.path("lake"), false);
        let counts = posts.iter().filter(|post| post.contains("\"refreshed\":\"1s\"")).count();
        let deletes = posts.iter().filter(|post| post.starts_with("{\"delete\"")).count();
        let expected = if play.kind == Kind::Video { (9, 1) } else { (10, 0) };
        assert_eq!((counts, deletes), expected);
    }
}

#[test]
fn requests_of_youtube_are_as_the_specification_has_them() {
    let Some(specs) = prism::specs("requests_of_youtube_are_as_the_specification_has_them") else {
        return;
    };
    let prism = Prism::mock(&specs.join("youtube.v3.openapi.json"));
    for play in [Play::channels(18), Play::searches(19)] {
        let running = play.start();
        let last = play.publish(60);
        play.end(running, &last);
        play.run(&["validate", "--online"]).with(0);
        prism.assert_conforms(&play.platform.requests().of(Kind::Video));
    }
}
