//! The one table of what an HTTP status means where the protocol of a service says nothing more.

/// The meaning of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The request was done.
    Done,
    /// Nothing has changed since the last answer.
    Unchanged,
    /// The server points elsewhere for now, as Amazon does for new buckets. It isn't followed,
    /// since no credential goes to a host that an answer names; the same address works later.
    MovedForNow,
    /// The server points elsewhere for good: the configured address, or region, is wrong.
    MovedForGood,
    /// The caller isn't let in. Whoever grants the right may do so at any time.
    Denied,
    /// There is no such thing.
    Absent,
    /// A condition of the request doesn't hold.
    ConditionFailed,
    /// Too many requests.
    Limited,
    /// The server, or something before it, fails for now.
    Busy,
    /// The server doesn't know such requests.
    NotSupported,
    /// The request is wrong.
    Wrong,
}

impl Meaning {
    /// Returns the meaning of a status. A status that HTTP doesn't know counts as the first of its
    /// class.
    pub fn of_status(status: u16) -> Self {
        match status {
            304 => Self::Unchanged,
            301 | 308 => Self::MovedForGood,
            300..=399 => Self::MovedForNow,
            401 | 403 | 407 => Self::Denied,
            404 | 410 => Self::Absent,
            412 => Self::ConditionFailed,
            429 => Self::Limited,
            408 | 409 | 421 | 423 | 425 => Self::Busy,
            405 | 501 => Self::NotSupported,
            200..=299 => Self::Done,
            400..=499 => Self::Wrong,
            // Also the 100s, which never end an answer, and what HTTP has no class for.
            _ => Self::Busy,
        }
    }

    /// True if the same request may succeed later without anybody changing anything.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::MovedForNow | Self::Limited | Self::Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table: every status that a server may send, and what it means.
    const TABLE: [(&[u16], Meaning, bool); 11] = [
        (&[200, 201, 202, 204, 206, 299], Meaning::Done, false),
        (&[304], Meaning::Unchanged, false),
        (&[300, 302, 303, 305, 307, 399], Meaning::MovedForNow, true),
        (&[301, 308], Meaning::MovedForGood, false),
        (&[401, 403, 407], Meaning::Denied, false),
        (&[404, 410], Meaning::Absent, false),
        (&[412], Meaning::ConditionFailed, false),
        (&[429], Meaning::Limited, true),
        (
            &[408, 409, 421, 423, 425, 500, 502, 503, 504, 507, 520, 529, 599, 100, 600, 999],
            Meaning::Busy,
            true,
        ),
        (&[405, 501], Meaning::NotSupported, false),
        (
            &[400, 402, 406, 411, 413, 414, 415, 416, 417, 418, 422, 426, 431, 451, 499],
            Meaning::Wrong,
            false,
        ),
    ];

    #[test]
    fn every_status_has_one_meaning() {
        for (statuses, meaning, may_pass) in TABLE {
            for status in statuses {
                assert_eq!(Meaning::of_status(*status), meaning, "{status}");
                assert_eq!(meaning.may_pass(), may_pass, "{status}");
            }
        }
    }
}
