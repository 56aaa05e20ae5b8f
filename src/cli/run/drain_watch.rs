//! An end that takes long says what it waits for.

use std::time::Duration;

use crate::engine::Running;
use crate::metrics::Status;

/// How often a topology is looked at for an end that takes long, and so how long one may take
/// unnoticed. Shorter would tell of ends that are about to be over.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Watches a drain, and reports what it waits for.
#[derive(Default)]
pub(crate) struct DrainWatch {
    next: Duration,
    /// True if there was a drain at the last look.
    lasts: bool,
    /// The last reported text.
    said: String,
}

impl DrainWatch {
    /// Returns the text to report now, if any.
    pub(crate) fn look(&mut self, running: &Running, now: Duration) -> Option<String> {
        if now < self.next {
            return None;
        }
        self.next = now + LOOK_EVERY;
        self.message(&running.status(), running.stop_asked())
    }

    /// What a drain waits for, if it lasts since the last look and something else was said then.
    fn message(&mut self, status: &Status, stop_asked: bool) -> Option<String> {
        let Some(drain) = &status.drain else {
            self.lasts = false;
            return None;
        };
        if !std::mem::replace(&mut self.lasts, true) {
            return None;
        }
        let waits_for = awaited(status)?;
        if waits_for == self.said {
            return None;
        }
        self.said.clone_from(&waits_for);
        let what = if stop_asked { "the stop" } else { "the end" };
        Some(format!("{what} waits for {waits_for}; it is given up in {} s", drain.left.as_secs()))
    }
}

/// Returns what a drain waits for, with all causes of failures; `None` without a drain.
pub(crate) fn awaited(status: &Status) -> Option<String> {
    let mut text = status.drain.as_ref()?.waits_for.clone();
    for component in &status.components {
        for trouble in &component.troubles {
            text.push_str(&format!("; {}: {}: {}", component.id, trouble.part, trouble.cause));
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Drain, Trouble};
    use crate::watch::made_up;

    #[test]
    fn a_drain_that_lasts_says_what_it_waits_for_and_again_when_that_changes() {
        let mut watch = DrainWatch::default();
        let mut check = |waits_for: Option<&str>, cause: Option<&str>, expected: Option<&str>| {
            let mut status = made_up::after();
            status.drain = waits_for.map(|waits_for| Drain {
                waits_for: waits_for.into(),
                left: Duration::from_secs(28),
            });
            let trouble = |cause: &str| Trouble { part: "commit".into(), cause: cause.into() };
            status.components[2].troubles = cause.map(trouble).into_iter().collect();
            assert_eq!(watch.message(&status, true).as_deref(), expected);
        };
        check(None, None, None);
        check(Some("words[0] to stop"), None, None);
        check(
            Some("words[0] to stop"),
            None,
            Some("the stop waits for words[0] to stop; it is given up in 28 s"),
        );
        check(Some("words[0] to stop"), None, None);
        let commits = "commits of words[0]; words: commit: no route";
        let said = format!("the stop waits for {commits}; it is given up in 28 s");
        check(Some("commits of words[0]"), Some("no route"), Some(&said));
        check(None, None, None);
        check(Some("commits of words[0]"), Some("no route"), None);
    }
}
