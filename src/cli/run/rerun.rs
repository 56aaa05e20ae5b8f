//! A run whose topology had finished before: what it says, and what it ends with, where the sources
//! held nothing new.

use time::OffsetDateTime;
use time::macros::format_description;

use crate::checkpoint::Saved;
use crate::cli::exit::Code;
use crate::engine::upgrade::{changed, kept};
use crate::registry::Config;
use crate::topology::Topology;

use super::units::plain;

/// A topology that had finished before, and is run again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rerun {
    /// When it finished.
    finished: Option<OffsetDateTime>,
    /// True if whoever ran it was told so.
    told: bool,
    /// Components whose configuration is another one than before.
    changed: Vec<String>,
    /// Spouts that each run asks for posts.
    made_up: Vec<String>,
}

impl Rerun {
    /// Of a topology whose state held this before.
    pub(crate) fn of(topology: &Topology, before: &Saved) -> Self {
        let asked = |config: &Config| matches!(config, Config::Spout(spout) if spout.makes_up());
        let made_up = topology.components.iter().filter(|spec| asked(&spec.config));
        Self {
            finished: before.finished,
            told: before.told,
            changed: changed(&before.components, &kept(topology)),
            made_up: made_up.map(|spec| spec.id.clone()).collect(),
        }
    }

    /// What it says and ends with, once its sources have ended after this many tuples; `None` if
    /// that is nothing special.
    pub(crate) fn ends(&self, tuples: u64) -> Option<(String, Code)> {
        let finished = self.finished.filter(|_| tuples == 0)?;
        let at = minute(finished);
        let nothing_new =
            format!("nothing new: all that the sources hold was captured before, up to {at}");
        // A run that was killed at its very end told nobody that it had finished: this one does.
        if !self.told {
            return Some((nothing_new, Code::Success));
        }
        let quoted = |ids: &[String]| {
            let ids: Vec<_> = ids.iter().map(|id| format!("\"{}\"", plain(id))).collect();
            ids.join(", ")
        };
        if !self.changed.is_empty() {
            let what = format!(
                "{nothing_new}. What was captured stays as it was, although the configuration of {} has changed: \
                 to capture it again, add --fresh",
                quoted(&self.changed)
            );
            return Some((what, Code::NothingNew));
        }
        if !self.made_up.is_empty() {
            let ids = quoted(&self.made_up);
            let first = plain(&self.made_up[0]);
            let what = format!(
                "{nothing_new}. For more posts of {ids} set a larger number (--set spouts.{first}.run.posts=…), for \
                 others another seed (--set spouts.{first}.run.seed=…); to make the same ones again, add --fresh"
            );
            return Some((what, Code::NothingNew));
        }
        Some((nothing_new, Code::Success))
    }
}

/// `2015-12-18 00:12:30Z`.
fn minute(time: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    time.to_offset(time::UtcOffset::UTC).format(format).unwrap_or_else(|_| time.to_string())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use time::macros::datetime;

    use super::*;

    fn check(told: bool, changed: &[&str], made_up: &[&str], tuples: u64, expected: Expect) {
        let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        let finished = Some(datetime!(2015-12-18 1:12:30.5 +1));
        let rerun = Rerun { finished, told, changed: owned(changed), made_up: owned(made_up) };
        let ends = rerun.ends(tuples);
        let text = ends
            .map_or("nothing special".to_owned(), |(text, code)| format!("{} {text}", code as u8));
        expected.assert_eq(&text);
    }

    #[test]
    fn what_was_given_and_passed_over_has_an_exit_code_of_its_own() {
        check(true, &["in"], &["posts"], 1, expect!["nothing special"]);
        check(
            true,
            &[],
            &[],
            0,
            expect![
                "0 nothing new: all that the sources hold was captured before, up to 2015-12-18 00:12:30Z"
            ],
        );
        check(
            false,
            &["in"],
            &["posts"],
            0,
            expect![
                "0 nothing new: all that the sources hold was captured before, up to 2015-12-18 00:12:30Z"
            ],
        );
        check(
            true,
            &["lake", "in"],
            &[],
            0,
            expect![[r#"
            6 nothing new: all that the sources hold was captured before, up to 2015-12-18 00:12:30Z. What was captured stays as it was, although the configuration of "lake", "in" has changed: to capture it again, add --fresh"#]],
        );
        check(
            true,
            &[],
            &["posts"],
            0,
            expect![[r#"
            6 nothing new: all that the sources hold was captured before, up to 2015-12-18 00:12:30Z. For more posts of "posts" set a larger number (--set spouts.posts.run.posts=…), for others another seed (--set spouts.posts.run.seed=…); to make the same ones again, add --fresh"#]],
        );
    }

    #[test]
    fn a_first_run_and_one_that_was_stopped_say_nothing() {
        assert_eq!(Rerun::default().ends(0), None);
    }
}
