//! The running topology as any watcher shows it: rates, the bottleneck, what begins and ends, and
//! the process's memory.

pub mod bottleneck;
#[cfg(test)]
pub(crate) mod made_up;
pub mod memory;
pub mod notices;
pub mod report;
