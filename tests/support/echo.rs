//! A server that refuses everything, and repeats each request in its reason: keys too, in each form
//! in which they may come back, between escape sequences and forged lines.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// The form of the reason in the body.
#[derive(Clone, Copy)]
pub(crate) enum Packing {
    /// The form of the platforms' APIs, all of them at once.
    Json,
    /// The form of Mastodon's answers.
    Words,
    /// The form of S3's answers.
    Xml,
    /// Plain text, which no API sends.
    Plain,
}

/// Starts a server, and returns its host and port. The server lives as long as the process.
pub(crate) fn start(status: u16, packing: Packing) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || refuse(&stream, status, packing));
        }
    });
    host
}

fn refuse(stream: &TcpStream, status: u16, packing: Packing) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(1..) if line != "\r\n" => head += &line,
                Ok(1..) => break,
                _ => return,
            }
        }
        let reason = reason(&head);
        let body = match packing {
            Packing::Json => {
                let one = json!({"message": reason, "detail": reason, "title": reason, "reason": "backendError", "domain": "global"});
                let error = json!({"code": status, "message": reason, "type": "OAuthException", "errors": [one]});
                json!({"error": error, "errors": [one], "detail": reason, "title": reason, "message": reason})
                    .to_string()
            }
            Packing::Words => json!({"error": reason, "error_description": reason}).to_string(),
            Packing::Xml => {
                format!("<Error><Code>AccessDenied</Code><Message>{reason}</Message></Error>")
            }
            Packing::Plain => reason,
        };
        let head =
            format!("HTTP/1.1 {status} No\r\nContent-Length: {}\r\nX-Said: no\r\n\r\n", body.len());
        if (&*stream).write_all(&[head.as_bytes(), body.as_bytes()].concat()).is_err() {
            return;
        }
    }
}

fn reason(head: &str) -> String {
    let encoded = STANDARD.encode(head);
    let percent: String = head.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let spare: String = head.chars().filter(|c| !c.is_control()).collect();
    format!(
        "no \u{1b}[31m\u{9b}2J\u{202e}\nforged: line\r{spare} {encoded} {percent} {{\"forged\":1}}\n"
    )
}
