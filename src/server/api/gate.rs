//! The checks of each request before its handler: its origin, its credentials, and the time it may
//! take.

use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, HeaderMap, HeaderName,
    HeaderValue, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::middleware::Next;
use actix_web::{Error, web};

use super::problem::ApiError;
use super::request_times::RequestTimes;
use crate::clock::SharedClock;
use crate::server::auth::{Auth, Shown};
use crate::server::page;

/// The longest time until a request has its answer, or its first part: a rebalance takes the
/// longest.
const ANSWER_MAX: Duration = Duration::from_secs(90);

/// The longest time for somebody who hasn't shown the token.
const STRANGER_MAX: Duration = Duration::from_secs(20);

/// The header by which browsers tell where a request comes from.
const FETCH_SITE: &str = "sec-fetch-site";

/// The way in which clients reach the server.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// True if it listens on loopback without a proxy in front of it, so it has no other names.
    pub is_loopback_only: bool,
}

/// The addresses that need no token.
fn is_open(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/api/v1/session" | page::LOGIN)
        || page::is_static(path)
}

/// Passes a request on, or refuses it.
///
/// # Errors
/// If the request is refused.
pub(crate) async fn gate(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let site = data::<Site>(&request)?;
    refuse_other_sites(request.headers(), request.method().is_safe(), &site)?;
    let is_known = if is_open(request.path()) { false } else { authenticate(&request).await? };
    let longest = if is_known { ANSWER_MAX } else { STRANGER_MAX };
    let late = || {
        let seconds = longest.as_secs();
        ApiError::new(StatusCode::REQUEST_TIMEOUT, format!("no answer within {seconds} s"))
    };
    let times = data::<RequestTimes>(&request)?;
    let clock = data::<SharedClock>(&request)?;
    let begun = clock.monotonic();
    let answered = tokio::time::timeout(longest, next.call(request)).await;
    let status = match &answered {
        Ok(Ok(response)) => response.status(),
        Ok(Err(error)) => error.as_response_error().status_code(),
        Err(_) => StatusCode::REQUEST_TIMEOUT,
    };
    times.add(status.as_u16(), clock.monotonic().saturating_sub(begun));
    let mut response = answered.map_err(|_| late())??;
    secure(response.headers_mut());
    Ok(response)
}

fn data<T: Clone + 'static>(request: &ServiceRequest) -> Result<T, ApiError> {
    let missing = || ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the server is starting");
    request.app_data::<web::Data<T>>().map(|data| data.get_ref().clone()).ok_or_else(missing)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Refuses requests of pages from other sites, which a browser sends with the user's cookie, and
/// requests under another name of this machine, by which such a page could pass as one of ours.
fn refuse_other_sites(headers: &HeaderMap, is_safe: bool, site: &Site) -> Result<(), ApiError> {
    let refused = |what: String| Err(ApiError::new(StatusCode::FORBIDDEN, what));
    let host = text(headers, &HOST).unwrap_or_default();
    if site.is_loopback_only && !is_loopback_name(host) {
        return refused(format!(
            "this server is reached as localhost or 127.0.0.1 only, and not as \"{host}\""
        ));
    }
    if let Some(origin) = headers.get(ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        if origin.split_once("://").is_none_or(|(_, from)| !from.eq_ignore_ascii_case(host)) {
            return refused(format!("requests of pages from \"{origin}\" are refused"));
        }
    }
    let from = headers.get(FETCH_SITE).and_then(|from| from.to_str().ok());
    if from.is_some_and(|from| !matches!(from, "same-origin" | "none")) && !is_safe {
        return refused("requests of pages from other sites are refused".into());
    }
    Ok(())
}

/// Returns true if a `Host` is a name of this machine for itself.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = |ip: std::net::IpAddr| ip.is_loopback();
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback)
}

/// Returns true if the request has the token or a session.
async fn authenticate(request: &ServiceRequest) -> Result<bool, ApiError> {
    let auth = request.app_data::<web::Data<Auth>>();
    let Some(auth) = auth else {
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the server is starting"));
    };
    let headers = request.headers();
    match auth.shown(text(headers, &AUTHORIZATION), text(headers, &COOKIE)) {
        Shown::Token | Shown::Session => Ok(true),
        Shown::Nothing if page::is_page(request.path()) => Err(ApiError::see_other(page::LOGIN)),
        Shown::Nothing => Err(unauthorized()),
        Shown::Wrong => Err(wrong(auth).await),
    }
}

fn unauthorized() -> ApiError {
    let what = "expected `Authorization: Bearer` with the token of the server: it is in the file \
                \"token\" of the server's state folder";
    ApiError::new(StatusCode::UNAUTHORIZED, what)
}

/// Returns the answer to a wrong token, after a wait.
pub(crate) async fn wrong(auth: &Auth) -> ApiError {
    if auth.slow_down().await {
        ApiError::new(StatusCode::UNAUTHORIZED, "the token is wrong")
    } else {
        ApiError::try_again("too many wrong tokens", 10)
    }
}

/// Headers that keep a browser from doing more with an answer than it is for.
fn secure(headers: &mut HeaderMap) {
    let defaults = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With "no-referrer" browsers send `Origin: null` with the forms of the page.
        (REFERRER_POLICY, "same-origin"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    for (name, value) in defaults {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&str, &str)], is_safe: bool, expected: bool) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.insert(name, HeaderValue::from_str(value).unwrap());
        }
        let site = Site { is_loopback_only: true };
        let found = refuse_other_sites(&map, is_safe, &site);
        assert_eq!(found.is_ok(), expected, "{headers:?}: {found:?}");
    }

    #[test]
    fn requests_of_other_sites_are_refused() {
        let host = ("host", "127.0.0.1:7474");
        check(&[host], false, true);
        check(&[("host", "[::1]:7474")], false, true);
        check(&[("host", "LOCALHOST")], false, true);
        check(&[("host", "evil.example:7474")], true, false);
        check(&[("host", "127.0.0.1.evil.example")], true, false);
        check(&[], true, false);
        check(&[host, ("origin", "http://127.0.0.1:7474")], false, true);
        check(&[host, ("origin", "http://evil.example")], true, false);
        check(&[host, ("origin", "null")], false, false);
        check(&[host, ("sec-fetch-site", "cross-site")], false, false);
        check(&[host, ("sec-fetch-site", "same-site")], false, false);
        check(&[host, ("sec-fetch-site", "same-origin")], false, true);
        check(&[host, ("sec-fetch-site", "cross-site")], true, true);
    }
}
