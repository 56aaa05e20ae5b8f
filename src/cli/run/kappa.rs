//! `run FILE --replay`: the same topology over a lake.

use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::state_dir;
use super::summary::plural;
use super::units::plain;
use crate::cli::exit::Failure;
use crate::cli::load::{self, Sets};
use crate::cli::moment::moment;
use crate::cli::replay::order;
use crate::engine::kappa::{self, Given, Kappa, Request};
use crate::lake::replay::{Choice, OnDamage, Order, PostTimes, Shard, Sorting, Speed, Tempo};
use crate::moment::Moment;
use crate::registry::Registry;
use crate::units::{ByteSize, Interval};

/// What stands in a state's name for a replay, and divides the file from the rest in what it is
/// about.
const MARK: &str = "replay";

/// What is replayed, and how.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Replay")]
pub(crate) struct Over {
    /// Don't read the sources: run over this lake instead, 'lake/2015-12-18T00*' or
    /// s3://bucket/prefix, under a state of its own (repeatable). Posts go to the spout of their
    /// kind; where that isn't clear, say which
    #[arg(long, value_name = "[SPOUT=]GLOB", conflicts_with = "dead_letters")]
    replay: Vec<Given>,
    /// Run only these components, and what they need upstream
    #[arg(long, value_name = "COMPONENT", num_args = 1.., requires = "replay")]
    only: Vec<String>,
    /// `max`, or a factor of the original tempo, such as 60
    #[arg(long, requires = "replay")]
    speed: Option<Speed>,
    /// `partition`, as they lie there, or `time`, by the posts' own time
    #[arg(long, value_parser = order, requires = "replay")]
    order: Option<Order>,
    /// With --speed: how long a pause is at most, where the next post was written much later
    /// [default: 1m]
    #[arg(long, value_name = "TIME", requires = "replay")]
    max_pause: Option<Interval>,
    /// Only partitions that begin at this time or later, by the time in their names; -1h is an hour
    /// before now
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true, requires = "replay")]
    from: Option<Moment>,
    /// Only partitions that begin before this time
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true, requires = "replay")]
    to: Option<Moment>,
    /// Only posts that were written at this time or later, by the time in each post; one without is
    /// left out
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true, requires = "replay")]
    posts_from: Option<Moment>,
    /// Only posts that were written before this time
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true, requires = "replay")]
    posts_to: Option<Moment>,
    /// With --order time: how far a post may stand behind a newer one [default: 5m]
    #[arg(long, value_name = "TIME", requires = "replay")]
    disorder: Option<Interval>,
    /// With --order time: how many bytes of posts a task holds [default: 64MiB]
    #[arg(long, value_name = "SIZE", requires = "replay")]
    buffer: Option<ByteSize>,
    /// Which share of the partitions, from 0: 0/2 and 1/2 are all
    #[arg(long, value_name = "I/N", requires = "replay")]
    shard: Option<Shard>,
    /// Pass over the rest of a damaged file, and name it, where it would stop otherwise
    #[arg(long, requires = "replay")]
    skip_damaged: bool,
}

impl Over {
    /// What is asked for, if it is a replay.
    pub(crate) fn request(&self) -> Option<Request> {
        let Sorting { disorder, buffer } = Sorting::default();
        let sorting = Sorting {
            disorder: self.disorder.map_or(disorder, |Interval(disorder)| disorder),
            buffer: self.buffer.map_or(buffer, |ByteSize(buffer)| buffer),
        };
        (!self.replay.is_empty()).then(|| Request {
            given: self.replay.clone(),
            only: self.only.clone(),
            choice: Choice {
                glob: String::new(),
                from: self.from.clone(),
                to: self.to.clone(),
                shard: self.shard,
            },
            order: self.order.unwrap_or_default(),
            sorting,
            tempo: Tempo {
                speed: self.speed.unwrap_or_default(),
                max_pause: self
                    .max_pause
                    .map_or(Tempo::default().max_pause, |Interval(pause)| pause),
            },
            times: PostTimes { from: self.posts_from.clone(), to: self.posts_to.clone() },
            on_damage: if self.skip_damaged { OnDamage::Skip } else { OnDamage::Stop },
        })
    }

    /// The times that were given as before now, as they have to be given for the same replay once
    /// more.
    fn fixed_times(&self) -> Option<String> {
        let given = [
            ("from", &self.from),
            ("to", &self.to),
            ("posts-from", &self.posts_from),
            ("posts-to", &self.posts_to),
        ];
        let (mut relative, mut fixed) = (Vec::new(), Vec::new());
        for (name, moment) in given {
            if let Some(moment) = moment
                && let Some(before) = moment.relative()
            {
                relative.push(before);
                fixed.push(format!("--{name} {moment}"));
            }
        }
        let (relative, fixed) = (relative.join(" and "), fixed.join(" "));
        let text = format!(
            "; {relative} counted from now: the command that goes on after a crash has {fixed}"
        );
        (!fixed.is_empty()).then_some(text)
    }

    /// What makes this replay another one than others of the same file, as it was typed: which
    /// posts are read in which order, and by which components.
    fn identity(&self) -> String {
        let mut words: Vec<String> =
            self.replay.iter().map(|given| format!("--{MARK} {}", given.absolute())).collect();
        let mut add = |name: &str, value: Option<String>| {
            words.extend(value.map(|value| format!("--{name} {value}")))
        };
        add("only", (!self.only.is_empty()).then(|| self.only.join(" ")));
        add("from", self.from.clone().map(String::from));
        add("to", self.to.clone().map(String::from));
        add("posts-from", self.posts_from.clone().map(String::from));
        add("posts-to", self.posts_to.clone().map(String::from));
        add("shard", self.shard.map(|shard| shard.to_string()));
        add("order", (self.order == Some(Order::Time)).then(|| "time".to_owned()));
        words.join(" ")
    }
}

/// A topology that is to be run over a lake.
pub(crate) struct Loaded {
    /// The topology, with what came of it.
    pub kappa: Kappa,
    /// The folder of its state.
    pub state: PathBuf,
    /// What the state belongs to.
    pub about: String,
    what: String,
    fixed_times: Option<String>,
}

/// Reads a topology and puts replays in the place of its spouts. What only those need from outside
/// may be missing.
///
/// # Errors
/// If the file has problems, or the replay isn't clear.
pub(crate) fn load(
    (file, sets): (&Path, &Sets),
    registry: &Registry,
    args: &Over,
    request: &Request,
    state: Option<&Path>,
) -> Result<Loaded, Failure> {
    let first = load::load(file, registry, sets, false)?;
    let spared = kappa::spared(&first, &request.only)?;
    let topology = load::load_sparing(file, registry, sets, spared)?;
    let kappa = kappa::rewrite(&topology, request)?;
    // What is set may be another sink's root: then it is another replay.
    let identity =
        sets.sets.iter().fold(args.identity(), |identity, set| format!("{identity} --set {set}"));
    let about = about(file, &identity);
    let state = match state {
        Some(state) => state_dir::absolute(state)?,
        None => {
            let live = state_dir::of(None, file, &topology.name)?;
            state_dir::beside(
                &live,
                &topology.name,
                &format!("{MARK}-{:016x}", xxh3_64(identity.as_bytes())),
            )
        }
    };
    let what =
        request.given.iter().map(|given| given.address.as_str()).collect::<Vec<_>>().join(", ");
    Ok(Loaded { kappa, state, about, what, fixed_times: args.fixed_times() })
}

fn about(file: &Path, identity: &str) -> String {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
    format!("{} {identity}", file.display())
}

/// Whether a run that says this of itself may go on from a state that belongs to that. A replay
/// goes on from its own only, and nothing else goes on from a replay's.
pub(crate) fn may_resume(about: &str, state: &str) -> bool {
    let is_replay = |about: &str| about.contains(&format!(" --{MARK} "));
    state.is_empty() || about == state || !is_replay(about) && !is_replay(state)
}

/// `replaying lake/2*`, and what gets nothing of it.
pub(crate) fn begins(loaded: &Loaded) -> String {
    let mut text = format!("replaying {}", plain(&loaded.what));
    text.push_str(loaded.fixed_times.as_deref().unwrap_or_default());
    for id in &loaded.kappa.silent {
        text.push_str(&format!("; spout \"{id}\" sends nothing: no lake was given to it"));
    }
    text
}

/// `12 posts are of kinds that no spout takes: 10 "note", 2 "x"`; nothing if there are none.
pub(crate) fn ends(kappa: &Kappa) -> String {
    let mut kinds: Vec<_> = kappa.strays.kinds().into_iter().collect();
    if kinds.is_empty() {
        return String::new();
    }
    kinds.sort_by_key(|(_, posts)| std::cmp::Reverse(*posts));
    let all: u64 = kinds.iter().map(|(_, posts)| posts).sum();
    let named: Vec<_> =
        kinds.iter().map(|(kind, posts)| format!("{posts} \"{}\"", plain(kind))).collect();
    let are = if all == 1 { "is of a kind" } else { "are of kinds" };
    format!("; {} {are} that no spout takes: {}", plural(all, "post"), named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_goes_on_from_its_own_state_alone() {
        let live = "/t.ron";
        let replay = "/t.ron --replay /lake/2*";
        for (about, state, may) in [
            (live, live, true),
            (live, "", true),
            (live, "/moved.ron", true),
            (replay, replay, true),
            (replay, "", true),
            (replay, live, false),
            (live, replay, false),
            (replay, "/t.ron --replay /lake/2* --order time", false),
        ] {
            assert_eq!(may_resume(about, state), may, "{about} {state}");
        }
    }
}
