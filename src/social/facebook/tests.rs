use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

use super::*;
use crate::social::tests::pages::{Answer, Asked, Server, advance_until, beside, good, served};
use crate::social::tests::trial::{Trial, run};

const NOW: OffsetDateTime = datetime!(2026-11-25 12:00:00 UTC);

fn config(topics: &str, more: &str) -> Facebook {
    let text = format!(r#"{{"topics":{topics},"access_token":"t0ken"{more}}}"#);
    serde_json::from_str(&text).unwrap()
}

fn time_text(time: OffsetDateTime) -> String {
    crate::social::stamp(time).replace('Z', "+0000")
}

fn item(number: u64, message: &str, created: OffsetDateTime, updated: OffsetDateTime) -> Value {
    json!({ "id": format!("7_{number}"), "message": message, "created_time": time_text(created),
        "updated_time": time_text(updated), "from": { "id": "7", "name": "p" } })
}

fn at(minutes: i64) -> OffsetDateTime {
    NOW + time::Duration::minutes(minutes)
}

fn page(items: &[Value]) -> Answer {
    good(json!({ "data": items }))
}

fn refused(code: u32, message: &str) -> Answer {
    (400, String::new(), json!({ "error": { "code": code, "message": message } }).to_string())
}

/// Returns an answer with a link to the next one.
fn followed(items: &[Value], link: &str) -> Answer {
    good(json!({ "data": items, "paging": { "next": link } }))
}

/// A source of page 7 under test.
struct Play {
    trial: Trial,
    server: std::rc::Rc<Server>,
    config: Facebook,
}

impl Play {
    async fn new(topics: &str, more: &str, answer: impl FnMut(&Asked) -> Answer + 'static) -> Self {
        let config = config(topics, more);
        let trial = Trial::start(Facebook::KIND, config.common(), NOW);
        Self::on(trial, config, answer).await
    }

    async fn on(
        trial: Trial,
        config: Facebook,
        answer: impl FnMut(&Asked) -> Answer + 'static,
    ) -> Self {
        let server = Server::new(&trial, answer).await;
        let config = Facebook { base_url: server.address(), ..config };
        Self { trial, server, config }
    }

    /// Runs until this number of requests was answered, and their posts are in the spool.
    async fn until_asked(&self, count: usize) {
        let mut source = Platform::source(&self.config).unwrap();
        beside(source.run(&self.trial.feed), &self.server, async {
            // Another request is only made when the posts of the last one are in the spool.
            advance_until(&self.trial.clock, Duration::from_secs(1), || {
                self.server.count() > count
            })
            .await;
        })
        .await;
    }

    fn texts(&self, edited: bool) -> Vec<String> {
        let bodies = self.trial.bodies("post").into_iter();
        let bodies = bodies.filter(|body| body.get("edited_at").is_some() == edited);
        bodies.map(|body| body["message"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

#[test]
fn a_post_is_edited_when_its_text_changes_and_not_when_somebody_comments() {
    run(async {
        let mut texts = ["a", "a", "b", "b", "a", "c"].into_iter().enumerate().cycle();
        let play = Play::new(r#"[{"Page":"7"}]"#, "", move |_| {
            let (number, text) = texts.next().unwrap();
            page(&[item(1, text, at(0), at(number as i64))])
        })
        .await;
        play.until_asked(5).await;
        assert_eq!(
            (play.texts(false), play.texts(true)),
            (vec!["a".into()], vec!["b".into(), "a".into()])
        );
        // The next process knows the last text.
        let trial = play.trial.restart(Facebook::KIND, play.config.common(), at(9));
        let play = Play::on(trial, play.config, |_| page(&[item(1, "a", at(0), at(6))])).await;
        play.until_asked(2).await;
        assert_eq!(play.texts(true).len(), 2);
        play.server.answer(|_| page(&[item(1, "d", at(0), at(7))]));
        play.until_asked(5).await;
        assert_eq!(play.texts(true), ["b", "a", "d"]);
        let edits = play
            .trial
            .bodies("post")
            .into_iter()
            .filter_map(|body| Some(body.get("edited_at")? == &body["updated_time"]));
        assert!(edits.into_iter().all(|same| same));
    });
}

#[test]
fn a_second_edit_within_the_same_second_is_another_one() {
    run(async {
        let mut texts = ["a", "b", "c"].into_iter().cycle();
        let play = Play::new(r#"[{"Page":"7"}]"#, "", move |_| {
            page(&[item(1, texts.next().unwrap(), at(0), at(1))])
        })
        .await;
        play.until_asked(3).await;
        assert_eq!(play.texts(true), ["b", "c"]);
    });
}

#[test]
fn older_posts_that_come_again_are_not_captured() {
    run(async {
        // Here `since` goes by the last change.
        let play = Play::new(r#"[{"Page":"7"}]"#, "", |_| {
            page(&[item(2, "new", at(-1), at(0)), item(1, "old", at(-600), at(0))])
        })
        .await;
        play.until_asked(2).await;
        assert_eq!(play.texts(false), ["new"]);
    });
}

#[test]
fn a_cursor_that_died_begins_the_read_anew() {
    run(async {
        let mut calls = 0;
        let play = Play::new(r#"[{"Page":"7"}]"#, "", |_| unreachable!()).await;
        let link =
            format!("{}/v25.0/7/posts?access_token=t0ken&limit=2&after=A", play.server.address());
        play.server.answer(move |asked| {
            calls += 1;
            assert_eq!(asked.get("access_token"), None, "the token is in a header only");
            match (calls, asked.get("after")) {
                (1, None) => followed(&[item(3, "3", at(-1), at(0))], &link),
                (2, Some("A")) => refused(100, "(#100) Invalid cursor"),
                (3, None) => followed(&[item(4, "4", at(-1), at(0))], &link),
                (_, Some("A")) => page(&[item(2, "2", at(-2), at(0))]),
                _ => page(&[]),
            }
        });
        play.until_asked(4).await;
        assert_eq!(play.texts(false), ["3", "4", "2"]);
        assert_eq!(play.trial.posts("gap").len(), 0);
    });
}

#[test]
fn a_link_to_another_server_is_a_gap_until_a_read_is_whole() {
    run(async {
        let link = "https://elsewhere.example/v25.0/7/posts?after=A";
        let play = Play::new(r#"[{"Page":"7"}]"#, "", move |_| {
            followed(&[item(3, "3", at(-1), at(0))], link)
        })
        .await;
        play.until_asked(3).await;
        assert_eq!(play.trial.bodies("gap").len(), 1, "the same isn't told twice");
        assert_eq!(play.trial.feed.open_gaps().len(), 1);
        play.server.answer(|_| page(&[item(3, "3", at(-1), at(0)), item(2, "2", at(-3), at(0))]));
        play.until_asked(6).await;
        assert_eq!(play.trial.feed.open_gaps(), []);
        assert_eq!(play.texts(false), ["3", "2"]);
    });
}

#[test]
fn a_page_that_its_posts_do_not_name_is_told_beside_them() {
    run(async {
        let play = Play::new(r#"[{"Page":"harbour"},"storm"]"#, "", |asked| {
            assert_eq!(asked.path, "/v25.0/harbour/posts");
            page(&[item(1, "a storm", at(0), at(0)), item(2, "rain", at(0), at(0))])
        })
        .await;
        play.until_asked(1).await;
        let posts = play.trial.posts("post");
        assert_eq!(posts.len(), 1);
        let expected = "List([Text(\"Page(harbour)\"), Text(\"storm\")])";
        assert_eq!(format!("{:?}", play.trial.feed.topics().of(&posts[0])), expected);
    });
}

#[test]
fn fewer_posts_are_asked_for_when_facebook_wants_that_and_more_again_later() {
    run(async {
        let play = Play::new(r#"[{"Page":"7"}]"#, r#","poll":"1s""#, |asked| {
            if asked.get("limit").unwrap().parse::<u32>().unwrap() > 30 {
                return (500, String::new(), json!({"error": {"code": 1, "message": "Please reduce the amount of data you're asking for, then retry your request"}}).to_string());
            }
            page(&[])
        })
        .await;
        play.until_asked(14).await;
        let limits: Vec<_> = play
            .server
            .asked
            .borrow()
            .iter()
            .map(|asked| asked.get("limit").unwrap().to_owned())
            .collect();
        assert_eq!(limits[..3], ["100", "50", "25"]);
        assert!(limits[3..12].iter().all(|limit| limit == "25"), "{limits:?}");
        assert_eq!(limits[12..14], ["50", "25"]);
    });
}

#[test]
fn a_budget_is_not_exceeded_and_goes_on_with_the_next_interval() {
    run(async {
        let more = r#","poll":"60s","budget":{"posts":5,"per":"1h"}"#;
        let mut number = 0;
        let play = Play::new(r#"[{"Page":"7"}]"#, more, move |asked| {
            let limit: u64 = asked.get("limit").unwrap().parse().unwrap();
            let count = limit.min(3);
            number += count;
            page(
                &(number - count..number)
                    .map(|number| item(number, "m", at(0), at(0)))
                    .collect::<Vec<_>>(),
            )
        })
        .await;
        play.until_asked(2).await;
        let asked = play.server.asked.borrow();
        assert_eq!([asked[0].get("limit"), asked[1].get("limit")], [Some("5"), Some("2")]);
        assert!(asked[2].at >= Duration::from_secs(3600), "{:?}", asked[2].at);
    });
}

#[test]
fn nothing_is_asked_while_a_limit_is_reached() {
    run(async {
        let usage = r#"{"1":[{"type":"pages","call_count":100,"total_cputime":1,"total_time":1,"estimated_time_to_regain_access":7}]}"#;
        let headers = format!("x-business-use-case-usage: {usage}\r\n");
        let mut calls = 0;
        let play = Play::new(r#"[{"Page":"7"}]"#, "", move |_| {
            calls += 1;
            match calls {
                1 => (200, headers.clone(), json!({"data": []}).to_string()),
                _ => page(&[]),
            }
        })
        .await;
        let config = Facebook { access_token: Secret::new("limited"), ..play.config.clone() };
        let play = Play { config, ..play };
        play.until_asked(2).await;
        let asked = play.server.asked.borrow();
        assert!(asked[1].at - asked[0].at >= Duration::from_secs(7 * 60), "{:?}", asked[1].at);
    });
}

#[test]
fn a_day_of_many_pages_keeps_to_its_calls_and_treats_all_the_same() {
    run(async {
        let pages: Vec<_> = (0..50).map(|number| json!({ "Page": number.to_string() })).collect();
        let play =
            Play::new(&Value::from(pages).to_string(), r#","calls_per_hour":120"#, |_| page(&[]))
                .await;
        let mut source = Platform::source(&play.config).unwrap();
        beside(source.run(&play.trial.feed), &play.server, async {
            let day = Duration::from_secs(24 * 3600);
            let clock = play.trial.clock.clone();
            advance_until(&clock.clone(), Duration::from_secs(15), move || {
                crate::clock::Clock::monotonic(&*clock) >= day
            })
            .await;
        })
        .await;
        let asked = play.server.asked.borrow();
        let of = |page: usize| {
            asked.iter().filter(|asked| asked.path.starts_with(&format!("/v25.0/{page}/"))).count()
        };
        assert!((2_700..=2_881).contains(&asked.len()), "{}", asked.len());
        assert!((0..50).all(|page| of(page).abs_diff(of(0)) <= 1));
    });
}

#[test]
fn posts_that_are_gone_when_they_are_read_again_are_deleted_and_the_others_are_counted() {
    run(async {
        let play = Play::new(r#"[{"Page":"7"}]"#, "", |asked| {
            let ids: Vec<_> = asked.get("ids").unwrap().split(',').collect();
            if ids.contains(&"7_3") || ids.len() > 3 {
                return match ids.len() {
                    4.. => (
                        500,
                        String::new(),
                        json!({"error": {"code": 1, "message": "Please reduce the amount of data you're asking for"}})
                            .to_string(),
                    ),
                    _ => refused(803, "(#803) Some of the aliases you requested do not exist: 7_3"),
                };
            }
            let found = ids.iter().map(|id| ((*id).to_owned(), json!({ "id": id, "message": "m" })));
            good(Value::Object(found.collect()))
        })
        .await;
        let ids: Vec<_> = (0..8).map(|number| format!("7_{number}")).collect();
        let mut counts = Counts::new(&play.config);
        served(&play.server, counts.reread(&play.trial.feed, &ids, "1h")).await.unwrap();
        play.trial.feed.flush().await.unwrap();
        let mut found: Vec<_> = play
            .trial
            .bodies("post")
            .iter()
            .map(|body| body["id"].as_str().unwrap().to_owned())
            .collect();
        found.sort_unstable();
        assert_eq!(found, ["7_0", "7_1", "7_2", "7_4", "7_5", "7_6", "7_7"]);
        let gone = play.trial.bodies("delete");
        assert_eq!((gone.len(), &gone[0]["id"], &gone[0]["raw"]), (1, &json!("7_3"), &Value::Null));
    });
}

#[test]
fn a_page_that_is_gone_or_forbidden_is_left_out_and_read_again_later() {
    let gone = "Object with ID '222' does not exist";
    for (code, message) in
        [(100, gone), (803, gone), (10, "Application does not have permission"), (21, "migrated")]
    {
        run(async move {
            let topics = r#"[{"Page":"111"},{"Page":"222"},{"Page":"333"}]"#;
            let post = |page: &str| json!({ "id": format!("{page}_1"), "message": page, "created_time": time_text(at(-1)) });
            let page_of = |asked: &Asked| asked.path.split('/').nth(2).unwrap().to_owned();
            let play = Play::new(topics, "", move |asked| match page_of(asked).as_str() {
                "222" => refused(code, message),
                other => page(&[post(other)]),
            })
            .await;
            play.until_asked(30).await;
            let asked = |play: &Play, page: &str| {
                play.server.asked.borrow().iter().filter(|asked| page_of(asked) == page).count()
            };
            assert!(asked(&play, "333") > 10, "the others go on");
            assert!((2..=5).contains(&asked(&play, "222")), "{}", asked(&play, "222"));
            let state = play.trial.state();
            assert!(state.contains("left out: page 222") && state.contains(message), "{state}");
            let said = play.trial.messages();
            assert_eq!(
                said.iter().filter(|said| said.contains("page 222 is left out")).count(),
                1,
                "{said:?}"
            );
            // The page is available again: its new posts are read.
            play.server.answer(move |asked| page(&[post(&page_of(asked))]));
            let mut source = Platform::source(&play.config).unwrap();
            beside(source.run(&play.trial.feed), &play.server, async {
                let step = Duration::from_secs(10);
                advance_until(&play.trial.clock, step, || play.trial.bodies("post").len() == 3)
                    .await;
                advance_until(&play.trial.clock, step, || play.trial.state().is_empty()).await;
            })
            .await;
            assert!(play.trial.messages().iter().any(|said| said == "page 222 is read again"));
        });
    }
}

#[test]
fn a_token_that_is_refused_stops_all_pages() {
    run(async {
        let play =
            Play::new(r#"[{"Page":"111"},{"Page":"222"}]"#, "", |_| refused(190, "expired")).await;
        let mut source = Platform::source(&play.config).unwrap();
        let error = served(&play.server, source.run(&play.trial.feed)).await.unwrap_err().chain();
        assert!(error.contains("refuses the token"), "{error}");
    });
}

#[test]
fn what_can_not_work_is_said_by_its_field() {
    let fields = |topics: &str, more: &str| -> Vec<_> {
        Platform::problems(&config(topics, more)).into_iter().map(|problem| problem.field).collect()
    };
    assert_eq!(fields(r#"[{"Page":"7"},"storm"]"#, ""), [""; 0]);
    assert_eq!(fields(r#"["storm",{"Channel":"UC1"}]"#, ""), ["topics", "topics"]);
    assert_eq!(
        fields(r#"[{"Page":"a-b"},{"Page":"12_34"},{"Page":"nasa.gov"}]"#, ""),
        ["topics", "topics"]
    );
    assert_eq!(
        fields(r#"[{"Page":"7"}]"#, r#","calls_per_hour":0,"fields":"id,message","version":"25""#),
        ["calls_per_hour", "fields", "version"]
    );
}

fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!(17)),
        Just(json!("x")),
        Just(json!([1])),
        Just(json!({"id": 1})),
        Just(json!(true)),
        Just(json!(1e300))
    ]
}

proptest! {
    /// Checks that the post is kept and nothing panics, with any value of a field.
    #[test]
    fn no_variant_of_a_field_loses_a_post(field in 0..7_usize, value in proptest::option::of(odd())) {
        let name = ["id", "message", "created_time", "updated_time", "from", "message_tags", "story"][field];
        let mut one = item(1, "m", at(0), at(0));
        match &value {
            Some(value) => one[name] = value.clone(),
            None => drop(one.as_object_mut().unwrap().remove(name)),
        }
        let made = poll::made(one.to_string().as_bytes(), "7", &[], NOW).unwrap();
        prop_assert_eq!(made.kind(), "post");
        let wanted = crate::social::Topics::new(&config(r#"[{"Page":"7"}]"#, "").topics);
        prop_assert!(wanted.want(&made), "{}", one);
        let mut body: Value = serde_json::from_slice(made.body()).unwrap();
        body.as_object_mut().unwrap().retain(|name, _| name != "received_at" && name != "matching_rules");
        prop_assert_eq!(body, one);
    }
}
