//! A proxy between the program and the socket of a PostgreSQL: its connections hang, and it goes away.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

pub(crate) struct PostgresProxy {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    socket: PathBuf,
    /// False once it is down: it accepts nothing more.
    is_up: AtomicBool,
    /// True while connections, also new ones, stay without an answer.
    is_hung: AtomicBool,
    connections: Mutex<Vec<Arc<Connection>>>,
}

struct Connection {
    client: TcpStream,
    server: UnixStream,
    is_hung: AtomicBool,
}

impl PostgresProxy {
    pub(crate) fn start(socket: PathBuf) -> Self {
        Self::start_at(socket, 0)
    }

    /// A proxy at a port, which is free.
    pub(crate) fn start_at(socket: PathBuf, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            socket,
            is_up: AtomicBool::new(true),
            is_hung: AtomicBool::new(false),
            connections: Mutex::default(),
        });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if !of_thread.is_up.load(Ordering::Acquire) {
                    break;
                }
                // A client that is gone needs no connection.
                if let Ok(client) = client {
                    let _ = of_thread.connect(client);
                }
            }
        });
        Self { port, shared }
    }

    /// From here on nothing passes, and no connection ends.
    pub(crate) fn hang(&self) {
        self.shared.is_hung.store(true, Ordering::Release);
        for connection in &*self.shared.connections.lock().unwrap() {
            connection.is_hung.store(true, Ordering::Release);
        }
    }

    /// New connections are served again; those that hang stay so.
    pub(crate) fn serve(&self) {
        self.shared.is_hung.store(false, Ordering::Release);
    }

    /// Ends all connections.
    pub(crate) fn end_all(&self) {
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            connection.end();
        }
    }

    /// Its port is closed, and its connections end.
    pub(crate) fn down(&self) {
        self.shared.is_up.store(false, Ordering::Release);
        // Whoever waits for a connection gets one, and ends.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        self.end_all();
    }
}

impl Drop for PostgresProxy {
    fn drop(&mut self) {
        self.down();
    }
}

impl Shared {
    fn connect(&self, client: TcpStream) -> std::io::Result<()> {
        let server = UnixStream::connect(&self.socket)?;
        let is_hung = AtomicBool::new(self.is_hung.load(Ordering::Acquire));
        let connection = Arc::new(Connection { client, server, is_hung });
        self.connections.lock().unwrap().push(Arc::clone(&connection));
        let other = Arc::clone(&connection);
        let (from, to) = (connection.client.try_clone()?, connection.server.try_clone()?);
        thread::spawn(move || connection.copy(from, to));
        let (from, to) = (other.server.try_clone()?, other.client.try_clone()?);
        thread::spawn(move || other.copy(from, to));
        Ok(())
    }
}

impl Connection {
    /// Passes bytes on, in one direction; those of a connection that hangs are lost.
    fn copy(&self, mut from: impl Read, mut to: impl Write) {
        let mut buffer = [0; 64 << 10];
        loop {
            let read = from.read(&mut buffer).unwrap_or_default();
            if read == 0 {
                break;
            }
            if !self.is_hung.load(Ordering::Acquire) && to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        self.end();
    }

    fn end(&self) {
        // One that has ended needs no more.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}
