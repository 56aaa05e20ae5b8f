//! Answers to requests that no handler takes.

use actix_web::error::{JsonPayloadError, PathError, QueryPayloadError};
use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{Error, HttpRequest};
use utoipa::openapi::{OpenApi, PathItem};

use super::problem::ApiError;

/// A body that isn't the JSON that is expected.
pub(crate) fn bad_json(error: JsonPayloadError, _: &HttpRequest) -> Error {
    let status = match &error {
        JsonPayloadError::Overflow { .. } | JsonPayloadError::OverflowKnownLength { .. } => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        JsonPayloadError::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        _ => StatusCode::BAD_REQUEST,
    };
    let what = match &error {
        JsonPayloadError::ContentType => "expected a body of the type application/json".to_owned(),
        JsonPayloadError::Overflow { limit }
        | JsonPayloadError::OverflowKnownLength { limit, .. } => {
            format!("the body is larger than {limit} bytes (--max-body of `serve`)")
        }
        JsonPayloadError::Deserialize(error) => format!("bad body: {error}"),
        other => format!("bad body: {other}"),
    };
    ApiError::new(status, what).into()
}

/// A part of the address that can't be read.
pub(crate) fn bad_path(error: PathError, _: &HttpRequest) -> Error {
    ApiError::new(StatusCode::NOT_FOUND, format!("bad address: {error}")).into()
}

/// A parameter that can't be read.
pub(crate) fn bad_query(error: QueryPayloadError, _: &HttpRequest) -> Error {
    ApiError::new(StatusCode::BAD_REQUEST, format!("bad parameter: {error}")).into()
}

/// An address that isn't there, or hasn't this method.
///
/// # Errors
/// Always.
pub(crate) async fn unknown(
    request: HttpRequest,
    api: Data<OpenApi>,
) -> Result<&'static str, ApiError> {
    let path = request.path();
    let known = api.paths.paths.iter().filter(|(template, _)| fits(template, path));
    let mut allowed: Vec<&str> = known.flat_map(|(_, item)| methods(item)).collect();
    if allowed.is_empty() {
        let what = format!("there is nothing at \"{path}\": see /api/v1/openapi.json");
        return Err(ApiError::new(StatusCode::NOT_FOUND, what));
    }
    allowed.sort_unstable();
    allowed.dedup();
    Err(ApiError::not_allowed(allowed.join(", ")))
}

/// Returns true if a path is one of a template such as `/api/v1/topologies/{name}`.
fn fits(template: &str, path: &str) -> bool {
    let (mut parts, mut found) = (template.split('/'), path.split('/'));
    loop {
        match (parts.next(), found.next()) {
            (None, None) => return true,
            (Some(part), Some(found)) if part.starts_with('{') && !found.is_empty() => {}
            (Some(part), Some(found)) if part == found => {}
            _ => return false,
        }
    }
}

fn methods(item: &PathItem) -> impl Iterator<Item = &'static str> {
    let all = [
        (item.get.is_some(), "GET"),
        (item.post.is_some(), "POST"),
        (item.put.is_some(), "PUT"),
        (item.delete.is_some(), "DELETE"),
        (item.patch.is_some(), "PATCH"),
    ];
    all.into_iter().filter(|(is_there, _)| *is_there).map(|(_, method)| method)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_fits_one_part_for_each_name() {
        let fits = |path| fits("/api/v1/topologies/{name}/logs", path);
        assert!(fits("/api/v1/topologies/a%20b/logs"));
        assert!(!fits("/api/v1/topologies//logs"));
        assert!(!fits("/api/v1/topologies/a/logs/"));
        assert!(!fits("/api/v1/topologies/a"));
    }
}
