//! Prism: a server that knows the platforms' specifications and nothing of this project. It reports
//! the violations of a specification by requests.
//!
//! ```ignore
//! let Some(specs) = prism::specs("x_asks_as_the_specification_has_it") else { return };
//! let prism = Prism::mock(&specs.join("x-api-v2.159.openapi.json"));
//! // …the program runs against the fake platform…
//! prism.assert_conforms(&platform.requests().of(Kind::Tweet));
//! ```

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::{Value, json};

use super::platform::http::encode;
use super::platform::{Requests, Seen};

/// Returns the folder of the specifications, which aren't part of the repository: beside the
/// checkout, or at `WATERSPOUT_SPECS`. Without them `test` isn't run, which is printed; in CI
/// (`CI=true`) it fails.
pub(crate) fn specs(test: &str) -> Option<PathBuf> {
    let beside = || super::repository("../shared/specs").into();
    let folder: PathBuf = std::env::var_os("WATERSPOUT_SPECS").map_or_else(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!ci, "{} is missing, and in CI it must not be", folder.display());
    // A macro's output would be shown only if the test fails.
    let said = format!("NOT RUN: {test}: the specifications aren't at {}\n", folder.display());
    std::io::stderr().write_all(said.as_bytes()).unwrap();
    None
}

/// A running Prism, which ends when this is dropped.
pub(crate) struct Prism {
    process: Child,
    port: u16,
    spec: Value,
}

impl Prism {
    /// Starts a Prism that answers by the specification's examples.
    pub(crate) fn mock(spec: &Path) -> Self {
        Self::start(&["mock"], spec, None)
    }

    /// Starts a Prism that passes requests on, and also reports violations by the answers.
    pub(crate) fn proxy(spec: &Path, upstream: &str) -> Self {
        Self::start(&["proxy"], spec, Some(upstream))
    }

    fn start(command: &[&str], spec: &Path, upstream: Option<&str>) -> Self {
        let program = super::cache::folder("node", "tests/prism/package-lock.json")
            .join("node_modules/@stoplight/prism-cli/dist/index.js");
        assert!(program.exists(), "{} is missing: tests/run installs it", program.display());
        let text =
            std::fs::read(spec).unwrap_or_else(|error| panic!("{}: {error}", spec.display()));
        let port = free_port();
        let mut process = Command::new("node")
            .arg(program)
            .args(command)
            .args(["-h", "127.0.0.1", "-p", &port.to_string()])
            .arg(spec)
            .args(upstream)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node is there: tests/run checks it");
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut all = String::new();
        let listens = said.by_ref().map_while(Result::ok).any(|line| {
            all += &(line.clone() + "\n");
            line.contains("Prism is listening")
        });
        let prism = Self { process, port, spec: serde_json::from_slice(&text).unwrap() };
        assert!(listens, "Prism ended:\n{all}");
        // Prism prints much about each request, and would wait for a reader.
        thread::spawn(move || said.map_while(Result::ok).for_each(drop));
        prism
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the violations of the specification by these requests. The beginning of a WebSocket
    /// isn't checked.
    pub(crate) fn violations(&self, requests: &Requests) -> Vec<String> {
        let mut violations = Vec::new();
        for seen in requests.0.iter().filter(|seen| seen.header("upgrade").is_none()) {
            let name = format!("{} {} {:?}", seen.method, seen.path, seen.query);
            for violation in self.undeclared(seen).into_iter().chain(self.said_of(seen, "request"))
            {
                violations.push(format!("{name}: {violation}"));
            }
        }
        violations
    }

    /// Fails unless all requests conform to the specification.
    #[track_caller]
    pub(crate) fn assert_conforms(&self, requests: &Requests) {
        assert!(requests.len() > 0, "nothing was asked");
        let violations = self.violations(requests);
        assert!(violations.is_empty(), "{}", violations.join("\n"));
    }

    /// Sends the same request to Prism, and returns its violations in the `request` or the
    /// `response`.
    pub(crate) fn said_of(&self, seen: &Seen, about: &str) -> Vec<String> {
        let (status, violations) = self.ask(seen);
        // If there are too many violations, Prism's list is cut.
        let read = |text: &str| {
            serde_json::from_str(text)
                .unwrap_or_else(|_| vec![json!({"location": [about], "cut": text})])
        };
        let list: Vec<Value> = violations.as_deref().map(read).unwrap_or_default();
        let about = |violation: &&Value| violation["location"][0] == about;
        let mut said: Vec<_> = list.iter().filter(about).map(Value::to_string).collect();
        if list.is_empty() && (status == 401 || status == 404 || status == 405) {
            said.push(format!("status {status}"));
        }
        said
    }

    /// Returns the status, and the header with the violations.
    fn ask(&self, seen: &Seen) -> (u16, Option<String>) {
        let query: Vec<_> =
            seen.query.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        let path = seen.path.split('/').map(encode).collect::<Vec<_>>().join("/");
        let mut head = format!(
            "{} {path}{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n",
            seen.method
        );
        for (name, value) in &seen.headers {
            if !matches!(
                name.as_str(),
                "host" | "connection" | "content-length" | "accept-encoding"
            ) {
                head += &format!("{name}: {value}\r\n");
            }
        }
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "{head}Content-Length: {}\r\n\r\n{}", seen.body.len(), seen.body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        let head = answer.split("\r\n\r\n").next().unwrap_or_default();
        let status =
            head.get(9..12).and_then(|status| status.parse().ok()).expect("an answer has a status");
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sl-violations").then(|| value.trim().to_owned())
        };
        (status, head.lines().find_map(header))
    }

    /// Returns the parameters that the specification doesn't have: Prism accepts them.
    fn undeclared(&self, seen: &Seen) -> Vec<String> {
        let Some(path) = self.path(&seen.path) else { return vec!["no such path".into()] };
        let operation = &path[seen.method.to_lowercase()];
        let lists = [&path["parameters"], &operation["parameters"]];
        let all: Vec<_> = lists
            .into_iter()
            .filter_map(Value::as_array)
            .flatten()
            .map(|p| self.resolve(p))
            .collect();
        let plain = |name: &str| name.trim_end_matches("[]").to_owned();
        let known = |name: &str| {
            all.iter()
                .any(|p| p["in"] == "query" && p["name"].as_str().map(plain) == Some(plain(name)))
        };
        // Tokens belong to the security schemes.
        let token = |name: &str| matches!(name, "access_token" | "key");
        let unknown = seen.query.iter().filter(|(name, _)| !known(name) && !token(name));
        unknown.map(|(name, _)| format!("an unknown parameter \"{name}\"")).collect()
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str().and_then(|name| name.strip_prefix('#')) {
            Some(pointer) => self.spec.pointer(pointer).expect("a reference leads somewhere"),
            None => value,
        }
    }

    /// Returns the path of the specification for a request's path; one without braces comes first.
    fn path(&self, path: &str) -> Option<&Value> {
        let paths = self.spec["paths"].as_object()?;
        let fits = |template: &str| {
            let (a, b): (Vec<_>, Vec<_>) =
                (template.split('/').collect(), path.split('/').collect());
            a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a == b || a.starts_with('{'))
        };
        paths
            .get(path)
            .or_else(|| paths.iter().find(|(template, _)| fits(template)).map(|(_, value)| value))
    }
}

impl Drop for Prism {
    fn drop(&mut self) {
        // A process that has ended needs no signal.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
