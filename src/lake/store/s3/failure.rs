//! Interprets a failed request: try again, or stop.

use super::credentials::CREDENTIALS;
use crate::error::Error;
use crate::net::answer::Meaning;
use crate::printable::{printable_line, shortened};

/// Codes of S3 after which another attempt may succeed, in addition to those whose status says so.
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

/// Codes that mean a wrong configuration, which no change on the server can fix.
const FINAL: [&str; 4] =
    ["AuthorizationHeaderMalformed", "InvalidBucketName", "NotImplemented", "PermanentRedirect"];

/// The consequence of a refused request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A reader stops, since there may be no one to grant the missing permission.
    Ends,
    /// An upload waits: the outbox holds the files until the permission is granted.
    Waits,
}
/// The maximum number of characters of a server's text that are repeated, since it may be megabytes
/// long.
const SAID_CHARS_MAX: usize = 1_000;

/// The server's answer, as far as a client's error contains it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The error code of S3.
    pub code: Option<String>,
    message: Option<String>,
}

impl Answer {
    /// Parses the answer from the error's text, because the client doesn't publish its types.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let status = text.split_once("status code: ")?.1.get(..3)?.parse().ok()?;
        Some(Self::new(status, text))
    }

    /// Creates an answer from a status and a body, which may say more.
    pub(crate) fn new(status: u16, body: &str) -> Self {
        let element = |open: &str| {
            body.split_once(open).and_then(|(_, rest)| rest.split('<').next()).map(str::to_owned)
        };
        Self { status, code: element("<Code>"), message: element("<Message>") }
    }

    /// Returns the error of an operation that got this answer.
    pub(crate) fn failed(&self, what: &str, address: &str, refusal: Refusal) -> Error {
        let text = format!("can't {what} \"{address}\": {}", self.say());
        if self.may_pass(refusal) { Error::transient(text) } else { Error::fatal(text) }
    }

    fn may_pass(&self, refusal: Refusal) -> bool {
        let has = |codes: &[&str]| self.code.as_deref().is_some_and(|code| codes.contains(&code));
        let meaning = Meaning::of_status(self.status);
        if meaning.may_pass() || has(&TRANSIENT) {
            return true;
        }
        let is_wrong =
            matches!(meaning, Meaning::MovedForGood | Meaning::NotSupported) || has(&FINAL);
        refusal == Refusal::Waits && !is_wrong
    }

    /// Returns true if the server doesn't support a PUT with a condition.
    pub(crate) fn has_no_condition(&self) -> bool {
        Meaning::of_status(self.status) == Meaning::NotSupported
            || self.code.as_deref() == Some("NotImplemented")
    }

    /// Describes the answer without its rest, which may repeat parts of the request, such as a
    /// session token.
    fn say(&self) -> String {
        let status = Some(self.status.to_string());
        let meaning = match Meaning::of_status(self.status) {
            Meaning::MovedForNow => {
                Some("(a redirect to another host, which isn't followed)".to_owned())
            }
            Meaning::MovedForGood => {
                Some("(the bucket is in another region than the configured one)".to_owned())
            }
            _ => None,
        };
        let parts = [status, self.code.clone(), self.message.clone()];
        let text = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let said = printable_line(&shortened(&text, SAID_CHARS_MAX)).into_owned();
        [Some(said), meaning].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// Returns the error of an operation on an address, such as `can't put "s3://bucket/key"`.
pub(crate) fn failed(
    what: &str,
    address: &str,
    error: &object_store::Error,
    refusal: Refusal,
) -> Error {
    use object_store::Error as Cause;
    let text = format!("can't {what} \"{address}\"");
    let whole = error.to_string();
    match (Answer::of(&whole), error) {
        (_, Cause::Generic { store: CREDENTIALS, source }) => {
            Error::transient(format!("{text}: {source}"))
        }
        (Some(answer), _) => answer.failed(what, address, refusal),
        (
            None,
            Cause::InvalidPath { .. } | Cause::NotImplemented { .. } | Cause::NotSupported { .. },
        ) => {
            Error::fatal(format!("{text}: {}", printable_line(&shortened(&whole, SAID_CHARS_MAX))))
        }
        (None, _) if whole.contains("Received redirect without LOCATION") => {
            Error::fatal(format!("{text}: the bucket is in another region than the configured one"))
        }
        (None, _) => Error::transient(format!(
            "{text}: {}",
            printable_line(&shortened(&innermost(error), SAID_CHARS_MAX))
        )),
    }
}

/// Returns the innermost cause, which says what happened: the outer ones repeat it.
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
    fn check(status: u16, code: &str, reader: Kind, upload: Kind) {
        let body = format!(
            "<Error><Code>{code}</Code><Message>Why.</Message><Token>secret</Token></Error>"
        );
        for (refusal, kind) in [(Refusal::Ends, reader), (Refusal::Waits, upload)] {
            let source =
                format!("Server returned non-2xx status code: {status} Words: {body}").into();
            let cause = object_store::Error::Generic { store: "S3", source };
            let error = failed("put", "s3://bucket/key", &cause, refusal);
            assert_eq!(error.kind(), kind, "{status} {code} {refusal:?}");
            let said = error.chain();
            assert!(
                said.starts_with(&format!("can't put \"s3://bucket/key\": {status} {code} Why.")),
                "{said}"
            );
            assert!(!said.contains("secret"), "{said}");
        }
    }

    /// Checks the table of S3: the meaning of an answer for a reader, and for an upload.
    #[test]
    fn what_may_help_is_told_from_what_does_not() {
        use Kind::{Fatal, Transient};
        check(503, "SlowDown", Transient, Transient);
        check(500, "InternalError", Transient, Transient);
        check(400, "ExpiredToken", Transient, Transient);
        check(400, "BadDigest", Transient, Transient);
        check(403, "RequestTimeTooSkewed", Transient, Transient);
        check(409, "ConditionalRequestConflict", Transient, Transient);
        check(307, "TemporaryRedirect", Transient, Transient);
        check(404, "NoSuchBucket", Fatal, Transient);
        check(403, "AccessDenied", Fatal, Transient);
        check(401, "Unauthorized", Fatal, Transient);
        check(403, "SignatureDoesNotMatch", Fatal, Transient);
        check(403, "InvalidAccessKeyId", Fatal, Transient);
        check(402, "PaymentRequired", Fatal, Transient);
        check(301, "PermanentRedirect", Fatal, Fatal);
        check(400, "AuthorizationHeaderMalformed", Fatal, Fatal);
        check(501, "NotImplemented", Fatal, Fatal);
        check(405, "MethodNotAllowed", Fatal, Fatal);
    }

    #[test]
    fn a_long_answer_is_cut() {
        let body = format!("<Code>C\x1b[2J</Code><Message>{}</Message>", "x".repeat(5_000_000));
        let said = Answer::new(403, &body).failed("get", "a", Refusal::Ends).chain();
        assert!(said.len() < 1_100 && !said.contains('\x1b'), "{} bytes", said.len());
    }

    #[test]
    fn without_an_answer_it_is_tried_again() {
        let source = "connection reset".into();
        let cause = object_store::Error::Generic { store: "S3", source };
        let error = failed("get", "s3://bucket/key", &cause, Refusal::Ends);
        assert_eq!(
            (error.kind(), error.chain().as_str()),
            (Kind::Transient, "can't get \"s3://bucket/key\": connection reset")
        );
    }
}
