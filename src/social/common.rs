//! What the configurations of all platforms have.

use crate::spool;
use crate::units::Interval;

use super::budget::Budget;
use super::topics::Topic;

/// What the configurations of all platforms have.
#[derive(Clone, Debug)]
pub struct Common {
    /// What is wanted; everything if there are none.
    pub topics: Vec<Topic>,
    /// The log that posts go through.
    pub spool: spool::Options,
    /// How many posts may be read.
    pub budget: Option<Budget>,
    /// How long after a post was received its counts are read again.
    pub refresh: Vec<Interval>,
}
