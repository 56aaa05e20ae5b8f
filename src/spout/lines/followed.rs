//! The spout's side of followed files: converts chunks to posts, and keeps the cursors of splits.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::pin::pin;

use futures_util::future::{Either, select};
use tokio::sync::{mpsc, oneshot};

use super::EMIT_LINES;
use super::follow::known::{Entry, is_followed};
use super::follow::{Event, Followed, start};
use super::located::path_of;
use super::lost::{Loss, LostLines};
use super::mark::{FileMark, Mark};
use super::spout::{LinesSpout, Reading};
use crate::clock::{SharedClock, Sleep};
use crate::epoch::{Cursor, Split};
use crate::error::{Error, Result};
use crate::spout::SpoutOutput;

/// The events of the follower, together with the waits that it asks for.
pub(super) struct FollowReports {
    events: mpsc::Receiver<Event>,
    clock: SharedClock,
    waiting: Option<(oneshot::Sender<()>, Sleep)>,
}

impl FollowReports {
    /// Returns the next event; `None` if the follower has ended. Nothing is lost if the future is
    /// dropped.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((_, sleep)) = &mut self.waiting {
                sleep.await;
                if let Some((wake, _)) = self.waiting.take() {
                    // A follower that has ended needs no wake-up.
                    let _ = wake.send(());
                }
            }
            match self.events.recv().await? {
                Event::Waiting(wake, duration) => {
                    self.waiting = Some((wake, self.clock.sleep(duration)))
                }
                event => return Some(event),
            }
        }
    }
}

/// The files that a task follows.
pub(super) struct FollowedFiles {
    /// The positions of splits among those of the task.
    positions: HashMap<String, usize>,
    /// The files of each split.
    entries: BTreeMap<usize, BTreeMap<u64, Entry>>,
    readings: HashMap<u64, (usize, Reading)>,
    lost: LostLines,
}

impl LinesSpout {
    /// Begins to follow files; `None` if the task has no split of followed files.
    pub(super) fn follow(
        &self,
        out: &SpoutOutput,
    ) -> Result<Option<(FollowReports, FollowedFiles)>> {
        if !self.follows {
            return Ok(None);
        }
        let mut splits = HashMap::new();
        let mut positions = HashMap::new();
        for (position, split) in
            out.splits().iter().enumerate().filter(|(_, split)| is_followed(&split.id))
        {
            splits.insert(split.id.clone(), entries_of(split)?);
            positions.insert(split.id.clone(), position);
        }
        if splits.is_empty() {
            return Ok(None);
        }
        let not_followed = self.not_followed()?;
        let mut paths = self.paths.clone();
        paths.retain(|path| !super::input::is_stream(path));
        let has_kind = self.posts.kind.is_some();
        let followed = Followed { paths, has_kind, splits, not_followed };
        let events = start(followed, out.clock().clone())?;
        let reports = FollowReports { events, clock: out.clock().clone(), waiting: None };
        let files = FollowedFiles {
            entries: positions.values().map(|position| (*position, BTreeMap::new())).collect(),
            positions,
            readings: HashMap::new(),
            lost: LostLines::open(self)?,
        };
        Ok(Some((reports, files)))
    }

    /// Returns the files of runs that didn't follow, or of an earlier version.
    fn not_followed(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let files = self.cursors.iter().filter(|(split, _)| split.starts_with('/'));
        for (split, cursor) in files {
            let path = path_of(split);
            // For a file that was read to its end, earlier versions don't record its length.
            if let Cursor::At(mark) = cursor
                && let Ok(FileMark { mark, file, read_at, .. }) = mark.parse()
            {
                let file = file.unwrap_or_default();
                entries.push(Entry { file, path: path.into(), mark, read_at });
            }
            if *cursor == Cursor::End && Path::new(path).exists() {
                return Err(Error::fatal(format!(
                    "\"{path}\" was read to its end by a run that didn't follow, and the position isn't known: \
                     read it with a topology of another name, or start over with --fresh"
                )));
            }
        }
        Ok(entries)
    }

    /// Processes an event.
    pub(super) async fn take_followed(
        &self,
        event: Event,
        files: &mut FollowedFiles,
        out: &mut SpoutOutput,
    ) -> Result<()> {
        match event {
            Event::Opened { number, split, entry, head } => {
                let name = entry.path.to_string_lossy().into_owned();
                let splitter = self.posts.splitter(entry.mark.place);
                if let Some(position) = files.positions.get(&split).copied() {
                    files.entries.entry(position).or_default().insert(number, entry);
                    let reading = Reading { name, splitter, head, file: None };
                    files.readings.insert(number, (position, reading));
                }
            }
            Event::Chunk { number, chunk } => self.read_followed(number, chunk, files, out).await?,
            Event::Moved { number, file, path } => {
                let Some((position, reading)) = files.readings.get_mut(&number) else {
                    return Ok(());
                };
                let position = *position;
                reading.name = path.to_string_lossy().into_owned();
                if let Some(entry) = files.entries.entry(position).or_default().get_mut(&number) {
                    (entry.file, entry.path) = (file, path);
                }
                out.emit(position, files.cursor(position)).await?;
            }
            Event::Closed { number } => {
                let Some((position, mut reading)) = files.readings.remove(&number) else {
                    return Ok(());
                };
                self.push_last_line(&mut reading, out);
                files.entries.entry(position).or_default().remove(&number);
                out.emit(position, files.cursor(position)).await?;
            }
            Event::Scanned => {
                let positions: Vec<usize> = files.positions.values().copied().collect();
                for position in &positions[1..] {
                    out.advance(*position, files.cursor(*position));
                }
                out.emit(positions[0], files.cursor(positions[0])).await?;
            }
            Event::Lost { entry, why } => files.lose(&entry, &why, out)?,
            Event::Failed(error) => return Err(error),
            Event::Said(what) => out.say(&what),
            Event::Waiting(..) => {}
        }
        Ok(())
    }

    async fn read_followed(
        &self,
        number: u64,
        chunk: bytes::Bytes,
        files: &mut FollowedFiles,
        out: &mut SpoutOutput,
    ) -> Result<()> {
        let Some((position, reading)) = files.readings.get_mut(&number) else { return Ok(()) };
        let position = *position;
        reading.feed(chunk);
        loop {
            let Some((_, reading)) = files.readings.get_mut(&number) else { return Ok(()) };
            let before = reading.splitter.place();
            let mut is_done = true;
            while let Some(line) = reading.splitter.next_line() {
                self.push(&reading.name, line, out);
                if reading.splitter.place().line - before.line >= EMIT_LINES {
                    is_done = false;
                    break;
                }
            }
            let place = reading.splitter.place();
            if place != before {
                let mark = Mark::new(place, &reading.head);
                if let Some(entry) = files.entries.entry(position).or_default().get_mut(&number) {
                    (entry.mark, entry.read_at) = (mark, out.clock().now().unix_timestamp());
                }
                out.emit(position, files.cursor(position)).await?;
            }
            if is_done {
                return Ok(());
            }
        }
    }
}

impl FollowedFiles {
    /// Returns the cursor of the split at a position.
    fn cursor(&self, position: usize) -> Cursor {
        let mut cursor = String::new();
        for entry in self.entries.get(&position).into_iter().flat_map(BTreeMap::values) {
            entry.write(&mut cursor);
        }
        Cursor::At(cursor)
    }

    /// Records that posts of a file may be missing.
    fn lose(&mut self, entry: &Entry, why: &str, out: &SpoutOutput) -> Result<()> {
        let part = entry.path.display().to_string();
        let identity = format!("{part}\n{}\n{:?}", entry.mark, entry.file);
        self.lost.tell(&Loss { part: &part, identity: &identity, read_at: entry.read_at, why }, out)
    }
}

/// Returns the files of a split in the checkpoint.
fn entries_of(split: &Split) -> Result<Option<Vec<Entry>>> {
    match &split.cursor {
        Cursor::Start => Ok(None),
        Cursor::End => Ok(Some(Vec::new())),
        Cursor::At(cursor) => match Entry::read_all(cursor) {
            Ok(entries) => Ok(Some(entries)),
            Err(what) => {
                let id = &split.id;
                Err(Error::fatal(format!("the checkpoint's cursor for \"{id}\" is damaged"))
                    .because(what))
            }
        },
    }
}

/// Waits for the first of two futures; the other one isn't changed.
pub(super) async fn either<A, B>(
    first: impl Future<Output = A>,
    second: impl Future<Output = B>,
) -> Either<A, B> {
    match select(pin!(first), pin!(second)).await {
        Either::Left((first, _)) => Either::Left(first),
        Either::Right((second, _)) => Either::Right(second),
    }
}
