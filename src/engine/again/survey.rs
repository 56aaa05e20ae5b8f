//! Finds out which dead letters can be sent again, and for which reasons others can't, before
//! anything starts.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::{AGAIN, Jobs, stream_name};
use crate::dead_letter::DEAD;
use crate::dead_letter::{Letter, Refused};
use crate::engine::wiring::stream_of;
use crate::epoch::Cursor;
use crate::error::{Error, Result};
use crate::flow::Grouping;
use crate::lake::lineage::Progress;
use crate::lake::replay::{Choice, Place, Position, read};
use crate::post::Post;
use crate::registry::Config;
use crate::spout::dead_letters::{Job, LetterPlace, Wanted, Way};
use crate::topology::Topology;

/// The letters to send, and the reasons for those that stay.
#[derive(Default)]
pub(crate) struct Survey {
    /// The splits to read.
    pub jobs: Jobs,
    /// The number of letters to send.
    pub letters: u64,
    /// A sentence about each group of letters that stay.
    pub left: Vec<String>,
}

/// Reads all dead letters under `root` that come after the `cursors`.
///
/// # Errors
/// If a letter can't be read, or a cursor is damaged.
pub(crate) fn survey(
    topology: &Topology,
    root: &Path,
    cursors: &BTreeMap<(String, String), Cursor>,
) -> Result<Survey> {
    if !root.is_dir() {
        return Ok(Survey::default());
    }
    let place = Place::Folder(root.to_path_buf());
    let mut looking = LetterSurvey {
        topology,
        place: place.clone(),
        cursors,
        ways: HashMap::new(),
        left: BTreeMap::new(),
        found: Survey::default(),
    };
    for partition in place.splits(&Choice::glob("*"), &progress(cursors))? {
        looking.look_through(&partition)?;
    }
    let LetterSurvey { mut found, left, .. } = looking;
    found.left = left
        .into_iter()
        .map(|((component, why), letters)| sentence(&component, &why, letters))
        .collect();
    Ok(found)
}

/// Returns the partitions from which letters were sent before, by their names at that time.
fn progress(cursors: &BTreeMap<(String, String), Cursor>) -> Progress {
    let mut progress = Progress::new();
    for (_, split) in cursors.keys() {
        let id = split.strip_prefix(DEAD).and_then(|rest| rest.strip_prefix('/'));
        if let Some(partition) = id.and_then(|id| id.split('/').next()) {
            // Letters that were pruned are no longer needed.
            progress.insert(partition.to_owned(), true);
        }
    }
    progress
}

fn sentence(component: &str, why: &str, letters: u64) -> String {
    let (many, stay) = if letters == 1 { ("", "stays") } else { ("s", "stay") };
    format!("{letters} dead letter{many} of \"{component}\" {stay}: {why}")
}

/// A survey in progress.
struct LetterSurvey<'a> {
    topology: &'a Topology,
    place: Place,
    cursors: &'a BTreeMap<(String, String), Cursor>,
    /// The way by which letters of a component and input are sent, or the reason why they can't be.
    ways: HashMap<(String, Option<String>), Result<Way, String>>,
    /// The number of letters that stay, by component and reason.
    left: BTreeMap<(String, String), u64>,
    found: Survey,
}

impl LetterSurvey<'_> {
    fn look_through(&mut self, partition: &str) -> Result<()> {
        let (mut failed, place) = (None, self.place.clone());
        read(&place, partition, None, |posts, behind| {
            let first = behind.posts - posts.len() as u64 + 1;
            for (post, number) in posts.iter().zip(first..) {
                let position = Position { posts: number, ..behind };
                if let Err(error) = self.look_at(partition, post, position) {
                    failed = Some(error);
                    return false;
                }
            }
            true
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn look_at(&mut self, partition: &str, post: &Post, position: Position) -> Result<()> {
        let Some(letter) = Letter::read(post) else {
            self.stays("?", "it is no dead letter, or damaged".into());
            return Ok(());
        };
        let from = match &letter.refused {
            Refused::Tuple { from, .. } => Some(from.clone()),
            Refused::Raw { .. } => None,
        };
        let topology = self.topology;
        let way = self
            .ways
            .entry((letter.component.clone(), from))
            .or_insert_with(|| way(topology, &letter));
        let way = match way {
            Ok(way) => way.clone(),
            Err(why) => {
                let why = why.clone();
                self.stays(&letter.component, why);
                return Ok(());
            }
        };
        let (reader, split) = match &way {
            Way::Raw => (letter.component.clone(), format!("{DEAD}/{partition}")),
            Way::Input { from, .. } => {
                (AGAIN.to_owned(), format!("{DEAD}/{partition}/{}/{from}", letter.component))
            }
        };
        let mut key = (reader, split);
        // A letter whose input was cut is never sent, so it is counted even if later letters were
        // sent.
        let is_cut = matches!(letter.refused, Refused::Raw { cut: true, .. });
        if !is_cut && self.was_sent(&key, position)? {
            return Ok(());
        }
        let mut after = None;
        if let Refused::Tuple { fields, .. } = &letter.refused {
            // A cursor says that all letters before it were sent. Letters of the same input that
            // must stay have other fields, and so are in another split. The state of an earlier
            // version has a single cursor for all inputs.
            after = self.place_of(&key)?.map(|place| place.position);
            key.1 = format!("{}/{}", key.1, fields.join(","));
            if self.was_sent(&key, position)? {
                return Ok(());
            }
        }
        let wanted = Wanted { component: letter.component.clone(), way };
        if let Some(why) = wanted.objection(&letter) {
            self.stays(&letter.component, why);
            return Ok(());
        }
        self.found.letters += 1;
        let (reader, split) = key;
        let place = self.place.clone();
        let job =
            || Job { place, partition: partition.to_owned(), after, last: position.file, wanted };
        self.found.jobs.entry(reader).or_default().entry(split).or_insert_with(job).last =
            position.file;
        Ok(())
    }

    fn place_of(&self, key: &(String, String)) -> Result<Option<LetterPlace>> {
        let damaged = |error| {
            Error::fatal(format!("the cursor of \"{}\" for \"{}\"", key.0, key.1)).because(error)
        };
        self.cursors.get(key).map_or(Ok(None), LetterPlace::of).map_err(damaged)
    }

    fn was_sent(&self, key: &(String, String), position: Position) -> Result<bool> {
        let place = self.place_of(key)?;
        Ok(place.is_some_and(|LetterPlace { position: read, .. }| {
            (position.file, position.posts) <= (read.file, read.posts)
        }))
    }

    fn stays(&mut self, component: &str, why: String) {
        *self.left.entry((component.to_owned(), why)).or_default() += 1;
    }
}

/// Returns the way by which letters like this one are sent to their component, or the reason why
/// they can't be.
fn way(topology: &Topology, letter: &Letter) -> Result<Way, String> {
    let Letter { component, refused, .. } = letter;
    let spec = topology.components.iter().find(|spec| spec.id == *component);
    let spec = spec.ok_or("there is no such component now")?;
    let type_name = spec.type_name;
    match (refused, &spec.config) {
        (Refused::Raw { bytes, .. }, Config::Spout(source)) => source
            .reread(bytes)
            .map(|_| Way::Raw)
            .ok_or_else(|| format!("{type_name} can't read its dead letters again")),
        (Refused::Tuple { from, .. }, Config::Bolt(_) | Config::Sink(_)) => {
            let mut inputs = spec.inputs.iter().enumerate();
            let found =
                inputs.find(|(_, input)| stream_of(topology, input.from, input.stream).0 == *from);
            let (number, input) = found.ok_or_else(|| format!("it has no input \"{from}\" now"))?;
            let one_task = !matches!(input.grouping, Grouping::All | Grouping::Direct);
            if !one_task && spec.parallelism_hint.get() > 1 {
                let grouping = input.grouping.name();
                return Err(format!(
                    "its input \"{from}\" has the grouping {grouping}, \
                     and a letter doesn't say which task got the tuple"
                ));
            }
            let fields = stream_of(topology, input.from, input.stream).1;
            Ok(Way::Input { from: from.clone(), fields, stream: stream_name(component, number) })
        }
        (_, config) => Err(format!(
            "it is a {type_name} now, which is {}",
            if matches!(config, Config::Spout(_)) { "a spout" } else { "no spout" }
        )),
    }
}
