//! The source of a run that resends dead letters. Each of its splits has the letters that one
//! component refused from one input (or as raw bytes), in one partition of the dead letters.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{Spout, SpoutConfig, SpoutContext, SpoutOutput};
use crate::dead_letter::{DeadLetter, Letter, Refused};
use crate::epoch::Cursor;
use crate::error::{Error, Result};
use crate::lake::names::FileNumber;
use crate::lake::replay::{Place, Position, read};
use crate::post::Post;
use crate::tuple::{Fields, Streams};

/// The text between the reasons in the `error` of a letter that was refused again.
const BEFORE: &str = "; refused before: ";

/// The number of pieces of some hundred kilobytes each that are read ahead.
const PIECES_AHEAD: usize = 2;

/// The maximum number of letters that are handed over at a time.
const EMIT_LETTERS_MAX: usize = 100;

/// The letters of one split.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// The lake of dead letters.
    pub place: Place,
    /// The partition that they were written into.
    pub partition: String,
    /// The position after the letters that an earlier version sent; a cursor takes precedence.
    pub after: Option<Position>,
    /// The last file that is read: letters in later files were refused after the start of this run.
    pub last: FileNumber,
    /// The selection of the letters.
    pub wanted: Wanted,
}

/// The letters that are sent, and their destination.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The component that refused them.
    pub component: String,
    /// The way in which they are sent.
    pub way: Way,
}

/// The way in which a letter comes to the component again.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// The spout reads the raw bytes again.
    Raw,
    /// The tuple comes from an input of the bolt.
    Input {
        /// The input's name, `component` or `component:stream`.
        from: String,
        /// The fields that the input has now.
        fields: Fields,
        /// The stream on which the tuple is sent.
        stream: String,
    },
}

impl Wanted {
    /// Returns true if a letter is among the wanted ones.
    pub(crate) fn is(&self, letter: &Letter) -> bool {
        self.component == letter.component
            && match (&self.way, &letter.refused) {
                (Way::Raw, Refused::Raw { .. }) => true,
                (Way::Input { from, .. }, Refused::Tuple { from: by, .. }) => from == by,
                _ => false,
            }
    }

    /// Returns the reason why a wanted letter can't be sent; `None` if it can.
    pub(crate) fn objection(&self, letter: &Letter) -> Option<String> {
        match (&self.way, &letter.refused) {
            (Way::Input { from, fields, .. }, Refused::Tuple { fields: had, .. }) => {
                (fields.names() != had).then(|| {
                    format!(
                        "its input \"{from}\" has the fields {fields} now, and had {}",
                        Fields::new(had.clone())
                    )
                })
            }
            (_, Refused::Raw { cut: true, .. }) => Some("only the beginning of it was kept".into()),
            _ => None,
        }
    }
}

/// The position up to which a split has been read, and the number of its letters that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LetterPlace {
    /// The position after the last letter that was read.
    pub position: Position,
    /// The number of letters that were sent, in all runs.
    pub sent: u64,
}

impl LetterPlace {
    /// Returns the place of a cursor; `None` at the start.
    ///
    /// # Errors
    /// If the cursor is malformed.
    pub(crate) fn of(cursor: &Cursor) -> Result<Option<Self>> {
        match cursor {
            Cursor::Start => Ok(None),
            Cursor::At(text) => text.parse().map(Some),
            Cursor::End => Err(Error::fatal("dead letters have no end: the cursor is damaged")),
        }
    }
}

impl fmt::Display for LetterPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.position.file, self.position.posts, self.sent)
    }
}

impl FromStr for LetterPlace {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let mut parts = text.split(':');
            let position =
                Position { file: parts.next()?.parse().ok()?, posts: parts.next()?.parse().ok()? };
            let sent = parts.next()?.parse().ok()?;
            parts.next().is_none().then_some(Self { position, sent })
        };
        parse().ok_or_else(|| {
            Error::fatal(format!("bad cursor \"{text}\": expected <file>:<posts>:<sent>"))
        })
    }
}

/// The number of letters that were sent in this run. The count of a split is reset together with
/// its cursor, so that letters that are read again after a panic count once.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<BTreeMap<(String, String), (u64, u64)>>);

impl Tally {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), (u64, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, component: &str, split: &str, sent: u64) {
        self.lock().entry((component.to_owned(), split.to_owned())).or_insert((sent, sent)).1 =
            sent;
    }

    /// Returns the number of letters that were sent since the start of the run.
    pub(crate) fn sent(&self) -> u64 {
        self.lock().values().map(|(before, now)| now - before).sum()
    }
}

/// The configuration of a spout that reads dead letters in place of a source.
#[derive(Clone)]
pub(crate) struct DeadLetters {
    /// The streams of the component.
    pub streams: Streams,
    /// The letters, by the ids of their splits.
    pub jobs: Arc<BTreeMap<String, Job>>,
    /// The source that reads its own letters again.
    pub source: Option<Arc<dyn SpoutConfig>>,
    /// Counts the sent letters.
    pub tally: Arc<Tally>,
}

impl SpoutConfig for DeadLetters {
    fn streams(&self) -> Streams {
        self.streams.clone()
    }

    fn splits(&self) -> Result<Vec<String>> {
        Ok(self.jobs.keys().cloned().collect())
    }

    fn tasks_max(&self) -> Option<usize> {
        self.source.as_ref().and_then(|source| source.tasks_max())
    }

    fn build(&self, context: &SpoutContext) -> Result<Box<dyn Spout>> {
        Ok(Box::new(Reader { config: self.clone(), component: context.component.clone() }))
    }
}

struct Reader {
    config: DeadLetters,
    component: String,
}

/// Letters of one split, and the position after them.
struct Piece {
    split: usize,
    posts: Vec<Post>,
    position: Position,
}

#[async_trait(?Send)]
impl Spout for Reader {
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()> {
        out.stay_open();
        let mut sent = Vec::new();
        let mut jobs = Vec::new();
        for split in out.splits() {
            let place = LetterPlace::of(&split.cursor)?;
            sent.push(place.map_or(0, |place| place.sent));
            self.config.tally.set(&self.component, &split.id, place.map_or(0, |place| place.sent));
            let job = self.config.jobs[&split.id].clone();
            let from = place.map(|place| place.position).or(job.after);
            jobs.push((job, from));
        }
        let wanted: Vec<_> = jobs.iter().map(|(job, _)| job.wanted.clone()).collect();
        let (sender, mut pieces) = mpsc::channel(PIECES_AHEAD);
        // The thread ends with its work, or as soon as the receiver is dropped.
        let reader = thread::Builder::new()
            .name("dead letters".into())
            .spawn(move || read_jobs(&jobs, |piece| sender.blocking_send(piece).is_ok()))
            .map_err(|cause| {
                Error::transient("can't start a thread that reads dead letters").because(cause)
            })?;
        while let Some(Piece { split, posts, position }) = pieces.recv().await {
            let mut behind = position.posts - posts.len() as u64;
            for posts in posts.chunks(EMIT_LETTERS_MAX) {
                for post in posts {
                    sent[split] += u64::from(self.push(&wanted[split], post, out)?);
                }
                behind += posts.len() as u64;
                let place = LetterPlace {
                    position: Position { posts: behind, ..position },
                    sent: sent[split],
                };
                self.config.tally.set(&self.component, &out.splits()[split].id, place.sent);
                out.emit(split, Cursor::At(place.to_string())).await?;
            }
        }
        reader
            .join()
            .unwrap_or_else(|_| Err(Error::fatal("the thread that reads dead letters panicked")))
    }
}

impl Reader {
    /// Sends one letter, if it is wanted. Returns true if it was.
    fn push(&self, wanted: &Wanted, post: &Post, out: &mut SpoutOutput) -> Result<bool> {
        let Some(letter) = Letter::read(post).filter(|letter| wanted.is(letter)) else {
            return Ok(false);
        };
        if wanted.objection(&letter).is_some() {
            return Ok(false);
        }
        match (letter.refused, &wanted.way) {
            (Refused::Tuple { values, .. }, Way::Input { stream, .. }) => {
                let missing = || Error::fatal(format!("the stream \"{stream}\" doesn't exist"));
                out.push_to(self.config.streams.id(stream).ok_or_else(missing)?, values);
            }
            (Refused::Raw { bytes, .. }, Way::Raw) => {
                let Some(read) =
                    self.config.source.as_ref().and_then(|source| source.reread(&bytes))
                else {
                    return Ok(false);
                };
                match read {
                    Ok(values) => out.push(values),
                    Err(what) => out.push_dead_letter(&DeadLetter {
                        raw: bytes,
                        error: again(&what, &letter.error),
                        cut: false,
                    }),
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Returns the reason for a letter that was refused again: the new reason, followed by the first
/// one, which names the place.
fn again(what: &str, before: &str) -> String {
    let first = before.rsplit_once(BEFORE).map_or(before, |(_, first)| first);
    format!("{what}{BEFORE}{first}")
}

/// Reads splits one after the other, until `take` returns false.
fn read_jobs(jobs: &[(Job, Option<Position>)], mut take: impl FnMut(Piece) -> bool) -> Result<()> {
    for (split, (job, from)) in jobs.iter().enumerate() {
        let mut taken = true;
        read(&job.place, &job.partition, *from, |posts, position| {
            if position.file > job.last {
                return false;
            }
            taken = take(Piece { split, posts, position });
            taken
        })?;
        if !taken {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_and_nothing_else_is_one() {
        let text = "0000003:17:5";
        let place = LetterPlace::of(&Cursor::At(text.into())).unwrap().unwrap();
        assert_eq!((place.position.posts, place.sent, place.to_string().as_str()), (17, 5, text));
        assert_eq!(LetterPlace::of(&Cursor::Start).unwrap(), None);
        for bad in ["0000003:17", "3:17:5", "0000003:17:5:1", ""] {
            assert!(
                LetterPlace::of(&Cursor::At(bad.into()))
                    .unwrap_err()
                    .chain()
                    .contains("bad cursor"),
                "{bad}"
            );
        }
        assert!(LetterPlace::of(&Cursor::End).is_err());
    }

    #[test]
    fn only_files_that_were_there_before_are_read_from_the_cursor_on() {
        let folder = tempfile::tempdir().unwrap();
        for file in 0..3 {
            let content = format!("[{{\"a\":{file}}},{{\"b\":{file}}}]");
            std::fs::create_dir_all(folder.path().join("p")).unwrap();
            std::fs::write(folder.path().join(format!("p/{file:07}")), content).unwrap();
        }
        let place = Place::Folder(folder.path().into());
        let wanted = Wanted { component: "in".into(), way: Way::Raw };
        let job = Job {
            place,
            partition: "p".into(),
            after: None,
            last: FileNumber::FIRST.next().unwrap(),
            wanted,
        };
        let from = Position { file: FileNumber::FIRST, posts: 1 };
        let mut read = Vec::new();
        read_jobs(&[(job.clone(), Some(from)), (job, None)], |piece| {
            let posts = piece.posts.iter().map(|post| String::from_utf8_lossy(post).into_owned());
            read.push(format!("{} {}", piece.split, posts.collect::<String>()));
            true
        })
        .unwrap();
        let all =
            ["0 {\"b\":0}", "0 {\"a\":1}{\"b\":1}", "1 {\"a\":0}{\"b\":0}", "1 {\"a\":1}{\"b\":1}"];
        assert_eq!(read, all);
    }

    #[test]
    fn the_reason_names_the_place_however_often_a_letter_is_refused() {
        let twice = again("no object", &again("no object", "in:3: no key"));
        assert_eq!(twice, "no object; refused before: in:3: no key");
    }

    #[test]
    fn what_is_read_again_counts_once() {
        let tally = Tally::default();
        [4, 9, 6, 11].into_iter().for_each(|sent| tally.set("a", "x", sent));
        tally.set("a", "y", 0);
        tally.set("a", "y", 2);
        assert_eq!(tally.sent(), 9);
    }
}
