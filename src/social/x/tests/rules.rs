//! Tests of the rules, kept equal to the topics, against a server on loopback.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

use super::super::api::Api;
use super::super::tests::configuration;
use super::super::{Platform, X, rules};
use crate::social::tests::pages::{Answer, Asked, Server, good, served};
use crate::social::tests::trial::{Trial, run};

const NOON: OffsetDateTime = datetime!(2026-11-25 12:00:00 UTC);

/// Returns a source of these topics at a server.
fn source(server: &Server, topics: &[&str]) -> X {
    X { base_url: server.address(), ..configuration(topics) }
}

/// The rules of an app: a test can delete them, and they are listed and added as X does it.
#[derive(Clone, Default)]
struct Rules(Rc<RefCell<Vec<Value>>>);

impl Rules {
    async fn serve(&self, trial: &Trial) -> Rc<Server> {
        let rules = self.clone();
        Server::new(trial, move |asked| rules.answer(asked)).await
    }

    fn tags(&self) -> Vec<String> {
        self.0.borrow().iter().map(|rule| rule["tag"].as_str().unwrap().to_owned()).collect()
    }

    fn answer(&self, asked: &Asked) -> Answer {
        let mut rules = self.0.borrow_mut();
        if asked.head.starts_with("post") {
            let change: Value = serde_json::from_str(&asked.body).unwrap();
            for rule in change["add"].as_array().into_iter().flatten() {
                let id = rules.len().to_string();
                rules.push(json!({ "id": id, "value": rule["value"], "tag": rule["tag"] }));
            }
            let deleted = change["delete"]["ids"].as_array().cloned().unwrap_or_default();
            rules.retain(|rule| !deleted.contains(&rule["id"]));
            return good(json!({ "meta": {} }));
        }
        good(json!({ "data": *rules, "meta": {} }))
    }
}

async fn look(trial: &Trial, server: &Server, topics: &[&str]) -> bool {
    let x = source(server, topics);
    let api = Api::new(&x, trial.feed.clock().clone()).unwrap();
    served(server, rules::sync(&api, &trial.feed, &x)).await.unwrap().unwrap()
}

/// Returns the gaps: the part, and the first and the last second since noon.
fn gaps(trial: &Trial) -> Vec<(String, i64, i64)> {
    let s = |time: OffsetDateTime| (time - NOON).whole_seconds();
    trial.feed.open_gaps().into_iter().map(|gap| (gap.part, s(gap.from), s(gap.to))).collect()
}

fn trial(now: OffsetDateTime) -> Trial {
    Trial::start("tweet", configuration(&["storm"]).common(), now)
}

#[test]
fn rules_that_somebody_deletes_leave_a_gap_from_when_all_were_there() {
    run(async {
        let there = Rules::default();
        let mut trial = trial(NOON);
        let server = there.serve(&trial).await;
        assert!(look(&trial, &server, &["storm"]).await, "they are new");
        trial.clock.advance(Duration::from_secs(100));
        assert!(!look(&trial, &server, &["storm"]).await);
        assert_eq!(gaps(&trial), [], "nothing was promised before the first look");
        // Somebody deletes the rules during a connection, or while the program is away.
        there.0.borrow_mut().clear();
        trial.clock.advance(Duration::from_secs(200));
        trial.feed.save().await.unwrap();
        trial = trial.restart(
            "tweet",
            configuration(&["storm"]).common(),
            NOON + Duration::from_secs(400),
        );
        let server = there.serve(&trial).await;
        assert!(look(&trial, &server, &["storm"]).await);
        assert_eq!(gaps(&trial), [(String::new(), 100, 420)]);
        assert!(!look(&trial, &server, &["storm"]).await);
        assert_eq!(gaps(&trial).len(), 1);
    });
}

#[test]
fn a_list_of_the_rules_that_was_cut_is_asked_for_again() {
    run(async {
        let there = Rules::default();
        let trial = trial(NOON);
        let server = there.serve(&trial).await;
        look(&trial, &server, &["storm"]).await;
        trial.clock.advance(Duration::from_secs(100));
        let lists = Rc::new(RefCell::new(0));
        let (count, rules) = (Rc::clone(&lists), there.clone());
        let server = Server::new(&trial, move |asked| {
            *count.borrow_mut() += 1;
            if *count.borrow() == 1 { good(json!({ "data": [] })) } else { rules.answer(asked) }
        })
        .await;
        // The clock moves on during the wait.
        let waits = async {
            loop {
                trial.clock.advance(Duration::from_millis(100));
                tokio::task::yield_now().await;
            }
        };
        let looks = look(&trial, &server, &["storm"]);
        let added = match select(pin!(looks), pin!(waits)).await {
            Either::Left((added, _)) => added,
            Either::Right(((), _)) => unreachable!("time goes on for ever"),
        };
        assert!(!added);
        assert_eq!((*lists.borrow(), there.0.borrow().len(), gaps(&trial)), (2, 1, vec![]));
    });
}

#[test]
fn a_rule_that_somebody_deletes_and_makes_again_leaves_a_gap() {
    run(async {
        let there = Rules::default();
        let trial = trial(NOON);
        let server = there.serve(&trial).await;
        look(&trial, &server, &["storm"]).await;
        trial.clock.advance(Duration::from_secs(100));
        look(&trial, &server, &["storm"]).await;
        trial.clock.advance(Duration::from_secs(100));
        there.0.borrow_mut()[0]["id"] = "77".into();
        assert!(!look(&trial, &server, &["storm"]).await, "it is in force");
        assert_eq!(gaps(&trial), [(String::new(), 100, 220)]);
        look(&trial, &server, &["storm"]).await;
        assert_eq!(gaps(&trial).len(), 1);
    });
}

#[test]
fn rules_that_were_made_again_just_before_a_kill_leave_their_gap_too() {
    run(async {
        let there = Rules::default();
        let mut trial = trial(NOON);
        let server = there.serve(&trial).await;
        look(&trial, &server, &["storm"]).await;
        there.0.borrow_mut().clear();
        trial.clock.advance(Duration::from_secs(50));
        // The source is killed when X has the rules again, but hasn't answered yet.
        let rules = there.clone();
        server.answer(move |asked| {
            let answer = rules.answer(asked);
            if asked.head.starts_with("post") { (503, String::new(), "{}".into()) } else { answer }
        });
        let x = source(&server, &["storm"]);
        let api = Api::new(&x, trial.feed.clock().clone()).unwrap();
        let killed = rules::sync(&api, &trial.feed, &x);
        let seen = async {
            while server.count() < 4 {
                tokio::task::yield_now().await;
            }
        };
        served(&server, futures_util::future::select(std::pin::pin!(killed), std::pin::pin!(seen)))
            .await;
        assert_eq!(there.0.borrow().len(), 1);
        drop(api);
        trial = trial.restart("tweet", x.common(), NOON + Duration::from_secs(60));
        assert!(rules::is_unsettled(&trial.feed));
        let server = there.serve(&trial).await;
        assert!(!look(&trial, &server, &["storm"]).await);
        assert_eq!(gaps(&trial), [(String::new(), 0, 80)]);
    });
}

#[test]
fn a_topic_that_is_new_was_never_promised() {
    run(async {
        let there = Rules::default();
        let trial = trial(NOON);
        there.0.borrow_mut().push(json!({ "id": "7", "value": "rain", "tag": "waterspout:rain" }));
        let server = there.serve(&trial).await;
        assert!(!look(&trial, &server, &["rain"]).await);
        trial.clock.advance(Duration::from_secs(50));
        assert!(look(&trial, &server, &["rain", "storm"]).await);
        assert_eq!(gaps(&trial), []);
        // The rule of a dropped topic stays, since another topology made it.
        look(&trial, &server, &["storm"]).await;
        assert_eq!(there.tags(), ["waterspout:rain", "waterspout:storm"]);
        look(&trial, &server, &["#new"]).await;
        assert_eq!(there.tags(), ["waterspout:rain", "waterspout:#new"]);
        let told = |message: &String| message.contains("such as \"waterspout:rain\"");
        assert!(trial.messages().iter().any(told), "{:?}", trial.messages());
    });
}

#[test]
fn a_rule_that_x_refuses_is_left_out_and_the_others_are_made() {
    run(async {
        let there = Rules::default();
        let trial = trial(NOON);
        let server = there.serve(&trial).await;
        let rules = there.clone();
        server.answer(move |asked| match asked.body.contains("bad") {
            true => (
                400,
                String::new(),
                r#"{"title":"Invalid Request","errors":[{"message":"no such operator"}]}"#.into(),
            ),
            false => rules.answer(asked),
        });
        let topics = ["storm", "bad", "#rain", "rust"];
        assert!(look(&trial, &server, &topics).await);
        assert_eq!(there.tags(), ["waterspout:storm", "waterspout:#rain", "waterspout:rust"]);
        let state = trial.state();
        assert!(
            state.contains("left out: rule bad") && state.contains("no such operator"),
            "{state}"
        );
        assert!(!look(&trial, &server, &topics).await, "it isn't asked for again at once");
        // X accepts the rule now: the posts that were missed until then are in the ledger.
        let rules = there.clone();
        server.answer(move |asked| rules.answer(asked));
        trial.clock.advance(Duration::from_secs(90));
        assert!(look(&trial, &server, &topics).await);
        assert_eq!(there.tags().last().map(String::as_str), Some("waterspout:bad"));
        assert_eq!(gaps(&trial), [("bad".to_owned(), 0, 110)]);
        assert_eq!(trial.state(), "");
    });
}
