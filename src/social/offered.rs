//! The outcome of a post that a source offers, and the rules for the budget.

/// The outcome of a post that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// The post goes into the topology.
    Taken,
    /// The post was seen before.
    Seen,
    /// The post matches no topic.
    OffTopic,
}

/// A rule which posts count for the budget and the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cost {
    /// All posts that are received, since the platform bills them.
    Received,
    /// All posts but those that were captured before.
    NotSeen,
    /// Only posts that are captured.
    Taken,
}

impl Cost {
    /// Returns true if a post with this outcome counts.
    pub(super) fn is_paid(self, offered: Offered) -> bool {
        match self {
            Self::Received => true,
            Self::NotSeen => offered != Offered::Seen,
            Self::Taken => offered == Offered::Taken,
        }
    }
}
