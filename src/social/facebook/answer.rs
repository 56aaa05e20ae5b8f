//! The meaning of Facebook's answers, by the error's code, since the HTTP status isn't reliable.

use std::time::Duration;

use crate::net::answer::Meaning;
use crate::post::fields::{get, id_text, pick, string};
use crate::social::{Reply, is_whole};

/// The wait at a limit that comes without a time.
const REGAIN: Duration = Duration::from_secs(300);

/// The longest wait that a header is believed: limits last a day at most.
const REGAIN_MAX: Duration = Duration::from_secs(24 * 3600);

/// The percentage of a limit from which on reads get rarer.
const SLOW_FROM: u64 = 90;

/// The subcode of a token whose user has no role on the page; other pages may be readable.
const NO_ROLE: u32 = 492;

/// The meaning of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The answer has the requested data.
    Good,
    /// A limit is reached: wait for this time.
    Limited(Duration),
    /// The request was too large: ask for fewer posts.
    TooMuch,
    /// Try again later.
    Busy(String),
    /// The requested object doesn't exist (any more), or can't be seen with this token.
    Missing(String),
    /// Facebook refuses a parameter: that may be a cursor whose post was deleted.
    Refused(String),
    /// The token may not read the requested object; it may read other pages.
    Forbidden(String),
    /// Only a person can help: the reason, and what to do.
    Stop(String),
}

/// Parses an answer. An answer that isn't whole JSON was cut on its way.
pub(super) fn answer(reply: &Reply) -> Answer {
    let Some(error) = get(&reply.body, "error") else {
        return match (reply.is_ok(), is_whole(&reply.body)) {
            (true, true) => Answer::Good,
            (true, false) => Answer::Busy("the answer was cut".into()),
            (false, _) => by_status(reply.status),
        };
    };
    let [message, code, subcode, transient] =
        pick(error, ["message", "code", "error_subcode", "is_transient"]);
    let message = message.and_then(string).unwrap_or_default();
    let number =
        |value: Option<&[u8]>| value.and_then(id_text).and_then(|text| text.parse::<u32>().ok());
    let (code, subcode) = (number(code).unwrap_or(0), number(subcode).unwrap_or(0));
    let said = format!("{message} (code {code})");
    match code {
        1 if message.contains("reduce the amount of data") => Answer::TooMuch,
        1 | 2 => Answer::Busy(said),
        4 | 17 | 32 | 341 | 613 | 80_000..=80_014 => {
            Answer::Limited(usage(reply).wait.unwrap_or(REGAIN))
        }
        190 if subcode == NO_ROLE => {
            Answer::Forbidden(format!("{said}: the token's user has no role on the page"))
        }
        190 => {
            Answer::Stop(format!("Facebook refuses the token, {said}: {}", about_token(subcode)))
        }
        10 | 200..=299 => Answer::Forbidden(format!(
            "the token may not read it, {said}: grant it pages_read_engagement and pages_read_user_content, or \
             \"Page Public Content Access\""
        )),
        100 if message.contains("app secret proof") => {
            Answer::Stop(format!("{said}: set app_secret"))
        }
        803 => Answer::Missing(said),
        100 if subcode == 33 => Answer::Missing(said),
        100 => Answer::Refused(said),
        // The page has another id now, and the message names it.
        21 => Answer::Forbidden(format!("{said}: put the new id into the topics")),
        368 => Answer::Stop(format!("Facebook has blocked this for its policies, {said}")),
        _ if transient == Some(b"true") => Answer::Busy(said),
        0 if Meaning::of_status(reply.status).may_pass() => Answer::Busy(said),
        _ => Answer::Stop(format!("Facebook refuses the request, {said}")),
    }
}

/// Parses an answer without an error of Facebook: it comes from something in front of Facebook, so
/// a 404 doesn't say that a post is gone.
fn by_status(status: u16) -> Answer {
    match Meaning::of_status(status) {
        Meaning::Unchanged => Answer::Busy(format!("HTTP {status}")),
        meaning if meaning.may_pass() => Answer::Busy(format!("HTTP {status}")),
        _ => Answer::Forbidden(format!(
            "HTTP {status} without an error of Facebook: is `base_url` right?"
        )),
    }
}

fn about_token(subcode: u32) -> &'static str {
    match subcode {
        458 => "its user has removed the app; let them log in again",
        459 | 464 => "its user has to confirm the account on facebook.com",
        460 => "its user has changed the password; make a new one",
        463 => "it has expired; make a new one, preferably a system user's",
        _ => "make a new one, and set it in the environment",
    }
}

/// The use of the limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// The largest of all percentages.
    pub percent: u64,
    /// The time for which nothing may be requested, if a limit is reached.
    pub wait: Option<Duration>,
}

impl Usage {
    /// Returns the factor by which reads get rarer: 1 while enough is left, then 2 to 16.
    pub(crate) fn stretch(self) -> u32 {
        if self.percent < SLOW_FROM {
            1
        } else {
            2 << ((self.percent.min(100) - SLOW_FROM) / 3).min(3) as u32
        }
    }
}

/// Reads the headers of limits. Those of pages and system users take precedence over the app's.
pub(super) fn usage(reply: &Reply) -> Usage {
    let business = reply.header("x-business-use-case-usage").map(|text| worst(text.as_bytes()));
    let app = reply
        .header("x-app-usage")
        .or_else(|| reply.header("x-page-usage"))
        .map(|text| worst(text.as_bytes()));
    let (percent, minutes) = business.or(app).unwrap_or_default();
    let wait = match minutes {
        0 if percent >= 100 => Some(REGAIN),
        0 => None,
        minutes => Some(Duration::from_secs(minutes.saturating_mul(60)).min(REGAIN_MAX)),
    };
    Usage { percent, wait }
}

/// Returns the largest percentage in a header, and the minutes until access is regained.
fn worst(json: &[u8]) -> (u64, u64) {
    fn walk(value: &serde_json::Value, worst: &mut (u64, u64)) {
        match value {
            serde_json::Value::Object(members) => {
                for (key, value) in members {
                    match (key.as_str(), value.as_f64()) {
                        ("call_count" | "total_time" | "total_cputime", Some(percent)) => {
                            worst.0 = worst.0.max(percent as u64)
                        }
                        ("estimated_time_to_regain_access", Some(minutes)) => {
                            worst.1 = worst.1.max(minutes as u64)
                        }
                        _ => walk(value, worst),
                    }
                }
            }
            serde_json::Value::Array(elements) => {
                elements.iter().for_each(|value| walk(value, worst))
            }
            _ => {}
        }
    }
    let mut worst = (0, 0);
    if let Ok(value) = serde_json::from_slice(json) {
        walk(&value, &mut worst);
    }
    worst
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn reply(status: u16, error: &str, headers: &[(&'static str, &str)]) -> Reply {
        let mut reply = Reply {
            status,
            headers: Default::default(),
            body: Bytes::from(format!(r#"{{"error":{error}}}"#)),
        };
        headers
            .iter()
            .for_each(|(name, value)| drop(reply.headers.insert(*name, value.parse().unwrap())));
        reply
    }

    #[test]
    fn the_code_counts_and_not_the_status() {
        let of = |status, error: &str| answer(&reply(status, error, &[]));
        assert_eq!(
            of(403, r#"{"code":4,"message":"Application request limit reached"}"#),
            Answer::Limited(REGAIN)
        );
        assert_eq!(
            of(
                500,
                r#"{"code":1,"message":"Please reduce the amount of data you're asking for, then retry"}"#
            ),
            Answer::TooMuch
        );
        assert!(matches!(of(400, r#"{"code":2,"message":"m"}"#), Answer::Busy(_)));
        assert!(
            matches!(of(400, r#"{"code":190,"error_subcode":463,"message":"m"}"#), Answer::Stop(why) if why.contains("expired"))
        );
        assert!(
            matches!(of(403, r#"{"code":200,"message":"m"}"#), Answer::Forbidden(why) if why.contains("pages_read_engagement"))
        );
        assert!(matches!(of(403, r#"{"code":10,"message":"m"}"#), Answer::Forbidden(_)));
        assert!(matches!(
            of(400, r#"{"code":21,"message":"Page ID 1 was migrated to page ID 2"}"#),
            Answer::Forbidden(_)
        ));
        assert!(matches!(
            of(401, r#"{"code":190,"error_subcode":492,"message":"m"}"#),
            Answer::Forbidden(_)
        ));
        assert!(matches!(
            of(401, r#"{"code":190,"error_subcode":467,"message":"m"}"#),
            Answer::Stop(_)
        ));
        assert!(
            matches!(of(400, r#"{"code":100,"message":"requires either app secret proof or an app token"}"#), Answer::Stop(why) if why.contains("app_secret"))
        );
        assert!(matches!(
            of(400, r#"{"code":9,"is_transient":true,"message":"m"}"#),
            Answer::Busy(_)
        ));
        assert!(matches!(of(503, "{}"), Answer::Busy(_)));
        for status in [302, 304, 307, 408, 425, 429, 500, 503, 599] {
            assert!(matches!(answer(&reply(status, "<html>", &[])), Answer::Busy(_)), "{status}");
        }
        for status in [301, 308, 400, 401, 403, 404, 410, 405, 413, 501] {
            assert!(
                matches!(answer(&reply(status, "<html>", &[])), Answer::Forbidden(_)),
                "{status}"
            );
        }
        assert!(matches!(of(404, r#"{"code":803,"message":"m"}"#), Answer::Missing(_)));
        assert!(matches!(
            of(400, r#"{"code":100,"error_subcode":33,"message":"m"}"#),
            Answer::Missing(_)
        ));
        assert!(matches!(
            of(400, r#"{"code":100,"message":"(#100) Invalid cursor"}"#),
            Answer::Refused(_)
        ));
        let cut = Reply {
            status: 200,
            headers: Default::default(),
            body: Bytes::from_static(br#"{"data":[{"id":"1"#),
        };
        assert!(matches!(answer(&cut), Answer::Busy(_)));
    }

    #[test]
    fn headers_say_how_much_is_used_and_how_long_to_wait() {
        let app = r#"{"call_count":28,"total_time":91,"total_cputime":25}"#;
        let found = usage(&reply(200, "0", &[("x-app-usage", app)]));
        assert_eq!((found, found.stretch()), (Usage { percent: 91, wait: None }, 2));
        let business = r#"{"12":[{"type":"pages","call_count":100,"total_cputime":3,"total_time":1,"estimated_time_to_regain_access":7}]}"#;
        let found = usage(&reply(
            200,
            "0",
            &[("x-app-usage", app), ("x-business-use-case-usage", business)],
        ));
        assert_eq!(found, Usage { percent: 100, wait: Some(Duration::from_secs(420)) });
        assert_eq!(
            answer(&reply(
                403,
                r#"{"code":32,"message":"m"}"#,
                &[("x-business-use-case-usage", business)]
            )),
            Answer::Limited(Duration::from_secs(420))
        );
        assert_eq!(usage(&reply(200, "0", &[("x-app-usage", "not json")])), Usage::default());
        for minutes in ["9999999999999999999", "1e300", "18446744073709551615"] {
            let far = business.replace(":7}", &format!(":{minutes}}}"));
            let found = usage(&reply(200, "0", &[("x-business-use-case-usage", &far)]));
            assert_eq!(found.wait, Some(REGAIN_MAX), "{minutes}");
        }
        let stretched = [0, 89, 90, 92, 93, 96, 99, 100, 250]
            .map(|percent| Usage { percent, wait: None }.stretch());
        assert_eq!(stretched, [1, 1, 2, 2, 4, 8, 16, 16, 16]);
    }
}
