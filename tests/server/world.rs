//! A server in a folder of its own, and its client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::{Running, Sandbox};

/// A time that is far longer than any wait here.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder in which servers are started, one after the other.
pub(crate) struct World {
    pub sandbox: Sandbox,
}

/// A server that runs.
pub(crate) struct Server {
    pub process: Running,
    pub address: SocketAddr,
    pub url: String,
    token: String,
}

/// An answer of the server.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn with(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim())
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self { sandbox: Sandbox::new() }
    }

    /// Starts a server whose topologies may name files of this folder.
    pub(crate) fn serve(&self, more: &[&str]) -> Server {
        self.serve_with(more, &[])
    }

    /// As [`serve`](Self::serve), with these environment variables too.
    pub(crate) fn serve_with(&self, more: &[&str], environment: &[(&str, &str)]) -> Server {
        let root = self.sandbox.path(".");
        let root = root.to_str().unwrap();
        let mut arguments = vec!["serve", "--listen", "127.0.0.1:0", "--allow-path", root];
        arguments.extend(more);
        let mut process = self.sandbox.start_with(&arguments, environment);
        let url = std::cell::RefCell::new(String::new());
        process.wait_for("the server listens", |line| {
            let found = line["url"].as_str().unwrap_or_default();
            found.clone_into(&mut url.borrow_mut());
            !found.is_empty()
        });
        let url = url.into_inner();
        let address = url.split("://").nth(1).unwrap().parse().unwrap();
        Server { process, address, url, token: self.token() }
    }

    pub(crate) fn token(&self) -> String {
        let path = self.sandbox.path("state/waterspout-server/token");
        std::fs::read_to_string(path).unwrap().trim().to_owned()
    }

    /// A lake's path as a topology names it.
    pub(crate) fn path(&self, name: &str) -> String {
        self.sandbox.path(name).to_str().unwrap().to_owned()
    }
}

impl Server {
    /// Runs a command against this server.
    pub(crate) fn run(&self, world: &World, arguments: &[&str]) -> super::support::Ended {
        world.sandbox.run(&[arguments, &["--url", &self.url]].concat())
    }

    pub(crate) fn token(&self) -> String {
        self.token.clone()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, Some(body))
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let mut headers = vec![("Authorization", bearer.as_str())];
        if body.is_some() {
            headers.push(("Content-Type", "application/json"));
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        self.raw(method, path, &headers, &body)
    }

    /// Sends a request with these headers and no others.
    pub(crate) fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head += &format!("Host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        // A server that refuses a body may close the connection before the body is sent.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        let body = if is_chunked { unchunked(body) } else { body.to_owned() };
        Answer { status, head: head.to_owned(), body }
    }

    pub(crate) fn submit(&self, topology: &str) -> Answer {
        self.post("/api/v1/topologies", &json!({ "topology": topology }))
    }

    /// A topology in the list; null if it isn't there.
    pub(crate) fn summary(&self, name: &str) -> Value {
        let list = self.get("/api/v1/topologies").with(200).json();
        let topologies = list["topologies"].as_array().unwrap();
        topologies.iter().find(|one| one["name"] == name).cloned().unwrap_or(Value::Null)
    }

    /// Waits until the state of a topology is this one.
    #[track_caller]
    pub(crate) fn wait_for_state(&self, name: &str, state: &str) -> Value {
        self.wait(&format!("{name} is {state}"), || {
            let summary = self.summary(name);
            (summary["state"] == state).then_some(summary)
        })
    }

    /// Waits until a component has counted so much.
    #[track_caller]
    pub(crate) fn wait_for_count(&self, name: &str, component: &str, key: &str, count: u64) {
        self.wait(&format!("{component} of {name} has {key} {count}"), || {
            let detail = self.get(&format!("/api/v1/topologies/{name}")).json();
            let found = detail["report"]["components"].as_array()?;
            let row = found.iter().find(|row| row["id"] == component)?;
            (row[key].as_u64()? >= count).then_some(())
        });
    }

    #[track_caller]
    pub(crate) fn wait<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        let begin = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            let list = || self.get("/api/v1/topologies").body;
            assert!(begin.elapsed() < PATIENCE, "never: {what}; {}", list());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// kill -9, with all topologies.
    pub(crate) fn kill(self) {
        self.process.kill();
        let ended = self.process.end();
        assert_eq!(ended.code, None, "{}", ended.err);
    }

    /// SIGTERM, and the end.
    pub(crate) fn stop(self) -> super::support::Ended {
        self.process.terminate();
        self.process.end()
    }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let Ok(length) = usize::from_str_radix(length, 16) else { break };
        if length == 0 || rest.len() < length {
            break;
        }
        whole += &rest[..length];
        body = rest[length..].trim_start_matches("\r\n");
    }
    whole
}

/// So many posts at a rate into a lake.
pub(crate) fn capture(name: &str, lake: &str, posts: u64, rate: u64) -> String {
    format!(
        r#"Topology(
            name: "{name}",
            spouts: {{"posts": Spout(run: Generate(posts: {posts}, rate: {rate}))}},
            bolts: {{"lake": Bolt(run: Local(root: "{lake}"), inputs: [Shuffle("posts")])}},
            checkpoint: Checkpoint(every: "50ms"),
        )"#
    )
}
