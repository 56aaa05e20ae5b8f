//! Errors of the API, as RFC 9457 has them.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, ContentType, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde::{Deserialize, Serialize};
use utoipa::{IntoResponses, ToSchema};

use crate::printable::printable_line;
use crate::secret::hide_in_addresses;
use crate::server::fleet::Refusal;
use crate::topology::{Problems, TopologyProblem};

/// The media type of a problem.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// The reason for which a request failed (RFC 9457).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The type of the problem: always `about:blank`, since the status tells it.
    pub r#type: String,
    /// The status in words.
    pub title: String,
    /// The status.
    pub status: u16,
    /// The cause, and what to do.
    pub detail: String,
    /// The problems of a topology, each with its place, as in the output of `validate`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<ProblemPlace>,
}

/// One thing that is wrong with a topology.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemPlace {
    /// The file, as the submission calls it.
    pub file: String,
    /// The line, from 1; 0 if it is about the file as a whole.
    pub line: usize,
    /// The column, from 1, in characters; 0 if it is about the file as a whole.
    pub column: usize,
    /// The mistake, and the expected form.
    pub what: String,
    /// A valid name that is near.
    pub hint: Option<String>,
    /// The line itself, or a part of it.
    pub source_line: String,
    /// Spaces and carets that mark the place in the line.
    pub marker: String,
}

impl From<TopologyProblem> for ProblemPlace {
    fn from(problem: TopologyProblem) -> Self {
        let TopologyProblem { file, line, column, what, source_line, marker, hint } = problem;
        Self { file, line, column, what, hint, source_line, marker }
    }
}

/// The places of all problems.
pub(crate) fn places(problems: Problems) -> Vec<ProblemPlace> {
    problems.0.into_iter().map(ProblemPlace::from).collect()
}

/// An error on its way to a client.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    detail: String,
    problems: Vec<ProblemPlace>,
    /// For `Allow`, `Location` or `Retry-After`.
    header: Option<String>,
}

impl ApiError {
    /// With a sentence for a person.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), problems: Vec::new(), header: None }
    }

    /// The method isn't one of those that the address has.
    pub(crate) fn not_allowed(allowed: String) -> Self {
        let detail = format!("this address takes {allowed} only");
        Self { header: Some(allowed), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, detail) }
    }

    /// There is no such thing.
    pub(crate) fn missing(detail: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// A page asks for the token first.
    pub(crate) fn see_other(path: &str) -> Self {
        let header = Some(path.to_owned());
        Self { header, ..Self::new(StatusCode::SEE_OTHER, "the token is needed") }
    }

    /// Too much is asked for: try again after so many seconds.
    pub(crate) fn try_again(detail: impl Into<String>, seconds: u64) -> Self {
        let header = Some(seconds.to_string());
        Self { header, ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail) }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let detail = printable_line(&hide_in_addresses(&self.detail)).into_owned();
        let problem = Problem {
            r#type: "about:blank".into(),
            title: self.status.canonical_reason().unwrap_or("Error").into(),
            status: self.status.as_u16(),
            detail,
            problems: self.problems.clone(),
        };
        let mut response = HttpResponse::build(self.status);
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, "Bearer realm=\"waterspout\""));
        }
        if let Some(header) = &self.header {
            let name = match self.status {
                StatusCode::METHOD_NOT_ALLOWED => ALLOW,
                StatusCode::SEE_OTHER => LOCATION,
                _ => RETRY_AFTER,
            };
            response.insert_header((name, header.as_str()));
        }
        let body = serde_json::to_string(&problem).unwrap_or_default();
        response.insert_header(ContentType(media_type())).body(body)
    }
}

fn media_type() -> actix_web::mime::Mime {
    MEDIA_TYPE.parse().unwrap_or(actix_web::mime::APPLICATION_JSON)
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid(problems) => {
                let count = problems.0.len();
                let detail = match count {
                    1 => "the topology has a problem".to_owned(),
                    _ => format!("the topology has {count} problems"),
                };
                let problems = places(problems);
                Self { problems, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
            }
            Refusal::Unknown(name) => {
                Self::new(StatusCode::NOT_FOUND, format!("there is no topology \"{name}\""))
            }
            Refusal::Missing(what) => Self::new(StatusCode::NOT_FOUND, what),
            Refusal::Conflict(what) => Self::new(StatusCode::CONFLICT, what),
            Refusal::TooMany(what) => Self::new(StatusCode::CONFLICT, what),
            Refusal::Bad(what) => Self::new(StatusCode::BAD_REQUEST, what),
            Refusal::Silent(what) => Self::new(StatusCode::SERVICE_UNAVAILABLE, what),
            Refusal::Failed(error) => Self::new(StatusCode::SERVICE_UNAVAILABLE, error.chain()),
        }
    }
}

/// The problems that each operation of the API may answer with.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "described, and made by `ApiError`")]
pub(crate) enum ProblemResponses {
    /// The request is malformed.
    #[response(status = 400, content_type = "application/problem+json")]
    Bad(#[to_schema] Problem),
    /// Neither the token nor a session was shown.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(#[to_schema] Problem),
    /// The request comes from a page of another site.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(#[to_schema] Problem),
    /// There is no such topology.
    #[response(status = 404, content_type = "application/problem+json")]
    Missing(#[to_schema] Problem),
    /// The address takes other methods.
    #[response(status = 405, content_type = "application/problem+json")]
    Method(#[to_schema] Problem),
    /// The request took too long.
    #[response(status = 408, content_type = "application/problem+json")]
    Late(#[to_schema] Problem),
    /// It can't be done as things are.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(#[to_schema] Problem),
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    Large(#[to_schema] Problem),
    /// The body isn't JSON by its media type.
    #[response(status = 415, content_type = "application/problem+json")]
    Media(#[to_schema] Problem),
    /// The topology has problems.
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(#[to_schema] Problem),
    /// Too much was asked for.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(#[to_schema] Problem),
    /// The topology's process, or the server's disk, can't answer.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] Problem),
}
