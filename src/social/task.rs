//! The spout's task: it reads the spool that the capture writes, and emits each post on its stream.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use futures_util::future::{Either, select};
use time::OffsetDateTime;

use crate::component::Problem;
use crate::epoch::Cursor;
use crate::error::{Error, Result};
use crate::event_time::EventTimeOrder;
use crate::post::Post;
use crate::secret::Redactor;
use crate::spool::Batch;
use crate::spout::{Route, Spout, SpoutConfig, SpoutContext, SpoutOutput};
use crate::tuple::Streams;
use crate::units::ByteSize;
use crate::value::Value;

use super::capture::{Place, Use};
use super::feed::for_people;
use super::platform::Platform;
use super::refused::{REFUSED, dead_letter};
use super::route::{Router, streams};
use super::runtime::block_on;
use super::tail::posts;
use super::topics::Topics;

impl<P: Platform> SpoutConfig for P {
    fn streams(&self) -> Streams {
        streams()
    }

    fn splits(&self) -> Result<Vec<String>> {
        Ok(vec![P::KIND.into()])
    }

    fn tasks_max(&self) -> Option<usize> {
        Some(1)
    }

    fn event_time(&self) -> Option<EventTimeOrder> {
        Some(EventTimeOrder::live())
    }

    fn ends_for_good(&self) -> bool {
        false
    }

    fn kinds(&self) -> Option<Vec<String>> {
        Some(vec![P::KIND.into()])
    }

    fn router(&self) -> Option<Arc<dyn Route>> {
        Some(Arc::new(Router { topics: Topics::new(&self.common().topics) }))
    }

    fn check(&self) -> Result<(), Vec<Problem>> {
        let mut problems = self.problems();
        let spool = self.common().spool;
        if spool.bytes_max < SPOOL_BYTES_MIN {
            let what = format!(
                "expected bytes_max of at least {SPOOL_BYTES_MIN}, found {}",
                spool.bytes_max
            );
            problems.push(Problem { field: "spool", what, candidates: None });
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn check_online(&self) -> Result<Option<String>> {
        let secrets = Redactor::new(&self.secrets());
        let found = block_on(Platform::check_online(self))?;
        let found = found.map_err(|error| error.with_text(|text| for_people(text, &secrets)))?;
        Ok(Some(for_people(&found, &secrets)))
    }

    fn build(&self, context: &SpoutContext) -> Result<Box<dyn Spout>> {
        Ok(Box::new(CaptureSpout::new(self.clone(), context)))
    }
}

/// The smallest spool into which posts of all platforms fit: a record takes at most an eighth of
/// it.
const SPOOL_BYTES_MIN: ByteSize = ByteSize(1 << 20);

/// The task of a social source.
pub(super) struct CaptureSpout<P> {
    platform: P,
    component: String,
    state: Option<PathBuf>,
    saved_at: Option<OffsetDateTime>,
}

impl<P: Platform> CaptureSpout<P> {
    pub(crate) fn new(platform: P, context: &SpoutContext) -> Self {
        Self {
            platform,
            component: context.component.clone(),
            state: context.state.clone(),
            saved_at: context.saved_at,
        }
    }

    /// Joins the capture, behind the newest checkpoint.
    async fn open(&self, out: &SpoutOutput) -> Result<Use> {
        // Under `checkpoint: Off` nothing is resumed, but a burst still needs a disk to wait on.
        let spool = match &self.state {
            Some(state) => state.join("spool").join(&self.component),
            None => super::temporary::make()?,
        };
        let position = position(&out.splits()[0].cursor)?;
        let place = Place {
            component: &self.component,
            state: self.state.as_deref(),
            spool: &spool,
            position,
            saved_at: self.saved_at,
        };
        Use::open(&self.platform, &place, out.clock().clone()).await
    }
}

fn position(cursor: &Cursor) -> Result<u64> {
    match cursor {
        Cursor::Start => Some(0),
        Cursor::At(position) => position.parse().ok(),
        Cursor::End => None,
    }
    .ok_or_else(|| {
        Error::fatal(format!("the checkpoint's cursor {cursor:?} isn't a position of a spool"))
    })
}

#[async_trait(?Send)]
impl<P: Platform> Spout for CaptureSpout<P> {
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()> {
        out.stay_open();
        let mut capture = self.open(out).await?;
        let spool = capture.capture.spool.clone();
        // A power loss after a checkpoint must not lose spool records that the checkpoint covers:
        // the source would forget the ids of their posts, go on from the spool's end, and bring
        // these posts a second time.
        out.secure_by(move || spool.sync());
        let router = Router { topics: Topics::new(&self.platform.common().topics) };
        let (mut completed, mut state) = (out.completed(), capture.capture.says.state.subscribe());
        state.mark_changed();
        loop {
            // Posts that come without a pause must not delay messages.
            if state.has_changed().unwrap_or_default() {
                tell(&capture, &state.borrow_and_update().clone(), out);
            }
            let news = {
                let (batch, covered, said) =
                    (capture.reader.next_batch(), completed.changed(), state.changed());
                let (batch, covered, said) = (pin!(batch), pin!(covered), pin!(said));
                match select(batch, select(covered, said)).await {
                    Either::Left((batch, _)) => Some(batch?),
                    Either::Right(_) => None,
                }
            };
            match news {
                Some(Some(batch)) => emit(batch, &router, out).await?,
                // The source has stopped, and all earlier posts were emitted.
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

/// Shows the reports of the capture.
fn tell(capture: &Use, state: &str, out: &mut SpoutOutput) {
    let says = &capture.capture.says;
    let messages =
        std::mem::take(&mut *says.messages.lock().unwrap_or_else(PoisonError::into_inner));
    messages.iter().for_each(|message| out.say(message));
    let (causes, failures, has_worked) = {
        let mut troubles = says.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        (troubles.causes.clone(), troubles.take_failures(), troubles.has_worked)
    };
    out.set_troubles(causes, failures, has_worked);
    match capture.capture.spool.dropped() {
        0 => out.set_state(state),
        dropped => out.set_state(&format!("{dropped} records dropped: the spool is full")),
    }
}

/// Emits the records that came from the spool, one at a time.
async fn emit(batch: Batch, router: &Router, out: &mut SpoutOutput) -> Result<()> {
    for record in batch.records {
        // A record with another first byte has the source's cursors, and no posts.
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
