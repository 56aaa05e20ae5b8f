//! Tests of recent search's sweeps against a server on loopback, with a clock that is moved by
//! hand.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

use super::super::api::Api;
use super::super::sweep::{Swept, Window, sweep};
use super::super::tests::configuration;
use super::super::{Platform, X, translate};
use crate::social::tests::pages::{Answer, Server, advance_until, good, served};
use crate::social::tests::trial::{Trial, run};

const NOON: OffsetDateTime = datetime!(2026-11-25 12:00:00 UTC);
const DAY: Duration = Duration::from_secs(86_400);

fn trial() -> Trial {
    Trial::start("tweet", configuration(&["storm"]).common(), NOON)
}

fn page(ids: &[u64], created: &str, meta: Value) -> Answer {
    let posts: Vec<_> = ids
        .iter()
        .map(|id| json!({ "id": id.to_string(), "text": "a storm", "created_at": created }))
        .collect();
    good(json!({ "data": posts, "meta": meta }))
}

async fn sweeps(trial: &Trial, server: &Server, window: Window) -> Swept {
    let x = X { base_url: server.address(), ..configuration(&["storm"]) };
    let api = Api::new(&x, trial.feed.clock().clone()).unwrap();
    let rule = &translate::rules(&x)[0];
    let swept = served(server, async {
        let sweep = sweep(&api, &trial.feed, rule, &window, 0);
        let time = advance_until(&trial.clock, Duration::from_secs(1), || false);
        match select(pin!(sweep), pin!(time)).await {
            Either::Left((swept, _)) => swept,
            Either::Right(_) => unreachable!("time has no end"),
        }
    });
    swept.await.unwrap()
}

#[test]
fn a_page_that_cannot_say_what_it_holds_is_asked_for_again() {
    run(async {
        let trial = trial();
        let mut answers = vec![
            page(&[9, 8], "2026-11-25T11:00:00Z", Value::Null),
            page(&[9, 8, 7], "2026-11-25T11:00:00Z", json!({ "next_token": "b" })),
            good(json!({})),
            page(&[6], "2026-11-25T11:00:00Z", json!({ "result_count": 1 })),
        ]
        .into_iter();
        let server = Server::new(&trial, move |_| answers.next().unwrap()).await;
        let window = Window { from: Some(NOON - DAY), ..Window::default() };
        let swept = sweeps(&trial, &server, window).await;
        assert_eq!(swept, Swept::Whole { newest: Some("9".into()), posts: 4 });
        let asked = server.asked.borrow();
        let tokens: Vec<_> = asked.iter().map(|asked| asked.get("next_token")).collect();
        assert_eq!(tokens, [None, None, Some("b"), Some("b")]);
    });
}

#[test]
fn a_search_that_takes_so_long_that_its_beginning_gets_out_of_reach_goes_on_with_what_is_within() {
    run(async {
        let trial = trial();
        let from = NOON - 7 * DAY + Duration::from_secs(600);
        let reset = (NOON + Duration::from_secs(900)).unix_timestamp();
        let mut calls = 0;
        let server = Server::new(&trial, move |asked| {
            calls += 1;
            match calls {
                1 => {
                    let limit =
                        format!("x-rate-limit-remaining: 0\r\nx-rate-limit-reset: {reset}\r\n");
                    let (status, _, body) =
                        page(&[9], "2026-11-20T11:00:00.5Z", json!({ "next_token": "b" }));
                    (status, limit, body)
                }
                _ if asked.get("start_time") == Some("2026-11-18T12:10:00Z") => {
                    let why = "Invalid 'start_time'. 'start_time' must be on or after 7 days ago.";
                    (
                        400,
                        String::new(),
                        json!({ "title": "Invalid Request", "detail": why }).to_string(),
                    )
                }
                _ => page(&[8], "2026-11-19T11:00:00Z", json!({ "result_count": 1 })),
            }
        })
        .await;
        let window = Window { from: Some(from), to: Some(NOON), ..Window::default() };
        let swept = sweeps(&trial, &server, window).await;
        assert_eq!(swept, Swept::Whole { newest: Some("9".into()), posts: 2 });
        let asked = server.asked.borrow();
        assert_eq!((asked.len(), asked[1].get("next_token")), (2, None));
        // The search ends behind the oldest post that was read.
        assert_eq!(asked[1].get("end_time"), Some("2026-11-20T11:00:01Z"));
        let gaps = trial.feed.open_gaps();
        assert_eq!(
            gaps.iter().map(|gap| (gap.part.as_str(), gap.from)).collect::<Vec<_>>(),
            [("storm", from)]
        );
    });
}
