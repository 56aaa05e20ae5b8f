//! The HTTP API, described by the code itself: `GET /api/v1/openapi.json`.

mod exposition;
mod gate;
mod health;
mod messages;
mod metrics;
mod paths;
mod problem;
mod request_times;
mod session;
mod streams;
mod topologies;

use std::sync::Arc;

use actix_web::dev::{ServiceFactory, ServiceRequest};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, JsonConfig, PathConfig, QueryConfig};
use actix_web::{App, HttpResponse, get};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_actix_web::{AppExt, scope};

use super::auth::Auth;
use super::fleet::Fleet;
use super::page;

pub(crate) use gate::Site;
pub(crate) use gate::wrong as slow_down;
pub use messages::{
    Accepted, DiffRow, Logs, Rebalance, Rebalanced, Submission, TaskChange, TopologyDetail,
    TopologyList, Verdict,
};
pub(crate) use problem::ApiError;
pub use problem::{Problem, ProblemPlace};
pub(crate) use request_times::RequestTimes;
pub(crate) use streams::{Events, Streams, open as open_stream};
pub(crate) use topologies::{TopologyName, detail, look, rebalance, trends};

/// The parts of the server that handlers use.
#[derive(Clone)]
pub(crate) struct Handles {
    /// All topologies.
    pub fleet: Data<Fleet>,
    /// The check of credentials.
    pub auth: Data<Auth>,
    /// The way in which clients reach the server.
    pub site: Site,
    /// The bound on streams of events.
    pub streams: Streams,
    /// The durations of requests.
    pub times: RequestTimes,
}

/// The head of the description.
#[derive(OpenApi)]
#[openapi(
    info(title = "Waterspout", description = "Submit stream topologies, scale them, and watch them."),
    security(("token" = []), ("session" = [])),
    modifiers(&Schemes)
)]
struct Description;

/// The ways to show who asks.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
        let cookie = ApiKey::Cookie(ApiKeyValue::new("waterspout_session"));
        components.add_security_scheme("session", SecurityScheme::ApiKey(cookie));
    }
}

/// The whole application, for one worker.
pub(crate) fn app(
    handles: Handles,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = actix_web::dev::ServiceResponse<impl actix_web::body::MessageBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    let limit = handles.fleet.limits().body_bytes_max;
    let json = JsonConfig::default().limit(limit).error_handler(paths::bad_json);
    let v1 = scope::scope("/api/v1")
        .service(topologies::list_topologies)
        .service(topologies::submit_topology)
        .service(topologies::validate_topology)
        .service(topologies::get_topology)
        .service(topologies::activate_topology)
        .service(topologies::deactivate_topology)
        .service(topologies::rebalance_topology)
        .service(topologies::kill_topology)
        .service(topologies::diff_topology)
        .service(topologies::upgrade_topology)
        .service(topologies::topology_logs)
        .service(topologies::topology_trends)
        .service(topologies::top)
        .service(streams::topology_events)
        .service(streams::tap_topology)
        .service(streams::follow_logs)
        .service(session::begin_session)
        .service(session::end_session);
    let (app, api) = App::new()
        .into_utoipa_app()
        .openapi(Description::openapi())
        // Before the scope, which would answer all requests below its address.
        .map(|app| app.service(openapi_document))
        .service(v1)
        .service(health::is_alive)
        .service(health::is_ready)
        .split_for_parts();
    page::routes(app)
        .service(metrics::metrics)
        .app_data(Data::new(handles.streams))
        .app_data(Data::new(handles.times))
        .app_data(Data::new(api))
        .app_data(Data::new(Arc::clone(&handles.fleet.shared().clock)))
        .app_data(handles.fleet)
        .app_data(handles.auth)
        .app_data(Data::new(handles.site))
        .app_data(json)
        .app_data(PathConfig::default().error_handler(paths::bad_path))
        .app_data(QueryConfig::default().error_handler(paths::bad_query))
        .default_service(web::to(paths::unknown))
        .wrap(from_fn(gate::gate))
}

/// Returns this description.
#[get("/api/v1/openapi.json")]
async fn openapi_document(api: Data<utoipa::openapi::OpenApi>) -> HttpResponse {
    HttpResponse::Ok().json(api.get_ref())
}
