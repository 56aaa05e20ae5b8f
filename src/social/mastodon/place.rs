//! The place that a stream has reached. Nothing can be resumed by it, but it tells since when posts
//! may be missing.

use std::cmp::Ordering;

use time::OffsetDateTime;

use crate::post::fields::{get, id_text};

use super::fill::{is_dated, order};

/// The place that a stream has reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The time when something came last, in seconds since 1970; 0 if nothing came.
    alive_s: i64,
    /// The newest id that came; empty if none came.
    last: String,
}

impl Place {
    /// Reads a place that [`save`](Self::save) returned; without one, the place is new.
    pub(crate) fn read(saved: Option<&str>) -> Self {
        let (alive, last) = saved.and_then(|saved| saved.split_once(' ')).unwrap_or_default();
        Self { alive_s: alive.parse().unwrap_or(0), last: last.into() }
    }

    /// Returns the place as text.
    pub(crate) fn save(&self) -> String {
        format!("{} {}", self.alive_s, self.last)
    }

    /// Notes that something came.
    pub(crate) fn alive(&mut self, now: OffsetDateTime) {
        // This isn't the largest time: if the clock was ahead and was set back, a gap would stay
        // hidden.
        self.alive_s = now.unix_timestamp();
    }

    /// Notes the id of a status.
    pub(crate) fn status(&mut self, status: &[u8]) {
        if let Some(id) = get(status, "id").and_then(id_text)
            && order(&id, &self.last) == Ordering::Greater
            && !id.contains(char::is_whitespace)
        {
            self.last = id.into_owned();
        }
    }

    /// Returns the time when something came last, if anything came.
    pub(crate) fn seen(&self) -> Option<OffsetDateTime> {
        (self.alive_s > 0).then(|| OffsetDateTime::from_unix_timestamp(self.alive_s).ok()).flatten()
    }

    /// Returns the newest id, if ids have no time on this server.
    pub(crate) fn undated(&self) -> Option<&str> {
        (!self.last.is_empty() && !is_dated(&self.last)).then_some(&self.last)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn it_knows_when_it_was_last_alive_and_the_newest_id() {
        let mut place = Place::default();
        assert_eq!((place.seen(), place.undated()), (None, None));
        let now = datetime!(2026-11-25 12:00:00 UTC);
        // The clock was ahead and is set back.
        place.alive(now + std::time::Duration::from_secs(9));
        place.alive(now);
        for status in [r#"{"id":"99"}"#, r#"{"id":"100"}"#, r#"{"id":98}"#, r#"{"id":null}"#, "{}"]
        {
            place.status(status.as_bytes());
        }
        assert_eq!((place.seen(), place.undated()), (Some(now), Some("100")));
        assert_eq!(Place::read(Some(&place.save())), place);
        assert_eq!(Place::read(Some("nothing")), Place::default());
        place.status(br#"{"id":"117020593378945190"}"#);
        assert_eq!(place.undated(), None);
    }
}
