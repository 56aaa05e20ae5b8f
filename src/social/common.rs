//! The options that the configurations of all platforms have.

use crate::spool;
use crate::units::Interval;

use super::budget::Budget;
use super::topics::Topic;

/// The options that the configurations of all platforms have.
#[derive(Clone, Debug)]
pub struct Common {
    /// The topics that posts have to match; empty if every post is wanted.
    pub topics: Vec<Topic>,
    /// The log that posts go through.
    pub spool: spool::Options,
    /// The bound on the posts that may be read.
    pub budget: Option<Budget>,
    /// The times after a post was received at which its counts are read again.
    pub refresh: Vec<Interval>,
}
