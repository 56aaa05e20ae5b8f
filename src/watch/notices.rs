//! Notices about a running topology: each is reported when a condition begins and when it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::metrics::Status;

/// The maximum number of causes that are reported for one trouble while it lasts. More causes would
/// usually be the same in other words.
const CAUSES_MAX: usize = 8;

/// The time within which a trouble that ended may begin again without another notice. Otherwise a
/// trouble that comes and goes would flood a log.
const QUIET: Duration = Duration::from_secs(60);

/// The maximum number of troubles that are remembered, including those that ended.
const TROUBLES_MAX: usize = 256;

/// The notices that were given and still hold.
#[derive(Default)]
pub struct Notices {
    waits: bool,
    hangs: BTreeSet<String>,
    /// The components that have forgotten keys.
    told_of_forgotten: BTreeSet<String>,
    /// The troubles, by component and part.
    troubles: BTreeMap<(String, String), TroubleNotice>,
}

/// The notices given of a trouble.
struct TroubleNotice {
    causes: BTreeSet<String>,
    /// The topology's uptime when the beginning was reported.
    at: Duration,
    /// True if the beginning was reported and the end wasn't.
    lasts: bool,
}

impl Notices {
    /// Returns the notices about conditions that began or ended since the last call, after the
    /// engine's own messages.
    pub fn take(&mut self, status: &Status, mut messages: Vec<String>) -> Vec<String> {
        match (&status.waits, self.waits) {
            (Some(cause), false) => messages.push(format!("checkpoints wait: {cause}")),
            (None, true) => messages.push("checkpoints are saved again".to_owned()),
            _ => {}
        }
        self.waits = status.waits.is_some();
        let hangs: BTreeSet<String> =
            status.hangs.iter().map(|hung| task(hung).to_owned()).collect();
        let begin = status.hangs.iter().filter(|hung| !self.hangs.contains(task(hung)));
        messages.extend(begin.map(|hung| format!("a task hangs in one call: {hung}")));
        messages.extend(self.hangs.difference(&hangs).map(|task| format!("{task} hangs no more")));
        self.hangs = hangs;
        self.tell_troubles(status, &mut messages);
        for component in status.components.iter().filter(|component| component.forgotten > 0) {
            if self.told_of_forgotten.insert(component.id.clone()) {
                messages.push(format!(
                    "{} has as many keys as its max_keys allows: the keys that came longest ago \
                     are forgotten, and start from nothing if they come again",
                    component.id
                ));
            }
        }
        messages
    }

    fn tell_troubles(&mut self, status: &Status, messages: &mut Vec<String>) {
        let mut present = BTreeSet::new();
        for component in &status.components {
            for trouble in &component.troubles {
                let key = (component.id.clone(), trouble.part.clone());
                let (id, part, cause) = (&component.id, &trouble.part, &trouble.cause);
                if self.is_news(&key, cause, status.uptime) {
                    messages.push(format!("{id}: {part} fails, and is tried again: {cause}"));
                }
                present.insert(key);
            }
        }
        for ((id, part), told) in &mut self.troubles {
            if told.lasts && !present.contains(&(id.clone(), part.clone())) {
                told.lasts = false;
                messages.push(format!("{id}: {part} works again"));
            }
        }
        self.forget();
    }

    /// Returns true if a trouble's cause must be reported, and then counts it as reported.
    fn is_news(&mut self, key: &(String, String), cause: &str, now: Duration) -> bool {
        let told = self
            .troubles
            .get_mut(key)
            .filter(|told| told.lasts || now.saturating_sub(told.at) < QUIET);
        let Some(told) = told else {
            let causes = BTreeSet::from([cause.to_owned()]);
            self.troubles.insert(key.clone(), TroubleNotice { causes, at: now, lasts: true });
            return true;
        };
        let is_new = !told.causes.contains(cause) && told.causes.len() < CAUSES_MAX;
        if is_new {
            told.causes.insert(cause.to_owned());
        }
        // The end of a trouble that came back soon is reported only if its beginning was.
        told.lasts |= is_new;
        is_new
    }

    fn forget(&mut self) {
        while self.troubles.len() > TROUBLES_MAX {
            let ended = self
                .troubles
                .iter()
                .filter(|(_, told)| !told.lasts)
                .min_by_key(|(_, told)| told.at);
            let Some(key) = ended.map(|(key, _)| key.clone()) else { return };
            self.troubles.remove(&key);
        }
    }
}

/// Returns the task in a text about a hang: `count[0]` of `count[0] for 12 s`.
fn task(hung: &str) -> &str {
    hung.split_once(' ').map_or(hung, |(task, _)| task)
}

/// Returns true if a task of this component hangs.
pub fn hangs(status: &Status, id: &str) -> bool {
    status
        .hangs
        .iter()
        .any(|hung| task(hung).split_once('[').is_some_and(|(component, _)| component == id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Trouble;
    use crate::watch::made_up;

    fn status(waits: Option<&str>, hangs: &[&str]) -> Status {
        let hangs = hangs.iter().map(|&hung| hung.into()).collect();
        Status { waits: waits.map(Into::into), hangs, ..made_up::after() }
    }

    #[test]
    fn a_thing_is_said_when_it_begins_and_again_when_it_comes_back() {
        let mut notices = Notices::default();
        let mut check = |waits, hangs: &[&str], messages: &[&str], expected: &[&str]| {
            let messages = messages.iter().map(|&message| message.into()).collect();
            assert_eq!(notices.take(&status(waits, hangs), messages), expected);
        };
        check(None, &[], &[], &[]);
        check(None, &[], &["split[0] panicked"], &["split[0] panicked"]);
        check(Some("disk full"), &[], &[], &["checkpoints wait: disk full"]);
        check(
            Some("disk full"),
            &["split[0] for 11 s"],
            &[],
            &["a task hangs in one call: split[0] for 11 s"],
        );
        check(Some("still full"), &["split[0] for 12 s"], &[], &[]);
        let ended = ["checkpoints are saved again", "split[0] hangs no more"];
        check(None, &[], &[], &ended);
        check(
            Some("disk full"),
            &["split[0] for 11 s"],
            &[],
            &["checkpoints wait: disk full", "a task hangs in one call: split[0] for 11 s"],
        );
    }

    #[test]
    fn a_component_that_forgets_keys_says_so_once() {
        let (mut notices, mut status) = (Notices::default(), made_up::after());
        assert!(notices.take(&status, Vec::new()).is_empty());
        status.components[1].forgotten = 1;
        assert!(
            notices.take(&status, Vec::new())[0]
                .starts_with("split has as many keys as its max_keys allows")
        );
        status.components[1].forgotten = 2;
        assert!(notices.take(&status, Vec::new()).is_empty());
    }

    #[test]
    fn a_trouble_is_said_when_it_begins_when_its_cause_changes_and_when_it_ends() {
        let mut notices = Notices::default();
        let mut check = |seconds, cause: Option<&str>, expected: &[&str]| {
            let mut status = status(None, &[]);
            status.uptime = Duration::from_secs(seconds);
            let trouble = |cause: &str| Trouble { part: "commit".into(), cause: cause.into() };
            status.components[2].troubles = cause.map(trouble).into_iter().collect();
            assert_eq!(notices.take(&status, Vec::new()), expected, "at {seconds} s");
        };
        check(0, None, &[]);
        check(1, Some("no route"), &["words: commit fails, and is tried again: no route"]);
        check(2, Some("no route"), &[]);
        check(3, Some("refused"), &["words: commit fails, and is tried again: refused"]);
        check(4, Some("no route"), &[]);
        check(5, None, &["words: commit works again"]);
        // A trouble that comes and goes isn't reported each time.
        check(6, Some("no route"), &[]);
        check(7, None, &[]);
        check(99, Some("no route"), &["words: commit fails, and is tried again: no route"]);
        check(100, None, &["words: commit works again"]);
    }

    #[test]
    fn only_the_component_whose_task_hangs_does() {
        let status = status(None, &["split[3] for 12 s"]);
        assert!(hangs(&status, "split"));
        assert!(!hangs(&status, "spli") && !hangs(&status, "words"));
    }
}
