//! Loads the posts of a lake. A load can be repeated: rows that exist stay unchanged.
//!
//! ```text
//! thread: lake ─▶ features ─▶ batch ──(hand to hand)──▶ load, with patience for the server
//! ```

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::ledger::{Ledger, RowPosition};
use super::load::{LoadRows, Loaded};
use super::row::{RowLayout, RowReading, read};
use super::schema;
use super::session::{Session, Warehouse};
use crate::clock::SharedClock;
use crate::error::{Error, Kind, Result};
use crate::lake::address::Address;
use crate::lake::replay::{Choice, Event, OnDamage, Order, Place, PostTimes, Replay, Sorting};
use crate::lake::replay::{Split, Tempo};
use crate::post::Post;
use crate::value::Value;

/// The bytes of posts in one transaction. Two batches are in memory, one being loaded and one being
/// read, each with features and rows of several times this size; smaller batches make more
/// transactions, each with a sync of the server's disk.
const BATCH_BYTES: usize = 4 << 20;

/// The number of posts in one transaction: the features of short posts take more memory than the
/// posts.
const BATCH_POSTS: usize = 3_000;

/// The number of attempts before the back-fill gives up, and the pause between them: about two
/// minutes in all, in which a server can restart.
const ATTEMPTS: u32 = 12;
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Computes the features of posts, as tuples with the fields of a layout.
pub type ReadFeatures<'f> = &'f mut (dyn FnMut(&Post) -> Vec<Value> + Send);

/// The settings of a back-fill.
pub struct BackFill<'b> {
    /// The warehouse for the posts.
    pub warehouse: &'b Warehouse,
    /// True if the posts themselves are kept.
    pub keeps_raw: bool,
    /// The reaction to a damaged file.
    pub on_damage: OnDamage,
    /// The clock.
    pub clock: &'b SharedClock,
}

/// The numbers of what was loaded so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackFilled {
    /// The number of posts that were read.
    pub posts: u64,
    /// The number of rows that were written or existed.
    pub rows: u64,
    /// The number of rows that were refused.
    pub refused: u64,
    /// The number of partitions that are read to their ends.
    pub partitions: u64,
    /// The number of partitions that match the globs.
    pub partitions_in_all: u64,
}

/// An event to report to the user.
pub enum BackFillNews<'n> {
    /// A batch is loaded.
    Progress(&'n BackFilled),
    /// A row was refused, a file is damaged, or the back-fill waits for the server.
    Note(String),
}

/// A batch of posts with their features.
struct PostBatch {
    posts: Vec<Post>,
    rows: Vec<Vec<Value>>,
    bytes: usize,
    partitions: u64,
    notes: Vec<String>,
}

impl PostBatch {
    fn new() -> Self {
        Self { posts: Vec::new(), rows: Vec::new(), bytes: 0, partitions: 0, notes: Vec::new() }
    }

    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.posts.len() >= BATCH_POSTS
    }
}

impl BackFill<'_> {
    /// Loads the posts of partitions: `<root>/<glob>`, a root, or a partition, in a folder or on
    /// S3. Blocks.
    ///
    /// # Errors
    /// If nothing matches, a file is damaged, or the server doesn't answer for some minutes. Posts
    /// that were loaded before stay; a repeated call loads the rest.
    pub fn load(
        &self,
        globs: &[String],
        layout: &RowLayout,
        features: ReadFeatures<'_>,
        news: &mut dyn FnMut(BackFillNews<'_>),
    ) -> Result<BackFilled> {
        let mut filled = BackFilled::default();
        let mut lakes = Vec::new();
        for glob in globs {
            let Address { root, partitions } = Address::parse(glob)?;
            let place = Place::at(&root)?;
            let choice = Choice { glob: partitions.glob(), ..Choice::default() };
            let names = place.partitions(&choice)?;
            filled.partitions_in_all += names.len() as u64;
            lakes.push((place, names));
        }
        let (batches, taken) = sync_channel(0);
        let on_damage = self.on_damage;
        thread::scope(|scope| {
            let reading = scope.spawn(move || {
                let reader = BatchReader { features, batches };
                reader.read_all(lakes, on_damage)
            });
            let source = format!("load {}", globs.join(" "));
            let loaded = self.load_batches(&taken, layout, &source, &mut filled, news);
            // The reader ends when batches are no longer received.
            drop(taken);
            let read = reading
                .join()
                .unwrap_or_else(|_| Err(Error::fatal("the thread that reads the lake panicked")));
            loaded.and(read)
        })?;
        Ok(filled)
    }

    fn load_batches(
        &self,
        batches: &Receiver<PostBatch>,
        layout: &RowLayout,
        source: &str,
        filled: &mut BackFilled,
        news: &mut dyn FnMut(BackFillNews<'_>),
    ) -> Result<()> {
        let mut session = None;
        for batch in batches {
            for note in batch.notes {
                news(BackFillNews::Note(note));
            }
            let reading = RowReading { now: self.clock.now(), keeps_raw: self.keeps_raw };
            let mut rows = LoadRows::default();
            // Features that were read into a row are no longer needed.
            for (number, values) in batch.rows.into_iter().enumerate() {
                let row = read(layout, &values, reading);
                rows.add(RowPosition { segment: 0, number }, row, None);
            }
            let loaded = self.load_patiently(&mut session, &rows, source, news)?;
            for refused in &loaded.refused {
                let post = &batch.posts[refused.at.number];
                let id = post.id().unwrap_or_default();
                let (kind, error) = (post.kind(), &refused.error);
                news(BackFillNews::Note(format!("refused: {kind} \"{id}\": {error}")));
            }
            filled.posts += batch.posts.len() as u64;
            filled.rows += loaded.rows as u64;
            filled.refused += loaded.refused.len() as u64;
            filled.partitions += batch.partitions;
            news(BackFillNews::Progress(filled));
        }
        Ok(())
    }

    fn load_patiently(
        &self,
        session: &mut Option<Session>,
        rows: &LoadRows,
        source: &str,
        news: &mut dyn FnMut(BackFillNews<'_>),
    ) -> Result<Loaded> {
        let mut wait = FIRST_WAIT;
        for attempt in 1.. {
            let error = match self.try_to_load(session, rows, source) {
                Ok(loaded) => return Ok(loaded),
                Err(error) => error,
            };
            *session = None;
            if error.kind() == Kind::Fatal || attempt >= ATTEMPTS {
                return Err(error);
            }
            let name = self.warehouse.name();
            news(BackFillNews::Note(format!("waiting for \"{name}\": {}", error.chain())));
            thread::sleep(wait);
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        Err(Error::transient("no attempt was made"))
    }

    fn try_to_load(
        &self,
        session: &mut Option<Session>,
        rows: &LoadRows,
        source: &str,
    ) -> Result<Loaded> {
        let session = match session {
            Some(session) => session,
            None => {
                let begun = self.warehouse.connect()?;
                schema::migrate(&begun)?;
                session.insert(begun)
            }
        };
        let loaded = session.load(rows, &Ledger::History(source.into()));
        let loaded = loaded.map_err(|failure| failure.transient("can't load"))?;
        Ok(loaded.unwrap_or_default())
    }
}

/// Reads lakes into batches.
struct BatchReader<'f> {
    features: ReadFeatures<'f>,
    batches: SyncSender<PostBatch>,
}

impl BatchReader<'_> {
    fn read_all(mut self, lakes: Vec<(Place, Vec<String>)>, on_damage: OnDamage) -> Result<()> {
        let mut batch = PostBatch::new();
        for (place, names) in lakes {
            let replay = Replay {
                place,
                order: Order::Partition,
                sorting: Sorting::default(),
                tempo: Tempo::default(),
                times: PostTimes::default(),
                on_damage,
            };
            let mut splits = Vec::new();
            for partition in names {
                splits.push(Split { partition, mark: None, ended: false });
            }
            let mut is_taken = true;
            replay.run(&splits, &mut |event| {
                match event {
                    Event::Handed(handed, _) => {
                        let ends = handed.marks.iter().filter(|(_, mark)| mark.is_none());
                        batch.partitions += ends.count() as u64;
                        for post in handed.posts {
                            // The reader's buffer may be much larger than the post, and is reused.
                            self.add(&post, &mut batch);
                        }
                    }
                    Event::Damaged(what) => batch.notes.push(what),
                }
                if batch.is_full() {
                    let full = std::mem::replace(&mut batch, PostBatch::new());
                    is_taken = self.batches.send(full).is_ok();
                }
                is_taken
            })?;
            if !is_taken {
                // The load has failed, and reports the cause.
                return Ok(());
            }
        }
        let _ = self.batches.send(batch);
        Ok(())
    }

    fn add(&mut self, post: &Post, batch: &mut PostBatch) {
        let post = post.detached();
        batch.bytes += post.len();
        batch.rows.push((self.features)(&post));
        batch.posts.push(post);
    }
}
