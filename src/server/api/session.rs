//! Sessions of the page: the token is shown once, and a cookie stands for it.

use actix_web::http::header::SET_COOKIE;
use actix_web::web::{Data, Json};
use actix_web::{HttpResponse, delete, post};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::gate::wrong;
use super::problem::{ApiError, ProblemResponses};
use crate::server::auth::Auth;
use crate::server::fleet::Refusal;

/// The request for a session.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// The server's token.
    token: String,
}

/// Begins a session, whose cookie stands for the token from then on.
#[utoipa::path(
    tag = "session",
    security(()),
    responses((status = 204, description = "The cookie of the session is set."), ProblemResponses)
)]
#[post("/session")]
pub(crate) async fn begin_session(
    auth: Data<Auth>,
    login: Json<Login>,
) -> Result<HttpResponse, ApiError> {
    if !auth.is_token(login.token.trim()) {
        return Err(wrong(&auth).await);
    }
    let cookie = auth.new_session().map_err(Refusal::from)?;
    Ok(HttpResponse::NoContent().insert_header((SET_COOKIE, cookie)).finish())
}

/// Ends the session: its cookie is deleted.
#[utoipa::path(
    tag = "session",
    security(()),
    responses((status = 204, description = "The cookie of the session is deleted."), ProblemResponses)
)]
#[delete("/session")]
pub(crate) async fn end_session(auth: Data<Auth>) -> HttpResponse {
    HttpResponse::NoContent().insert_header((SET_COOKIE, auth.no_session())).finish()
}
