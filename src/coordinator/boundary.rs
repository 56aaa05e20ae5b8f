//! The boundary of the open partition, where a clock is ahead or steps back.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::lake::names::boundary;

/// The boundary of the partition that is open at `wall`, where `last` was open before. A clock that
/// steps back a little makes no older partition. One that was ahead by more than a period, and is
/// right again, doesn't keep the posts of years in a partition of the future: then the clock of now
/// counts.
pub(super) fn next_boundary(
    last: Option<OffsetDateTime>,
    wall: OffsetDateTime,
    period: Duration,
) -> OffsetDateTime {
    let now = boundary(wall, period);
    last.filter(|last| !is_ahead(*last, wall, period))
        .map_or(now, |last| boundary(last.max(wall), period))
}

/// What a person should know where an open partition lies that far ahead of the clock.
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
        "the open partition is of {boundary}, which is in the future: this machine's clock was ahead, or is behind \
         now (it says {wall}). From here on partitions are named by the clock as it is; what is in that partition \
         stays there. If the clock is wrong now: stop, set it, and start again"
    ))
}

/// Whether a partition's boundary lies further ahead of the clock than a clock's small steps
/// explain.
fn is_ahead(open: OffsetDateTime, wall: OffsetDateTime, period: Duration) -> bool {
    open - boundary(wall, period) > period
}
