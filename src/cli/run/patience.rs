//! Messages of a start that takes long.

use std::path::Path;
use std::pin::pin;
use std::thread;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::oneshot;

use super::units;
use crate::cli::stderr;
use crate::clock::{SharedClock, SystemClock};

/// The time that a start may take without a message, and the time between two messages after that.
const SAYS_AFTER: Duration = Duration::from_secs(2);
const SAYS_EVERY: Duration = Duration::from_secs(5);

/// A start under way. It says so on standard error, until this is dropped.
pub(crate) struct Patience {
    _ended: oneshot::Sender<()>,
}

impl Patience {
    /// Begins with the start of a topology that has its state in a folder.
    pub(crate) fn begin(topology: &str, state: &Path) -> Self {
        let (sender, ended) = oneshot::channel();
        let bytes = state.join(crate::checkpoint::disk::DATABASE).metadata();
        let what = format!(
            "starting {}: reading its state of {} in {}",
            units::plain(topology),
            units::bytes(bytes.map_or(0, |found| found.len())),
            units::plain(&state.to_string_lossy())
        );
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            // Without a runtime, or the thread, the topology starts as well, and says nothing.
            if let Ok(runtime) = runtime {
                let say = |text: String| stderr::say(&text);
                runtime.block_on(say_until(ended, &what, &SystemClock::shared(), say));
            }
        };
        let _ = thread::Builder::new().name("patience".into()).spawn(work);
        Self { _ended: sender }
    }
}

/// Says what is under way, and for how long, until the other end of the channel is gone.
async fn say_until(
    mut ended: oneshot::Receiver<()>,
    what: &str,
    clock: &SharedClock,
    say: impl Fn(String),
) {
    let began = clock.monotonic();
    let mut wait = SAYS_AFTER;
    while let Either::Right(_) = select(&mut ended, pin!(clock.sleep(wait))).await {
        let seconds = clock.monotonic().saturating_sub(began).as_secs();
        say(format!("{what}, {seconds} s so far"));
        wait = SAYS_EVERY;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures_util::FutureExt;
    use time::OffsetDateTime;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn a_start_that_takes_two_seconds_says_so_until_it_is_over() {
        let clock = ManualClock::at(OffsetDateTime::UNIX_EPOCH);
        let shared: SharedClock = clock.clone();
        let said = RefCell::new(Vec::new());
        let (sender, ended) = oneshot::channel::<()>();
        let mut talk =
            pin!(say_until(ended, "reading", &shared, |text| said.borrow_mut().push(text)));
        let mut after = |millis: u64| {
            clock.advance(Duration::from_millis(millis));
            let is_over = (&mut talk).now_or_never().is_some();
            (is_over, said.borrow_mut().split_off(0))
        };
        assert_eq!(after(0), (false, vec![]));
        assert_eq!(after(1_999), (false, vec![]));
        assert_eq!(after(1), (false, vec!["reading, 2 s so far".to_owned()]));
        assert_eq!(after(4_999), (false, vec![]));
        assert_eq!(after(1), (false, vec!["reading, 7 s so far".to_owned()]));
        drop(sender);
        assert_eq!(after(1), (true, vec![]));
    }
}
