//! SIGINT and SIGTERM: the first asks for a graceful drain, the second ends the process at once.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use futures_util::future::select;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::exit::Code;
use crate::engine::Running;
use crate::error::{Error, Result};

/// The signals of this process, taken on a thread of their own, so that they work whatever the main
/// thread waits for: the engine, or a terminal that doesn't take its output.
#[derive(Clone, Default)]
pub struct Signals(Arc<Shared>);

#[derive(Default)]
struct Shared {
    stop_asked: AtomicBool,
    running: OnceLock<Arc<Running>>,
}

impl Signals {
    /// Takes the signals from now on. There need not be a topology yet.
    ///
    /// # Errors
    /// If the system gives no thread or no handler.
    pub fn take() -> Result<Self> {
        let signals = Self::default();
        let theirs = signals.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refused)?;
        let guard = runtime.enter();
        let interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
        let terminate = signal(SignalKind::terminate()).map_err(refused)?;
        drop(guard);
        let wait = move || runtime.block_on(theirs.obey(interrupt, terminate));
        thread::Builder::new().name("signals".into()).spawn(wait).map_err(refused)?;
        Ok(signals)
    }

    /// The topology that a signal stops; at once, if one has come already.
    pub fn stop_on_signal(&self, running: Arc<Running>) {
        let running = self.0.running.get_or_init(|| running);
        // After the topology is known: a signal before this line is seen here, one behind it sees the topology.
        if self.stop_asked() {
            running.stop();
        }
    }

    /// Whether a signal has come.
    pub fn stop_asked(&self) -> bool {
        self.0.stop_asked.load(Ordering::SeqCst)
    }

    async fn obey(self, mut interrupt: Signal, mut terminate: Signal) {
        next(&mut interrupt, &mut terminate).await;
        self.0.stop_asked.store(true, Ordering::SeqCst);
        if let Some(running) = self.0.running.get() {
            running.stop();
        }
        next(&mut interrupt, &mut terminate).await;
        std::process::exit(Code::NotClean as i32);
    }
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) {
    select(pin!(interrupt.recv()), pin!(terminate.recv())).await;
}

fn refused(error: std::io::Error) -> Error {
    Error::fatal("can't take signals").because(error)
}
