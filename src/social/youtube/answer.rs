//! The meaning of YouTube's answers, by their reason, since the status says little.

use crate::net::answer::Meaning;
use crate::post::fields::{elements, get, pick, string};
use crate::social::{Reply, is_whole};

/// The meaning of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The answer has the requested data.
    Good,
    /// Nothing has changed since the answer whose etag was sent.
    Same,
    /// The day's quota is used up.
    DayUsed,
    /// The requests come too fast, or YouTube is busy: try again later.
    Busy(String),
    /// The page doesn't exist: its search or list has to begin again.
    NoSuchPage,
    /// The channel or playlist doesn't exist (any more).
    Missing(String),
    /// YouTube refuses the request; it may accept other channels and topics.
    Refused(String),
    /// Only a person can help: the reason, and what to do.
    Stop(String),
}

/// Parses an answer. An answer that isn't whole JSON was cut on its way.
pub(super) fn answer(reply: &Reply) -> Answer {
    if reply.status == 304 {
        return Answer::Same;
    }
    if reply.is_ok() {
        return if is_whole(&reply.body) {
            Answer::Good
        } else {
            Answer::Busy("the answer was cut".into())
        };
    }
    let error = get(&reply.body, "error").unwrap_or_default();
    let [message, status] =
        pick(error, ["message", "status"]).map(|text| text.and_then(string).unwrap_or_default());
    let mut reasons = reasons(error);
    let said = said(&reasons, &status, &message, reply.status);
    let is_key = |reason: &str| {
        KEY_REASONS.contains(&reason)
            || reason.starts_with("API_KEY_")
            || reason == "SERVICE_DISABLED"
    };
    if reply.status == 401
        || reasons.iter().any(|reason| is_key(reason))
        || message.starts_with("API key")
    {
        return Answer::Stop(format!(
            "YouTube refuses the key, {said}: make one in the Google Cloud console with the YouTube Data API v3 enabled, \
             and set it in the environment"
        ));
    }
    match reasons.pop().unwrap_or_default().as_str() {
        "quotaExceeded" | "dailyLimitExceeded" => Answer::DayUsed,
        "rateLimitExceeded" | "userRateLimitExceeded" | "backendError" | "internalError" => {
            Answer::Busy(said)
        }
        "invalidPageToken" => Answer::NoSuchPage,
        "playlistNotFound"
        | "channelNotFound"
        | "videoNotFound"
        | "playlistItemsNotAccessible"
        | "channelClosed"
        | "channelSuspended" => Answer::Missing(said),
        _ if Meaning::of_status(reply.status).may_pass() => Answer::Busy(said),
        _ => Answer::Refused(said),
    }
}

/// Reasons that concern the key, and so every request with it.
const KEY_REASONS: [&str; 5] =
    ["keyInvalid", "keyExpired", "accessNotConfigured", "ipRefererBlocked", "authError"];

/// Returns the reasons that an error names, the most specific one last. Not every error has a list
/// of `errors`: some have `details` instead, and some neither.
fn reasons(error: &[u8]) -> Vec<String> {
    let mut reasons = Vec::new();
    for list in pick(error, ["details", "errors"]) {
        let named =
            elements(list.unwrap_or_default()).find_map(|one| get(one, "reason").and_then(string));
        reasons.extend(named.map(|reason| reason.into_owned()));
    }
    reasons
}

/// Returns an error's text for a person, without the parts that the error lacks.
fn said(reasons: &[String], status: &str, message: &str, http: u16) -> String {
    let reason = reasons.last().map_or(status, String::as_str);
    match (reason, message) {
        ("", "") => format!("it gave no reason (HTTP {http})"),
        ("", text) | (text, "") => format!("{text} (HTTP {http})"),
        (reason, message) => format!("{reason}: {message} (HTTP {http})"),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn check(status: u16, reason: &str, expected: fn(&Answer) -> bool) {
        let body = format!(
            r#"{{"error":{{"code":{status},"message":"m","errors":[{{"domain":"d","reason":"{reason}"}}]}}}}"#
        );
        let found = answer(&Reply { status, headers: Default::default(), body: Bytes::from(body) });
        assert!(expected(&found), "{status} {reason}: {found:?}");
    }

    #[test]
    fn the_reason_counts_and_not_the_status() {
        check(403, "quotaExceeded", |answer| *answer == Answer::DayUsed);
        check(403, "rateLimitExceeded", |answer| matches!(answer, Answer::Busy(_)));
        check(429, "rateLimitExceeded", |answer| matches!(answer, Answer::Busy(_)));
        check(
            400,
            "keyInvalid",
            |answer| matches!(answer, Answer::Stop(why) if why.contains("console")),
        );
        check(403, "forbidden", |answer| matches!(answer, Answer::Refused(_)));
        check(400, "invalidValue", |answer| matches!(answer, Answer::Refused(_)));
        check(
            401,
            "authError",
            |answer| matches!(answer, Answer::Stop(why) if why.contains("console")),
        );
        check(400, "invalidPageToken", |answer| *answer == Answer::NoSuchPage);
        check(404, "playlistNotFound", |answer| matches!(answer, Answer::Missing(_)));
        check(503, "whatever", |answer| matches!(answer, Answer::Busy(_)));
        check(307, "", |answer| matches!(answer, Answer::Busy(_)));
        let broken =
            Reply { status: 502, headers: Default::default(), body: Bytes::from_static(b"<html>") };
        assert!(matches!(answer(&broken), Answer::Busy(_)));
        let cut = Reply {
            status: 200,
            headers: Default::default(),
            body: Bytes::from_static(br#"{"items":[{"id"#),
        };
        assert!(matches!(answer(&cut), Answer::Busy(_)));
        check(200, "quotaExceeded", |answer| *answer == Answer::Good);
        check(304, "", |answer| *answer == Answer::Same);
    }

    #[test]
    fn an_error_without_a_list_of_errors_says_what_it_has() {
        let of = |status, body: &'static str| {
            answer(&Reply {
                status,
                headers: Default::default(),
                body: Bytes::from_static(body.as_bytes()),
            })
        };
        let said = |answer: Answer| match answer {
            Answer::Stop(why) | Answer::Refused(why) | Answer::Busy(why) => why,
            other => panic!("{other:?}"),
        };
        let unauthenticated = r#"{"error":{"code":401,"message":"Request had invalid credentials.","status":"UNAUTHENTICATED"}}"#;
        let why = said(of(401, unauthenticated));
        let expected = "YouTube refuses the key, UNAUTHENTICATED: Request had invalid credentials. (HTTP 401): make one";
        assert!(why.starts_with(expected), "{why}");
        assert!(
            matches!(of(401, ""), Answer::Stop(why) if why.contains("it gave no reason (HTTP 401)"))
        );
        let details = r#"{"error":{"code":400,"message":"Not valid.","details":[{"reason":"API_KEY_INVALID"}]}}"#;
        assert!(
            matches!(of(400, details), Answer::Stop(why) if why.contains("API_KEY_INVALID: Not valid. (HTTP 400)"))
        );
        let old = r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","errors":[{"reason":"badRequest"}]}}"#;
        assert!(
            matches!(of(400, old), Answer::Stop(why) if why.contains("badRequest: API key not valid"))
        );
        assert_eq!(said(of(403, r#"{"error":{"message":"No."}}"#)), "No. (HTTP 403)");
        assert_eq!(said(of(404, "<html>")), "it gave no reason (HTTP 404)");
        assert_eq!(said(of(503, "")), "it gave no reason (HTTP 503)");
        assert_eq!(
            said(of(400, r#"{"error":{"errors":[{"reason":"invalidFilters"}]}}"#)),
            "invalidFilters (HTTP 400)"
        );
    }
}
