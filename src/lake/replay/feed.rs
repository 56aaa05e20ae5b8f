//! Finds the files of partitions, one after the other, and reads their bytes.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::Position;
use super::known::{Indexes, Known};
use super::place::Place;
use crate::error::{Error, Result};
use crate::lake::index::{self, Index};
use crate::lake::lineage::{Piece, Stretch, meant, trace};
use crate::lake::listing;
use crate::lake::names::{FileName, FileNumber};
use crate::lake::reader::{Input, OpenFile};
use crate::lake::scan::Trouble;
use crate::lake::store::{Object, Store};

/// The maximum number of times that a partition is looked up again because it was just replaced
/// once more.
const LOOKS_MAX: usize = 100;

/// A partition that is to be read.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its position among the reader's splits.
    pub split: usize,
    /// Its name; see [`lineage`](crate::lake::lineage) for partitions that were replaced.
    pub partition: String,
    /// The position from which it is read.
    pub from: Option<Position>,
}

/// A file that is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its number.
    pub number: FileNumber,
    /// Its key.
    pub key: String,
    /// Its length.
    pub bytes: u64,
}

/// Posts of a file that were in a file of another partition before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The number of posts before them in the file.
    pub from: u64,
    /// The number of these posts.
    pub posts: u64,
    /// The file in which they were.
    pub file: FileNumber,
    /// The number of posts before them in that file.
    pub first: u64,
}

/// The next step of a feed.
#[derive(Debug)]
pub enum Step {
    /// A file of a split.
    File {
        /// The split.
        split: usize,
        /// The file.
        file: Found,
        /// The number of posts to skip, which were read before.
        skip: u64,
        /// The index entry of the file.
        known: Option<Known>,
        /// The posts to read, if the file belongs to a partition that replaced the split's.
        cuts: Option<Vec<Cut>>,
    },
    /// The end of a split.
    End(usize),
}

/// A sequence of files, and the bytes of the current one as an input.
pub trait Feed: Input + Send {
    /// Continues with the next file, even if the current one isn't read to its end; `None` after
    /// all splits.
    ///
    /// # Errors
    /// If a file can't be listed or opened.
    fn next(&mut self) -> Result<Option<Step>>;

    /// Looks up the partition of a split again, because one of its files is gone, and continues
    /// after this position, or where the split was begun if there is none.
    ///
    /// # Errors
    /// If no other partition replaced it.
    fn look_again(&mut self, split: usize, read: Option<Position>) -> Result<()>;
}

/// The files of several partitions, each of which is listed when it is reached.
pub(crate) struct Files {
    place: Place,
    store: Arc<dyn Store>,
    indexes: Indexes,
    wanted: Vec<Wanted>,
    /// The number of partitions that were begun.
    begun: usize,
    steps: VecDeque<Step>,
    /// The partitions in which the posts of each begun split were found.
    found_in: BTreeMap<usize, Vec<String>>,
}

impl Files {
    /// Creates the list of files of these partitions, in this order.
    pub(crate) fn of(
        place: &Place,
        indexes: &Indexes,
        wanted: impl IntoIterator<Item = Wanted>,
    ) -> Self {
        Self {
            place: place.clone(),
            store: place.store(),
            indexes: indexes.clone(),
            wanted: wanted.into_iter().collect(),
            begun: 0,
            steps: VecDeque::new(),
            found_in: BTreeMap::new(),
        }
    }

    /// Returns the next file or end of a split.
    ///
    /// # Errors
    /// If a partition can't be listed, or is gone.
    pub(crate) fn next(&mut self) -> Result<Option<Step>> {
        if self.steps.is_empty()
            && let Some(wanted) = self.wanted.get(self.begun).cloned()
        {
            self.begun += 1;
            self.begin(&wanted)?;
            self.steps.push_back(Step::End(wanted.split));
        }
        Ok(self.steps.pop_front())
    }

    /// Begins a split again, after the posts that were read of it, and forgets the steps after it.
    ///
    /// # Errors
    /// If it is only found in the same partitions as before.
    pub(crate) fn look_again(&mut self, split: usize, read: Option<Position>) -> Result<()> {
        let Some(at) = self.wanted.iter().position(|wanted| wanted.split == split) else {
            return Err(Error::fatal("a file is gone, and its split isn't known"));
        };
        self.steps.clear();
        self.wanted[at].from = read.or(self.wanted[at].from);
        let wanted = self.wanted[at].clone();
        let before = self.found_in.remove(&split);
        self.begun = at + 1;
        self.begin(&wanted)?;
        self.steps.push_back(Step::End(split));
        if before == self.found_in.get(&split).cloned() {
            return Err(self.gone(&wanted.partition));
        }
        Ok(())
    }

    fn gone(&self, id: &str) -> Error {
        let address = self.place.address(meant(id).0);
        Error::fatal(format!(
            "the partition \"{address}\" is gone, or lost a file while it was read, and neither `compact` nor \
             `erase` replaced it: was it deleted? Put it back, or leave it out"
        ))
    }

    /// Finds the files that hold the posts of a partition now.
    fn begin(&mut self, wanted: &Wanted) -> Result<()> {
        let store = Arc::clone(&self.store);
        let (store, id) = (store.as_ref(), &wanted.partition);
        let (partition, is_late) = meant(id);
        let mut pieces = if is_late { trace(store, id)? } else { None };
        for _ in 0..LOOKS_MAX {
            let (mut steps, mut found_in, mut lacking) = (Vec::new(), Vec::new(), None);
            for piece in pieces.iter().flatten() {
                found_in.push(piece.partition.clone());
                if !self.add_piece(wanted, piece, &mut steps)? {
                    lacking = Some(&piece.partition);
                }
            }
            if pieces.is_none() || is_late {
                let files = if is_late {
                    listing::late_files(store, partition)?
                } else {
                    self.own(partition)?
                };
                found_in.push(partition.to_owned());
                self.add_files(wanted, partition, files, &mut steps);
            }
            // A process that replaces a partition writes a note before the first file is deleted.
            // If no new note exists, the listing is complete.
            let after = trace(store, id)?;
            if after != pieces {
                pieces = after;
                continue;
            }
            if let Some(new) = lacking {
                let (old, new) = (self.place.address(partition), self.place.address(new));
                return Err(Error::fatal(format!(
                    "\"{old}\" was replaced by \"{new}\", which lacks posts of it or is damaged: see `lake verify`"
                )));
            }
            if steps.is_empty() && pieces.is_none() && !self.is_there(partition)? {
                return Err(self.gone(id));
            }
            self.steps.extend(steps);
            self.found_in.insert(wanted.split, found_in);
            return Ok(());
        }
        let address = self.place.address(partition);
        Err(Error::transient(format!("\"{address}\" is replaced again and again: try again")))
    }

    fn own(&self, partition: &str) -> Result<Vec<(FileName, Object)>> {
        listing::objects(self.store.as_ref(), partition)
    }

    /// Returns true if a partition has any object, even if none is a file of the lake.
    fn is_there(&self, partition: &str) -> Result<bool> {
        Ok(!self.store.list(&format!("{partition}/"), None, 1)?.is_empty())
    }

    fn add_files(
        &self,
        wanted: &Wanted,
        partition: &str,
        files: Vec<(FileName, Object)>,
        steps: &mut Vec<Step>,
    ) {
        let (split, from) = (wanted.split, wanted.from);
        let mut known = self.indexes.files(partition);
        for (name, object) in files {
            let number = name.number;
            if from.is_some_and(|from| number < from.file) {
                continue;
            }
            let skip = from.filter(|from| from.file == number).map_or(0, |from| from.posts);
            let known = known.remove(&name.to_string());
            let file = Found { number, key: object.key, bytes: object.bytes };
            steps.push(Step::File { split, file, skip, known, cuts: None });
        }
    }

    /// Adds the files that hold the wanted posts of a piece. Returns false if they don't hold all
    /// of them, or can't be counted: then the partition has just been replaced, too, or is damaged.
    fn add_piece(&self, wanted: &Wanted, piece: &Piece, steps: &mut Vec<Step>) -> Result<bool> {
        let partition = &piece.partition;
        if piece.stretches.is_empty() {
            return Ok(true);
        }
        let files = self.own(partition)?;
        let Some(index) = self.counted(partition, &files) else { return Ok(false) };
        let mut known = self.indexes.files(partition);
        let mut begin = 0;
        for ((name, object), file) in files.into_iter().zip(index.files) {
            let end = begin + file.posts;
            let mut cuts = cuts(&piece.stretches, begin..end);
            cuts.retain_mut(|cut| is_left(cut, wanted.from));
            begin = end;
            if cuts.is_empty() {
                continue;
            }
            let known = known.remove(&name.to_string());
            let file = Found { number: name.number, key: object.key, bytes: object.bytes };
            steps.push(Step::File { split: wanted.split, file, skip: 0, known, cuts: Some(cuts) });
        }
        Ok(piece.stretches.iter().all(|stretch| stretch.at + stretch.posts <= begin))
    }

    /// Returns the index of a partition with these files, to count posts. Without a stored index
    /// the files are read.
    fn counted(&self, partition: &str, files: &[(FileName, Object)]) -> Option<Index> {
        let store = self.store.as_ref();
        let names =
            |index: &Index| index.files.iter().map(|file| file.file.clone()).collect::<Vec<_>>();
        let there: Vec<String> = files.iter().map(|(name, _)| name.to_string()).collect();
        if let Ok(index::Found::Index(index)) = index::read(store, partition)
            && names(&index) == there
        {
            return Some(index);
        }
        index::build(store, partition).ok().filter(|index| names(index) == there)
    }
}

/// Returns those posts of a file (with these numbers in its partition) that were in the old
/// partition.
fn cuts(stretches: &[Stretch], posts: Range<u64>) -> Vec<Cut> {
    let mut cuts = Vec::new();
    for stretch in stretches {
        let begin = stretch.at.max(posts.start);
        let end = (stretch.at + stretch.posts).min(posts.end);
        if begin < end {
            let first = stretch.first + (begin - stretch.at);
            cuts.push(Cut {
                from: begin - posts.start,
                posts: end - begin,
                file: stretch.file,
                first,
            });
        }
    }
    cuts
}

/// Removes the posts that were read before from a cut. Returns false if none is left.
fn is_left(cut: &mut Cut, from: Option<Position>) -> bool {
    let Some(from) = from else { return true };
    if cut.file != from.file {
        return cut.file > from.file;
    }
    let read = from.posts.saturating_sub(cut.first).min(cut.posts);
    *cut = Cut { from: cut.from + read, posts: cut.posts - read, first: cut.first + read, ..*cut };
    cut.posts > 0
}

/// A feed of files in a folder, each of which is read when it is reached: the operating system
/// already reads ahead.
pub(crate) struct FolderFeed {
    root: PathBuf,
    files: Files,
    open: Option<OpenFile>,
}

impl FolderFeed {
    /// Creates a feed of a lake in this folder.
    pub(crate) fn new(root: PathBuf, files: Files) -> Self {
        Self { root, files, open: None }
    }
}

impl Feed for FolderFeed {
    fn next(&mut self) -> Result<Option<Step>> {
        loop {
            self.open = None;
            let step = self.files.next()?;
            if let Some(Step::File { split, file, skip, cuts, .. }) = &step {
                self.open = OpenFile::open(self.root.join(&file.key))?;
                if self.open.is_none() {
                    let begins = match cuts.as_ref().and_then(|cuts| cuts.first()) {
                        Some(cut) => Position { file: cut.file, posts: cut.first },
                        None => Position { file: file.number, posts: *skip },
                    };
                    self.files.look_again(*split, Some(begins))?;
                    continue;
                }
            }
            return Ok(step);
        }
    }

    fn look_again(&mut self, split: usize, read: Option<Position>) -> Result<()> {
        self.open = None;
        self.files.look_again(split, read)
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
