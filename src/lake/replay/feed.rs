//! Files of partitions, one after the other, and their bytes.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;

use super::Position;
use super::known::{Indexes, Known};
use super::place::{Found, Place};
use crate::error::Result;
use crate::lake::reader::{Input, OpenFile};
use crate::lake::scan::Trouble;

/// A partition that is to be read.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its position among the reader's splits.
    pub split: usize,
    /// Its name.
    pub partition: String,
    /// Where to go on.
    pub from: Option<Position>,
}

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// A file of a split, of which so many posts were read before.
    File {
        /// The split.
        split: usize,
        /// The file.
        file: Found,
        /// How many posts to pass over.
        skip: u64,
        /// What the index says of it.
        known: Option<Known>,
    },
    /// The split is read.
    End(usize),
}

/// Files, and as an input the bytes of the current one.
pub trait Feed: Input + Send {
    /// Goes on to the next file, whatever is left of this one; `None` when all splits are read.
    ///
    /// # Errors
    /// If it can't be listed or opened.
    fn next(&mut self) -> Result<Option<Step>>;
}

/// The files of several partitions; each is listed when its turn comes.
pub struct Files {
    place: Place,
    indexes: Indexes,
    wanted: VecDeque<Wanted>,
    steps: VecDeque<Step>,
}

impl Files {
    /// Of these, in this order.
    pub fn of(place: &Place, indexes: &Indexes, wanted: impl IntoIterator<Item = Wanted>) -> Self {
        let indexes = indexes.clone();
        Self { place: place.clone(), indexes, wanted: wanted.into_iter().collect(), steps: VecDeque::new() }
    }

    /// The next file or end.
    ///
    /// # Errors
    /// If a partition can't be listed.
    pub fn next(&mut self) -> Result<Option<Step>> {
        if self.steps.is_empty()
            && let Some(Wanted { split, partition, from }) = self.wanted.pop_front()
        {
            let files = self.place.files(&partition)?.into_iter();
            let mut all_known = self.indexes.files(&partition);
            let mut known = |file: &Found| all_known.remove(file.key.rsplit('/').next()?);
            let left = files.filter(|file| from.is_none_or(|from| file.number >= from.file));
            let skip = |file: &Found| from.filter(|from| from.file == file.number).map_or(0, |from| from.posts);
            self.steps.extend(left.map(|file| Step::File { split, skip: skip(&file), known: known(&file), file }));
            self.steps.push_back(Step::End(split));
        }
        Ok(self.steps.pop_front())
    }
}

/// Reads files of a folder, each when its turn comes: the page cache needs nobody to read ahead.
pub struct FolderFeed {
    root: PathBuf,
    files: Files,
    open: Option<OpenFile>,
}

impl FolderFeed {
    /// Of a lake in this folder.
    pub fn new(root: PathBuf, files: Files) -> Self {
        Self { root, files, open: None }
    }
}

impl Feed for FolderFeed {
    fn next(&mut self) -> Result<Option<Step>> {
        let step = self.files.next()?;
        self.open = match &step {
            Some(Step::File { file, .. }) => Some(OpenFile::open(self.root.join(&file.key))?),
            _ => None,
        };
        Ok(step)
    }
}

impl Input for FolderFeed {
    fn fill(&mut self, chunk: &mut Vec<u8>) -> Result<bool, Trouble> {
        self.open.as_mut().map_or(Ok(false), |file| file.fill(chunk))
    }

    fn length(&mut self) -> Result<u64, Trouble> {
        self.open.as_mut().map_or(Ok(0), Input::length)
    }

    fn range(&mut self, range: Range<u64>) -> Result<Bytes, Trouble> {
        self.open.as_mut().map_or(Ok(Bytes::new()), |file| file.range(range))
    }
}
