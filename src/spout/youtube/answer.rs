//! What an answer of YouTube means: by its reason, since the status says little.

use crate::net::answer::Meaning;
use crate::post::fields::{elements, get, pick, string};
use crate::social::{Reply, is_whole};

/// What to do about an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is what was asked for.
    Good,
    /// Nothing has changed since the answer whose etag was sent.
    Same,
    /// The day's quota is used up.
    DayUsed,
    /// Too fast, or busy: try again later.
    Busy(String),
    /// The page isn't there: what it belonged to has to begin anew.
    NoSuchPage,
    /// There is no such channel or playlist (any more).
    Missing(String),
    /// Nothing helps but a person: why, and what to do.
    Stop(String),
}

/// Reads an answer. One that isn't whole JSON was cut on its way.
pub(super) fn answer(reply: &Reply) -> Answer {
    if reply.status == 304 {
        return Answer::Same;
    }
    if reply.is_ok() {
        return if is_whole(&reply.body) { Answer::Good } else { Answer::Busy("the answer was cut".into()) };
    }
    let error = get(&reply.body, "error").unwrap_or_default();
    let [message, errors] = pick(error, ["message", "errors"]);
    let reason = elements(errors.unwrap_or_default())
        .find_map(|error| get(error, "reason").and_then(string))
        .unwrap_or_default();
    let message = message.and_then(string).unwrap_or_default();
    let said = format!("{reason}: {message} (HTTP {})", reply.status);
    match &*reason {
        "quotaExceeded" | "dailyLimitExceeded" => Answer::DayUsed,
        "rateLimitExceeded" | "userRateLimitExceeded" | "backendError" | "internalError" => Answer::Busy(said),
        "invalidPageToken" => Answer::NoSuchPage,
        "playlistNotFound"
        | "channelNotFound"
        | "videoNotFound"
        | "playlistItemsNotAccessible"
        | "channelClosed"
        | "channelSuspended" => Answer::Missing(said),
        "keyInvalid" | "keyExpired" | "accessNotConfigured" | "ipRefererBlocked" => Answer::Stop(format!(
            "YouTube refuses the key, {said}: make one in the Google Cloud console with the YouTube Data API v3 enabled, and set it in the environment"
        )),
        _ if Meaning::of_status(reply.status).may_pass() => Answer::Busy(said),
        _ => Answer::Stop(format!("YouTube doesn't take the request, {said}")),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn check(status: u16, reason: &str, expected: fn(&Answer) -> bool) {
        let body =
            format!(r#"{{"error":{{"code":{status},"message":"m","errors":[{{"domain":"d","reason":"{reason}"}}]}}}}"#);
        let found = answer(&Reply { status, headers: Default::default(), body: Bytes::from(body) });
        assert!(expected(&found), "{status} {reason}: {found:?}");
    }

    #[test]
    fn the_reason_counts_and_not_the_status() {
        check(403, "quotaExceeded", |answer| *answer == Answer::DayUsed);
        check(403, "rateLimitExceeded", |answer| matches!(answer, Answer::Busy(_)));
        check(429, "rateLimitExceeded", |answer| matches!(answer, Answer::Busy(_)));
        check(400, "keyInvalid", |answer| matches!(answer, Answer::Stop(why) if why.contains("console")));
        check(403, "forbidden", |answer| matches!(answer, Answer::Stop(_)));
        check(400, "invalidPageToken", |answer| *answer == Answer::NoSuchPage);
        check(404, "playlistNotFound", |answer| matches!(answer, Answer::Missing(_)));
        check(503, "whatever", |answer| matches!(answer, Answer::Busy(_)));
        check(307, "", |answer| matches!(answer, Answer::Busy(_)));
        let broken = Reply { status: 502, headers: Default::default(), body: Bytes::from_static(b"<html>") };
        assert!(matches!(answer(&broken), Answer::Busy(_)));
        let cut = Reply { status: 200, headers: Default::default(), body: Bytes::from_static(br#"{"items":[{"id"#) };
        assert!(matches!(answer(&cut), Answer::Busy(_)));
        check(200, "quotaExceeded", |answer| *answer == Answer::Good);
        check(304, "", |answer| *answer == Answer::Same);
    }
}
