//! The health of the server, for supervisors. Its addresses need no token, and tell nothing else.

use actix_web::get;
use actix_web::web::Data;

use super::problem::{ApiError, ProblemResponses};
use crate::server::fleet::{Fleet, Refusal};

/// Answers while the server runs.
#[utoipa::path(
    tag = "health",
    security(()),
    responses((status = 200, body = String), ProblemResponses)
)]
#[get("/healthz")]
pub(crate) async fn is_alive() -> &'static str {
    "ok\n"
}

/// Answers with 200 once everything that ran before the server's start has been started again.
#[utoipa::path(
    tag = "health",
    security(()),
    responses((status = 200, body = String), ProblemResponses)
)]
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
