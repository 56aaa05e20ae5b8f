//! One task of a warehouse's sink.

use std::sync::Arc;

use super::super::outbox::Outbox;
use super::super::{Delivered, Sink};
use super::delivery::{Delivery, SegmentLoader};
use super::gathering::Gathering;
use crate::epoch::{Barrier, Job, Prepared, Promise};
use crate::error::Result;
use crate::tuple::Tuple;

/// One task: tuples into its outbox, and segments from there into the database.
pub(crate) struct WarehouseSink<L: SegmentLoader> {
    /// The rows that aren't loaded yet.
    pub outbox: Outbox,
    /// Decides when a load begins.
    pub gathering: Arc<Gathering>,
    /// The connection to the database.
    pub delivery: Arc<Delivery<L>>,
}

impl<L: SegmentLoader> Sink for WarehouseSink<L> {
    fn write(&mut self, tuple: Tuple<'_>) -> Result<()> {
        self.delivery.check(tuple)?;
        self.outbox.write(tuple)
    }

    fn dropped(&self) -> u64 {
        self.outbox.dropped()
    }

    fn prepare(&mut self, barrier: &Barrier) -> Result<Job<Prepared>> {
        if barrier.last {
            self.gathering.end();
        }
        self.outbox.prepare(barrier)
    }

    fn commit(&mut self, promises: Vec<Promise>) -> Job<Delivered> {
        let reader = Arc::new(self.outbox.reader(&promises));
        let (delivery, gathering) = (Arc::clone(&self.delivery), Arc::clone(&self.gathering));
        let mut delivered = Delivered::default();
        let mut is_due = false;
        Box::new(move || {
            // A load that has begun is completed, even if it must be repeated many times. Data that
            // was delivered before an error isn't requested again.
            is_due = is_due || gathering.is_due(&promises);
            while is_due && delivered.segments.len() < promises.len() {
                let rest = &promises[delivered.segments.len()..];
                let some = gathering.gathered(rest);
                delivery.deliver(&reader, some, gathering.has_ended(), &mut delivered)?;
            }
            Ok(std::mem::take(&mut delivered))
        })
    }

    fn forgotten(&mut self, segments: Vec<String>) -> Job<()> {
        let mut delete = self.outbox.forgotten(segments.clone());
        let delivery = Arc::clone(&self.delivery);
        Box::new(move || {
            delivery.forget(&segments)?;
            delete()
        })
    }
}

impl<L: SegmentLoader> Drop for WarehouseSink<L> {
    fn drop(&mut self) {
        // A server that doesn't answer must not delay the return to a checkpoint.
        self.delivery.stop();
    }
}
