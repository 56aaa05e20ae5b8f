//! The forms of the page: to log in, and to change topologies after a confirmation.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::http::header::{LOCATION, SET_COOKIE};
use actix_web::web::{Data, Form, Path};
use actix_web::{HttpResponse, get, post};
use maud::{Markup, html};
use serde::Deserialize;

use super::frame::{address, page};
use super::{LOGIN, html as answer};
use crate::server::api::{ApiError, look, rebalance, slow_down};
use crate::server::auth::Auth;
use crate::server::fleet::{Fleet, Kept, Refusal, Task};

/// The form of a login.
#[derive(Deserialize)]
pub(crate) struct Login {
    token: String,
}

/// Returns the page that asks for the token.
#[get("/login")]
pub(crate) async fn login_form() -> HttpResponse {
    answer(&page("Log in", false, &login_content(None)))
}

fn login_content(error: Option<&str>) -> Markup {
    html! {
        h1 { "Log in" }
        p { "The token is in the file " code { "token" } " of the server's state folder." }
        @if let Some(error) = error { p.message role="alert" { (error) } }
        form.stack method="post" action=(LOGIN) {
            label for="token" { "Token" }
            input #token name="token" type="password" autocomplete="current-password" required autofocus;
            button type="submit" { "Log in" }
        }
    }
}

/// Checks the token, and begins a session.
#[post("/login")]
pub(crate) async fn login(auth: Data<Auth>, login: Form<Login>) -> Result<HttpResponse, ApiError> {
    if !auth.is_token(login.token.trim()) {
        let error = slow_down(&auth).await;
        let mut refused = answer(&page("Log in", false, &login_content(Some(&error.to_string()))));
        *refused.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(refused);
    }
    let cookie = auth.new_session().map_err(Refusal::from)?;
    let mut response = to("/");
    response.headers_mut().insert(SET_COOKIE, header(&cookie)?);
    Ok(response)
}

/// Ends the session.
#[post("/logout")]
pub(crate) async fn log_out(auth: Data<Auth>) -> Result<HttpResponse, ApiError> {
    let mut response = to(LOGIN);
    response.headers_mut().insert(SET_COOKIE, header(&auth.no_session())?);
    Ok(response)
}

fn header(text: &str) -> Result<actix_web::http::header::HeaderValue, ApiError> {
    text.parse().map_err(|_| ApiError::missing("the cookie can't be sent"))
}

fn to(address: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((LOCATION, address)).finish()
}

/// Returns the editor of a new topology. The script sends the text to the API, which returns its
/// problems.
#[get("/new")]
pub(crate) async fn editor() -> HttpResponse {
    let content = html! {
        h1 { "Submit a topology" }
        form.stack #editor {
            label for="topology" { "Topology file" }
            textarea #topology name="topology" rows="22" spellcheck="false" autocomplete="off"
                aria-describedby="problems" {}
            div.actions { button type="submit" { "Submit" } }
        }
        div #problems role="status" aria-live="polite" {}
        noscript { p { "The editor needs JavaScript. " code { "waterspout submit FILE" } " doesn't." } }
    };
    answer(&page("Submit a topology", true, &content))
}

/// An operation and its words.
struct Operation {
    title: &'static str,
    what: &'static str,
}

fn operation(name: &str) -> Result<Operation, ApiError> {
    Ok(match name {
        "activate" => Operation {
            title: "Activate",
            what: "Its spouts go on. If it has finished, it is started once more.",
        },
        "deactivate" => Operation {
            title: "Deactivate",
            what: "Its spouts emit nothing until it is activated again. Checkpoints continue, and \
                   nothing is lost.",
        },
        "rebalance" => Operation {
            title: "Rebalance",
            what: "Changes the numbers of tasks at a checkpoint, while the topology runs. Nothing is \
                   lost or counted twice.",
        },
        "kill" => Operation {
            title: "Kill",
            what: "It drains, and is gone then. Its state stays, unless it is purged.",
        },
        _ => return Err(ApiError::missing("there is no such operation")),
    })
}

/// Returns the page that asks for a confirmation.
#[get("/topology/{name}/{operation}")]
pub(crate) async fn confirm(
    fleet: Data<Fleet>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let (name, word) = path.into_inner();
    let kept = fleet.find(&name)?;
    let content = confirmation(&kept, &word, None).await?;
    Ok(answer(&page(&format!("{word} {name}"), true, &content)))
}

async fn confirmation(kept: &Kept, word: &str, error: Option<&str>) -> Result<Markup, ApiError> {
    let Operation { title, what } = operation(word)?;
    let seen = if word == "rebalance" { look(kept).await.ok() } else { None };
    let components = seen.map(|seen| seen.status.components).unwrap_or_default();
    Ok(html! {
        h1 { (title) " " (kept.name) "?" }
        p { (what) }
        @if let Some(error) = error { p.message role="alert" { (error) } }
        form.stack method="post" action=(address(&kept.name, word)) {
            @for component in &components {
                label for=(format!("tasks-{}", component.id)) { "Tasks of " (component.id) }
                input id=(format!("tasks-{}", component.id)) name=(component.id) type="number" min="1"
                    max="1024" value=(component.tasks) required;
            }
            @if word == "kill" {
                label.check {
                    input type="checkbox" name="purge" value="yes";
                    " Purge: delete its checkpoints, and what isn't delivered"
                }
            }
            div.actions {
                button.danger[word == "kill"] type="submit" { (title) }
                a.button href=(address(&kept.name, "")) { "Cancel" }
            }
        }
    })
}

/// Performs an operation.
#[post("/topology/{name}/{operation}")]
pub(crate) async fn act(
    fleet: Data<Fleet>,
    path: Path<(String, String)>,
    form: Form<BTreeMap<String, String>>,
) -> Result<HttpResponse, ApiError> {
    let (name, word) = path.into_inner();
    operation(&word)?;
    let kept = fleet.find(&name)?;
    let done = match word.as_str() {
        "rebalance" => rebalance_by(&fleet, &kept, &form).await,
        "kill" => {
            let within = crate::engine::DRAIN_DEADLINE;
            let purge = form.contains_key("purge");
            kept.order(Task::Kill { within, purge }).await.map_err(ApiError::from)
        }
        _ => kept.order(Task::SetActive(word == "activate")).await.map_err(ApiError::from),
    };
    match done {
        Ok(()) if word == "kill" => Ok(to("/")),
        Ok(()) => Ok(to(&address(&name, ""))),
        Err(error) => {
            let content = confirmation(&kept, &word, Some(&error.to_string())).await?;
            let mut refused = answer(&page(&format!("{word} {name}"), true, &content));
            *refused.status_mut() = StatusCode::CONFLICT;
            Ok(refused)
        }
    }
}

async fn rebalance_by(
    fleet: &Fleet,
    kept: &Kept,
    form: &BTreeMap<String, String>,
) -> Result<(), ApiError> {
    let mut tasks = BTreeMap::new();
    for (id, text) in form {
        let number = text.trim().parse().map_err(|_| {
            Refusal::Bad(format!("tasks of {id}: expected a number, found \"{text}\""))
        })?;
        tasks.insert(id.clone(), number);
    }
    rebalance(fleet, kept, &tasks).await.map(drop)
}
