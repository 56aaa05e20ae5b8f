//! Whether the server lives, for whoever starts and stops it. Needs no token, and tells nothing else.

use actix_web::get;
use actix_web::web::Data;

use super::problem::ProblemResponses;
use crate::server::fleet::Fleet;

/// The server lives.
#[utoipa::path(tag = "health", security(()), responses((status = 200, body = String), ProblemResponses))]
#[get("/healthz")]
pub(crate) async fn is_alive() -> &'static str {
    "ok\n"
}

/// The server takes requests: what ran before is being started again.
#[utoipa::path(tag = "health", security(()), responses((status = 200, body = String), ProblemResponses))]
#[get("/readyz")]
pub(crate) async fn is_ready(_fleet: Data<Fleet>) -> &'static str {
    "ok\n"
}
