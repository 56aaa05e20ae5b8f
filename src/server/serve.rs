//! The server from its start to its end.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use actix_web::HttpServer;
use actix_web::dev::ServerHandle;
use actix_web::rt::System;
use actix_web::web::Data;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};

use super::api::{self, Handles, RequestTimes, Site, Streams};
use super::auth::{Auth, TOKEN_FILE};
use super::fleet::Fleet;
use super::keeper::Keeper;
use super::options::ServerOptions;
use super::tls;
use crate::checkpoint::disk::lock::Lock;
use crate::engine::DRAIN_DEADLINE;
use crate::error::{Error, Result};
use crate::lake::disk::{failed, make_private_folders};
use crate::registry::Registry;

/// The threads that answer requests. Answers are small; topologies have processes of their own.
const WORKERS: usize = 2;

/// The maximum number of connections of each worker. More would let idle clients take more memory.
const CONNECTIONS_MAX: usize = 256;

/// The longest time until the head of a request has come.
const HEAD_MAX: Duration = Duration::from_secs(10);

/// The longest time without a request on an open connection.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// The longest time for the end of a connection, and of the requests under way at the end.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// The maximum number of keepers that wait for their thread, which takes them at once.
const KEEPERS_MAX: usize = 64;

/// The end of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All topologies have drained, or were given up after their time.
    Stopped,
    /// A second signal came.
    AtOnce,
}

/// Runs the server until a signal ends it. `told` gets what people should know, and the address
/// once it listens.
///
/// # Errors
/// If another server uses the folder, the address is taken, or a file can't be read.
pub fn serve(
    options: &ServerOptions,
    registry: Arc<Registry>,
    told: impl Fn(&str, Option<&str>) + Clone + 'static,
) -> Result<Ended> {
    let state = &options.state;
    make_private_folders(state).map_err(|error| failed("make", state, error))?;
    let _lock = Lock::take(state).map_err(|refused| refused.error(state))?;
    let has_tls = options.tls.is_some();
    let config = options.tls.as_ref().map(tls::server_config).transpose()?;
    let (keepers, taken) = mpsc::channel(KEEPERS_MAX);
    start_keepers(taken)?;
    let fleet = Fleet::new(options, registry, keepers);
    let clock = Arc::clone(&fleet.shared().clock);
    let auth = Auth::open(state, has_tls || options.behind_proxy, clock)?;
    let is_loopback_only = options.listen.ip().is_loopback() && !options.behind_proxy;
    let handles = Handles {
        fleet: Data::from(Arc::clone(&fleet)),
        auth: Data::new(auth),
        site: Site { is_loopback_only },
        streams: Streams::default(),
        times: RequestTimes::default(),
    };
    System::new().block_on(async move {
        let server = HttpServer::new(move || api::app(handles.clone()))
            .workers(WORKERS)
            .max_connections(CONNECTIONS_MAX)
            .client_request_timeout(HEAD_MAX)
            .client_disconnect_timeout(GOODBYE_MAX)
            .keep_alive(KEEP_ALIVE)
            .shutdown_timeout(GOODBYE_MAX.as_secs())
            .disable_signals();
        let bound = match config {
            Some(config) => server.bind_rustls_0_23(options.listen, config),
            None => server.bind(options.listen),
        };
        let server = bound.map_err(|error| {
            Error::fatal(format!("can't listen on {}", options.listen)).because(error)
        })?;
        let address = server.addrs().first().copied().unwrap_or(options.listen);
        let scheme = if has_tls { "https" } else { "http" };
        let url = format!("{scheme}://{address}");
        for damaged in fleet.start_all().await? {
            told(&damaged, None);
        }
        let server = server.run();
        let signals = Signals::take()?;
        let token = state.join(TOKEN_FILE);
        told(&format!("listening on {url}; the token is in {}", token.display()), Some(&url));
        let ended = signals.end(server.handle(), fleet, told);
        let (ended, served) = tokio::join!(ended, server);
        served.map_err(|error| Error::fatal("the server failed").because(error))?;
        Ok(ended)
    })
}

/// Starts the thread on which all keepers live. Processes of topologies are started by it, and die
/// with it, so it lives as long as the server.
fn start_keepers(mut taken: mpsc::Receiver<Keeper>) -> Result<()> {
    let cant = |error: io::Error| Error::fatal("can't start the thread of keepers").because(error);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cant)?;
    let keep = move || {
        LocalSet::new().block_on(&runtime, async move {
            while let Some(keeper) = taken.recv().await {
                spawn_local(keeper.run());
            }
            std::future::pending::<()>().await;
        });
    };
    thread::Builder::new().name("keepers".into()).spawn(keep).map_err(cant)?;
    Ok(())
}

/// The signals that end a server.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn take() -> Result<Self> {
        let refused = |error: io::Error| Error::fatal("can't take signals").because(error);
        let interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
        let terminate = signal(SignalKind::terminate()).map_err(refused)?;
        Ok(Self { interrupt, terminate })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits for a signal, drains all topologies, and ends the server.
    async fn end(
        mut self,
        server: ServerHandle,
        fleet: Arc<Fleet>,
        told: impl Fn(&str, Option<&str>),
    ) -> Ended {
        self.next().await;
        told("stopping: all topologies drain; another signal ends at once", None);
        let ended = tokio::select! {
            () = fleet.shut_down(DRAIN_DEADLINE) => Ended::Stopped,
            () = self.next() => Ended::AtOnce,
        };
        server.stop(false).await;
        ended
    }
}
