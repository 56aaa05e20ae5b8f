//! The server's page: HTML from the server, a style sheet and a small script of our own, and
//! nothing from any other host.

mod actions;
mod curve;
mod data;
mod frame;
mod graph;
mod lake;
mod layout;
mod list;
mod live;
mod post;
mod topology;

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
};
use actix_web::web::Path;
use actix_web::{App, HttpResponse, get};
use maud::Markup;

use super::api::ApiError;

/// The address of the page that asks for the token.
pub(crate) const LOGIN: &str = "/login";

/// The policy for browsers: they may use our own style sheet and script, and send requests to this
/// server only.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
    img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const STYLE: &str = include_str!("assets/page.css");
const SCRIPT: &str = include_str!("assets/page.js");

/// Returns true for files without secrets, which need no token.
pub(crate) fn is_static(path: &str) -> bool {
    path.starts_with("/static/")
}

/// Returns true for addresses of pages.
pub(crate) fn is_page(path: &str) -> bool {
    !path.starts_with("/api/") && path != "/metrics"
}

/// Adds the page to the application.
pub(crate) fn routes<T>(app: App<T>) -> App<T>
where
    T: actix_web::dev::ServiceFactory<
            actix_web::dev::ServiceRequest,
            Config = (),
            Error = actix_web::Error,
            InitError = (),
        >,
{
    app.service(asset)
        .service(actions::login_form)
        .service(actions::login)
        .service(actions::log_out)
        .service(list::list_page)
        .service(list::list_live)
        .service(live::list_events)
        .service(live::topology_page_events)
        .service(actions::editor)
        .service(topology::topology_page)
        .service(topology::topology_live)
        .service(data::topology_data)
        .service(lake::partitions_page)
        .service(lake::files_page)
        .service(lake::posts_page)
        .service(actions::confirm)
        .service(actions::act)
}

/// Makes an answer of HTML.
fn html(markup: &Markup) -> HttpResponse {
    let policy = HeaderValue::from_static(POLICY);
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")))
        .insert_header((CONTENT_SECURITY_POLICY, policy))
        .body(markup.0.clone())
}

/// Returns the style sheet, the script or the icon.
#[get("/static/{name}")]
async fn asset(name: Path<String>) -> Result<HttpResponse, ApiError> {
    let (kind, text) = match name.as_str() {
        "page.css" => ("text/css; charset=utf-8", STYLE),
        "page.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "sign.svg" => ("image/svg+xml", include_str!("assets/sign.svg")),
        _ => return Err(ApiError::missing("there is no such file")),
    };
    let fresh: (HeaderName, HeaderValue) = (CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let kind = (CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(HttpResponse::Ok().insert_header(kind).insert_header(fresh).body(text))
}
