//! SIGINT, SIGTERM and SIGHUP: the first asks for a graceful drain. A second SIGINT or SIGTERM ends
//! the process at once; a second SIGHUP doesn't, since a terminal that closes sends several.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use futures_util::future::select;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::exit::Code;
use crate::engine::Running;
use crate::error::{Error, Result};
use crate::social::temporary;

/// The signals of this process, taken on a thread of their own, so that they work whatever the main
/// thread waits for: the engine, or a terminal that doesn't take its output.
#[derive(Clone, Default)]
pub(crate) struct Signals(Arc<Shared>);

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
    pub(crate) fn take() -> Result<Self> {
        let signals = Self::default();
        let theirs = signals.clone();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refused)?;
        let guard = runtime.enter();
        let interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
        let terminate = signal(SignalKind::terminate()).map_err(refused)?;
        // Under `nohup` a terminal that closes is meant to stop nothing.
        let hang_up = (!hang_up_is_ignored())
            .then(|| signal(SignalKind::hangup()))
            .transpose()
            .map_err(refused)?;
        drop(guard);
        let wait = move || runtime.block_on(theirs.obey(interrupt, terminate, hang_up));
        thread::Builder::new().name("signals".into()).spawn(wait).map_err(refused)?;
        Ok(signals)
    }

    /// The topology that a signal stops; at once, if one has come already.
    pub(crate) fn stop_on_signal(&self, running: Arc<Running>) {
        let running = self.0.running.get_or_init(|| running);
        // After the topology is known: a signal before this line is seen here, one behind it sees
        // the topology.
        if self.stop_asked() {
            running.stop();
        }
    }

    /// Returns true if a signal has come.
    pub(crate) fn stop_asked(&self) -> bool {
        self.0.stop_asked.load(Ordering::SeqCst)
    }

    async fn obey(self, mut interrupt: Signal, mut terminate: Signal, hang_up: Option<Signal>) {
        let hung_up = async {
            match hang_up {
                Some(mut hang_up) => drop(hang_up.recv().await),
                None => std::future::pending().await,
            }
        };
        select(pin!(next(&mut interrupt, &mut terminate)), pin!(hung_up)).await;
        self.0.stop_asked.store(true, Ordering::SeqCst);
        if let Some(running) = self.0.running.get() {
            running.stop();
        }
        next(&mut interrupt, &mut terminate).await;
        temporary::remove_all();
        std::process::exit(Code::NotClean as i32);
    }
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) {
    select(pin!(interrupt.recv()), pin!(terminate.recv())).await;
}

/// Returns true if this process inherited an ignored SIGHUP, where the system shows that.
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // The first bit is for signal 1, which is SIGHUP.
    mask.is_some_and(|mask| mask & 1 != 0)
}

fn refused(error: std::io::Error) -> Error {
    Error::fatal("can't take signals").because(error)
}
