//! Tests of the source against time: a day of a stream, and stalls.

use super::*;

/// Returns a configuration with these topics.
pub(super) fn configuration(topics: &[&str]) -> X {
    let topics: Vec<_> = topics.iter().map(|topic| serde_json::json!(topic)).collect();
    serde_json::from_value(serde_json::json!({ "topics": topics, "bearer_token": "token" }))
        .unwrap()
}

#[test]
fn the_defaults_cost_nothing_that_was_not_asked_for() {
    let x = configuration(&["storm"]);
    assert_eq!((x.mode, x.other_rules, x.backfill_minutes), (Mode::Stream, OtherRules::Keep, 0));
    assert!(x.expansions.is_empty() && x.refresh.is_empty() && x.problems().is_empty());
}

#[test]
fn what_cannot_work_is_told_by_field() {
    let mut x = configuration(&["lang:en", "storm"]);
    x.fields = Some(vec!["a b".into()]);
    x.backfill_minutes = 6;
    x.also = Some("sample:10".into());
    x.budget = Some(Budget { posts: 9, per: "1d".parse().unwrap() });
    x.topics.push(format!("\"{}\"", "a".repeat(1_030)).parse().unwrap());
    let fields: Vec<_> = x.problems().iter().map(|problem| problem.field).collect();
    assert_eq!(fields, ["topics", "topics", "also", "fields", "backfill_minutes", "budget"]);
    assert_eq!(configuration(&[]).problems()[0].field, "topics");
}

mod day;
mod rules;
mod sweep;
