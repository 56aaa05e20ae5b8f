//! Tuples of a spout's child that go through a spool, from which the topology reads them at its own
//! pace.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{Either, select};

use super::broken;
use super::spout::{ShellSpout, Taker, number_of, serve};
use super::spout_child::{Emitted, SpoutChild};
use crate::clock::SharedClock;
use crate::epoch::Cursor;
use crate::error::{Error, Kind, NO_ROOM_RETRY, Result};
use crate::spool::{self, Appended, Spool};
use crate::spout::{SpoutConfig, SpoutOutput};
use crate::tuple::{StreamId, Streams};
use crate::value::{decode, encode};

/// The place of a component's spools.
pub(super) struct Place<'a> {
    pub folder: PathBuf,
    pub component: &'a str,
    pub options: spool::Options,
}

impl Place<'_> {
    fn of_split(&self, split: &str) -> PathBuf {
        self.folder.join(format!("{}-{split}", self.component))
    }
}

/// Writes the child's tuples to the spool, and emits them from there.
pub(super) async fn run(
    child: &mut SpoutChild,
    config: &ShellSpout,
    place: Place<'_>,
    out: &mut SpoutOutput,
) -> Result<()> {
    let streams = SpoutConfig::streams(config);
    let splits = out.splits().to_vec();
    // Spools of former tasks are read to their ends first.
    for (number, split) in splits.iter().enumerate().skip(1) {
        let folder = place.of_split(&split.id);
        if !folder.is_dir() {
            continue;
        }
        let (spool, _) = Spool::open(&folder, number_of(&split.cursor)?, place.options)?;
        let mut reader = spool.reader(number_of(&split.cursor)?);
        spool.finish();
        while let Some(batch) = reader.next_batch().await? {
            emit(batch, number, &streams, out).await?;
        }
    }
    let folder = place.of_split(&splits[0].id);
    let position = number_of(&splits[0].cursor)?;
    let (spool, torn) = Spool::open(&folder, position, place.options)?;
    if let Some(torn) = torn {
        out.say(&torn.to_string());
    }
    let (secured, trimmed) = (spool.clone(), spool.clone());
    out.secure_by(move || secured.sync());
    let clock = out.clock().clone();
    let fills = serve(child, config, Filling { spool: spool.clone(), streams: &streams, clock });
    let drains = drain(&spool, position, &trimmed, &streams, out);
    let (fills, drains) = (std::pin::pin!(fills), std::pin::pin!(drains));
    match select(fills, drains).await {
        Either::Left((result, _)) | Either::Right((result, _)) => result,
    }
}

/// Emits the tuples of a spool, and trims the spool behind checkpoints.
async fn drain(
    spool: &Spool,
    position: u64,
    trimmed: &Spool,
    streams: &Streams,
    out: &mut SpoutOutput,
) -> Result<()> {
    let mut reader = spool.reader(position);
    let mut completed = out.completed();
    loop {
        let batch = {
            let next = std::pin::pin!(reader.next_batch());
            let covered = std::pin::pin!(completed.changed());
            match select(next, covered).await {
                Either::Left((batch, _)) => Some(batch?),
                Either::Right(_) => None,
            }
        };
        match batch {
            Some(Some(batch)) => emit(batch, 0, streams, out).await?,
            Some(None) => return Err(broken("the spool was closed")),
            None => {
                let covered = completed.borrow_and_update().first().cloned();
                if let Some(cursor) = covered {
                    trimmed.trim(number_of(&cursor)?)?;
                }
            }
        }
    }
}

async fn emit(
    batch: spool::Batch,
    split: usize,
    streams: &Streams,
    out: &mut SpoutOutput,
) -> Result<()> {
    let mut unknown = 0_u64;
    for record in batch.records {
        let stream = std::str::from_utf8(&record.cursor).ok().and_then(|name| streams.id(name));
        let values = decode(&record.post);
        match (stream, values) {
            (Some(stream), Some(values)) if fits(streams, stream, values.len()) => {
                out.push_to(stream, values);
            }
            _ => unknown += 1,
        }
        out.advance(split, Cursor::At(record.position.to_string()));
    }
    if unknown > 0 {
        out.say(&format!(
            "{unknown} tuples in the spool are of streams that the component no longer declares: \
             they are dropped"
        ));
    }
    out.emit(split, Cursor::At(batch.position.to_string())).await
}

fn fits(streams: &Streams, stream: StreamId, values: usize) -> bool {
    streams.fields(stream).len() == values
}

/// Writes a child's tuples to the spool.
struct Filling<'a> {
    spool: Spool,
    streams: &'a Streams,
    clock: SharedClock,
}

#[async_trait(?Send)]
impl Taker for Filling<'_> {
    async fn take(&mut self, child: &mut SpoutChild, emitted: Emitted) -> Result<()> {
        if emitted.task.is_some() {
            let flaw = "an emit to a single task, which can't go through a spool";
            return Err(child.link.garbage(flaw, None));
        }
        let name = self.streams.iter().nth(emitted.stream.0).map_or("", |(name, _)| name);
        let mut values = Vec::new();
        encode(&child.values, &mut values);
        loop {
            match self.spool.append_async(name.as_bytes(), &values).await {
                Ok(Appended::At(position)) => {
                    child.tracked.renumber(position, emitted.id);
                    break;
                }
                // A tuple that the spool's options drop is lost, as it is for a spout without ids.
                Ok(Appended::Dropped) => {
                    child.tracked.refuse(emitted.id);
                    break;
                }
                Ok(Appended::Closed) => return Err(broken("the spool was closed")),
                Err(error) if error.kind() == Kind::NoRoom => {
                    self.clock.sleep(NO_ROOM_RETRY).await;
                }
                Err(error) if error.kind() == Kind::Rejected => {
                    return Err(Error::fatal("a tuple doesn't fit").because(error.chain()));
                }
                Err(error) => return Err(error),
            }
        }
        if emitted.wants_tasks {
            // The tasks aren't known before the tuple leaves the spool.
            child.tell_tasks(&[]);
        }
        Ok(())
    }

    async fn flush(&mut self, _: &mut SpoutChild) -> Result<()> {
        Ok(())
    }

    fn settle(&mut self, child: &mut SpoutChild) -> Result<()> {
        child.tracked.complete(self.spool.synced());
        Ok(())
    }

    async fn news(&mut self, at_most: Duration) {
        self.clock.sleep(at_most).await;
    }

    fn clock(&self) -> SharedClock {
        self.clock.clone()
    }

    fn show(&mut self, _: &str) {}
}
