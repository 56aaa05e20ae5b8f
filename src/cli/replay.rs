//! `replay GLOB`: the posts of a lake as NDJSON.

use super::exit::Outcome;
use super::moment::moment;
use super::progress::{ProgressBar, Unit};
use super::{LakeMemory, stderr, stdout};
use crate::clock::SystemClock;
use crate::lake::replay::{
    Choice, OnDamage, Order, PostTimes, Printing, Shard, Sorting, Speed, Tempo, bytes_to_print,
    print,
};
use crate::moment::Moment;
use crate::units::{ByteSize, Interval};

/// Print the posts of a lake as NDJSON, one post a line
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waterspout replay 'lake/2015-12-18T*' | jq -r .tweet.text
  waterspout replay s3://bucket/prefix --from 2015-12-18 --to 2015-12-19 --order time --speed 60")]
pub(crate) struct Args {
    /// The partitions, or a lake: 'lake/2015-12-18T00:00:00-*', s3://bucket/prefix
    // Several, since a shell expands a glob that isn't quoted.
    #[arg(required = true, value_name = "GLOB")]
    globs: Vec<String>,
    /// Only partitions that begin at this time or later, by the time in their names; -1h is an hour
    /// before now
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    from: Option<Moment>,
    /// Only partitions that begin before this time
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    to: Option<Moment>,
    /// Only posts that were written at this time or later, by the time in each post; one without is
    /// left out
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    posts_from: Option<Moment>,
    /// Only posts that were written before this time
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    posts_to: Option<Moment>,
    /// `partition`, as they lie there, or `time`, by the posts' own time
    #[arg(long, default_value = "partition", value_parser = order)]
    order: Order,
    /// With --order time: how far a post may stand behind a newer one
    #[arg(long, value_name = "TIME", default_value = "5m")]
    disorder: Interval,
    /// With --order time: how many bytes of posts are held
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    buffer: ByteSize,
    /// `max`, or a factor of the original tempo, such as 60
    #[arg(long, default_value = "max")]
    speed: Speed,
    /// With --speed: how long a pause is at most, where the next post was written much later
    #[arg(long, value_name = "TIME", default_value = "1m")]
    max_pause: Interval,
    /// Which share of the partitions, from 0: 0/2 and 1/2 are all
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Pass over the rest of a damaged file, and name it, where it would stop otherwise
    #[arg(long)]
    skip_damaged: bool,
    #[command(flatten)]
    memory: LakeMemory,
}

/// An order by its name.
///
/// # Errors
/// If it is none.
pub(crate) fn order(text: &str) -> Result<Order, String> {
    match text {
        "partition" | "Partition" => Ok(Order::Partition),
        "time" | "Time" => Ok(Order::Time),
        _ => Err("expected partition or time".into()),
    }
}

/// Prints the posts on standard output.
pub(crate) fn run(args: &Args) -> Outcome {
    super::tell_what_is_waited_for();
    args.memory.set();
    let printing = Printing {
        choice: Choice {
            glob: String::new(),
            from: args.from.clone(),
            to: args.to.clone(),
            shard: args.shard,
        },
        order: args.order,
        sorting: Sorting { disorder: args.disorder.0, buffer: args.buffer.0 },
        tempo: Tempo { speed: args.speed, max_pause: args.max_pause.0 },
        times: PostTimes { from: args.posts_from.clone(), to: args.posts_to.clone() },
        on_damage: if args.skip_damaged { OnDamage::Skip } else { OnDamage::Stop },
    };
    let clock = SystemClock::shared();
    let mut say = |text: String| stderr::say(&text);
    // On the terminal that gets the posts a bar would be torn by them.
    let bar = if stdout::is_terminal() {
        None
    } else {
        let total = || bytes_to_print(&args.globs, &printing.choice);
        Some(ProgressBar::begin("replay", Unit::Bytes, total)?)
    };
    let printed = stdout::with(|out| {
        args.globs
            .iter()
            .try_for_each(|glob| print(glob, &printing, &clock, out, &mut say).map(drop))
    });
    drop(bar);
    printed
}
