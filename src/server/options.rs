//! The options of a server.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::confine::Allowed;

/// The options of a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The address on which it listens.
    pub listen: SocketAddr,
    /// The folder for everything that it keeps.
    pub state: PathBuf,
    /// The program whose `run` runs a topology.
    pub program: PathBuf,
    /// Certificate and key, for TLS.
    pub tls: Option<TlsFiles>,
    /// A proxy in front of it speaks TLS.
    pub behind_proxy: bool,
    /// The files, variables and components that topologies may name.
    pub allowed: Allowed,
    /// The bounds on what clients may ask for.
    pub limits: Limits,
}

/// The files for TLS, PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, and those that lead from it to a root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The bounds on what clients may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest body of a request, in bytes. Each connection may hold one in memory.
    pub body_bytes_max: usize,
    /// The maximum number of topologies. Each running one is a process of about 18 MB.
    pub topologies_max: usize,
    /// The maximum number of tasks of all topologies. A task costs an inbox, and a blocking sink
    /// two threads.
    pub tasks_max: usize,
}

/// The bounds unless the command line says otherwise.
impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes_max: 1 << 20, topologies_max: 250, tasks_max: 10_000 }
    }
}
