//! The meaning of X's answers. The body counts before the status, since 429 alone has two meanings.

use serde_json::Value;
use time::OffsetDateTime;

use crate::net::answer::Meaning;
use crate::social::Reply;

/// The consequence of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The answer has the requested data.
    Good,
    /// Too many requests: wait until this time, if the answer names one.
    Limited(Option<OffsetDateTime>),
    /// Too many connections: X still holds an earlier one.
    TooManyConnections,
    /// The stream has no rules, or no valid ones.
    NoRules,
    /// The account may not do this.
    Forbidden(String),
    /// The request is wrong.
    Wrong(String),
    /// X has a failure of its own: the same request may work later.
    Again(String),
    /// Only a person can help, by doing what this text says.
    Stop(String),
}

/// A problem that X reports, in any of its forms.
#[derive(Default)]
struct Problem {
    /// The last part of the address of the problem's type.
    name: String,
    title: String,
    detail: String,
    code: Option<i64>,
    body: Value,
}

impl Problem {
    fn of(body: &Value) -> Self {
        // The older form has everything in a list, and some answers have both forms.
        let first = body.get("errors").and_then(|errors| errors.get(0));
        let text = |key: &str| {
            let both = [Some(body), first].into_iter().flatten();
            both.filter_map(|body| body.get(key)?.as_str())
                .find(|text| !text.is_empty())
                .unwrap_or_default()
                .to_owned()
        };
        let kind = text("type");
        let name = kind.rsplit('/').next().unwrap_or_default().to_owned();
        // The list says what is wrong with a request.
        let message = first.and_then(|first| first.get("message")).and_then(Value::as_str);
        let listed = first.and_then(|first| first.get("details")?.get(0)?.as_str());
        let detail = message.or(listed).map_or_else(|| text("detail"), str::to_owned);
        let code = first.and_then(|first| first.get("code")).and_then(Value::as_i64);
        Self {
            name,
            title: text("title"),
            detail,
            code,
            body: first.filter(|_| body.get("type").is_none()).unwrap_or(body).clone(),
        }
    }

    fn field(&self, key: &str) -> &str {
        self.body.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn says(&self) -> String {
        let parts = [self.title.as_str(), self.detail.as_str()];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        if parts.is_empty() { "no reason given".into() } else { parts.join(": ") }
    }
}

/// Returns the meaning of an answer to a request.
pub(super) fn judge(reply: &Reply) -> Verdict {
    let body = serde_json::from_slice::<Value>(&reply.body);
    if reply.is_ok() {
        return match body {
            Ok(Value::Object(_)) => Verdict::Good,
            _ => Verdict::Again("the answer is no JSON object".into()),
        };
    }
    let problem = body.as_ref().map(Problem::of).unwrap_or_default();
    let reset = reply.header("x-rate-limit-reset").and_then(|reset| reset.parse().ok());
    let reset = reset.and_then(|reset| OffsetDateTime::from_unix_timestamp(reset).ok());
    problem_verdict(&problem)
        .unwrap_or_else(|| match reply.status {
            429 => Verdict::Limited(reset),
            401 => Verdict::Stop(
                "X refused the bearer token: give the app-only token of an app that exists, by `bearer_token`".into(),
            ),
            402 => Verdict::Stop(format!("X wants to be paid: {}; buy credits, or lower `budget`", problem.says())),
            403 => Verdict::Forbidden(problem.says()),
            404 => Verdict::Wrong(format!("not found: {}; is `base_url` right?", problem.says())),
            409 => Verdict::NoRules,
            status => by_status(status, &problem),
        })
        .with(reset)
}

fn by_status(status: u16, problem: &Problem) -> Verdict {
    match Meaning::of_status(status) {
        Meaning::MovedForGood => {
            Verdict::Wrong(format!("it answered {status}, a redirect: is `base_url` right?"))
        }
        Meaning::Unchanged => Verdict::Again(format!("status {status}")),
        meaning if meaning.may_pass() => Verdict::Again(format!("status {status}")),
        _ if status < 500 => Verdict::Wrong(problem.says()),
        _ => Verdict::Wrong(format!("it answered {status}: {}", problem.says())),
    }
}

/// Returns the meaning of a line of the stream that reports errors.
pub(super) fn judge_line(line: &[u8]) -> Verdict {
    let Ok(body) = serde_json::from_slice::<Value>(line) else {
        return Verdict::Again("a line is no JSON".into());
    };
    let problem = Problem::of(&body);
    problem_verdict(&problem).unwrap_or_else(|| match problem.field("disconnect_type") {
        "InvalidRules" => Verdict::NoRules,
        "" => Verdict::Again(problem.says()),
        kind => Verdict::Again(format!("{kind}: {}", problem.says())),
    })
}

/// Returns the meaning of a problem that doesn't depend on the status.
fn problem_verdict(problem: &Problem) -> Option<Verdict> {
    let connection = match problem.field("connection_issue") {
        "TooManyConnections" => Some(Verdict::TooManyConnections),
        "RuleConfigurationIssue" | "RulesInvalidIssue" => Some(Verdict::NoRules),
        "ProvisioningSubscription" => Some(Verdict::Forbidden(problem.says())),
        _ => None,
    };
    connection.or_else(|| match (problem.name.as_str(), problem.code) {
        ("usage-capped", _) => Some(Verdict::Stop(capped(problem))),
        ("rule-cap", _) => Some(Verdict::Stop(
            "the app has no room for the rules of all topics: remove topics, delete rules of others \
             (`other_rules: Remove`), or take a larger plan"
                .into(),
        )),
        ("client-forbidden" | "not-authorized-for-resource", _) => Some(Verdict::Forbidden(problem.says())),
        ("rate-limit-exceeded", _) | (_, Some(88)) => Some(Verdict::Limited(None)),
        (_, Some(32 | 89)) => {
            Some(Verdict::Stop("X refused the bearer token: make a new one, and give it by `bearer_token`".into()))
        }
        _ => None,
    })
}

fn capped(problem: &Problem) -> String {
    let (period, scope) = (problem.field("period"), problem.field("scope"));
    let which = [period, scope]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
        .to_lowercase();
    let which = if which.is_empty() { String::new() } else { format!(" ({which})") };
    format!(
        "X's usage cap{which} is reached: wait until it is renewed or raise it in X's developer portal; a `budget` \
         below it pauses instead"
    )
}

impl Verdict {
    /// Adds the reset time from the headers.
    fn with(self, reset: Option<OffsetDateTime>) -> Self {
        if self == Self::Limited(None) { Self::Limited(reset) } else { self }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use expect_test::{Expect, expect};
    use time::macros::datetime;

    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        let mut headers = reqwest::header::HeaderMap::new();
        headers.insert("x-rate-limit-reset", "1795608000".parse().unwrap());
        Reply { status, headers, body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    #[track_caller]
    fn check(status: u16, body: &str, expected: Expect) {
        expected.assert_eq(&format!("{:?}", judge(&reply(status, body))));
    }

    #[test]
    fn the_two_meanings_of_429_are_told_by_the_body() {
        let held = r#"{"title":"ConnectionException","detail":"This stream is currently at the maximum allowed connection limit.","connection_issue":"TooManyConnections","type":"https://api.x.com/2/problems/streaming-connection"}"#;
        check(429, held, expect!["TooManyConnections"]);
        let reset = Some(datetime!(2026-11-25 12:00:00 UTC));
        let limited = r#"{"title":"Too Many Requests","type":"about:blank","status":429}"#;
        assert_eq!(judge(&reply(429, limited)), Verdict::Limited(reset));
        assert_eq!(judge(&reply(429, "<html>")), Verdict::Limited(reset));
        let old = r#"{"errors":[{"code":88,"message":"Rate limit exceeded"}]}"#;
        assert_eq!(judge(&reply(420, old)), Verdict::Limited(reset));
        assert_eq!(
            judge(&reply(429, &format!("{{\"errors\":[{held}]}}"))),
            Verdict::TooManyConnections
        );
    }

    #[test]
    fn what_only_a_person_can_mend_stops_with_what_to_do() {
        let capped = r#"{"title":"UsageCapExceeded","period":"Monthly","scope":"Product","type":"https://api.x.com/2/problems/usage-capped"}"#;
        check(
            429,
            capped,
            expect![[
                r#"Stop("X's usage cap (monthly, product) is reached: wait until it is renewed or raise it in X's developer portal; a `budget` below it pauses instead")"#
            ]],
        );
        check(
            401,
            "",
            expect![[
                r#"Stop("X refused the bearer token: give the app-only token of an app that exists, by `bearer_token`")"#
            ]],
        );
        let forbidden = r#"{"title":"Client Forbidden","detail":"not enrolled","reason":"client-not-enrolled","type":"https://api.x.com/2/problems/client-forbidden"}"#;
        check(403, forbidden, expect![[r#"Forbidden("Client Forbidden: not enrolled")"#]]);
    }

    #[test]
    fn the_rest_goes_by_the_status() {
        check(503, "<html>over capacity</html>", expect![[r#"Again("status 503")"#]]);
        check(307, "", expect![[r#"Again("status 307")"#]]);
        check(308, "", expect![[r#"Wrong("it answered 308, a redirect: is `base_url` right?")"#]]);
        check(501, "", expect![[r#"Wrong("it answered 501: no reason given")"#]]);
        check(200, "<html>", expect![[r#"Again("the answer is no JSON object")"#]]);
        check(200, r#"{"data":[],"errors":[{}]}"#, expect!["Good"]);
        check(409, "{}", expect!["NoRules"]);
        let wrong = r#"{"title":"Invalid Request","detail":"One or more","errors":[{"message":"Invalid 'since_id'"}]}"#;
        check(400, wrong, expect![[r#"Wrong("Invalid Request: Invalid 'since_id'")"#]]);
    }

    #[test]
    fn errors_of_the_stream_are_told_apart() {
        let line = |text: &str| judge_line(text.as_bytes());
        let operational = r#"{"errors":[{"title":"operational-disconnect","disconnect_type":"UpstreamOperationalDisconnect","detail":"for operational reasons","type":"https://api.x.com/2/problems/operational-disconnect"}]}"#;
        let again =
            "UpstreamOperationalDisconnect: operational-disconnect: for operational reasons";
        assert_eq!(line(operational), Verdict::Again(again.into()));
        let rules =
            r#"{"errors":[{"title":"operational-disconnect","disconnect_type":"InvalidRules"}]}"#;
        assert_eq!(line(rules), Verdict::NoRules);
        let many = r#"{"errors":[{"title":"ConnectionException","connection_issue":"TooManyConnections"}]}"#;
        assert_eq!(line(many), Verdict::TooManyConnections);
    }
}
