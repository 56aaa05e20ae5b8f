//! How a run ended: the last line, and the exit code.

use std::path::{Path, PathBuf};

use crate::cli::exit::{Code, Failure, Outcome};
use crate::component::Role;
use crate::engine::Exit;
use crate::registry::Config;
use crate::topology::Topology;

use super::troubles::{last_causes, only_failed};
use super::units::{plain, seconds};
use crate::watch::report::Report;

/// How a run ended, as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All sources ended.
    Finished,
    /// A signal stopped it, and the drain is complete.
    Stopped,
    /// A component or the engine failed; the text says which, and why.
    Failed(String),
    /// The drain took too long; the text says what wasn't done.
    NotClean(String),
}

impl Ending {
    /// What the engine says, and whether a signal came before.
    pub(crate) fn of(exit: Exit, stop_asked: bool) -> Self {
        match exit {
            Exit::Finished if stop_asked => Self::Stopped,
            Exit::Finished => Self::Finished,
            Exit::Failed(cause) => Self::Failed(cause),
            Exit::NotClean(left) => Self::NotClean(left),
        }
    }

    /// The same with what people need to go on: the last cause of what wasn't done, where it waits,
    /// and what to do.
    #[must_use]
    pub(crate) fn explained(self, last: &Report, waits_in: Option<&Path>) -> Self {
        let Self::NotClean(left) = self else { return self };
        let causes = last_causes(last).map(|causes| format!(": {causes}")).unwrap_or_default();
        let go_on = match waits_in {
            Some(folder) => format!(
                "nothing is lost: what isn't delivered waits in \"{}\", and the same command goes on with it",
                folder.display()
            ),
            None => "with `checkpoint: Off` nothing is kept of what wasn't delivered".to_owned(),
        };
        Self::NotClean(format!("{left}{causes}; {go_on}"))
    }

    /// What those hear who asked for the end.
    ///
    /// # Errors
    /// Why it failed, or wasn't clean.
    pub(crate) fn answer(&self) -> Result<(), String> {
        match self {
            Self::Finished | Self::Stopped => Ok(()),
            Self::Failed(cause) => Err(cause.clone()),
            Self::NotClean(left) => Err(format!("stopped, but not clean: {left}")),
        }
    }

    /// The word for it.
    pub(crate) fn phase(&self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Failed(_) => "failed",
            Self::NotClean(_) => "not clean",
        }
    }

    /// What the process ends with.
    pub(crate) fn outcome(self, last: &Report) -> Outcome {
        match self {
            Self::Finished | Self::Stopped if !only_failed(last).is_empty() => {
                let failed = only_failed(last).join("; ");
                let go_on =
                    "the run was stopped before that worked, and the same command tries it again";
                Err(Failure::new(Code::Runtime, format!("{failed}; {go_on}")))
            }
            Self::Finished | Self::Stopped if last.dead_letters() > 0 => Ok(Code::Findings),
            Self::Finished | Self::Stopped => Ok(Code::Success),
            Self::Failed(cause) => Err(Failure::new(Code::Runtime, cause)),
            Self::NotClean(left) => Err(Failure::new(Code::NotClean, left)),
        }
    }
}

/// Where a topology's posts and dead letters end up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lakes {
    roots: Vec<PathBuf>,
    dead: PathBuf,
}

impl Lakes {
    /// Of a topology with its state in this folder.
    pub(crate) fn of(topology: &Topology, state: &Path) -> Self {
        let mut sinks: Vec<(&str, PathBuf)> = Vec::new();
        for component in topology.components.iter().filter(|component| component.role == Role::Sink)
        {
            if let Config::Sink(config) = &component.config {
                sinks.extend(config.lake_root().map(|root| (component.id.as_str(), root)));
            }
        }
        sinks.sort();
        let mut roots: Vec<PathBuf> = sinks.into_iter().map(|(_, root)| root).collect();
        let dead = roots.first().map_or(state, PathBuf::as_path).join("_dead");
        roots.dedup();
        Self { roots, dead }
    }
}

/// `finished in 3.2 s: 100000 tuples from 1 spout, 0 failed, 0 dead letters; lake: lake`.
pub(crate) fn line(report: &Report, ending: &Ending, lakes: &Lakes) -> String {
    let spouts: Vec<_> =
        report.components.iter().filter(|row| row.role == Role::Spout.name()).collect();
    let tuples: u64 = spouts.iter().map(|row| row.emitted).sum();
    let failed: u64 = report.components.iter().map(|row| row.failed).sum();
    let preposition = if *ending == Ending::Finished { "in" } else { "after" };
    let mut text = format!(
        "{} {preposition} {}: {} from {}, {failed} failed, {}",
        ending.phase(),
        seconds(report.uptime_s),
        plural(tuples, "tuple"),
        plural(spouts.len() as u64, "spout"),
        plural(report.dead_letters(), "dead letter"),
    );
    if report.dead_letters() > 0 {
        text.push_str(&format!(" in {}", plain(&lakes.dead.to_string_lossy())));
    }
    for row in report.components.iter().filter(|row| row.letters_dropped > 0) {
        let lost = plural(row.letters_dropped, "dead letter");
        text.push_str(&format!("; {lost} of {} came too fast to be kept", plain(&row.id)));
    }
    for row in report.components.iter().filter(|row| row.drifted > 0) {
        let drifted = plural(row.drifted, "post");
        text.push_str(&format!("; {drifted} of {} not as their kind should be", plain(&row.id)));
    }
    for row in report.components.iter().filter(|row| row.dropped > 0) {
        text.push_str(&format!("; {} dropped {}", plain(&row.id), plural(row.dropped, "tuple")));
    }
    if matches!(ending, Ending::Stopped)
        && let Some(causes) = last_causes(report)
    {
        text.push_str(&format!("; not working at the end: {causes}"));
    }
    let roots: Vec<String> =
        lakes.roots.iter().map(|root| plain(&root.to_string_lossy())).collect();
    if !roots.is_empty() {
        text.push_str(&format!("; lake: {}", roots.join(", ")));
    }
    text
}

/// `1 tuple`, `2 tuples`.
pub(crate) fn plural(number: u64, word: &str) -> String {
    let ending = match (number, word.ends_with("ch")) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{number} {word}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Trouble;
    use crate::watch::bottleneck::Flow;
    use crate::watch::made_up;

    fn report(dead_letters: u64) -> Report {
        let mut report = Report::between(None, &made_up::after(), &Flow::default(), None);
        report.components[1].dead_letters = dead_letters;
        report
    }

    fn check(exit: Exit, dead_letters: u64, stop_asked: bool, expected: Code) {
        let outcome = Ending::of(exit, stop_asked).outcome(&report(dead_letters));
        assert_eq!(outcome.unwrap_or_else(|failure| failure.print()), expected);
    }

    #[test]
    fn the_exit_code_follows_from_the_end_and_the_dead_letters() {
        for stop_asked in [false, true] {
            check(Exit::Finished, 0, stop_asked, Code::Success);
            check(Exit::Finished, 1, stop_asked, Code::Findings);
            check(Exit::Failed("a cause".into()), 1, stop_asked, Code::Runtime);
            check(Exit::NotClean("commits of \"lake\"".into()), 1, stop_asked, Code::NotClean);
        }
    }

    #[test]
    fn a_source_that_never_got_anything_is_no_success() {
        let mut report = report(0);
        let trouble = Trouble { part: "stream".into(), cause: "refused".into() };
        (report.components[0].troubles, report.components[0].only_failed) = (vec![trouble], true);
        let failure = Ending::Stopped.outcome(&report).unwrap_err();
        assert_eq!(failure.print(), Code::Runtime);
        assert!(format!("{failure:?}").contains("never got anything: refused"), "{failure:?}");
        let text = line(&report, &Ending::Stopped, &Lakes::default());
        assert!(text.ends_with("; not working at the end: posts: stream: refused"), "{text}");
    }

    #[test]
    fn what_is_not_done_says_why_where_it_waits_and_how_to_go_on() {
        let mut report = report(0);
        report.components[2].troubles =
            vec![Trouble { part: "commit".into(), cause: "no route".into() }];
        let explained = |state: Option<&str>| {
            Ending::NotClean("commits of words[0] were not done".into())
                .explained(&report, state.map(Path::new))
        };
        assert_eq!(
            explained(Some("/s/outbox")),
            Ending::NotClean(
                "commits of words[0] were not done: words: commit: no route; nothing is lost: what isn't delivered \
                 waits in \"/s/outbox\", and the same command goes on with it"
                    .into()
            )
        );
        assert!(
            matches!(explained(None), Ending::NotClean(text) if text.contains("`checkpoint: Off`"))
        );
    }

    #[test]
    fn the_last_line_sums_it_up() {
        let lakes = Lakes { roots: vec!["lake".into()], dead: "lake/_dead".into() };
        assert_eq!(
            line(&report(0), &Ending::Finished, &lakes),
            "finished in 12.0 s: 12000 tuples from 1 spout, 12 failed, 0 dead letters; lake: lake"
        );
        assert_eq!(
            line(
                &report(1),
                &Ending::Stopped,
                &Lakes { roots: Vec::new(), dead: "/state/_dead".into() }
            ),
            "stopped after 12.0 s: 12000 tuples from 1 spout, 12 failed, 1 dead letter in /state/_dead"
        );
        let mut report = report(0);
        report.components[2].dropped = 7;
        assert_eq!(
            line(&report, &Ending::Finished, &lakes),
            "finished in 12.0 s: 12000 tuples from 1 spout, 12 failed, 0 dead letters; words dropped 7 tuples; lake: lake"
        );
    }
}
