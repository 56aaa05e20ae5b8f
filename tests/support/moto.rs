//! moto: a server that stands for S3, which nobody here wrote. It is asked by plain HTTP, so that
//! what is found in it doesn't depend on the client under test.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

/// What a signed put wrote, nobody reads without a signature, which moto doesn't check.
const OWNER: &str = "Authorization: AWS4-HMAC-SHA256 Credential=id/20151218/us-east-1/s3/aws4_request, \
                     SignedHeaders=host, Signature=none\r\n";

/// A running server with no buckets, which ends with it.
pub struct Moto {
    process: Child,
    pub port: u16,
}

impl Moto {
    pub fn start() -> Self {
        let program = super::cache::folder("python", "tests/requirements.txt").join("bin/moto_server");
        assert!(program.exists(), "{} is missing: tests/run installs it", program.display());
        let mut process = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines();
        let port = said.by_ref().find_map(|line| line.unwrap().split("http://127.0.0.1:").nth(1)?.trim().parse().ok());
        let port = port.expect("moto says where it listens");
        // It says a line for each request, and would wait for somebody to read it.
        thread::spawn(move || said.for_each(drop));
        Self { process, port }
    }

    pub fn with_bucket(name: &str) -> Self {
        let moto = Self::start();
        assert_eq!(moto.request("PUT", &format!("/{name}"), b"").0, 200);
        moto
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Asks it something: status and body.
    pub fn request(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{OWNER}Connection: close\r\nContent-Length: {length}\r\n\r\n"
        )
        .unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("an answer has a head");
        let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
        (status, answer.split_off(head + 4))
    }

    /// All keys of a bucket.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        loop {
            let after = keys.last().map_or(String::new(), |key| format!("&start-after={}", escape(key)));
            let (status, body) = self.request("GET", &format!("/{bucket}?list-type=2{after}"), b"");
            assert_eq!(status, 200);
            let body = String::from_utf8(body).unwrap();
            let found: Vec<_> = body.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap()).collect();
            if found.is_empty() {
                return keys;
            }
            keys.extend(found.into_iter().map(str::to_owned));
        }
    }

    /// Copies a bucket into a folder.
    pub fn download(&self, bucket: &str, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        for key in self.keys(bucket) {
            let (status, body) = self.request("GET", &format!("/{bucket}/{}", escape(&key)), b"");
            assert_eq!(status, 200, "{key}");
            fs::create_dir_all(folder.join(&key).parent().unwrap()).unwrap();
            fs::write(folder.join(&key), body).unwrap();
        }
    }
}

fn escape(key: &str) -> String {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
    key.bytes().map(|b| if good(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

impl Drop for Moto {
    fn drop(&mut self) {
        // One that has ended needs no more.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
