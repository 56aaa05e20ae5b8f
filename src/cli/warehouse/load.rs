//! `warehouse load GLOB…`: the posts of a lake into the tables.

use std::time::Duration;

use serde::Serialize;

use super::super::exit::{Code, Outcome};
use super::super::progress::StatusLine;
use super::super::run::summary::plural;
use super::super::{stderr, stdout};
use super::{Which, json};
use crate::bolt::{FEATURES, FeaturesReader};
use crate::clock::SystemClock;
use crate::error::Error;
use crate::lake::replay::OnDamage;
use crate::tuple::Fields;
use crate::warehouse::back_fill::{BackFill, BackFillNews, BackFilled};
use crate::warehouse::row::RowLayout;

/// The time between two drawings of the progress.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// The number of refused rows that are told one by one.
const NOTES_MAX: u64 = 100;

/// Load the posts of a lake into the tables
///
/// It can be repeated: what is there already stays as it is, and a newer version of a post replaces
/// an older one. Ends with 4 if the server refuses rows, each of which is named.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waterspout warehouse load 'lake/2015-12-18T*'
  waterspout warehouse load s3://bucket/prefix --url postgres://user@host/name")]
pub(crate) struct Args {
    /// The partitions, or a lake: 'lake/2015-12-18T00:00:00-*', s3://bucket/prefix
    // Several, since a shell expands a glob that isn't quoted.
    #[arg(required = true, value_name = "GLOB")]
    globs: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// Leave out the posts themselves, the column `raw`
    #[arg(long)]
    without_raw: bool,
    /// Pass over the rest of a damaged file, and name it, where it would stop otherwise
    #[arg(long)]
    skip_damaged: bool,
}

/// The result, in JSON.
#[derive(Serialize)]
struct Report {
    posts: u64,
    rows: u64,
    refused: u64,
    partitions: u64,
}

/// Loads the posts.
pub(crate) fn run(args: &Args) -> Outcome {
    let warehouse = args.which.warehouse()?;
    let clock = SystemClock::shared();
    let layout = RowLayout::of(&Fields::new(FEATURES)).map_err(|missing| {
        Error::fatal(format!("Features has no \"{}\"", missing.join("\", \"")))
    })?;
    let mut reader = FeaturesReader::new()?;
    let back_fill = BackFill {
        warehouse: &warehouse,
        keeps_raw: !args.without_raw,
        on_damage: if args.skip_damaged { OnDamage::Skip } else { OnDamage::Stop },
        clock: &clock,
    };
    let mut progress = Progress::default();
    let mut tell = |news: BackFillNews<'_>| match news {
        BackFillNews::Progress(filled) => progress.draw(filled, clock.monotonic()),
        BackFillNews::Note(note) => progress.note(&note),
    };
    let mut features = |post: &crate::post::Post| reader.values(post).to_vec();
    let loaded = back_fill.load(&args.globs, &layout, &mut features, &mut tell);
    progress.end();
    let BackFilled { posts, rows, refused, partitions_in_all, .. } = loaded?;
    let report = Report { posts, rows, refused, partitions: partitions_in_all };
    let printed = stdout::print(&if args.which.json {
        json(&report)
    } else {
        format!(
            "{} of {}: {} loaded, {refused} refused\n",
            plural(posts, "post"),
            plural(partitions_in_all, "partition"),
            plural(rows, "row")
        )
    })?;
    Ok(if refused == 0 { printed } else { Code::Findings })
}

/// The line on a terminal that says how far it is.
#[derive(Default)]
struct Progress {
    line: StatusLine,
    drawn_at: Option<Duration>,
    notes: u64,
}

impl Progress {
    fn draw(&mut self, filled: &BackFilled, now: Duration) {
        if self.drawn_at.is_some_and(|at| now.saturating_sub(at) < DRAW_EVERY) {
            return;
        }
        self.drawn_at = Some(now);
        let BackFilled { posts, refused, partitions, partitions_in_all, .. } = filled;
        self.line.draw(&format!(
            "{}, {partitions} of {}, {refused} refused",
            plural(*posts, "post"),
            plural(*partitions_in_all, "partition")
        ));
    }

    fn note(&mut self, note: &str) {
        self.notes += 1;
        if self.notes <= NOTES_MAX {
            self.line.say(note);
        }
    }

    fn end(&mut self) {
        self.line.clear();
        if self.notes > NOTES_MAX {
            stderr::say(&format!("{} more of these aren't shown", self.notes - NOTES_MAX));
        }
    }
}
