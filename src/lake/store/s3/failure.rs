//! What a failed request means: try again, or stop.

use crate::error::Error;
use crate::printable::{printable_line, shortened};

/// Codes of S3 after which trying again may help, beside those with a status that says so.
const TRANSIENT: [&str; 14] = [
    "BadDigest",
    "ConditionalRequestConflict",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestTimeTooSkewed",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "TokenRefreshRequired",
    "XAmzContentSHA256Mismatch",
];

/// How much of what a server says is repeated, in characters: it may say megabytes.
const SAID_CHARS_MAX: usize = 1_000;

/// What a client's error says of the server's answer, if there was one.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The code of S3.
    pub code: Option<String>,
    message: Option<String>,
}

impl Answer {
    /// Reads it out of the error's text: the client keeps its types to itself.
    pub fn of(text: &str) -> Option<Self> {
        let status = text.split_once("status code: ")?.1.get(..3)?.parse().ok()?;
        Some(Self::new(status, text))
    }

    /// Of a status and a body, which may say more.
    pub fn new(status: u16, body: &str) -> Self {
        let element =
            |open: &str| body.split_once(open).and_then(|(_, rest)| rest.split('<').next()).map(str::to_owned);
        Self { status, code: element("<Code>"), message: element("<Message>") }
    }

    /// The error of an operation that was answered so.
    pub fn failed(&self, what: &str, address: &str) -> Error {
        let text = format!("can't {what} \"{address}\": {}", self.say());
        if self.is_transient() { Error::transient(text) } else { Error::fatal(text) }
    }

    fn is_transient(&self) -> bool {
        let status = matches!(self.status, 408 | 409 | 429 | 500..=599);
        status || self.code.as_deref().is_some_and(|code| TRANSIENT.contains(&code))
    }

    /// Without the rest of the answer, which may repeat what was sent, such as a session token.
    fn say(&self) -> String {
        let parts = [Some(self.status.to_string()), self.code.clone(), self.message.clone()];
        let text = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
        printable_line(&shortened(&text, SAID_CHARS_MAX)).into_owned()
    }
}

/// The error of an operation on an address, such as `can't put "s3://bucket/key"`.
pub fn failed(what: &str, address: &str, error: &object_store::Error) -> Error {
    use object_store::Error as Cause;
    let text = format!("can't {what} \"{address}\"");
    let said = error.to_string();
    match (Answer::of(&said), error) {
        (Some(answer), _) => answer.failed(what, address),
        (None, Cause::InvalidPath { .. } | Cause::NotImplemented { .. } | Cause::NotSupported { .. }) => {
            Error::fatal(format!("{text}: {said}"))
        }
        (None, _) if said.contains("redirect") => {
            Error::fatal(format!("{text}: the bucket is in another region than was named"))
        }
        (None, _) if said.contains("169.254.") => Error::transient(format!(
            "{text}: no credentials are given, and no metadata service hands out any: set AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY"
        )),
        (None, _) => Error::transient(format!("{text}: {}", innermost(error))),
    }
}

/// The last of the causes, which says what happened: the others repeat it.
fn innermost(error: &object_store::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[track_caller]
    fn check(status: u16, code: &str, kind: Kind) {
        let body = format!("<Error><Code>{code}</Code><Message>Why.</Message><Token>secret</Token></Error>");
        let source = format!("Server returned non-2xx status code: {status} Words: {body}").into();
        let error = failed("put", "s3://bucket/key", &object_store::Error::Generic { store: "S3", source });
        assert_eq!(
            (error.kind(), error.chain()),
            (kind, format!("can't put \"s3://bucket/key\": {status} {code} Why."))
        );
    }

    #[test]
    fn what_may_help_is_told_from_what_does_not() {
        check(503, "SlowDown", Kind::Transient);
        check(500, "InternalError", Kind::Transient);
        check(400, "ExpiredToken", Kind::Transient);
        check(400, "BadDigest", Kind::Transient);
        check(409, "ConditionalRequestConflict", Kind::Transient);
        check(404, "NoSuchBucket", Kind::Fatal);
        check(403, "AccessDenied", Kind::Fatal);
        check(403, "SignatureDoesNotMatch", Kind::Fatal);
    }

    #[test]
    fn without_an_answer_it_is_tried_again() {
        let source = "connection reset".into();
        let error = failed("get", "s3://bucket/key", &object_store::Error::Generic { store: "S3", source });
        assert_eq!(
            (error.kind(), error.chain().as_str()),
            (Kind::Transient, "can't get \"s3://bucket/key\": connection reset")
        );
    }
}
