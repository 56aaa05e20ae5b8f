//! Computes the boundary of the open partition when a clock is ahead or steps back.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::lake::names::boundary;

/// Returns the boundary of the partition that is open at `wall`; `last` is the boundary of the one
/// that was open before. If the clock steps back a little, the partition stays open. If the clock
/// was ahead by more than a period and is right again, a new partition begins at the present time.
/// Otherwise posts would go into a partition of the future for as long as the clock was ahead.
pub(super) fn next_boundary(
    last: Option<OffsetDateTime>,
    wall: OffsetDateTime,
    period: Duration,
) -> OffsetDateTime {
    let now = boundary(wall, period);
    last.filter(|last| !is_ahead(*last, wall, period))
        .map_or(now, |last| boundary(last.max(wall), period))
}

/// Returns a message if the open partition is more than a period ahead of the clock.
pub fn says_ahead(
    boundary: OffsetDateTime,
    wall: OffsetDateTime,
    period: Duration,
) -> Option<String> {
    if !is_ahead(boundary, wall, period) {
        return None;
    }
    let whole_seconds = wall.replace_nanosecond(0).unwrap_or(wall);
    let [boundary, wall] =
        [boundary, whole_seconds].map(|time| time.format(&Rfc3339).unwrap_or_default());
    Some(format!(
        "the open partition is of {boundary}, which is in the future: this machine's clock was \
         ahead, or is behind now (it says {wall}). New partitions are named by the clock as it is \
         now, and posts in the open partition stay there. If the clock is wrong now: stop, set it, \
         and start again"
    ))
}

/// Returns true if a partition's boundary is further ahead of the clock than a small step of the
/// clock explains.
fn is_ahead(open: OffsetDateTime, wall: OffsetDateTime, period: Duration) -> bool {
    open - boundary(wall, period) > period
}
