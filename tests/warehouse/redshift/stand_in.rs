//! A stand-in for Redshift: it speaks PostgreSQL's wire protocol as Redshift does, and has a real
//! PostgreSQL behind it execute every statement. Only what PostgreSQL doesn't know is translated:
//! SUPER, keys of distribution and order, COPY from S3 (whose files it reads from the bucket), and
//! the tables with the errors of a load. It knows the simple protocol only.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::thread;

use serde_json::Value;

use crate::support::s3_server::S3Server;
use crate::support::sign::escape;

/// The request for TLS from a client.
const SSL_REQUEST: [u8; 4] = 80_877_103_u32.to_be_bytes();

const VERSION: &str = "PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC gcc (GCC) 3.4.2 \
                       20041017 (Red Hat 3.4.2-6.fc3), Redshift 1.0.136214";

/// A fault of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A serializable isolation violation: the transaction is taken back.
    Isolation,
    /// The connection ends before it is executed.
    CloseBefore,
    /// It is executed, and the connection ends before the answer.
    CloseAfter,
}

#[derive(Default)]
struct Shared {
    statements: Vec<String>,
    /// Statements that meet a fault, by what they begin with, and how many of those come first.
    faults: Vec<(&'static str, Fault)>,
    /// Lines that a COPY refused: file, line, reason.
    refused: Vec<(String, usize, String)>,
    hides_refused: bool,
}

pub(super) struct StandIn {
    port: u16,
    shared: Arc<Mutex<Shared>>,
}

impl StandIn {
    /// One before a PostgreSQL, which reads buckets of a server.
    pub(super) fn start(socket: PathBuf, s3: &Arc<S3Server>) -> Self {
        let s3 = Arc::downgrade(s3);
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared: Arc<Mutex<Shared>> = Arc::default();
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (socket, s3) = (socket.clone(), Weak::clone(&s3));
                let shared = Arc::clone(&of_thread);
                thread::spawn(move || {
                    let server = UnixStream::connect(socket).unwrap();
                    // A connection that breaks ends; so does the client that was killed.
                    let mut link = Link { client, server, s3, shared };
                    let _ = link.serve();
                    let _ = link.client.shutdown(Shutdown::Both);
                });
            }
        });
        Self { port, shared }
    }

    pub(super) fn url(&self, database: &str) -> String {
        format!("redshift://postgres:@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// The next statement that begins with this meets a fault.
    pub(super) fn fail(&self, begin: &'static str, fault: Fault) {
        self.shared.lock().unwrap().faults.push((begin, fault));
    }

    /// The number of faults that haven't occurred yet.
    pub(super) fn faults_left(&self) -> usize {
        self.shared.lock().unwrap().faults.len()
    }

    /// The tables with refused lines are empty from here on, as for a user without the right.
    pub(super) fn hide_refused(&self) {
        self.shared.lock().unwrap().hides_refused = true;
    }

    /// All statements that came.
    pub(super) fn statements(&self) -> Vec<String> {
        self.shared.lock().unwrap().statements.clone()
    }
}

/// One client's connection, and that to the server behind.
struct Link {
    client: TcpStream,
    server: UnixStream,
    s3: Weak<S3Server>,
    shared: Arc<Mutex<Shared>>,
}

/// A message of the server, with its head.
struct Message {
    kind: u8,
    bytes: Vec<u8>,
}

impl Link {
    fn serve(&mut self) -> io::Result<()> {
        loop {
            let start = read_body(&mut self.client)?;
            if start == SSL_REQUEST {
                self.client.write_all(b"N")?;
                continue;
            }
            self.server.write_all(&(start.len() as u32 + 4).to_be_bytes())?;
            self.server.write_all(&start)?;
            break;
        }
        let greeting = self.answer()?;
        self.send(&greeting)?;
        loop {
            let mut kind = [0];
            self.client.read_exact(&mut kind)?;
            let body = read_body(&mut self.client)?;
            match kind[0] {
                b'X' => return Ok(()),
                b'Q' => {
                    let text = std::str::from_utf8(&body[..body.len() - 1]).unwrap().to_owned();
                    self.query(&text)?;
                }
                other => panic!("a message {:?}, which isn't simple", char::from(other)),
            }
        }
    }

    fn query(&mut self, text: &str) -> io::Result<()> {
        let fault = {
            let mut shared = self.shared.lock().unwrap();
            shared.statements.push(text.to_owned());
            let at = shared.faults.iter().position(|(begin, _)| text.starts_with(begin));
            at.map(|at| shared.faults.remove(at).1)
        };
        match fault {
            None => {}
            Some(Fault::CloseBefore) => return Err(io::ErrorKind::ConnectionReset.into()),
            Some(Fault::CloseAfter) => {
                self.execute(text)?;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            Some(Fault::Isolation) => {
                self.ask("rollback")?;
                let detail = "Serializable isolation violation on table - 100167, transactions \
                              forming the cycle are: 55705701, 55705754 (pid:16606)";
                return self.send(&[error("1023", detail), ready(b'I')]);
            }
        }
        let answer = self.execute(text)?;
        self.send(&answer)
    }

    fn execute(&mut self, text: &str) -> io::Result<Vec<Message>> {
        if text == "select version()" {
            return self.ask(&format!("select '{VERSION}'"));
        }
        if text.starts_with("copy ") {
            return self.copy(&CopyCommand::parse(text));
        }
        if text.contains(" from sys_load_error_detail ") {
            return self.refused_lines(text);
        }
        self.ask(&translated(text))
    }

    /// The lines of a file that were refused, as rows.
    fn refused_lines(&mut self, text: &str) -> io::Result<Vec<Message>> {
        let file = between(text, "trim(file_name) = '", "'").to_owned();
        let mut query = "select 0, '', '' where false".to_owned();
        {
            let shared = self.shared.lock().unwrap();
            let of_file = shared.refused.iter().filter(|(of, ..)| *of == file);
            for (_, line, reason) in of_file.take_while(|_| !shared.hides_refused) {
                query += &format!(" union all select {line}, 'raw', $why${reason}$why$");
            }
        }
        self.ask(&query)
    }

    fn copy(&mut self, copy: &CopyCommand<'_>) -> io::Result<Vec<Message>> {
        let mut refused = 0;
        // Whoever ends a load that another one still makes may have deleted its files.
        let Some(manifest) = self.object(copy.manifest) else { return self.gone(copy.manifest) };
        for file in files_of(&manifest) {
            let Some(packed) = self.object(&file) else { return self.gone(&file) };
            let mut text = String::new();
            flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            if !copy.is_noload {
                let loaded = self.ask(&copy.insert(&lines))?;
                if is_error(&loaded) {
                    return Ok(vec![copy.failed(), ready(b'E')]);
                }
                continue;
            }
            self.ask("savepoint noload")?;
            let whole = self.ask(&copy.insert(&lines))?;
            self.ask("rollback to noload")?;
            for (number, line) in (1..).zip(lines).take_while(|_| is_error(&whole)) {
                let tried = self.ask(&copy.insert(&[line]))?;
                self.ask("rollback to noload")?;
                if is_error(&tried) {
                    refused += 1;
                    let reason = reason(&tried);
                    self.shared.lock().unwrap().refused.push((file.clone(), number, reason));
                }
            }
        }
        if refused > copy.errors_max {
            self.ask("select 1 / 0")?;
            return Ok(vec![copy.failed(), ready(b'E')]);
        }
        Ok(vec![message(b'C', b"COPY\0"), ready(b'T')])
    }

    /// The answer of a COPY whose file isn't there; its transaction is aborted.
    fn gone(&mut self, address: &str) -> io::Result<Vec<Message>> {
        self.ask("select 1 / 0")?;
        let text = format!("The specified S3 prefix '{address}' does not exist");
        Ok(vec![error(&text, ""), ready(b'E')])
    }

    fn object(&self, address: &str) -> Option<Vec<u8>> {
        let path = address.strip_prefix("s3://").unwrap();
        let s3 = self.s3.upgrade().expect("the bucket's server runs as long as the test");
        let (status, body) = s3.request("GET", &format!("/{}", escape(path, "/")), b"");
        assert!(matches!(status, 200 | 404), "{status}: {address}");
        (status == 200).then_some(body)
    }

    /// Returns the answer of the server behind to a query.
    fn ask(&mut self, query: &str) -> io::Result<Vec<Message>> {
        self.server.write_all(b"Q")?;
        self.server.write_all(&(query.len() as u32 + 5).to_be_bytes())?;
        self.server.write_all(query.as_bytes())?;
        self.server.write_all(&[0])?;
        self.answer()
    }

    /// All messages until the server is ready.
    fn answer(&mut self) -> io::Result<Vec<Message>> {
        let mut messages = Vec::new();
        loop {
            let mut kind = [0];
            self.server.read_exact(&mut kind)?;
            let answered = message(kind[0], &read_body(&mut self.server)?);
            messages.push(answered);
            if kind[0] == b'Z' {
                return Ok(messages);
            }
        }
    }

    fn send(&mut self, messages: &[Message]) -> io::Result<()> {
        for message in messages {
            self.client.write_all(&message.bytes)?;
        }
        Ok(())
    }
}

/// A COPY, in the one form that is sent.
struct CopyCommand<'t> {
    table: &'t str,
    columns: &'t str,
    manifest: &'t str,
    is_noload: bool,
    errors_max: usize,
}

impl<'t> CopyCommand<'t> {
    fn parse(text: &'t str) -> Self {
        assert!(text.contains(" iam_role 'arn:aws:iam::123456789012:role/load' "), "{text}");
        assert!(text.contains(" manifest gzip format as json 'auto' timeformat 'auto' "), "{text}");
        let errors = text.split(" maxerror ").nth(1).unwrap().split(' ').next().unwrap();
        Self {
            table: between(text, "copy ", " "),
            columns: between(text, "(", ")"),
            manifest: between(text, ") from '", "'"),
            is_noload: text.ends_with(" noload"),
            errors_max: errors.parse().unwrap(),
        }
    }

    /// An INSERT of lines of JSON.
    fn insert(&self, lines: &[&str]) -> String {
        let Self { table, columns, .. } = self;
        let values: Vec<String> =
            lines.iter().map(|line| format!("($line${line}$line$)")).collect();
        format!(
            "insert into {table} ({columns}) select {columns} from (values {}) v(line), \
             lateral jsonb_populate_record(null::{table}, v.line::jsonb)",
            values.join(", ")
        )
    }

    fn failed(&self) -> Message {
        let table = self.table;
        error(
            &format!(
                "Load into table '{table}' failed.  Check 'sys_load_error_detail' system table for \
                 details."
            ),
            "",
        )
    }
}

/// A statement as PostgreSQL knows it.
fn translated(text: &str) -> String {
    let mut text = text.replace(" super", " jsonb");
    for begin in [" distkey (", " sortkey ("] {
        while let Some((before, behind)) = text.clone().split_once(begin) {
            let (_, rest) = behind.split_once(')').unwrap();
            text = format!("{before}{rest}");
        }
    }
    text.replace(" diststyle all", "")
}

/// The files that a manifest names.
fn files_of(manifest: &[u8]) -> Vec<String> {
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    let entries = manifest["entries"].as_array().unwrap();
    let mut files = Vec::new();
    for entry in entries {
        assert_eq!(entry["mandatory"], true);
        files.push(entry["url"].as_str().unwrap().to_owned());
    }
    files
}

#[track_caller]
fn between<'t>(text: &'t str, begin: &str, end: &str) -> &'t str {
    let (_, behind) = text.split_once(begin).unwrap_or_else(|| panic!("no {begin} in {text}"));
    behind.split_once(end).unwrap_or_else(|| panic!("no {end} in {text}")).0
}

fn read_body(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
    from.read_exact(&mut body)?;
    Ok(body)
}

fn message(kind: u8, body: &[u8]) -> Message {
    let mut bytes = vec![kind];
    bytes.extend((body.len() as u32 + 4).to_be_bytes());
    bytes.extend_from_slice(body);
    Message { kind, bytes }
}

fn ready(state: u8) -> Message {
    message(b'Z', &[state])
}

/// An error as Redshift has them: nearly all have the same code.
fn error(text: &str, detail: &str) -> Message {
    let mut body = format!("SERROR\0CXX000\0M{text}\0");
    if !detail.is_empty() {
        body += &format!("D{detail}\0");
    }
    body.push('\0');
    message(b'E', body.as_bytes())
}

fn is_error(messages: &[Message]) -> bool {
    messages.iter().any(|message| message.kind == b'E')
}

/// The text of an error.
fn reason(messages: &[Message]) -> String {
    let error = messages.iter().find(|message| message.kind == b'E').unwrap();
    let fields = error.bytes[5..].split(|byte| *byte == 0);
    let mut texts = fields.filter_map(|field| field.strip_prefix(b"M"));
    String::from_utf8(texts.next_back().unwrap().to_vec()).unwrap()
}
