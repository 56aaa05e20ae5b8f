//! The one table of the meanings of HTTP statuses, for services whose protocol says nothing more.

/// The meaning of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The server executed the request.
    Done,
    /// Nothing has changed since the last answer.
    Unchanged,
    /// The server redirects for now, as Amazon does for new buckets. The redirect isn't followed,
    /// since no credential goes to a host that an answer names; the same address works later.
    MovedForNow,
    /// The server redirects for good: the configured address, or region, is wrong.
    MovedForGood,
    /// The caller has no access. Its owner may grant the access at any time.
    Denied,
    /// The requested object doesn't exist.
    Absent,
    /// A condition of the request doesn't hold.
    ConditionFailed,
    /// Too many requests.
    Limited,
    /// The server, or something in front of it, fails for now.
    Busy,
    /// The server doesn't support such requests.
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
            // These are the 100s, which never end an answer, and statuses of no class.
            _ => Self::Busy,
        }
    }

    /// Returns true if the same request may succeed later without any change by a person.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::MovedForNow | Self::Limited | Self::Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table: every status that a server may send, with its meaning.
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
