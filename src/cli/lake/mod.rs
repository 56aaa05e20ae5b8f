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
use time::format_description::well_known::Rfc3339;

use super::exit::Outcome;
use crate::clock::SystemClock;

/// List, print, check, index, compact and clean a lake
///
/// A lake is a folder, or in a bucket: s3://bucket/prefix. ROOT/GLOB means those of its partitions whose names match:
/// 'lake/2015-12-18T*'.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
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
pub fn run(args: &Args) -> Outcome {
    super::tell_what_is_waited_for();
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

/// A time as people write it: `2015-12-18T01:00:00Z`, the same without `Z`, or `2015-12-18`, in UTC.
fn moment(text: &str) -> Result<OffsetDateTime, String> {
    let parse = |text: &str| OffsetDateTime::parse(text, &Rfc3339);
    parse(text)
        .or_else(|_| parse(&format!("{text}Z")))
        .or_else(|_| parse(&format!("{text}T00:00:00Z")))
        .map_err(|_| format!("expected a time like 2015-12-18T01:00:00Z, found \"{text}\""))
}

/// A line of JSON.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("text and numbers can be written as JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_moment_may_be_short() {
        for text in ["2015-12-18", "2015-12-18T00:00:00", "2015-12-18T00:00:00Z", "2015-12-18T01:00:00+01:00"] {
            assert_eq!(moment(text), Ok(datetime!(2015-12-18 00:00:00 UTC)), "{text}");
        }
        assert!(moment("soon").is_err());
    }
}
