//! What `waterspout lake` does, for any store. Nothing in here prints.

pub mod compact;
pub mod erase;
mod erase_copies;
mod erase_ids;
pub mod ls;
pub mod passes;
pub mod prune;
pub mod rewrite;
pub mod verify;

use time::{Duration, OffsetDateTime};

use super::names::PartitionName;

/// How long after the next partition's boundary nobody writes into a partition any more, and nobody
/// who crashed comes back to find what it wrote.
pub const GRACE: Duration = Duration::HOUR;

/// The partitions that no writer is at: those whose successor began at least [`GRACE`] ago, or
/// those that begin before a time which somebody names.
pub fn closed(
    partitions: &[String],
    before: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> Vec<String> {
    let boundary = |name: &String| name.parse::<PartitionName>().ok().map(|name| name.boundary);
    let newest = partitions
        .iter()
        .filter_map(boundary)
        .filter(|boundary| boundary.saturating_add(GRACE) <= now)
        .max();
    let before = before.or(newest);
    let is_closed = |name: &&String| {
        boundary(name).zip(before).is_some_and(|(boundary, before)| boundary < before)
    };
    partitions.iter().filter(is_closed).cloned().collect()
}

#[cfg(test)]
mod erase_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod race_tests;
#[cfg(test)]
mod tests;
