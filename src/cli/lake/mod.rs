//! `lake …`: what can be done with a lake that lies there.

mod cat;
mod compact;
mod erase;
mod index;
mod ls;
mod paths;
mod prune;
mod verify;

use clap::Subcommand;
use serde::Serialize;
use time::OffsetDateTime;

use super::LakeMemory;
use super::exit::Outcome;
use crate::clock::SystemClock;

/// List, print, check, index, compact and clean a lake
///
/// A lake is a folder, or in a bucket: s3://bucket/prefix. ROOT/GLOB means those of its partitions
/// whose names match: 'lake/2015-12-18T*'.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    memory: LakeMemory,
}

/// One line for each command, one file for each line.
#[derive(Debug, Subcommand)]
enum What {
    Ls(ls::Args),
    Cat(cat::Args),
    Verify(verify::Args),
    Index(index::Args),
    Compact(compact::Args),
    Erase(erase::Args),
    Prune(prune::Args),
    Paths(paths::Args),
}

/// Does what the arguments say.
pub(crate) fn run(args: &Args) -> Outcome {
    super::tell_what_is_waited_for();
    args.memory.set();
    match &args.what {
        What::Ls(args) => ls::run(args),
        What::Cat(args) => cat::run(args),
        What::Verify(args) => verify::run(args),
        What::Index(args) => index::run(args),
        What::Compact(args) => compact::run(args),
        What::Erase(args) => erase::run(args),
        What::Prune(args) => prune::run(args),
        What::Paths(args) => paths::run(args),
    }
}

fn now() -> OffsetDateTime {
    SystemClock::shared().now()
}

/// A time of the calendar, or one before now such as `-1h`.
fn moment(text: &str) -> Result<OffsetDateTime, String> {
    super::moment::moment(text).map(|moment| moment.time())
}

/// A line of JSON.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("text and numbers can be written as JSON") + "\n"
}
