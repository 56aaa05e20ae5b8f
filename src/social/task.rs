//! The spout's task: it reads the spool that the capture writes, and hands each post to its stream.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::PoisonError;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::{Either, select};
use uuid::Uuid;

use crate::engine::DeadLetter;
use crate::error::{Error, Result};
use crate::post::Post;
use crate::post::fields::{pick, string};
use crate::spool::Batch;
use crate::spout::{Cursor, Route, Spout, SpoutContext, SpoutOutput};
use crate::value::Value;

use super::capture::{Place, Use};
use super::feed::posts;
use super::platform::Platform;
use super::route::Router;
use super::topics::Topics;

/// The kind that stands in the spool for what is no post. No platform has it, since it isn't emitted as one.
const REFUSED: &str = "_refused";

/// What is no post, on its way to the dead letters.
pub(super) fn refused(raw: &[u8], why: &str) -> Post {
    let body = serde_json::json!({ "raw": STANDARD.encode(raw), "why": why }).to_string();
    Post::wrap(REFUSED, body.as_bytes()).expect("an object of two texts is one")
}

fn dead_letter(post: &Post) -> Option<DeadLetter> {
    let [raw, why] = pick(post.body(), ["raw", "why"]);
    let raw = STANDARD.decode(raw.and_then(string)?.as_bytes()).ok()?;
    Some(DeadLetter { raw: Bytes::from(raw), error: why.and_then(string)?.into_owned(), cut: false })
}

/// The task of a social source.
pub(super) struct CaptureSpout<P> {
    platform: P,
    component: String,
    state: Option<PathBuf>,
}

impl<P: Platform> CaptureSpout<P> {
    pub fn new(platform: P, context: &SpoutContext) -> Self {
        Self { platform, component: context.component.clone(), state: context.state.clone() }
    }

    /// Joins the capture, behind the newest checkpoint.
    fn open(&self, out: &SpoutOutput) -> Result<Use> {
        // Under `checkpoint: Off` nothing is resumed, but a burst still needs a disk to wait on.
        let spool = match &self.state {
            Some(state) => state.join("spool").join(&self.component),
            None => std::env::temp_dir().join(format!("waterspout-{}", Uuid::new_v4())),
        };
        let position = position(&out.splits()[0].cursor)?;
        let place = Place { component: &self.component, state: self.state.as_deref(), spool: &spool, position };
        Use::open(&self.platform, &place, out.clock().clone())
    }
}

fn position(cursor: &Cursor) -> Result<u64> {
    match cursor {
        Cursor::Start => Some(0),
        Cursor::At(position) => position.parse().ok(),
        Cursor::End => None,
    }
    .ok_or_else(|| Error::fatal(format!("the checkpoint's cursor {cursor:?} is no position of a spool")))
}

#[async_trait(?Send)]
impl<P: Platform> Spout for CaptureSpout<P> {
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()> {
        out.stay_open();
        let mut capture = self.open(out)?;
        let router = Router { topics: Topics::new(&self.platform.common().topics) };
        let (mut completed, mut state) = (out.completed(), capture.capture.says.state.subscribe());
        state.mark_changed();
        loop {
            let news = {
                let (batch, covered, said) = (capture.reader.next_batch(), completed.changed(), state.changed());
                let (batch, covered, said) = (pin!(batch), pin!(covered), pin!(said));
                match select(batch, select(covered, said)).await {
                    Either::Left((batch, _)) => Some(batch?),
                    Either::Right(_) => None,
                }
            };
            match news {
                Some(Some(batch)) => emit(batch, &router, out).await?,
                // The source has stopped, and everything before that was given.
                Some(None) => return capture.failure().map_or(Ok(()), Err),
                None => {
                    let covered = completed.borrow_and_update()[0].clone();
                    capture.capture.spool.trim(position(&covered)?)?;
                    tell(&capture, &state.borrow_and_update().clone(), out);
                }
            }
        }
    }
}

/// Shows what the capture says.
fn tell(capture: &Use, state: &str, out: &mut SpoutOutput) {
    let says = &capture.capture.says;
    let messages = std::mem::take(&mut *says.messages.lock().unwrap_or_else(PoisonError::into_inner));
    messages.iter().for_each(|message| out.say(message));
    match capture.capture.spool.dropped() {
        0 => out.set_state(state),
        dropped => out.set_state(&format!("{dropped} records dropped: the spool is full")),
    }
}

/// Hands over what came from the spool, a record at a time.
async fn emit(batch: Batch, router: &Router, out: &mut SpoutOutput) -> Result<()> {
    for record in batch.records {
        // A record that begins otherwise says where the source stands, and has no posts.
        if record.cursor.first() == Some(&b'+') {
            posts(&record.post).for_each(|post| push(post, router, out));
        }
        out.emit(0, Cursor::At(record.position.to_string())).await?;
    }
    Ok(())
}

fn push(post: Post, router: &Router, out: &mut SpoutOutput) {
    if post.kind() == REFUSED
        && let Some(letter) = dead_letter(&post)
    {
        return out.push_dead_letter(&letter);
    }
    let (stream, topics) = router.route(&post);
    let kind = post.kind().into();
    out.push_to(stream, [Value::Post(post), Value::Text(kind), topics]);
}
