//! Commands that talk to a server (`serve`), by its HTTP API.

pub(crate) mod activate;
mod events;
pub(crate) mod kill;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod submit;
pub(crate) mod tap;
mod target;
pub(crate) mod top;
pub(crate) mod upgrade;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::exit::{Code, Failure};
use super::serve::state_folder;
use super::stdout;
use crate::clock::SystemClock;
use crate::error::{Error, Result};
use crate::net::http::{Failure as NetFailure, Http, Reply};
use crate::net::runtime::runtime;
use crate::secret::Secret;
use crate::server::{Problem, TOKEN_FILE};

pub(crate) use target::{Attached, Target, attach, is_file};

/// The address of a server that wasn't told another.
const URL: &str = "http://127.0.0.1:7474";

/// The variables that tell where the server is, and what it is shown.
const URL_VARIABLE: &str = "WATERSPOUT_URL";
const TOKEN_VARIABLE: &str = "WATERSPOUT_TOKEN_FILE";

/// The interval at which a command checks if an operation has ended.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The server that a command refers to.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ServerArgs {
    /// The server's address [default: $WATERSPOUT_URL, or http://127.0.0.1:7474]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The file with the server's token [default: $WATERSPOUT_TOKEN_FILE, or the file "token" in
    /// the state folder that `serve` has by default]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// A server that can be asked.
pub(crate) struct Server {
    http: Http,
    url: String,
}

impl ServerArgs {
    /// The server.
    ///
    /// # Errors
    /// If the token is missing, or the address is malformed.
    pub(crate) fn server(&self) -> Result<Server, Failure> {
        let url = self.url.clone().or_else(|| std::env::var(URL_VARIABLE).ok());
        let url = url.filter(|url| !url.is_empty()).unwrap_or_else(|| URL.to_owned());
        let token = self.token()?;
        let http = Http::new(&url, SystemClock::shared())?.with_bearer(&token)?;
        Ok(Server { http, url })
    }

    fn token(&self) -> Result<Secret, Failure> {
        let named = self.token_file.clone().or_else(|| {
            std::env::var_os(TOKEN_VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from)
        });
        let path = match named {
            Some(path) => path,
            None => state_folder(None)?.join(TOKEN_FILE),
        };
        let token = std::fs::read_to_string(&path).map_err(|error| {
            let path = path.display();
            Error::fatal(format!(
                "can't read the server's token in \"{path}\": start `waterspout serve`, or give --token-file"
            ))
            .because(error)
        })?;
        Ok(Secret::new(token.trim()))
    }
}

impl Server {
    /// Asks for something.
    ///
    /// # Errors
    /// If the server can't be reached, or says no.
    pub(crate) fn get<A: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<A, Failure> {
        let answered = runtime()?.block_on(self.http.get(path, query));
        self.read(answered)
    }

    /// Sends something.
    ///
    /// # Errors
    /// If the server can't be reached, or says no.
    pub(crate) fn post<A: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<A, Failure> {
        let json = serde_json::to_string(body)
            .map_err(|error| Error::fatal("can't be sent").because(error))?;
        let answered = runtime()?.block_on(self.http.post(path, &[], json));
        self.read(answered)
    }

    fn read<A: DeserializeOwned>(&self, answered: Result<Reply, NetFailure>) -> Result<A, Failure> {
        let reply = answered.map_err(|failure| self.unreachable(&failure))?;
        if !reply.is_ok() {
            return Err(self.refused(&reply));
        }
        Ok(serde_json::from_slice(&reply.body).map_err(|error| {
            let what = format!("{} isn't a server of this version", self.url);
            Error::fatal(what).because(error)
        })?)
    }

    /// The reason for which no answer came.
    pub(crate) fn unreachable(&self, failure: &NetFailure) -> Failure {
        let url = &self.url;
        let what = format!(
            "can't reach the server at {url}: {failure}; `waterspout serve` starts one, and --url or {URL_VARIABLE} names \
             another"
        );
        Failure::new(Code::Runtime, what)
    }

    /// The reason for which the server refuses.
    pub(crate) fn refused(&self, reply: &Reply) -> Failure {
        let Ok(problem) = serde_json::from_slice::<Problem>(&reply.body) else {
            let what = format!("the server at {} answers with status {}", self.url, reply.status);
            return Failure::new(Code::Runtime, what);
        };
        if problem.problems.is_empty() {
            return Failure::new(Code::Runtime, problem.detail);
        }
        let lines: Vec<String> = problem.problems.iter().map(problem_text).collect();
        Failure::problems(lines.join("\n"))
    }
}

/// A problem as `validate` prints it.
fn problem_text(problem: &crate::server::ProblemPlace) -> String {
    let mut text = format!("{}:", problem.file);
    if problem.line > 0 {
        text.push_str(&format!("{}:{}:", problem.line, problem.column));
    }
    text.push_str(&format!(" {}", problem.what));
    if let Some(hint) = &problem.hint {
        text.push_str(&format!("; {hint}"));
    }
    if problem.line > 0 {
        let (line, source, marker) = (problem.line, &problem.source_line, &problem.marker);
        text.push_str(&format!("\n{line:>5} | {source}\n      | {marker}"));
    }
    text
}

/// A path with a topology's name in it.
pub(crate) fn path_of(name: &str, operation: &str) -> String {
    // `Url::set_path` leaves these as they are.
    let quoted = name.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    let tail = if operation.is_empty() { String::new() } else { format!("/{operation}") };
    format!("/api/v1/topologies/{quoted}{tail}")
}

/// Prints a value as a line of JSON.
///
/// # Errors
/// If it can't be printed.
pub(crate) fn print_json(value: &impl Serialize) -> super::exit::Outcome {
    let line = serde_json::to_string(value)
        .map_err(|error| Error::fatal("can't print the answer").because(error))?;
    stdout::print(&(line + "\n"))
}
