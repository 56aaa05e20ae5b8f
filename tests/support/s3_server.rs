//! An independent server that stands for S3: moto, or MinIO with `WATERSPOUT_S3=minio`, as with
//! `tests/run --long`. Tests ask it by plain HTTP, so that their findings don't depend on the
//! client under test.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::cache;
use super::sign::{authorization, date, escape};

/// The credentials that may do everything. MinIO requires more than three and seven characters.
pub(crate) const ID: &str = "waterspout";
pub(crate) const KEY: &str = "hidden-key";

/// A time that is far longer than any of the servers needs to start, on any machine.
const START_MAX: Duration = Duration::from_secs(60);

/// Returns the folder in which tests/run has put the pinned Python packages.
pub(crate) fn python() -> PathBuf {
    cache::folder("python", "tests/requirements.txt")
}

/// Returns the path of MinIO in the version that tests/run builds, which is read from its text.
fn minio() -> PathBuf {
    let run = fs::read_to_string(super::repository("tests/run")).unwrap();
    let version = run
        .lines()
        .find_map(|line| line.strip_prefix("MINIO="))
        .expect("tests/run names a version");
    cache::root().join(format!("minio-{version}")).join("minio")
}

fn installed(program: PathBuf) -> PathBuf {
    assert!(program.exists(), "{} is missing: tests/run installs it", program.display());
    program
}

/// A running server, which ends when this is dropped.
pub(crate) struct S3Server {
    process: Child,
    pub port: u16,
    _folder: TempDir,
}

impl S3Server {
    /// Starts a server without buckets.
    pub(crate) fn start() -> Self {
        match std::env::var("WATERSPOUT_S3").as_deref() {
            Ok("minio") => Self::start_minio(),
            Ok(other) => panic!("WATERSPOUT_S3 is \"{other}\", expected \"minio\" or nothing"),
            Err(_) => Self::start_moto(),
        }
    }

    fn start_moto() -> Self {
        let mut process = Command::new(installed(python().join("bin/python")))
            .arg(super::repository("tests/support/moto_server.py"))
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines();
        let port = said
            .by_ref()
            .find_map(|line| line.unwrap().split("http://127.0.0.1:").nth(1)?.trim().parse().ok());
        let port = port.expect("moto says where it listens");
        // moto prints a line for each request, and would wait for a reader.
        thread::spawn(move || said.for_each(drop));
        Self { process, port, _folder: tempfile::tempdir().unwrap() }
    }

    fn start_minio() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // MinIO doesn't print which port it chooses, so a port that is free at this moment is
        // chosen here.
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let process = Command::new(installed(minio()))
            .arg("server")
            .arg(folder.path())
            .args(["--quiet", "--address", &format!("127.0.0.1:{port}")])
            .envs([("MINIO_ROOT_USER", ID), ("MINIO_ROOT_PASSWORD", KEY), ("MINIO_BROWSER", "off")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { process, port, _folder: folder };
        let began = Instant::now();
        // MinIO refuses connections first, and then answers 503 for a while.
        while server
            .try_request("GET", "/minio/health/cluster", b"")
            .is_none_or(|(status, _)| status != 200)
        {
            assert!(began.elapsed() < START_MAX, "MinIO doesn't start");
            thread::yield_now();
        }
        server
    }

    pub(crate) fn with_bucket(name: &str) -> Self {
        let server = Self::start();
        assert_eq!(server.request("PUT", &format!("/{name}"), b"").0, 200);
        server
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sends a request; returns the status and the body.
    pub(crate) fn request(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        self.try_request(method, path, body).expect("the server answers")
    }

    fn try_request(&self, method: &str, path: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let (host, date, length) = (format!("127.0.0.1:{}", self.port), date(), body.len());
        let authorization = authorization(method, path, &host, &date, (ID, KEY));
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {authorization}\r\nX-Amz-Date: {date}\r\n\
             X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(body).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
        let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
        Some((status, answer.split_off(head + 4)))
    }

    /// Returns all keys of a bucket.
    pub(crate) fn keys(&self, bucket: &str) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        loop {
            let after = keys
                .last()
                .map_or(String::new(), |key| format!("&start-after={}", escape(key, "")));
            let (status, body) = self.request("GET", &format!("/{bucket}?list-type=2{after}"), b"");
            assert_eq!(status, 200);
            let body = String::from_utf8(body).unwrap();
            let found: Vec<_> = body
                .split("<Key>")
                .skip(1)
                .map(|rest| rest.split("</Key>").next().unwrap())
                .collect();
            if found.is_empty() {
                return keys;
            }
            keys.extend(found.into_iter().map(str::to_owned));
        }
    }

    /// Copies a bucket into a folder.
    pub(crate) fn download(&self, bucket: &str, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        for key in self.keys(bucket) {
            let (status, body) =
                self.request("GET", &format!("/{bucket}/{}", escape(&key, "/")), b"");
            assert_eq!(status, 200, "{key}");
            fs::create_dir_all(folder.join(&key).parent().unwrap()).unwrap();
            fs::write(folder.join(&key), body).unwrap();
        }
    }

    /// Deletes all objects of a bucket.
    pub(crate) fn clear(&self, bucket: &str) {
        for key in self.keys(bucket) {
            assert_eq!(
                self.request("DELETE", &format!("/{bucket}/{}", escape(&key, "/")), b"").0,
                204,
                "{key}"
            );
        }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // A process that has ended needs no signal.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
