//! The source `X` against the fake platform, through the program itself: with every fault, with
//! kills, and with all that X says no to. The lake is compared with the truth.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

mod support;

use std::cell::RefCell;
use std::time::Duration;

use serde_json::json;

use support::platform::{Fault, Kind, Place, Platform, Weather};
use support::play::Play;
use support::prism::{self, Prism};

const TOPICS: [&str; 3] = ["#storm", "rust lang", "from:alice"];

/// The template of the repository, with a search that is less late than X's, so that gaps are
/// filled soon.
fn play(seed: u64) -> Play {
    let mut play = Play::new(seed, (Kind::Tweet, Place::XStream), "x", "X_BEARER_TOKEN", &TOPICS);
    play.platform.set(|settings| settings.x_keep_alive = Duration::from_millis(200));
    let address = play.platform.url();
    play.set(&format!("base_url=\"{address}\""));
    play.set("topics=[\"#storm\", \"rust lang\", \"from:alice\"]");
    play.set("search_late=\"100ms\"");
    play.set("budget=None");
    play
}

#[test]
fn the_template_captures_each_post_of_the_topics_once() {
    let play = play(1);
    let running = play.streaming(1);
    let posts = play.platform.publish(Kind::Tweet, 300);
    let edited = play.platform.edit(posts[0]);
    play.platform.publish(Kind::Tweet, 50);
    play.last();
    let (_, checked) = play.end(running, 0);
    assert!(checked.there > 50 && checked.excused == 0, "{checked:?} {edited}");
    let body = &play.lake()[0];
    assert!(body.pointer("/tweet/created_at").is_some(), "{body}");
    let asked = play.platform.requests().at(Place::XStream);
    assert!(
        asked
            .0
            .iter()
            .all(|seen| seen.query("expansions").is_none() && seen.query("post.fields").is_none())
    );
    assert_eq!(play.platform.with(|inner| inner.rules.list.len()), TOPICS.len());
}

#[test]
fn rules_of_others_stay_and_own_ones_that_no_topic_asks_for_go() {
    let mut play = play(2);
    let tags = |play: &Play| -> Vec<_> {
        play.platform
            .with(|inner| inner.rules.list.iter().filter_map(|rule| rule.tag.clone()).collect())
    };
    play.platform.with(|inner| {
        inner.settings.x_rules_page = 2;
        inner.rules.add("cats", Some("somebody's"));
        inner.rules.add("dogs", Some("waterspout:dogs"));
        inner.rules.add("#storm", Some("waterspout:#storm"));
    });
    // A topic that goes before the next run.
    play.set("topics=[\"#storm\", \"birds\"]");
    let running = play.streaming(1);
    running.kill();
    running.end();
    play.sets.pop();
    let running = play.streaming(1);
    // What the other's rule matches comes too, and goes no further.
    play.platform.publish_text(Kind::Tweet, "cats and cats", 3);
    play.last();
    let (ended, _) = play.end(running, 0);
    let own = ["waterspout:#storm", "waterspout:rust lang", "waterspout:from:alice"];
    assert_eq!(tags(&play), ["somebody's", "waterspout:dogs", own[0], own[1], own[2]]);
    ended.says(&[
        "rules by waterspout that this source didn't make stay: 1, such as",
        "waterspout:dogs",
    ]);
}

#[test]
fn nothing_that_goes_wrong_with_a_stream_loses_a_post() {
    let faults = [
        Fault::CutLine,
        Fault::CutCharacter,
        Fault::Reset,
        Fault::Close,
        Fault::Duplicate,
        Fault::Reorder,
        Fault::Disconnect,
        Fault::Partial,
        Fault::Dribble(Duration::from_millis(1)),
    ];
    let mut play = play(3);
    play.platform.set(|settings| settings.x_new_words = true);
    play.set("expansions=[\"author_id\", \"referenced_tweets.id\", \"attachments.media_keys\"]");
    let mut running = play.streaming(1);
    for fault in &faults {
        let (met, streams) = (play.platform.met().len(), play.streams());
        play.platform.fault(Place::XStream, fault.clone());
        play.platform.publish(Kind::Tweet, 40);
        play.platform.wait_until("fault", |inner| inner.faults.met.len() > met);
        let ends = !matches!(
            fault,
            Fault::Duplicate | Fault::Reorder | Fault::Partial | Fault::Dribble(_)
        );
        if ends {
            // What is posted while nobody listens is for the search.
            play.platform.publish(Kind::Tweet, 20);
            play.wait_for_stream(streams + 1);
        }
    }
    play.last();
    play.settle(&mut running);
    play.filled(5);
    let (_, checked) = play.end(running, 0);
    assert_eq!(checked.excused, 0, "{checked:?}");
    assert!(checked.there > 60, "{checked:?}");
    assert!(play.platform.requests().at(Place::XStream).busiest(Duration::from_secs(1)) <= 4);
}

#[test]
fn what_is_no_post_becomes_a_dead_letter() {
    let mut play = play(4);
    play.dead = true;
    let running = play.streaming(1);
    play.platform.fault(Place::XStream, Fault::Unknown);
    play.platform.fault(Place::XStream, Fault::Garbage);
    play.platform.publish(Kind::Tweet, 60);
    play.platform.wait_until("faults", |inner| inner.faults.waiting() == 0);
    play.last();
    let (_, checked) = play.end(running, 4);
    assert_eq!(checked.excused, 0);
}

#[test]
fn ten_kills_lose_nothing_and_repeat_nothing() {
    let play = play(5);
    // As X may do it after a crash: the old connection counts for hours.
    play.platform.set(|settings| settings.x_held = Duration::from_secs(3_600));
    for kill in 0..10 {
        let running = play.streaming(1);
        play.platform.publish(Kind::Tweet, 30 + kill);
        let last = play.platform.publish_text(Kind::Tweet, "a #storm before the kill", 3);
        if kill % 2 == 0 {
            play.platform.wait_offered(&[last]);
        }
        running.kill();
        drop(running.end());
        play.platform.publish(Kind::Tweet, 10);
    }
    let mut running = play.streaming(1);
    play.last();
    play.settle(&mut running);
    play.filled(1);
    let (ended, checked) = play.end(running, 0);
    assert_eq!(checked.excused, 0, "{checked:?}");
    assert!(checked.there > 100, "{checked:?}");
    ended.says(&["X still held a connection of this source"]);
}

#[test]
fn rules_that_somebody_deleted_are_made_again_and_what_they_missed_is_searched_for() {
    let play = play(14);
    let mut running = play.streaming(1);
    let streams = play.streams();
    // The connection stands, and nothing comes by it.
    play.platform.with(|inner| inner.rules.list.clear());
    play.platform.publish_text(Kind::Tweet, "a #storm that no rule lets through", 3);
    play.settle(&mut running);
    play.platform.end_streams(Kind::Tweet);
    play.wait_for_stream(streams + 1);
    assert_eq!(play.platform.with(|inner| inner.rules.list.len()), TOPICS.len());
    play.last();
    play.settle(&mut running);
    play.filled(2);
    let (_, checked) = play.end(running, 0);
    assert_eq!((checked.there, checked.excused), (2, 0), "{checked:?}");
}

#[test]
fn a_connection_of_another_program_is_left_alone_and_waited_for() {
    let play = play(15);
    play.platform.fault(Place::XStream, Fault::TooManyConnections);
    let mut running = play.start();
    running.wait_for("the message", |report| {
        report.to_string().contains("allows this app no second connection")
    });
    running.terminate();
    running.end().with(0);
    assert_eq!(play.platform.requests().at(Place::XStream).len(), 1);
    assert!(play.platform.requests().at(Place::XConnections).0.is_empty());
}

#[test]
fn two_spouts_of_one_token_share_its_connection() {
    let play = play(16);
    let token = play.platform.token(Kind::Tweet);
    let spout = format!(
        "Spout(run: X(topics: [\"#storm\"], bearer_token: Env(\"X_BEARER_TOKEN\"), base_url: \"{}\"))",
        play.platform.url()
    );
    let text = format!(
        "Topology(name: \"two\", spouts: {{\"a\": {spout}, \"b\": {spout}}},
            bolts: {{\"lake\": Bolt(run: Local(root: \"lake\"), inputs: [Shuffle(\"a\"), Shuffle(\"b\")])}})"
    );
    play.sandbox.write("two.ron", text);
    let mut running = play.sandbox.start_with(&["run", "two.ron"], &[("X_BEARER_TOKEN", &token)]);
    play.wait_for_stream(1);
    running.wait_for("the other's state", |report| {
        report.to_string().contains("waits for the app's connection")
    });
    running.terminate();
    running.end().with(0);
    assert_eq!(play.platform.requests().at(Place::XStream).len(), 1);
}

#[test]
fn bad_weather_with_kills_in_between_loses_nothing() {
    let mut play = play(18);
    play.set("expansions=[\"author_id\"]");
    let more = (2_000, Duration::from_secs(900));
    play.platform.set(|settings| {
        settings.limits.extend([
            (Place::XStream, more),
            (Place::XRecent, more),
            (Place::XRules, more),
        ]);
    });
    let moment = Duration::from_millis(20);
    let faults = vec![
        Fault::CutLine,
        Fault::CutCharacter,
        Fault::Reset,
        Fault::Close,
        Fault::Duplicate,
        Fault::Duplicate,
        Fault::Reorder,
        Fault::Reorder,
        Fault::Disconnect,
        Fault::Partial,
        Fault::Dribble(Duration::from_micros(100)),
        Fault::Refuse,
        Fault::Slow(moment),
        Fault::Stall(moment),
    ];
    let places = vec![Place::XStream, Place::XRecent, Place::XRules];
    let mut running = play.streaming(1);
    play.platform.weather(Weather { seed: 18, one_in: 25, faults, places });
    for _ in 0..4 {
        play.platform
            .publish_at_rate(Kind::Tweet, 100, Duration::from_millis(1_500))
            .join()
            .unwrap();
        running.kill();
        running.end();
        running = play.start();
    }
    play.platform.calm();
    let streams = play.streams();
    play.platform.end_streams(Kind::Tweet);
    play.wait_for_stream(streams + 1);
    play.last();
    play.settle(&mut running);
    play.filled(4);
    let (_, checked) = play.end(running, 0);
    assert!(checked.there > 100 && checked.excused == 0, "{checked:?}");
    assert!(play.platform.met().len() > 10, "{:?}", play.platform.met());
}

#[test]
fn an_account_without_a_stream_is_searched() {
    let mut play = play(6);
    play.set("poll=\"1s\"");
    let forbidden = json!({
        "title": "Client Forbidden", "detail": "this account has no filtered stream", "reason": "client-not-enrolled",
        "type": "https://api.x.com/2/problems/client-forbidden",
    });
    play.platform.fault(Place::XStream, Fault::Answer(403, forbidden));
    searched(
        &play,
        &["there is no stream, so X is searched every 1s", "this account has no filtered stream"],
    );
}

#[test]
fn the_search_is_paged_through_in_both_vocabularies() {
    let mut play = play(7);
    play.set("mode=Search");
    play.set("poll=\"1s\"");
    play.platform.set(|settings| (settings.x_new_words, settings.x_post_fields) = (true, true));
    searched(&play, &["`vocabulary: Post` in the configuration"]);
    assert_eq!(play.streams(), 0);
    assert_eq!(play.platform.with(|inner| inner.rules.list.len()), 0);
}

/// Captures by search: with pages, a kill amid them, and trouble.
fn searched(play: &Play, says: &[&str]) {
    let mut running = play.start();
    play.platform.wait_for(Place::XRecent, 3);
    play.platform.publish(Kind::Tweet, 600);
    let pages = |platform: &Platform| {
        platform
            .requests()
            .at(Place::XRecent)
            .0
            .iter()
            .filter(|s| s.query("next_token").is_some())
            .count()
    };
    play.platform.fault(Place::XRecent, Fault::Status(503));
    play.platform.fault(Place::XRecent, Fault::Partial);
    play.platform.wait_until("second page", |inner| {
        inner
            .log
            .iter()
            .any(|seen| seen.place == Place::XRecent && seen.query("next_token").is_some())
    });
    // Messages are written once a second.
    let told = RefCell::new(String::new());
    running.wait_for("its messages", |report| {
        told.borrow_mut().push_str(report["message"].as_str().unwrap_or_default());
        says.iter().all(|text| told.borrow().contains(text))
    });
    running.kill();
    running.end();
    if let Some((place, forbidden)) =
        play.platform.met().into_iter().find(|(place, _)| *place == Place::XStream)
    {
        play.platform.fault(place, forbidden);
    }
    let running = play.start();
    play.last();
    let asked = play.platform.requests().at(Place::XRecent).len();
    play.platform.wait_for(Place::XRecent, asked + 2 * TOPICS.len());
    let (_, checked) = play.end(running, 0);
    assert!(
        checked.there > 100 && checked.excused == 0 && pages(&play.platform) > 1,
        "{checked:?}"
    );
    let found = play.lake();
    assert!(
        found.iter().all(|post| post.pointer("/tweet/matching_rules/0/tag").is_some()),
        "{:?}",
        found.first()
    );
}

#[test]
fn a_token_that_is_good_no_more_stops_with_what_to_do() {
    let play = play(8);
    let running = play.streaming(1);
    play.platform.revoke(Kind::Tweet);
    let ended = running.end();
    assert_ne!(ended.code, Some(0));
    play.platform.assert_hidden(&ended.err);
    ended.says(&["X refused the bearer token"]);
}

#[test]
fn a_usage_cap_stops_with_what_to_do() {
    let play = play(9);
    let capped = json!({
        "title": "UsageCapExceeded", "detail": "Usage cap exceeded: Monthly product cap", "period": "Monthly",
        "scope": "Product", "type": "https://api.x.com/2/problems/usage-capped",
    });
    play.platform.fault(Place::XStream, Fault::Answer(429, capped));
    let ended = play.start().end();
    assert_ne!(ended.code, Some(0));
    ended.says(&["X's usage cap (monthly, product) is reached"]);
}

#[test]
fn requests_wait_for_the_end_of_a_rate_window() {
    let play = play(10);
    play.platform.fault(Place::XStream, Fault::RateLimited(Duration::from_secs(3)));
    let mut running = play.start();
    running.wait_for("the state", |report| report.to_string().contains("429 until"));
    play.platform.wait_for(Place::XStream, 2);
    let pauses = play.platform.requests().at(Place::XStream).pauses();
    assert!(pauses.iter().all(|pause| *pause >= Duration::from_secs(2)), "{pauses:?}");
    play.last();
    play.end(running, 0);
}

#[test]
fn a_budget_is_not_exceeded() {
    let mut play = play(11);
    play.sets.retain(|set| !set.contains("budget"));
    play.set("budget=Budget(posts: 400, per: \"1d\")");
    let running = play.streaming(1);
    // Half of X's full rate at the most: what is on its way then is less than what is held back.
    for _ in 0..500 {
        play.platform.publish_at_rate(Kind::Tweet, 200, Duration::from_millis(100)).join().unwrap();
        if play.platform.with(|inner| inner.streams.open()) == 0 {
            break;
        }
    }
    play.platform.wait_until("end of the stream", |inner| inner.streams.open() == 0);
    running.terminate();
    running.end().with(0);
    let offers: usize =
        play.platform.with(|inner| inner.world.items.iter().map(|item| item.offers.len()).sum());
    assert!((300..=400).contains(&offers), "{offers} posts were read");
    // A restart knows what was spent.
    let mut running = play.start();
    running.wait_for("the state", |report| report.to_string().contains("budget used until"));
    running.terminate();
    running.end().with(0);
    let after: usize =
        play.platform.with(|inner| inner.world.items.iter().map(|item| item.offers.len()).sum());
    assert_eq!(after, offers);
}

#[test]
fn gaps_are_filled_within_the_budget() {
    let mut play = play(19);
    play.sets.retain(|set| !set.contains("budget"));
    play.set("budget=Budget(posts: 45, per: \"1d\")");
    let mut running = play.streaming(1);
    for _ in 0..10 {
        let last = play.platform.publish_text(Kind::Tweet, "a #storm that was heard", 3);
        play.platform.wait_offered(&[last]);
    }
    play.settle(&mut running);
    running.terminate();
    running.end().with(0);
    for _ in 0..60 {
        play.platform.publish_text(Kind::Tweet, "a #storm that nobody heard", 3);
    }
    let mut running = play.streaming(1);
    running.wait_for("the state", |report| report.to_string().contains("budget used until"));
    let (ended, checked) = play.end(running, 0);
    let asked = play.platform.requests().at(Place::XRecent);
    let sizes: Vec<u64> =
        asked.0.iter().map(|seen| seen.query("max_results").unwrap().parse().unwrap()).collect();
    assert!(sizes.iter().all(|size| (10..=35).contains(size)), "{sizes:?}");
    let offers: usize =
        play.platform.with(|inner| inner.world.items.iter().map(|item| item.offers.len()).sum());
    assert!((20..=45).contains(&offers), "{offers} posts were read");
    assert!(checked.excused > 0, "what was not read is in the ledger: {checked:?}");
    ended.says(&["may be missing"]);
}

#[test]
fn what_the_stream_itself_repeats_is_not_searched_for() {
    let mut play = play(20);
    play.platform.set(|settings| settings.x_backfill = true);
    play.set("backfill_minutes=2");
    let mut running = play.streaming(1);
    let first = play.platform.publish_text(Kind::Tweet, "the first #storm", 3);
    play.platform.wait_offered(&[first]);
    play.settle(&mut running);
    running.kill();
    running.end();
    play.platform.publish(Kind::Tweet, 50);
    let running = play.streaming(1);
    // What is newer says that the gap has been repeated; so it has to come behind that.
    play.noted(1);
    play.last();
    play.filled(1);
    let (_, checked) = play.end(running, 0);
    assert!(checked.there > 5 && checked.excused == 0, "{checked:?}");
    assert!(play.platform.requests().at(Place::XRecent).0.is_empty());
    assert_eq!(
        play.platform.requests().at(Place::XStream).0[1].query("backfill_minutes"),
        Some("1")
    );
}

#[test]
fn an_account_that_is_repeated_nothing_goes_on_without() {
    let mut play = play(21);
    play.set("backfill_minutes=2");
    let running = play.streaming(1);
    running.kill();
    running.end();
    play.platform.publish(Kind::Tweet, 50);
    let mut running = play.streaming(1);
    play.settle(&mut running);
    play.filled(1);
    let (ended, checked) = play.end(running, 0);
    assert_eq!(checked.excused, 0, "{checked:?}");
    ended.says(&["so the option is ignored"]);
}

#[test]
fn counts_are_read_again() {
    let mut play = play(12);
    play.set("refresh=[\"1s\"]");
    let running = play.streaming(1);
    play.platform.publish(Kind::Tweet, 30);
    play.last();
    play.platform.heat(Kind::Tweet, 7);
    play.platform.wait_for(Place::XLookup, 1);
    let lookups = play.platform.requests().at(Place::XLookup);
    let ids =
        lookups.0.iter().filter_map(|seen| seen.query("ids")).map(|ids| ids.split(',').count());
    assert!(ids.clone().all(|ids| ids <= 100));
    let (_, checked) = play.end(running, 0);
    assert!(checked.counts > 0 && checked.excused == 0, "{checked:?}");
}

#[test]
fn validate_asks_x_once_and_reads_no_post() {
    let play = play(13);
    let ended = play.run(&["validate", "--online"]).with(0);
    assert!(
        format!("{}{}", ended.out, ended.err).contains("the rules of all 3 topics"),
        "{}{}",
        ended.out,
        ended.err
    );
    assert_eq!(play.platform.requests().len(), 1);
    assert_eq!(play.platform.with(|inner| inner.rules.list.len()), 0);
    let arguments = play.arguments(&["validate", "--online"]);
    let ended = play.sandbox.run_with(&arguments, &[("X_BEARER_TOKEN", "wrong")]);
    assert_ne!(ended.code, Some(0));
    assert!(
        format!("{}{}", ended.out, ended.err).contains("X refused the bearer token"),
        "{}{}",
        ended.out,
        ended.err
    );
}

/// All kinds of requests that there are, by a program that was killed in between.
fn everything_asked(vocabulary: &str, new: bool) -> Platform {
    let mut play = play(17);
    play.platform.set(|settings| {
        (settings.x_held, settings.x_post_fields) = (Duration::from_secs(3_600), new)
    });
    play.platform.with(|inner| drop(inner.rules.add("dogs", Some("waterspout:dogs"))));
    play.set("other_rules=Remove");
    play.set(&format!("vocabulary={vocabulary}"));
    play.set("refresh=[\"1s\"]");
    play.set("expansions=[\"author_id\", \"referenced_tweets.id\", \"attachments.media_keys\"]");
    play.set("user_fields=[\"username\", \"public_metrics\"]");
    play.set("media_fields=[\"url\"]");
    let running = play.streaming(1);
    play.last();
    running.kill();
    running.end();
    (0..120).for_each(|_| {
        play.platform.publish_text(Kind::Tweet, "a #storm that nobody heard", 3);
    });
    let mut running = play.streaming(1);
    play.settle(&mut running);
    play.filled(1);
    play.platform.wait_for(Place::XLookup, 1);
    play.end(running, 0);
    play.platform
}

fn conforms(test: &str, spec: &str, vocabulary: &str, new: bool) {
    let Some(specs) = prism::specs(test) else { return };
    let platform = everything_asked(vocabulary, new);
    let requests = platform.requests().of(Kind::Tweet);
    for place in [
        Place::XStream,
        Place::XRules,
        Place::XRulesChange,
        Place::XRecent,
        Place::XLookup,
        Place::XConnections,
    ] {
        assert!(requests.at(place).len() > 0, "{place:?} was not asked");
    }
    Prism::mock(&specs.join(spec)).assert_conforms(&requests);
}

#[test]
fn requests_are_as_the_older_specification_has_them() {
    let test = "requests_are_as_the_older_specification_has_them";
    conforms(test, "x-api-v2.159.openapi.json", "Tweet", false);
}

#[test]
fn requests_are_as_the_newer_specification_has_them() {
    let test = "requests_are_as_the_newer_specification_has_them";
    conforms(test, "x-api-v2.167.openapi.json", "Post", true);
}
