//! An independent PostgreSQL (`postgres_server.py`). Tests ask it by its own psql, so that their
//! findings don't depend on the client under test.
//!
//! `WATERSPOUT_POSTGRES` names the folder with the programs of another version, as with `tests/run
//! --long`.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use tempfile::TempDir;

use super::s3_server::python;

/// A running server, which ends when this is dropped.
pub(crate) struct PostgresServer {
    process: Child,
    tell: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    /// The folder with the server's socket.
    sockets: String,
    programs: PathBuf,
    folder: TempDir,
}

impl PostgresServer {
    pub(crate) fn start() -> Self {
        Self::start_from(None)
    }

    /// Starts a server that can encrypt, which the wheel's can't: the distribution's, if it is
    /// installed.
    pub(crate) fn with_tls() -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let programs = versions.map(|version| version.unwrap().path().join("bin"));
        let newest = programs.filter(|folder| folder.join("initdb").exists()).max()?;
        Some(Self::start_from(Some(newest)))
    }

    fn start_from(programs: Option<PathBuf>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let python = python().join("bin/python");
        assert!(python.exists(), "{} is missing: tests/run installs it", python.display());
        let mut process = Command::new(python)
            .envs(programs.map(|programs| ("WATERSPOUT_POSTGRES", programs)))
            .args(["-W", "ignore", &super::repository("tests/support/postgres_server.py")])
            .arg(folder.path().join("data"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take().unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let (uri, programs) = line.trim().split_once(' ').expect("the server says where it is");
        let sockets = uri.split_once("host=").unwrap().1.to_owned();
        let server = Self {
            process,
            tell: Mutex::new((stdin, said)),
            sockets,
            programs: programs.into(),
            folder,
        };
        // The tests don't cover a crash of the machine, so nothing has to be synced.
        for setting in ["fsync = off", "max_connections = 200", "log_min_messages = warning"] {
            server.sql("postgres", &format!("alter system set {setting}"));
        }
        server.tell("restart fast");
        server
    }

    /// Returns a server that all tests of a program share.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<PostgresServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Tells the server to `start`, `stop` or `restart`, and waits until it has done so.
    pub(crate) fn tell(&self, command: &str) {
        let (stdin, said) = &mut *self.tell.lock().unwrap();
        writeln!(stdin, "{command}").unwrap();
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n", "{command}");
    }

    /// Creates an empty database.
    pub(crate) fn database(&self) -> Database<'_> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("d{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("create database {name}"));
        Database { server: self, name }
    }

    fn sql(&self, database: &str, query: &str) -> String {
        self.try_sql(database, query).unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    fn try_sql(&self, database: &str, query: &str) -> Result<String, String> {
        let asked = self
            .program("psql")
            .args(["-X", "-qAt", "-v", "ON_ERROR_STOP=1", "-d", &self.url(database), "-c", query])
            .output()
            .unwrap();
        if asked.status.success() {
            Ok(String::from_utf8(asked.stdout).unwrap().trim_end().to_owned())
        } else {
            Err(String::from_utf8_lossy(&asked.stderr).into_owned())
        }
    }

    /// Returns the path of the certificate of the server's authority, or of another one, after the
    /// command `tls PORT`.
    pub(crate) fn authority(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns a command of one of the server's own programs.
    pub(crate) fn program(&self, name: &str) -> Command {
        Command::new(self.programs.join(name))
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgresql://postgres:@/{database}?host={}", self.sockets)
    }

    /// Returns the path of the server's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        PathBuf::from(&self.sockets).join(".s.PGSQL.5432")
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // The Python program stops the server at this command. If it has ended, nothing is left to
        // do.
        let (stdin, said) = self.tell.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(stdin, "end");
        let _ = said.read_line(&mut String::new());
        let _ = self.process.wait();
    }
}

/// A database of a server.
pub(crate) struct Database<'s> {
    pub server: &'s PostgresServer,
    pub name: String,
}

impl Database<'_> {
    pub(crate) fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// Returns psql's output for a query: rows as lines, columns with `|` between them.
    #[track_caller]
    pub(crate) fn ask(&self, query: &str) -> String {
        let query = format!("set search_path to waterspout; {query}");
        self.server.sql(&self.name, &query)
    }

    /// Returns the same, or the error.
    pub(crate) fn try_ask(&self, query: &str) -> Result<String, String> {
        self.server.try_sql(&self.name, &format!("set search_path to waterspout; {query}"))
    }
}
