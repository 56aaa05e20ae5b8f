//! Implements the commands of `waterspout lake`, for any store. No function here prints.

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

/// The time after the next partition's boundary from which a partition counts as closed: no writer
/// writes into it any more, and no crashed writer comes back to recover its files.
pub const GRACE: Duration = Duration::HOUR;

/// Returns the closed partitions: those whose successor began at least [`GRACE`] ago, or those that
/// begin before a time that the user gives.
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
