//! The meaning of an instance's answers.

use std::time::Duration;

use time::OffsetDateTime;

use crate::net::answer::Meaning;
use crate::post::fields::{date, get, string};
use crate::social::Reply;

/// The wait at a rate limit that comes without a time, and the longest one: the limit's window is 5
/// minutes.
const WAIT: Duration = Duration::from_secs(60);
const WAIT_MAX: Duration = Duration::from_secs(15 * 60);

/// The shortest wait: an instance whose clock is behind names a reset that has passed.
const WAIT_MIN: Duration = Duration::from_secs(2);

/// The consequence of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Take the answer.
    Good,
    /// Ask again at this time.
    Wait(OffsetDateTime),
    /// Ask again some time later.
    Again(String),
    /// The token is refused: stop.
    Token(String),
    /// The request is refused for good.
    Refused(String),
}

/// Decides by status, headers and body.
pub(super) fn decide(reply: &Reply, now: OffsetDateTime) -> Answer {
    let why = || format!("it answered {} {}", reply.status, error(&reply.body)).trim().to_owned();
    match reply.status {
        200..300 => Answer::Good,
        401 => Answer::Token(why()),
        422 if is_about_the_token(&error(&reply.body)) => Answer::Token(why()),
        // A 403 without an error's text comes from something in front of the instance, which may
        // let the next request pass.
        403 if error(&reply.body).is_empty() => Answer::Again(why()),
        403 => Answer::Token(why()),
        429 => Answer::Wait(resets(reply, now)),
        status if Meaning::of_status(status).may_pass() => Answer::Again(why()),
        _ => Answer::Refused(why()),
    }
}

/// Returns true if an error says that the token is the wrong one: Mastodon answers 422 to the token
/// of an application, which has no user ("This method requires an authenticated user").
pub(super) fn is_about_the_token(error: &str) -> bool {
    let error = error.to_lowercase();
    error.contains("authenticated user")
        || error.contains("access token")
        || error.contains("scope")
}

/// Returns the time from which requests are allowed again. The header `x-ratelimit-reset` has a
/// date and not a number.
pub(super) fn resets(reply: &Reply, now: OffsetDateTime) -> OffsetDateTime {
    let after = reply
        .header("retry-after")
        .and_then(|text| text.trim().parse().ok())
        .map(Duration::from_secs);
    let reset = reply.header("x-ratelimit-reset").and_then(|text| date(text.trim()));
    let reset =
        reset.or_else(|| after.map(|after| now + after.min(WAIT_MAX))).unwrap_or(now + WAIT);
    reset.clamp(now + WAIT_MIN, now + WAIT_MAX)
}

/// Returns true if this is the last answer before the reset.
pub(super) fn is_last(reply: &Reply) -> bool {
    reply.header("x-ratelimit-remaining").and_then(|text| text.trim().parse::<u64>().ok())
        == Some(0)
}

/// Returns an answer's text on the error, at most 300 characters of it.
fn error(body: &[u8]) -> String {
    let texts = ["error", "error_description"].map(|key| get(body, key).and_then(string));
    let texts: Vec<_> = texts.into_iter().flatten().collect();
    texts.join(": ").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-25 12:00:00 UTC);

    fn reply(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> Reply {
        let mut reply = Reply {
            status,
            headers: Default::default(),
            body: Bytes::from_static(body.as_bytes()),
        };
        for (name, value) in headers {
            reply.headers.insert(*name, value.parse().unwrap());
        }
        reply
    }

    #[track_caller]
    fn check(
        status: u16,
        headers: &[(&'static str, &'static str)],
        body: &'static str,
        expected: Answer,
    ) {
        assert_eq!(decide(&reply(status, headers, body), NOW), expected);
    }

    #[test]
    fn a_rate_limit_ends_when_the_header_says_so() {
        let at = |header| [("x-ratelimit-reset", header)];
        check(
            429,
            &at("2026-11-25T12:03:20.000Z"),
            "",
            Answer::Wait(datetime!(2026-11-25 12:03:20 UTC)),
        );
        check(429, &at("2026-11-25T11:00:00.000Z"), "", Answer::Wait(NOW + WAIT_MIN));
        check(429, &at("2036-11-25T11:00:00.000Z"), "", Answer::Wait(NOW + WAIT_MAX));
        check(429, &at("1764072200"), "", Answer::Wait(NOW + WAIT));
        check(429, &[("retry-after", "7")], "", Answer::Wait(NOW + Duration::from_secs(7)));
        check(429, &[], r#"{"error":"Too many requests"}"#, Answer::Wait(NOW + WAIT));
        assert!(is_last(&reply(200, &[("x-ratelimit-remaining", "0")], "")));
        assert!(!is_last(&reply(200, &[("x-ratelimit-remaining", "12")], "")));
    }

    #[test]
    fn the_rest_goes_by_status() {
        check(200, &[], "[]", Answer::Good);
        let body = r#"{"error":"The access token is invalid","error_description":"more"}"#;
        check(
            401,
            &[],
            body,
            Answer::Token("it answered 401 The access token is invalid: more".into()),
        );
        check(403, &[], r#"{"error":"outside"}"#, Answer::Token("it answered 403 outside".into()));
        check(403, &[], "<html>", Answer::Again("it answered 403".into()));
        check(503, &[], "<html>", Answer::Again("it answered 503".into()));
        let body = r#"{"error":"This method requires an authenticated user"}"#;
        check(
            422,
            &[],
            body,
            Answer::Token("it answered 422 This method requires an authenticated user".into()),
        );
        check(404, &[], "", Answer::Refused("it answered 404".into()));
        check(422, &[], r#"{"error":7}"#, Answer::Refused("it answered 422".into()));
    }
}
