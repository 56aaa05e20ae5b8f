//! A server on loopback that takes whatever is put, as S3 would, and keeps nothing: so what is
//! measured is the client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// The number of bytes of a body that are read at once.
const BUFFER_BYTES: usize = 1 << 20;

/// Starts it; its address. It ends with the process.
pub(crate) fn start() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let address = format!("http://{}", listener.local_addr().expect("it is bound"));
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A client that goes away ends its connection.
            thread::spawn(move || serve(&client));
        }
    });
    address
}

fn serve(client: &TcpStream) -> Option<()> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, client);
    client.set_nodelay(true).ok()?;
    loop {
        let mut left = head(&mut reader)?;
        while left > 0 {
            let got = reader.fill_buf().ok()?.len().min(left);
            if got == 0 {
                return None;
            }
            reader.consume(got);
            left -= got;
        }
        let mut client = client;
        client
            .write_all(b"HTTP/1.1 200 OK\r\nETag: \"kept-nowhere\"\r\nContent-Length: 0\r\n\r\n")
            .ok()?;
    }
}

/// Reads the head of a request: the length of its body.
fn head(reader: &mut impl BufRead) -> Option<usize> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.by_ref().take(64 << 10).read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim().to_ascii_lowercase();
        if let Some(bytes) = line.strip_prefix("content-length:") {
            length = bytes.trim().parse().ok()?;
        }
        if line.is_empty() {
            return Some(length);
        }
    }
}
