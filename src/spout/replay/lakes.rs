//! Lakes as a source: the implementation of `LocalReplay` and `S3Replay`, which also replaces any
//! other source when a topology is replayed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::strays::{Counted, Place, Reached, Strays};
use crate::epoch::Cursor;
use crate::error::{Error, Result};
use crate::event_time::EventTimeOrder;
use crate::lake::lineage::Progress;
use crate::lake::replay::disorder::Counts;
use crate::lake::replay::merge::Handed;
use crate::lake::replay::{Choice, Event, Pace, Position, Replay, Speed, Split, Tempo, text_bytes};
use crate::post::Post;
use crate::progress;
use crate::spout::{Route, Spout, SpoutConfig, SpoutContext, SpoutOutput};
use crate::tuple::{Fields, StreamId, Streams};
use crate::value::Value;

/// Partitions of one lake, and the settings of their replay.
#[derive(Clone)]
pub struct Lake {
    /// The selections of partitions: a partition is replayed if any of these matches it.
    pub choices: Vec<Choice>,
    /// The settings of the replay.
    pub replay: Replay,
    /// True if posts that no spout takes are counted here. False if another spout reads the same
    /// posts and counts them.
    pub counts: bool,
}

/// The configuration of lakes as a source.
#[derive(Clone)]
pub struct LakeReplay {
    /// The lakes, which are read one after the other. A source without lakes ends at once.
    pub lakes: Vec<Lake>,
    /// The kinds of posts to take; `None` for all kinds.
    pub kinds: Option<Vec<String>>,
    /// The streams that it declares.
    pub streams: Streams,
    /// The router of posts to these streams and to topics; by default all posts go to the first
    /// stream.
    pub router: Option<Arc<dyn Route>>,
    /// Counts the posts that no spout takes.
    pub strays: Option<Strays>,
}

impl LakeReplay {
    /// Creates a source of posts of all kinds, on the stream of a source of posts.
    pub fn of(choice: Choice, replay: Replay) -> Self {
        let lakes = vec![Lake { choices: vec![choice], replay, counts: false }];
        let streams = Streams::default_with(Fields::of_posts());
        Self { lakes, kinds: None, streams, router: None, strays: None }
    }

    /// Returns the bytes of text that it reads from the start to the end, for a progress bar.
    ///
    /// # Errors
    /// If a lake can't be listed.
    pub fn text_bytes(&self) -> Result<u64> {
        let mut bytes = 0_u64;
        for lake in &self.lakes {
            let mut names = BTreeSet::new();
            for choice in &lake.choices {
                names.extend(lake.replay.place.splits(choice, &Progress::new())?);
            }
            let names: Vec<String> = names.into_iter().collect();
            bytes = bytes.saturating_add(text_bytes(&lake.replay.place, &names)?);
        }
        Ok(bytes)
    }

    /// Returns the prefix of the names of a lake's splits: its number, if there are several lakes.
    fn prefix(&self, lake: usize) -> String {
        if self.lakes.len() > 1 { format!("{lake}/") } else { String::new() }
    }

    /// Returns the splits of a task by lake, with their positions among the task's splits.
    fn jobs(&self, splits: &[crate::epoch::Split]) -> Result<Vec<Job>> {
        let job = |(number, lake): (usize, &Lake)| {
            let prefix = self.prefix(number);
            let of_lake = splits.iter().enumerate().filter_map(|(position, split)| {
                Some((position, split.id.strip_prefix(&prefix)?.to_owned(), &split.cursor))
            });
            let (mut positions, mut wanted) = (Vec::new(), Vec::new());
            for (position, partition, cursor) in of_lake {
                let Place { mark, ended, .. } = Place::of(cursor)?;
                positions.push(position);
                wanted.push(Split { partition, mark, ended });
            }
            Ok(Job { replay: lake.replay.clone(), positions, splits: wanted, counts: lake.counts })
        };
        self.lakes.iter().enumerate().map(job).collect()
    }
}

/// Returns the maximum number of tasks. A timetable needs a single task: several tasks would each
/// begin with a post of another hour.
pub(super) fn tasks_max(speed: Speed) -> Option<usize> {
    (speed != Speed::Max).then_some(1)
}

impl SpoutConfig for LakeReplay {
    fn streams(&self) -> Streams {
        self.streams.clone()
    }

    fn splits(&self) -> Result<Vec<String>> {
        self.splits_after(&BTreeMap::new())
    }

    fn splits_after(&self, cursors: &BTreeMap<String, Cursor>) -> Result<Vec<String>> {
        let mut splits = Vec::new();
        for (number, lake) in self.lakes.iter().enumerate() {
            let prefix = self.prefix(number);
            let mut progress = Progress::new();
            for (split, cursor) in cursors {
                if let Some(id) = split.strip_prefix(&prefix)
                    && *cursor != Cursor::Start
                {
                    // A partition that was read to its end may have been pruned.
                    progress.insert(id.to_owned(), Place::of(cursor)?.at_end);
                }
            }
            let mut names = BTreeSet::new();
            for choice in &lake.choices {
                names.extend(lake.replay.place.splits(choice, &progress)?);
            }
            splits.extend(names.into_iter().map(|name| format!("{prefix}{name}")));
        }
        Ok(splits)
    }

    fn event_time(&self) -> Option<EventTimeOrder> {
        // Lakes are read one after the other, and may cover the same time.
        let in_sequence = self.lakes.len() <= 1;
        Some(EventTimeOrder { in_sequence, ..EventTimeOrder::replay() })
    }

    fn tasks_max(&self) -> Option<usize> {
        self.lakes.iter().find_map(|lake| tasks_max(lake.replay.tempo.speed))
    }

    fn kinds(&self) -> Option<Vec<String>> {
        self.kinds.clone()
    }

    fn router(&self) -> Option<Arc<dyn Route>> {
        self.router.clone()
    }

    fn build(&self, context: &SpoutContext) -> Result<Box<dyn Spout>> {
        Ok(Box::new(ReplaySpout { config: self.clone(), component: context.component.clone() }))
    }
}

/// The splits of one lake.
struct Job {
    replay: Replay,
    /// The position of each of them among the task's splits.
    positions: Vec<usize>,
    splits: Vec<Split>,
    counts: bool,
}

impl Job {
    /// Passes all events to `take`, until that returns false. Returns false in that case.
    fn run(&self, take: &mut dyn FnMut(Event) -> bool) -> Result<bool> {
        let mut going_on = true;
        self.replay.run(&self.splits, &mut |event| {
            let event = match event {
                Event::Handed(mut handed, anew) => {
                    handed.marks.iter_mut().for_each(|(split, _)| *split = self.positions[*split]);
                    handed.ends.iter_mut().for_each(|(split, _)| *split = self.positions[*split]);
                    Event::Handed(handed, anew)
                }
                other => other,
            };
            going_on = take(event);
            going_on
        })?;
        Ok(going_on)
    }
}

/// The number of pieces of some hundred kilobytes each that are read ahead. More would only use
/// memory: a piece is read faster than it is processed.
const PIECES_AHEAD: usize = 4;

struct ReplaySpout {
    config: LakeReplay,
    component: String,
}

#[async_trait(?Send)]
impl Spout for ReplaySpout {
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()> {
        // A partition that was read to its end may have more files at the next start.
        out.stay_open();
        let (sender, mut events) = mpsc::channel(PIECES_AHEAD);
        let jobs = self.config.jobs(out.splits())?;
        let tempo = jobs.first().map_or(Tempo::default(), |job| job.replay.tempo);
        let mut counted = self.counted(out)?;
        // The thread ends with its work, or as soon as the receiver is dropped.
        let read = move || {
            for job in jobs {
                if !job.run(&mut |event| sender.blocking_send((event, job.counts)).is_ok())? {
                    break;
                }
            }
            Ok(())
        };
        let reader = thread::Builder::new().name("replay".into()).spawn(read).map_err(|cause| {
            Error::transient("can't start a thread that reads the lake").because(cause)
        })?;
        let topics: Value = Value::List([].into());
        let (mut pace, mut damaged) = (Pace::new(tempo), 0_u64);
        let mut tally = Counts::default();
        while let Some((event, counts)) = events.recv().await {
            match event {
                Event::Handed(handed, anew) => {
                    tally.add(&handed);
                    out.set_out_of_order(tally.out_of_order);
                    let pause = pace.wait(handed.time, anew, out.clock().monotonic());
                    if pause.is_noticed() {
                        out.say(&pause.to_string());
                    }
                    if !pause.wait.is_zero() {
                        out.clock().sleep(pause.wait).await;
                    }
                    self.emit((handed, counts), &topics, counted.as_mut(), out).await?;
                }
                Event::Damaged(what) => {
                    damaged += 1;
                    out.say(&what);
                }
            }
        }
        if damaged > 1 {
            out.say(&format!("{damaged} files are damaged"));
        }
        tally.notes().iter().for_each(|note| out.say(note));
        reader
            .join()
            .unwrap_or_else(|_| Err(Error::fatal("the thread that reads the lake panicked")))
    }
}

impl ReplaySpout {
    /// Returns the earlier counts, if this spout counts.
    fn counted(&self, out: &mut SpoutOutput) -> Result<Option<Counted>> {
        let Some(strays) = &self.config.strays else { return Ok(None) };
        strays.begin(&self.component, out.splits()).map(Some)
    }

    async fn emit(
        &self,
        (handed, counts): (Handed, bool),
        topics: &Value,
        mut counted: Option<&mut Counted>,
        out: &mut SpoutOutput,
    ) -> Result<()> {
        let LakeReplay { kinds, router, .. } = &self.config;
        progress::advance(handed.posts.iter().map(|post| post.len() as u64).sum());
        for post in handed.posts {
            if kinds.as_ref().is_none_or(|kinds| kinds.iter().any(|kind| kind == post.kind())) {
                push(post, router.as_deref(), topics, out);
            } else if let Some(counted) = counted.as_mut().filter(|_| counts) {
                counted.passed_over(post.kind());
            }
        }
        let Some((last, _)) = handed.marks.last().copied() else { return Ok(()) };
        if let Some(counted) = &mut counted {
            counted.book(last);
        }
        let mut cursors = Vec::new();
        for (split, mark) in handed.marks {
            let reached = match mark {
                Some(mark) => Reached::Mark(mark),
                None => {
                    let read_now =
                        handed.ends.iter().find(|(of, _)| *of == split).map(|(_, read)| *read);
                    end_of(&out.splits()[split].cursor, read_now)?
                }
            };
            cursors.push((
                split,
                counted.as_ref().map_or_else(|| reached.cursor(), |by| by.cursor(split, reached)),
            ));
        }
        let Some((split, last)) = cursors.pop() else { return Ok(()) };
        cursors.into_iter().for_each(|(split, cursor)| out.advance(split, cursor));
        out.emit(split, last).await
    }
}

/// Returns the end of a split whose task began at a cursor and has read up to a position since
/// then.
fn end_of(began: &Cursor, read_now: Option<Position>) -> Result<Reached> {
    match (read_now, Place::of(began)?.mark) {
        (Some(read), before) => {
            Ok(Reached::end(Some(before.map_or(read, |before| read.max(before.read)))))
        }
        // No post was added: a cursor after the last file stays where it is.
        (None, Some(before)) if before.read.posts == 0 => Ok(Reached::End(before.read)),
        (None, before) => Ok(Reached::end(before.map(|before| before.read))),
    }
}

fn push(post: Post, router: Option<&dyn Route>, topics: &Value, out: &mut SpoutOutput) {
    let (stream, topics) = match router {
        Some(router) => router.route(&post),
        None => (StreamId::DEFAULT, topics.clone()),
    };
    let kind = Value::from(post.kind());
    out.push_to(stream, [Value::Post(post), kind, topics]);
}
