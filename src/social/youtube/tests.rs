use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

use super::*;
use crate::clock::Clock;
use crate::post::PostStream;
use crate::social::stamp;
use crate::social::tests::pages::{Answer, Asked, Server, advance_until, beside, good, served};
use crate::social::tests::trial::{Trial, run};

/// A midnight in Los Angeles.
const MIDNIGHT: OffsetDateTime = datetime!(2026-11-25 08:00:00 UTC);
const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn topics_become_queries() {
    for (topic, expected) in [
        ("Rust lang", Some("rust lang")),
        ("\"rust lang\" -trust", Some("\"rust lang\" -trust")),
        ("#storm lang:en", Some("#storm")),
        ("lang:en", None),
        ("from:nws storm", None),
    ] {
        assert_eq!(query(&topic.parse().unwrap()).as_deref(), expected, "{topic}");
    }
}

/// Returns a configuration with its own key, since spouts of one key share quotas in the whole
/// process.
fn config(topics: &str, key: &str, more: &str) -> YouTube {
    serde_json::from_str(&format!(r#"{{"topics":{topics},"api_key":"{key}"{more}}}"#)).unwrap()
}

fn found(id: &str, published: OffsetDateTime) -> Value {
    json!({ "kind": "youtube#searchResult", "id": { "kind": "youtube#video", "videoId": id },
        "snippet": { "publishedAt": stamp(published), "channelId": "UC1", "title": "t" } })
}

fn listed(id: &str, published: OffsetDateTime) -> Value {
    json!({ "kind": "youtube#playlistItem", "id": format!("VVUxLjAwMDAwMDAwMDAwMDAwMDAwMDAw{id}"),
        "snippet": { "publishedAt": stamp(published), "channelId": "UC1", "resourceId": { "videoId": id } },
        "contentDetails": { "videoId": id, "videoPublishedAt": stamp(published) } })
}

/// Returns the answer of `videos`: all requested videos except these.
fn videos(asked: &Asked, but: &[&str]) -> Answer {
    let ids = asked.get("id").unwrap().split(',').filter(|id| !but.contains(id));
    let video = |id| json!({ "id": id, "snippet": { "channelId": "UC1", "title": "t" }, "statistics": { "viewCount": "1" } });
    good(json!({ "items": ids.map(video).collect::<Vec<_>>() }))
}

fn list(items: &[Value], next: Option<&str>) -> Answer {
    good(json!({ "items": items, "nextPageToken": next }))
}

fn refused(status: u16, reason: &str) -> Answer {
    (
        status,
        String::new(),
        json!({ "error": { "message": "m", "errors": [{ "reason": reason }] } }).to_string(),
    )
}

struct Play {
    trial: Trial,
    server: Rc<Server>,
    config: YouTube,
}

impl Play {
    async fn new(config: YouTube, answer: impl FnMut(&Asked) -> Answer + 'static) -> Self {
        let trial = Trial::start(YouTube::KIND, config.common(), MIDNIGHT);
        Self::on(trial, config, answer).await
    }

    async fn on(
        trial: Trial,
        config: YouTube,
        answer: impl FnMut(&Asked) -> Answer + 'static,
    ) -> Self {
        let server = Server::new(&trial, answer).await;
        let config = YouTube { base_url: server.address(), ..config };
        Self { trial, server, config }
    }

    async fn until(&self, step: u64, so: impl FnMut() -> bool) {
        let mut source = Platform::source(&self.config).unwrap();
        let test = advance_until(&self.trial.clock, Duration::from_secs(step), so);
        beside(source.run(&self.trial.feed), &self.server, test).await;
    }

    async fn until_asked(&self, step: u64, count: usize) {
        self.until(step, || self.server.count() > count).await;
    }

    async fn until_time(&self, step: u64, time: Duration) {
        self.until(step, || self.trial.clock.monotonic() >= time).await;
    }

    fn asked(&self, path: &str) -> Vec<Asked> {
        self.server.asked.borrow().iter().filter(|asked| asked.path == path).cloned().collect()
    }

    fn ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self
            .trial
            .posts("video")
            .iter()
            .filter_map(|post| Some(post.id()?.into_owned()))
            .collect();
        ids.sort_unstable();
        ids
    }
}

#[test]
fn the_searches_of_a_day_are_spread_evenly_over_day_and_topics() {
    run(async {
        let play =
            Play::new(config(r#"["storm","rain","wind"]"#, "day", ""), |_| list(&[], None)).await;
        play.until_time(36, DAY - Duration::from_secs(60)).await;
        let asked = play.asked("/search");
        assert!((95..=100).contains(&asked.len()), "{}", asked.len());
        let of = |topic: &str| asked.iter().filter(|asked| asked.get("q") == Some(topic)).count();
        assert!(of("storm").abs_diff(of("wind")) <= 1 && of("storm").abs_diff(of("rain")) <= 1);
        assert!(asked.windows(2).all(|two| two[1].at - two[0].at >= Duration::from_secs(864)));
    });
}

#[test]
fn spouts_with_one_key_take_turns() {
    run(async {
        let one = Play::new(config(r#"["storm"]"#, "turns", ""), |_| list(&[], None)).await;
        one.until_asked(36, 2).await;
        // The other's wall clock has gone as far.
        let clock = one.trial.clock.now();
        let other = config(r#"["rain"]"#, "turns", "");
        let trial = Trial::start(YouTube::KIND, other.common(), clock);
        let other = Play::on(trial, other, |_| list(&[], None)).await;
        other.until_asked(36, 0).await;
        assert!(
            other.asked("/search")[0].at >= Duration::from_secs(800),
            "{:?}",
            other.asked("/search")[0].at
        );
    });
}

#[test]
fn a_quota_that_is_used_up_is_waited_for_until_midnight_in_los_angeles() {
    run(async {
        let mut calls = 0;
        let play = Play::new(config(r#"["storm"]"#, "used", ""), move |_| {
            calls += 1;
            if calls == 2 { refused(403, "quotaExceeded") } else { list(&[], None) }
        })
        .await;
        play.until_asked(60, 2).await;
        let asked = play.asked("/search");
        assert!(
            asked[2].at >= DAY && asked[2].at < DAY + Duration::from_secs(900),
            "{:?}",
            asked[2].at
        );
    });
}

#[test]
fn a_restart_knows_what_was_used_and_whose_turn_it_is() {
    run(async {
        let play = Play::new(config(r#"["storm"]"#, "before", ""), |_| list(&[], None)).await;
        play.until_asked(36, 1).await;
        let now = play.trial.clock.now();
        let trial = play.trial.restart(YouTube::KIND, play.config.common(), now);
        let saved = trial.feed.cursor("quota searches").unwrap();
        assert!(saved.starts_with(&MIDNIGHT.unix_timestamp().to_string()), "{saved}");
        // This is another key, since the process knows the first one's quota.
        let play = Play::on(trial, config(r#"["storm"]"#, "behind", ""), |_| list(&[], None)).await;
        play.until_asked(36, 0).await;
        assert!(play.asked("/search")[0].at >= Duration::from_secs(800));
    });
}

#[test]
fn more_than_youtube_gives_for_one_search_is_searched_in_shorter_windows() {
    run(async {
        // There is a video in each second of 20 minutes. A search returns no more than 500, fifty
        // on a page.
        let all: Vec<_> = (0..1_200).map(|number| MIDNIGHT - Duration::from_secs(number)).collect();
        let play = Play::new(
            config(r#"["storm"]"#, "many", r#","searches_per_day":100000"#),
            move |asked| {
                if asked.path == "/videos" {
                    return videos(asked, &[]);
                }
                let time = |name: &str| crate::post::fields::date(asked.get(name)?);
                let (after, before) = (time("publishedAfter").unwrap(), time("publishedBefore"));
                let inside = |time: &&OffsetDateTime| {
                    **time >= after && before.is_none_or(|before| **time < before)
                };
                let inside: Vec<_> = all.iter().filter(inside).take(500).collect();
                let from: usize = asked.get("pageToken").map_or(0, |token| token.parse().unwrap());
                let page: Vec<_> = inside
                    .iter()
                    .skip(from)
                    .take(50)
                    .map(|time| found(&time.unix_timestamp().to_string(), **time))
                    .collect();
                let next = (from + 50 < inside.len()).then(|| (from + 50).to_string());
                list(&page, next.as_deref())
            },
        )
        .await;
        play.until(1, || play.ids().len() == 1_200).await;
        assert!(play.asked("/search").len() < 40, "{}", play.asked("/search").len());
        assert_eq!(play.trial.posts("gap").len(), 0);
    });
}

#[test]
fn what_youtube_never_gives_is_a_gap_that_is_told_once() {
    run(async {
        // Windows are ignored, and there are always more results.
        let play = Play::new(
            config(r#"["storm"]"#, "never", r#","searches_per_day":100000,"overlap":"10s""#),
            |asked| {
                if asked.path == "/videos" {
                    return videos(asked, &[]);
                }
                let from: u64 = asked.get("pageToken").map_or(0, |token| token.parse().unwrap());
                let page: Vec<_> =
                    (from..from + 50).map(|number| found(&number.to_string(), MIDNIGHT)).collect();
                let next = (from < 450).then(|| (from + 50).to_string());
                list(&page, next.as_deref())
            },
        )
        .await;
        play.until_asked(1, 60).await;
        assert_eq!(play.ids().len(), 500);
        let gaps = play.trial.bodies("gap");
        assert!(!gaps.is_empty() && gaps.len() <= 3, "{gaps:?}");
    });
}

#[test]
fn what_can_not_be_read_as_a_video_is_captured_as_it_was_found() {
    run(async {
        let play =
            Play::new(config(r#"["storm"]"#, "odd", ""), |asked| match asked.path.as_str() {
                "/videos" => videos(asked, &["b"]),
                _ => list(
                    &[
                        found("a", MIDNIGHT),
                        found("b", MIDNIGHT),
                        json!({"id": {"kind": "youtube#channel"}}),
                        json!(17),
                    ],
                    None,
                ),
            })
            .await;
        play.until_asked(36, 3).await;
        assert_eq!(play.ids(), ["a", "b"]);
        let posts = play.trial.bodies("video");
        assert_eq!(posts.len(), 3, "{posts:?}");
        assert_eq!(play.trial.posts("_refused").len(), 1, "refused once, however often it comes");
        assert!(posts.iter().any(|post| post.get("statistics").is_some()));
        assert!(posts.iter().any(|post| post["kind"] == "youtube#searchResult"));
    });
}

#[test]
fn a_channel_that_has_not_changed_is_not_sent_again() {
    run(async {
        let play = Play::new(config(r#"[{"Channel":"UC1"}]"#, "etag", ""), |asked| {
            match asked.path.as_str() {
                "/videos" => videos(asked, &[]),
                _ if asked.head.contains("if-none-match: \"e1\"") => {
                    (304, "etag: \"e1\"\r\n".into(), String::new())
                }
                _ => {
                    let (status, _, body) = list(&[listed("a", MIDNIGHT)], None);
                    (status, "etag: \"e1\"\r\n".into(), body)
                }
            }
        })
        .await;
        play.until_asked(30, 4).await;
        assert_eq!(play.ids(), ["a"]);
        let asked = play.asked("/playlistItems");
        assert!(asked.iter().all(|asked| asked.get("playlistId") == Some("UU1")));
        assert!(!asked[0].head.contains("if-none-match"));
        assert!(asked[1..].iter().all(|asked| asked.head.contains("if-none-match: \"e1\"")));
        assert_eq!(play.asked("/videos").len(), 1);
        assert_eq!(
            play.trial.posts("video")[0]
                .body()
                .windows(14)
                .filter(|some| some == b"matching_rules")
                .count(),
            0
        );
    });
}

#[test]
fn a_channel_is_read_as_often_as_its_units_allow() {
    run(async {
        let more = r#","units_per_day":1000,"poll":"1s""#;
        let play =
            Play::new(config(r#"[{"Channel":"UC1"},{"Channel":"UC2"}]"#, "units", more), |_| {
                list(&[], None)
            })
            .await;
        play.until_time(60, DAY - Duration::from_secs(600)).await;
        let asked = play.asked("/playlistItems");
        assert!((400..=501).contains(&asked.len()), "{}", asked.len());
    });
}

#[test]
fn a_channel_that_is_not_there_is_said_once_and_the_others_go_on() {
    run(async {
        let topics = r#"[{"Channel":"UC1"},{"Channel":"UC2"}]"#;
        let play = Play::new(config(topics, "missing", ""), |asked| {
            match (asked.path.as_str(), asked.get("playlistId")) {
                ("/videos", _) => videos(asked, &[]),
                (_, Some("UU2")) => refused(404, "playlistNotFound"),
                _ => list(&[listed("a", MIDNIGHT)], None),
            }
        })
        .await;
        play.until_asked(30, 12).await;
        assert_eq!(play.ids(), ["a"]);
        assert_eq!(play.trial.messages().iter().filter(|said| said.contains("UC2")).count(), 1);
        let state = play.trial.state();
        assert!(
            state.contains("left out: channel UC2") && state.contains("playlistNotFound"),
            "{state}"
        );
    });
}

#[test]
fn a_channel_is_written_by_its_id() {
    let fields = |topics: &str| -> Vec<_> {
        Platform::problems(&config(topics, "ids", ""))
            .into_iter()
            .map(|problem| problem.what)
            .collect()
    };
    assert_eq!(fields(r#"[{"Channel":"UC_x5XG1OV2P6uZZ5FSM9Ttw"}]"#), [""; 0]);
    for bad in [
        "rust",
        "UC",
        "UC_x5XG1OV2P6uZZ5FSM9Tt",
        "UC_x5XG1OV2P6uZZ5FSM9Ttww",
        "UU_x5XG1OV2P6uZZ5FSM9Ttw",
    ] {
        let said = fields(&format!(r#"[{{"Channel":"{bad}"}}]"#));
        assert!(
            said.len() == 1 && said[0].contains("expected a channel's id") && said[0].contains(bad),
            "{said:?}"
        );
    }
    assert!(fields(r#"[{"Page":"7"}]"#)[0].contains("no pages"));
}

#[test]
fn a_topic_that_youtube_does_not_take_is_left_out_and_the_others_go_on() {
    run(async {
        let play =
            Play::new(config(r#"["bad","good"]"#, "topic", ""), |asked| match asked.get("q") {
                Some("bad") => refused(400, "invalidSearchFilter"),
                _ => list(&[], None),
            })
            .await;
        play.until_asked(300, 8).await;
        let asked = |q: &str| {
            play.server.asked.borrow().iter().filter(|asked| asked.get("q") == Some(q)).count()
        };
        assert!(asked("good") >= 4 && asked("bad") >= 2, "{} {}", asked("good"), asked("bad"));
        let state = play.trial.state();
        assert!(
            state.contains("left out: search bad") && state.contains("invalidSearchFilter"),
            "{state}"
        );
    });
}

#[test]
fn a_video_that_is_gone_when_it_is_read_again_is_deleted_but_not_by_an_answer_that_says_nothing() {
    run(async {
        let play = Play::new(config(r#"["storm"]"#, "gone", ""), |_| good("{}")).await;
        let ids = ["a", "b", "VVUxLjAwMDAwMDAwMDAwMDAwMDAwMDAw"].map(str::to_owned);
        let mut counts = Counts::new(&play.config);
        let feed = &play.trial.feed;
        assert!(served(&play.server, counts.reread(feed, &ids, "1h")).await.is_err());
        play.server.answer(|asked| videos(asked, &["b"]));
        served(&play.server, counts.reread(feed, &ids, "1h")).await.unwrap();
        served(&play.server, counts.reread(feed, &ids, "1d")).await.unwrap();
        feed.flush().await.unwrap();
        let gone: Vec<_> =
            play.trial.bodies("delete").iter().map(|body| body["id"].clone()).collect();
        assert_eq!(gone, [json!("b")]);
        let counted = play.trial.posts("video");
        assert_eq!(counted.len(), 2);
        assert!(counted.iter().all(|post| post.stream() == PostStream::Counts));
    });
}

fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!(17)),
        Just(json!("x")),
        Just(json!([1])),
        Just(json!({ "id": 1 })),
        Just(json!(true)),
        Just(json!(1e300))
    ]
}

/// Sets the value at a path, or removes it.
fn vary(one: &mut Value, path: &str, value: &Option<Value>) {
    let (parent, name) = path.rsplit_once('/').unwrap();
    let Some(parent) = one.pointer_mut(parent).and_then(Value::as_object_mut) else { return };
    match value {
        Some(value) => drop(parent.insert(name.into(), value.clone())),
        None => drop(parent.remove(name)),
    }
}

const IN_SEARCH: [&str; 7] = [
    "/id",
    "/id/videoId",
    "/id/kind",
    "/snippet",
    "/snippet/publishedAt",
    "/snippet/channelId",
    "/snippet/title",
];
const IN_PLAYLIST: [&str; 6] = [
    "/id",
    "/contentDetails",
    "/contentDetails/videoId",
    "/contentDetails/videoPublishedAt",
    "/snippet",
    "/snippet/resourceId",
];
const IN_VIDEO: [&str; 5] =
    ["/id", "/snippet", "/snippet/channelId", "/statistics", "/statistics/viewCount"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Checks that each item leads to a post and nothing panics, with any value of a field.
    #[test]
    fn no_variant_of_a_field_loses_a_video(at in 0..18_usize, value in proptest::option::of(odd())) {
        let (mut search, mut playlist) = (found("a", MIDNIGHT), listed("b", MIDNIGHT));
        let mut vary_video = None;
        match at {
            0..7 => vary(&mut search, IN_SEARCH[at], &value),
            7..13 => vary(&mut playlist, IN_PLAYLIST[at - 7], &value),
            _ => vary_video = Some(IN_VIDEO[at - 13]),
        }
        let lost = Rc::new(RefCell::new(String::new()));
        run(async {
            let key = format!("vary {at} {value:?}").replace(['"', '\\'], "");
            let play = Play::new(config(r#"["storm",{"Channel":"UC1"}]"#, &key, ""), move |asked| match asked.path.as_str() {
                "/search" => list(&[search.clone()], None),
                "/playlistItems" => list(&[playlist.clone()], None),
                _ => {
                    let (status, headers, body) = videos(asked, &[]);
                    let mut body: Value = serde_json::from_str(&body).unwrap();
                    if let Some(path) = vary_video {
                        vary(&mut body["items"][0], path, &value);
                    }
                    (status, headers, body.to_string())
                }
            })
            .await;
            play.until(30, || play.asked("/search").len() > 1 && play.asked("/playlistItems").len() > 2).await;
            let posts = play.trial.bodies("video");
            if posts.len() < 2 {
                *lost.borrow_mut() = format!("{posts:?}");
            }
        });
        prop_assert_eq!(lost.take(), "");
    }
}
