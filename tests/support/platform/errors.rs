//! The platforms' answers that refuse a request.

use serde_json::{Value, json};

use super::http::Response;
use super::place::Place;
use super::shared::Bad;
use super::world::{Kind, iso};

/// Returns the platform's answer with a status.
pub(crate) fn status(kind: Kind, status: u16) -> Response {
    match kind {
        // The servers in front of X's own answer in HTML.
        Kind::Tweet if status >= 502 => Response::text(
            status,
            "text/html",
            "<html><body><h1>Over capacity</h1></body></html>".into(),
        ),
        Kind::Tweet => Response::problem(
            status,
            &x_problem("about:blank", "Error", "Something went wrong.", status),
        ),
        Kind::Post => facebook(status, 2, None, "Service temporarily unavailable", true),
        Kind::Video => youtube(status, "backendError", "global", "Backend Error"),
        Kind::Bsky => Response::json(
            status,
            &json!({"error": "InternalServerError", "message": "Internal Server Error"}),
        ),
        Kind::Toot => Response::json(status, &json!({"error": "Service temporarily unavailable"})),
    }
}

/// Returns a problem of X.
pub(crate) fn x_problem(name: &str, title: &str, detail: &str, status: u16) -> Value {
    let name = if name.contains(':') {
        name.to_owned()
    } else {
        format!("https://api.x.com/2/problems/{name}")
    };
    json!({"title": title, "detail": detail, "type": name, "status": status})
}

/// Returns X's answer with 400.
pub(crate) fn x_invalid(message: &str) -> Response {
    let mut body = x_problem(
        "invalid-request",
        "Invalid Request",
        "One or more parameters to your request was invalid.",
        400,
    );
    body["errors"] = json!([{"message": message, "parameters": {}}]);
    Response::problem(400, &body)
}

/// Returns an error of Facebook.
pub(crate) fn facebook(
    status: u16,
    code: u64,
    subcode: Option<u64>,
    message: &str,
    transient: bool,
) -> Response {
    let kind = if matches!(code, 1 | 2 | 4 | 17 | 32 | 10 | 100 | 102 | 190 | 200..=299) {
        "OAuthException"
    } else {
        "FacebookApiException"
    };
    let mut error = json!({"message": message, "type": kind, "code": code, "is_transient": transient, "fbtrace_id": "AfakeTrace00000000000000"});
    if let Some(subcode) = subcode {
        error["error_subcode"] = subcode.into();
    }
    Response::json(status, &json!({ "error": error }))
}

/// Returns an error of Facebook by its code, with the status that comes with it, which tells
/// little.
pub(crate) fn facebook_code(code: u64, subcode: Option<u64>) -> Response {
    let (status, message) = match code {
        1 => (500, "Please reduce the amount of data you're asking for, then retry your request"),
        2 => (500, "Service temporarily unavailable"),
        4 => (403, "(#4) Application request limit reached"),
        17 => (400, "(#17) User request limit reached"),
        32 => (403, "(#32) Page request limit reached"),
        613 => (400, "(#613) Calls to this api have exceeded the rate limit."),
        190 => (401, "Error validating access token"),
        368 => (403, "The action attempted has been deemed abusive or is otherwise disallowed"),
        10 => (403, "(#10) This endpoint requires the 'pages_read_engagement' permission"),
        200..=299 => (403, "(#200) Permissions error"),
        100 => (400, "(#100) Tried accessing nonexisting field (no_such_field)"),
        _ => (400, "An unknown error occurred"),
    };
    facebook(status, code, subcode, message, matches!(code, 1 | 2 | 4 | 17 | 32))
}

/// Returns an error of YouTube.
pub(crate) fn youtube(status: u16, reason: &str, domain: &str, message: &str) -> Response {
    let errors = json!([{"message": message, "domain": domain, "reason": reason}]);
    Response::json(
        status,
        &json!({"error": {"code": status, "message": message, "errors": errors}}),
    )
}

/// Returns the answer to too many requests; more are allowed at `reset`, in Unix seconds.
pub(crate) fn limited(place: Place, reset: i64) -> Response {
    match place.kind() {
        Kind::Tweet => Response::problem(
            429,
            &x_problem("rate-limit-exceeded", "Too Many Requests", "Too Many Requests", 429),
        )
        .with("x-rate-limit-limit", 50)
        .with("x-rate-limit-remaining", 0)
        .with("x-rate-limit-reset", reset),
        // The error comes with 403, though it means too many requests.
        Kind::Post => facebook(403, 4, None, "(#4) Application request limit reached", true),
        Kind::Video => youtube(403, "rateLimitExceeded", "usageLimits", "Rate Limit Exceeded"),
        Kind::Bsky => Response::json(
            429,
            &json!({"error": "RateLimitExceeded", "message": "Rate Limit Exceeded"}),
        )
        .with("ratelimit-reset", reset),
        Kind::Toot => Response::json(429, &json!({"error": "Too many requests"}))
            .with("X-RateLimit-Limit", 300)
            .with("X-RateLimit-Remaining", 0)
            .with("X-RateLimit-Reset", iso(reset * 1_000_000)),
    }
}

/// Returns X's answer while it still holds an old stream.
pub(crate) fn too_many_connections() -> Response {
    let detail = "This stream is currently at the maximum allowed connection limit.";
    let mut body = x_problem("streaming-connection", "ConnectionException", detail, 429);
    body["connection_issue"] = "TooManyConnections".into();
    Response::problem(429, &body)
}

/// Returns the answer when the day's quota is used up.
pub(crate) fn quota(kind: Kind) -> Response {
    match kind {
        Kind::Tweet => {
            let mut body = x_problem(
                "usage-capped",
                "UsageCapExceeded",
                "Usage cap exceeded: Monthly product cap",
                429,
            );
            body["period"] = "Monthly".into();
            body["scope"] = "Product".into();
            Response::problem(429, &body)
        }
        Kind::Post => facebook(400, 32, None, "(#32) Page request limit reached", true),
        Kind::Video => youtube(
            403,
            "quotaExceeded",
            "youtube.quota",
            "The request cannot be completed because you have exceeded your quota.",
        ),
        Kind::Bsky | Kind::Toot => limited(
            if kind == Kind::Bsky { Place::BlueskyPosts } else { Place::MastodonTimeline },
            0,
        ),
    }
}

/// Returns the answer to a token that isn't valid.
pub(crate) fn unauthorized(kind: Kind, bad: Option<Bad>) -> Response {
    match kind {
        Kind::Tweet | Kind::Bsky => Response::problem(
            401,
            &json!({"title": "Unauthorized", "type": "about:blank", "status": 401, "detail": "Unauthorized"}),
        ),
        Kind::Post => {
            let (subcode, message) = match bad {
                Some(Bad::Expired) => {
                    (Some(463), "Error validating access token: Session has expired on Tuesday.")
                }
                Some(Bad::Revoked) => (
                    Some(460),
                    "Error validating access token: The session has been invalidated because the user changed their password.",
                ),
                None => (None, "Invalid OAuth access token - Cannot parse access token"),
            };
            facebook(400, 190, subcode, message, false)
        }
        Kind::Video => youtube(400, "keyInvalid", "usageLimits", "Bad Request"),
        Kind::Toot => {
            let error = match bad {
                Some(Bad::Expired) => "The access token expired",
                Some(Bad::Revoked) => "The access token was revoked",
                None => "The access token is invalid",
            };
            Response::json(401, &json!({ "error": error }))
        }
    }
}
