//! `run FILE`: starts a topology, shows it, and ends with it.

mod again;
mod child;
mod copies;
pub(crate) mod drain_watch;
mod kappa;
pub(crate) mod limits;
mod patience;
mod rerun;
pub(crate) mod screen;
mod signals;
pub(crate) mod state_dir;
mod store;
pub(crate) mod summary;
pub(crate) mod table;
mod troubles;
pub(crate) mod units;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::control::Control;
use super::exit::{Code, Failure, Outcome};
use super::gaps;
use super::load::{self, Sets};
use crate::clock::{SharedClock, SystemClock};
use crate::engine::{self, Again, Exit, RunOptions, Running};
use crate::lake::room;
use crate::log_level::LogLevel;
use crate::metrics::Status;
use crate::protocol::Message;
use crate::registry::{Config, Registry};
use crate::social::temporary;
use crate::topology::{Checkpoint, Topology};
use crate::units::Interval;
use crate::watch::bottleneck::Flow;
use crate::watch::memory;
use crate::watch::notices::Notices;
use crate::watch::report::Report;

use copies::Copies;
use drain_watch::DrainWatch;
use patience::Patience;
use rerun::Rerun;
use screen::View;
use signals::Signals;
use summary::{Ending, Lakes};

/// The longest that a signal's message waits to be shown (the drain itself doesn't wait for that).
/// Shorter would wake an idle process more often.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The interval unless it is told otherwise.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);

/// The shortest interval: what is drawn more often can't be read.
const INTERVAL_MIN: Duration = Duration::from_millis(50);

/// Run a topology until its sources end, or until SIGINT, SIGTERM or SIGHUP stops it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
On a terminal it shows a live table, and otherwise prints one line of JSON per interval, both on
standard error: standard output is for data only. The first signal drains: what is in flight is
written, and files are closed. A second SIGINT or SIGTERM ends at once, with exit code 5.")]
pub(crate) struct Args {
    /// The topology file
    file: PathBuf,
    #[command(flatten)]
    sets: Sets,
    /// Where checkpoints and what isn't delivered yet are kept [default: a folder for this file
    /// under $XDG_STATE_HOME/waterspout, or ~/.local/state/waterspout]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Start from nothing: delete the checkpoints, and what was captured and is not in the lake yet
    #[arg(long)]
    fresh: bool,
    /// Discard the saved state of component ID and continue (repeatable); `diff` tells which can't
    /// be kept
    #[arg(long, value_name = "ID", conflicts_with = "fresh")]
    drop_state: Vec<String>,
    /// How often to show what it does [default: 1s; piped, only if something changed, and at least
    /// every 30s]
    #[arg(long, value_name = "TIME", value_parser = interval)]
    interval: Option<Duration>,
    /// Don't read the sources: send the dead letters again, each to the component that refused it,
    /// and end. What is refused once more becomes a new dead letter
    #[arg(long)]
    dead_letters: bool,
    #[command(flatten)]
    kappa: kappa::Over,
    #[command(flatten)]
    child: child::Child,
}

/// An interval between two looks.
///
/// # Errors
/// If it is none, or too short.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let Interval(interval) = text.parse()?;
    if interval < INTERVAL_MIN {
        return Err(format!("the shortest is {}", Interval(INTERVAL_MIN)));
    }
    Ok(interval)
}

/// A topology that is to be run, and where its state is.
struct Loaded {
    topology: Topology,
    state: PathBuf,
    /// What the state belongs to, for people.
    about: String,
    /// If it is a replay.
    kappa: Option<kappa::Loaded>,
}

fn load(args: &Args, registry: &Registry) -> Result<Loaded, Failure> {
    args.child.end_with_parent()?;
    if let Some(request) = args.kappa.request() {
        let file = (args.file.as_path(), &args.sets);
        let kappa = kappa::load(file, registry, &args.kappa, &request, args.state.as_deref())?;
        let (topology, state, about) =
            (kappa.kappa.topology.clone(), kappa.state.clone(), kappa.about.clone());
        return Ok(Loaded { topology, state, about, kappa: Some(kappa) });
    }
    let topology = load::load(&args.file, registry, &args.sets, true)?;
    let state = state_dir::of(args.state.as_deref(), &args.file, &topology.name)?;
    let about =
        std::path::absolute(&args.file).unwrap_or_else(|_| args.file.clone()).display().to_string();
    Ok(Loaded { topology, state, about, kappa: None })
}

/// Chooses the view for the messages and reports of a run.
fn view_of(args: &Args, topology: &Topology) -> View {
    let of_process = || View::of_process(prints_data(topology), args.interval.is_some());
    args.child.view().unwrap_or_else(of_process)
}

/// Begins to show how far a replay is. One that continues from a checkpoint has no bar, since it
/// isn't known how much is left.
fn begin_bar(
    view: &mut View,
    kappa: Option<&kappa::Loaded>,
    epoch_before: u64,
) -> Result<(), Failure> {
    match kappa {
        Some(loaded) if epoch_before == 0 => Ok(view.begin_replay(|| loaded.kappa.text_bytes())?),
        _ => Ok(()),
    }
}

/// Returns the exit code of a run that ended, in which a rerun without new posts may have a code of
/// its own.
fn with_rerun(ended: Code, rerun: Option<Code>) -> Code {
    rerun.filter(|_| ended == Code::Success).unwrap_or(ended)
}

/// Runs the topology to its end.
pub(crate) fn run(args: Args, registry: &Registry) -> Outcome {
    let Loaded { topology, state, about, kappa } = load(&args, registry)?;
    room::set_total(topology.memory);
    let _cleanup = temporary::Cleanup;
    let lakes = Lakes::of(&topology, &state);
    let durable = topology.checkpoint != Checkpoint::Off;
    let flow = Flow::of(&topology);
    let mut view = view_of(&args, &topology);
    limits::make_room_for_files()?;
    let signals = Signals::take()?;
    let clock = SystemClock::shared();
    let patience = Patience::begin(&topology.name, &state);
    let opened = store::open(&topology, (&state, &about), args.fresh)?;
    let rerun =
        if args.dead_letters { Rerun::default() } else { Rerun::of(&topology, &opened.before) };
    begin_bar(&mut view, kappa.as_ref(), opened.before.epoch)?;
    let is_capture = opened.is_durable() && kappa.is_none();
    let copies = is_capture.then(|| Copies::of(&topology, &state, &about));
    let is_new = opened.before.epoch == 0 && !args.fresh;
    let warnings = match copies.as_ref().filter(|_| is_new).map(Copies::check) {
        Some(Err(moved)) => {
            opened.tidy(&topology, false);
            return Err(moved.into());
        }
        other => other.transpose()?.unwrap_or_default(),
    };
    let mut options = RunOptions::new(Arc::clone(&opened.store), &state);
    options.clock = clock.clone();
    options.drop_state = args.drop_state.into_iter().collect();
    options.about = about;
    options.inactive = args.child.inactive;
    let (running, again) = match start(&topology, options, args.dead_letters) {
        Ok(started) => started,
        Err(error) => {
            opened.tidy(&topology, false);
            return Err(error.into());
        }
    };
    drop(patience);
    if let Some(copies) = &copies {
        copies.note();
    }
    signals.stop_on_signal(running.clone());

    let control = Control::listen(running.clone(), flow.clone(), &state);
    let mut watch = Watch {
        running,
        clock,
        flow,
        view,
        before: None,
        notices: Notices::default(),
        messages_seen: 0,
    };
    let what = again.as_ref().map(again::begins).or_else(|| kappa.as_ref().map(kappa::begins));
    let what = what.map(|what| format!("; {what}")).unwrap_or_default();
    watch.show(Some(format!("running {}; state: {}{what}", args.file.display(), state.display())));
    warnings.into_iter().for_each(|warning| watch.show(Some(warning)));
    if let Err(error) = &control {
        watch.show(Some(format!("status, rebalance and stop won't reach it: {}", error.chain())));
    }
    let interval = args.interval.unwrap_or(INTERVAL_DEFAULT);
    let exit = watch.until_the_end(interval, args.child.look_every());
    watch.tell();
    let waits_in = durable.then(|| undelivered(&state));
    let ending =
        Ending::of(exit, watch.running.stop_asked()).explained(&watch.last(), waits_in.as_deref());
    if let Ok(control) = control {
        control.close(ending.answer());
    }
    let rerun_ends =
        |last: &Report| rerun.ends(last.spouts_emitted()).filter(|_| ending == Ending::Finished);
    let ends = |last: &Report| {
        let mut text = match (&again, &kappa) {
            (Some(again), _) => format!("; {}", again::ends(again, last.dead_letters())),
            (None, Some(loaded)) => kappa::ends(&loaded.kappa),
            (None, None) => gaps::left(&state).map(|left| format!("; {left}")).unwrap_or_default(),
        };
        if let Some((nothing_new, _)) = rerun_ends(last) {
            text.push_str(&format!("; {nothing_new}"));
        }
        text
    };
    let last = watch.show_last(&ending, &lakes, ends);
    let code = rerun_ends(&last).map(|(_, code)| code);
    if ending == Ending::Finished {
        opened.store.tell()?;
    }
    // A replay that only printed or counted begins anew with the next command; where it wrote a
    // lake, its state says that this was done.
    let lasts = writes_lakes(&topology) || last.dead_letters() > 0;
    let removed = opened.tidy(&topology, kappa.is_some() && ending == Ending::Finished && !lasts);
    if let Some(copies) = copies.as_ref().filter(|_| removed) {
        copies.forget();
    }
    if ending == Ending::Stopped && args.child.is_child() {
        // The server tells a stop from an end of all sources.
        return Ok(Code::NotClean);
    }
    let outcome = ending.outcome(&last).map(|ended| with_rerun(ended, code));
    match again {
        Some(again) => again::outcome(&again, outcome),
        None => outcome,
    }
}

/// Where what isn't delivered waits: in the outbox of sinks that upload, else beside the
/// checkpoints.
fn undelivered(state: &Path) -> PathBuf {
    let outbox = state.join("outbox");
    if outbox.is_dir() { outbox } else { state.to_path_buf() }
}

/// Starts the topology, or the sending of its dead letters.
fn start(
    topology: &Topology,
    options: RunOptions,
    dead_letters: bool,
) -> Result<(Arc<Running>, Option<Again>), crate::error::Error> {
    if !dead_letters {
        return Ok((engine::start(topology.clone(), options)?, None));
    }
    let again = engine::send_dead_letters(topology.clone(), options)?;
    Ok((again.running.clone(), Some(again)))
}

fn writes_lakes(topology: &Topology) -> bool {
    let writes =
        |config: &Config| matches!(config, Config::Sink(sink) if sink.writes_to().is_some());
    topology.components.iter().any(|component| writes(&component.config))
}

fn prints_data(topology: &Topology) -> bool {
    topology.components.iter().any(|component| component.type_name == "Stdout")
}

/// A running topology, and whoever watches it.
struct Watch {
    running: Arc<Running>,
    clock: SharedClock,
    flow: Flow,
    view: View,
    before: Option<Status>,
    notices: Notices,
    /// The number of the last message that was shown.
    messages_seen: u64,
}

impl Watch {
    fn until_the_end(&mut self, interval: Duration, look_every: Duration) -> Exit {
        let mut due = self.clock.monotonic() + interval;
        let (mut is_told, mut drain) = (false, DrainWatch::default());
        loop {
            let left = due.saturating_sub(self.clock.monotonic());
            if let Some(exit) = self.running.wait(left.min(look_every)) {
                return exit;
            }
            let now = self.clock.monotonic();
            if self.running.stop_asked() && !is_told {
                is_told = true;
                self.show(Some(
                    "stopping: writing what is in flight; another signal ends at once".to_owned(),
                ));
            } else if let Some(message) = drain.look(&self.running, now) {
                self.show(Some(message));
            } else if self.clock.monotonic() >= due {
                self.tell();
                self.show(None);
                // From now, not from when it was due: after a standstill one frame is enough.
                due = self.clock.monotonic() + interval;
            }
        }
    }

    /// Says what happened or began since it was last called.
    fn tell(&mut self) {
        for message in self.running.messages(self.messages_seen) {
            let dropped = message.number - self.messages_seen - 1;
            if dropped > 0 {
                let what = format!("{dropped} messages came faster than they could be shown");
                self.show_at(LogLevel::Warn, what);
            }
            self.messages_seen = message.number;
            self.show_message(&message);
        }
        for notice in self.notices.take(&self.running.status(), Vec::new()) {
            self.show_at(LogLevel::Info, notice);
        }
    }

    /// Shows a message of this process, if the level of the topology's log has it.
    fn show_at(&mut self, level: LogLevel, text: String) {
        if level <= self.running.log_level() {
            self.show_message(&Message { number: 0, text, level, at: None });
        }
    }

    fn show_message(&mut self, message: &Message) {
        let (status, flow) = (self.running.status(), &self.flow);
        // At the very start there is no interval yet, and so no rate.
        let before = self.before.get_or_insert_with(|| status.clone());
        let mut report = Report::between(Some(before), &status, flow, memory::resident_bytes());
        (report.message, report.level) = (Some(message.text.clone()), Some(message.level));
        if message.level > LogLevel::Info {
            self.view.show_step(&report, message);
        } else {
            self.view.show(&report, false);
        }
    }

    fn show(&mut self, message: Option<String>) {
        if let Some(text) = message {
            return self.show_at(LogLevel::Info, text);
        }
        let status = self.running.status();
        // At the very start there is no interval yet, and so no rate.
        let before = self.before.get_or_insert_with(|| status.clone());
        let report = Report::between(Some(before), &status, &self.flow, memory::resident_bytes());
        self.view.show(&report, false);
        // A message comes within an interval, and doesn't end it.
        self.before = Some(status);
    }

    /// The topology over the whole run.
    fn last(&self) -> Report {
        Report::between(None, &self.running.status(), &self.flow, memory::resident_bytes())
    }

    fn show_last(
        &mut self,
        ending: &Ending,
        lakes: &Lakes,
        ends: impl Fn(&Report) -> String,
    ) -> Report {
        let mut report = self.last();
        report.phase = ending.phase().into();
        report.message = Some(summary::line(&report, ending, lakes) + &ends(&report));
        report.level = Some(LogLevel::Info);
        self.view.show(&report, true);
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_has_a_unit_and_a_least_length() {
        assert_eq!(interval("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(interval("0s"), Err("the shortest is 50ms".to_owned()));
        assert!(interval("1").is_err());
    }
}
