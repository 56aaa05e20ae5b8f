//! An independent endpoint of webhooks: Flask (`webhook_server.py`), which logs each request, and
//! verifies signatures by Python's `hmac`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::s3_server::python;

/// The secret that requests are signed with.
pub(crate) const SECRET: &str = "hidden-signing-secret";

/// A running endpoint, which ends when this is dropped.
pub(crate) struct Endpoint {
    process: Child,
    port: u16,
    folder: TempDir,
}

impl Endpoint {
    /// Starts an endpoint that answers as a plan says.
    pub(crate) fn start(plan: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let python = python().join("bin/python");
        assert!(python.exists(), "{} is missing: tests/run installs it", python.display());
        let mut process = Command::new(python)
            .arg(super::repository("tests/support/webhook_server.py"))
            .arg(folder.path().join("requests.ndjson"))
            .arg(SECRET)
            .env("PLAN", plan)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let port = port.trim().parse().expect("Flask says where it listens");
        Self { process, port, folder }
    }

    /// Returns the endpoint's address, with a path and a query that are secrets.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook/hidden-path?key=hidden-query", self.port)
    }

    /// Returns the scheme, host and port of the endpoint.
    pub(crate) fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("requests.ndjson")
    }

    /// Returns all requests that have come, in order.
    pub(crate) fn requests(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.log()).unwrap();
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // A process that has ended needs no signal.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
