//! The view of a running topology that all watchers share: rates, the bottleneck, notices, and the
//! memory of the process.

pub mod bottleneck;
#[cfg(test)]
pub(crate) mod made_up;
pub mod memory;
pub mod notices;
pub mod report;
