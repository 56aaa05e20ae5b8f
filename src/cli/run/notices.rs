//! What a person should know of a running topology, said once when it begins.

use std::collections::BTreeSet;

use crate::metrics::Status;

/// What was said already, and still holds.
#[derive(Default)]
pub struct Notices {
    waits: bool,
    hangs: BTreeSet<String>,
    forget: BTreeSet<String>,
}

impl Notices {
    /// What began to hold since the last call, behind the engine's own messages.
    pub fn take(&mut self, status: &Status, mut messages: Vec<String>) -> Vec<String> {
        let waits = status.waits.as_ref().filter(|_| !self.waits);
        messages.extend(waits.map(|cause| format!("checkpoints wait: {cause}")));
        self.waits = status.waits.is_some();
        let hangs = status.hangs.iter().filter(|hung| !self.hangs.contains(task(hung)));
        messages.extend(hangs.map(|hung| format!("a task hangs in one call: {hung}")));
        self.hangs = status.hangs.iter().map(|hung| task(hung).to_owned()).collect();
        for component in status.components.iter().filter(|component| component.forgotten > 0) {
            if self.forget.insert(component.id.clone()) {
                messages.push(format!(
                    "{} has as many keys as its max_keys allows: those that came longest ago are forgotten, and begin \
                     anew when they come again",
                    component.id
                ));
            }
        }
        messages
    }
}

/// `count[0]` of `count[0] for 12 s`.
fn task(hung: &str) -> &str {
    hung.split_once(' ').map_or(hung, |(task, _)| task)
}

/// Whether a task of this component hangs.
pub fn hangs(status: &Status, id: &str) -> bool {
    status.hangs.iter().any(|hung| task(hung).split_once('[').is_some_and(|(component, _)| component == id))
}

#[cfg(test)]
mod tests {
    use super::super::made_up;
    use super::*;

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
        check(Some("disk full"), &["split[0] for 11 s"], &[], &["a task hangs in one call: split[0] for 11 s"]);
        check(Some("still full"), &["split[0] for 12 s"], &[], &[]);
        check(None, &[], &[], &[]);
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
        assert!(notices.take(&status, Vec::new())[0].starts_with("split has as many keys as its max_keys allows"));
        status.components[1].forgotten = 2;
        assert!(notices.take(&status, Vec::new()).is_empty());
    }

    #[test]
    fn only_the_component_whose_task_hangs_does() {
        let status = status(None, &["split[3] for 12 s"]);
        assert!(hangs(&status, "split"));
        assert!(!hangs(&status, "spli") && !hangs(&status, "words"));
    }
}
