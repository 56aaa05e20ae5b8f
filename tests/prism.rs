//! Prism, and the fake platforms against the specifications: the fakes' answers are as those have
//! it.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use support::platform::{Kind, Platform, Requests};
use support::prism::{self, Prism};

/// Asks the fake something; what it says is of no interest here.
fn ask(platform: &Platform, kind: Kind, method: &str, path: &str, body: &str) {
    let mut stream = TcpStream::connect(platform.url().trim_start_matches("http://")).unwrap();
    let token = platform.token(kind);
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: fake\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    // The first bytes: some answers have no end.
    stream.read_exact(&mut [0; 12]).unwrap();
}

/// The fake with something to give, and the requests that `paths` are.
fn asked(kind: Kind, paths: &[&str]) -> (Platform, Requests) {
    let platform = Platform::start(5);
    platform.topics(&["#storm", "rust lang"]);
    platform.history(kind, 40, 3600);
    platform.with(|inner| drop(inner.rules.add("#storm", Some("storm"))));
    for path in paths {
        ask(&platform, kind, "GET", path, "");
    }
    let requests = platform.requests();
    (platform, requests)
}

const X: &str = "x-api-v2.159.openapi.json";

#[test]
fn a_request_that_is_not_as_the_specification_has_it_is_found() {
    let Some(specs) = prism::specs("a_request_that_is_not_as_the_specification_has_it_is_found")
    else {
        return;
    };
    let prism = Prism::mock(&specs.join(X));
    let good = "/2/tweets/search/recent?query=%23storm&max_results=100&tweet.fields=created_at,lang&start_time=2026-01-01T00:00:00Z";
    let bad = [
        "/2/tweets/search/recent?query=%23storm&max_results=1000",
        "/2/tweets/search/recent?max_results=100",
        "/2/tweets/search/recent?query=a&tweet.fields=nonsense",
        "/2/tweets/search/recent?query=a&limit=10",
        "/2/tweets/search/ancient?query=a",
        "/2/tweets/search/stream?backfill_minutes=9",
    ];
    let (_platform, requests) = asked(Kind::Tweet, &[&[good], &bad[..]].concat());
    prism.assert_conforms(&Requests(requests.0[..1].to_vec()));
    for (seen, path) in requests.0[1..].iter().zip(bad) {
        let violations = prism.violations(&Requests(vec![seen.clone()]));
        assert!(!violations.is_empty(), "{path}");
    }
}

/// Returns Prism's complaints about the answers to these requests.
fn wrong_answers(test: &str, spec: &str, kind: Kind, paths: &[&str]) -> Vec<String> {
    let Some(specs) = prism::specs(test) else { return vec![] };
    let (platform, requests) = asked(kind, paths);
    let prism = Prism::proxy(&specs.join(spec), &platform.url());
    let token = platform.token(kind);
    let mut wrong = Vec::new();
    for seen in &requests.0 {
        // The log has no secrets, and the fake wants one.
        let mut seen = seen.clone();
        seen.headers
            .iter_mut()
            .for_each(|(_, value)| *value = value.replace(support::platform::SECRET, &token));
        seen.query
            .iter_mut()
            .for_each(|(_, value)| *value = value.replace(support::platform::SECRET, &token));
        wrong.extend(
            prism
                .said_of(&seen, "response")
                .into_iter()
                .map(|said| format!("{}: {said}", seen.path)),
        );
    }
    wrong
}

#[test]
fn the_fake_x_answers_as_its_specification_has_it() {
    let fields = "tweet.fields=created_at,lang,author_id,entities,public_metrics,referenced_tweets,note_tweet,context_annotations,\
                  edit_controls,attachments,conversation_id,display_text_range,possibly_sensitive,reply_settings&\
                  expansions=author_id,referenced_tweets.id,attachments.media_keys&user.fields=created_at,public_metrics,verified,description,location&\
                  media.fields=url,width,height";
    let paths = [
        &format!("/2/tweets/search/recent?query=%23storm&max_results=100&{fields}"),
        &format!("/2/tweets?ids=17&{fields}"),
        "/2/tweets/search/stream/rules",
        "/2/connections",
    ];
    // Problems aren't among them: Prism holds them against the schema of `application/json`, which
    // isn't theirs.
    let wrong =
        wrong_answers("the_fake_x_answers_as_its_specification_has_it", X, Kind::Tweet, &paths);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_fake_youtube_answers_as_its_specification_has_it() {
    let paths = [
        "/youtube/v3/search?part=snippet&type=video&order=date&q=%23storm",
        "/youtube/v3/channels?part=snippet,contentDetails,statistics&forHandle=@watcher_4",
        "/youtube/v3/playlistItems?part=snippet,contentDetails&playlistId=UUfake000000000000000004",
    ];
    let wrong = wrong_answers(
        "the_fake_youtube_answers_as_its_specification_has_it",
        "youtube.v3.openapi.json",
        Kind::Video,
        &paths,
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_fake_mastodon_answers_as_its_specification_has_it() {
    let paths = [
        "/api/v1/timelines/public?limit=5",
        "/api/v1/timelines/tag/storm?min_id=1",
        "/api/v2/instance",
        "/api/v1/streaming/health",
    ];
    let wrong = wrong_answers(
        "the_fake_mastodon_answers_as_its_specification_has_it",
        "mastodon.openapi.json",
        Kind::Toot,
        &paths,
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
