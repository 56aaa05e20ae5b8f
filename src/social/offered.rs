//! What becomes of a post that a source offers, and whether it counts for the budget.

/// What became of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It goes into the topology.
    Taken,
    /// It was seen before.
    Seen,
    /// It matches no topic.
    OffTopic,
}

/// Which posts count for the budget and the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cost {
    /// All that are received, since the platform bills them.
    Received,
    /// All but those that were captured before.
    NotSeen,
    /// Those that are captured.
    Taken,
}

impl Cost {
    /// Returns true if a post counts of which this became.
    pub(super) fn is_paid(self, offered: Offered) -> bool {
        match self {
            Self::Received => true,
            Self::NotSeen => offered != Offered::Seen,
            Self::Taken => offered == Offered::Taken,
        }
    }
}
