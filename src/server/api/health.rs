//! The health of the server, for whoever starts and stops it. Needs no token, and tells nothing else.

use actix_web::get;
use actix_web::web::Data;

use super::problem::{ApiError, ProblemResponses};
use crate::server::fleet::{Fleet, Refusal};

/// The server lives.
#[utoipa::path(tag = "health", security(()), responses((status = 200, body = String), ProblemResponses))]
#[get("/healthz")]
pub(crate) async fn is_alive() -> &'static str {
    "ok\n"
}

/// The server takes requests, and what ran before has been started again.
#[utoipa::path(tag = "health", security(()), responses((status = 200, body = String), ProblemResponses))]
#[get("/readyz")]
pub(crate) async fn is_ready(fleet: Data<Fleet>) -> Result<&'static str, ApiError> {
    match fleet.awaited() {
        0 => Ok("ok\n"),
        left => {
            let what = format!("{left} of the topologies that ran before are still being started");
            Err(Refusal::Silent(what).into())
        }
    }
}
