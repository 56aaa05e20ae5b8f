//! Computes the event time of a task that receives tuples: the lowest watermark of all its
//! channels.

use crate::event_time::{EventTime, Watermark};

/// The event time over all channels of a task.
pub struct InputClock {
    /// The last watermark of each channel.
    channels: Vec<Watermark>,
    /// The event time over all channels, as last returned. It never goes back.
    time: EventTime,
    given: Watermark,
    /// The event time of an earlier run, until it is taken.
    restored: Option<EventTime>,
}

impl InputClock {
    /// Creates a clock without channels, which had reached `time` in an earlier run.
    pub fn new(time: EventTime) -> Self {
        Self {
            channels: Vec::new(),
            time,
            given: Watermark::At(time),
            restored: (time != EventTime::UNKNOWN).then_some(time),
        }
    }

    /// Adds a channel from which no watermark has come yet.
    pub fn add_channel(&mut self) {
        self.channels.push(Watermark::At(EventTime::UNKNOWN));
    }

    /// Returns the event time of an earlier run, once: a bolt gets it before anything else.
    pub fn take_restored(&mut self) -> Option<Watermark> {
        self.restored.take().map(Watermark::At)
    }

    /// Returns true if the event time of an earlier run hasn't been taken yet.
    pub fn has_restored(&self) -> bool {
        self.restored.is_some()
    }

    /// Returns the event time over all channels.
    pub fn time(&self) -> EventTime {
        self.time
    }

    /// Records the watermark of a channel. Returns the lowest one of all channels that aren't idle,
    /// if it has changed.
    pub fn receive(&mut self, channel: usize, watermark: Watermark) -> Option<Watermark> {
        self.channels[channel] = watermark;
        let mut least = Watermark::Idle;
        for channel in &self.channels {
            least = match (least, *channel) {
                (Watermark::At(a), Watermark::At(b)) => Watermark::At(a.min(b)),
                (Watermark::Idle, other) | (other, Watermark::Idle) => other,
            };
        }
        if let Watermark::At(time) = least {
            self.time = self.time.max(time);
            least = Watermark::At(self.time);
        }
        let is_new = least != self.given;
        self.given = least;
        is_new.then_some(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(milliseconds: i64) -> Watermark {
        Watermark::At(EventTime::from_unix_millis(milliseconds))
    }

    fn clock(restored: EventTime) -> InputClock {
        let mut clock = InputClock::new(restored);
        clock.add_channel();
        clock.add_channel();
        clock
    }

    #[test]
    fn the_least_watermark_of_all_channels_counts_and_an_idle_channel_holds_nothing_back() {
        let mut clock = clock(EventTime::UNKNOWN);
        assert_eq!(clock.receive(0, at(5)), None, "the second channel may bring any time");
        assert_eq!(clock.receive(1, at(3)), Some(at(3)));
        assert_eq!(clock.receive(1, Watermark::Idle), Some(at(5)));
        assert_eq!(clock.receive(1, at(4)), None, "time doesn't go back");
        assert_eq!(clock.receive(0, Watermark::Idle), None);
        assert_eq!(clock.receive(1, Watermark::Idle), Some(Watermark::Idle));
        assert_eq!(clock.time(), EventTime::from_unix_millis(5));
    }

    #[test]
    fn the_time_of_an_earlier_run_is_given_first_and_holds_until_all_have_passed_it() {
        let mut clock = clock(EventTime::from_unix_millis(7));
        assert!(clock.has_restored());
        assert_eq!(clock.take_restored(), Some(at(7)));
        assert_eq!(clock.take_restored(), None);
        assert_eq!(clock.receive(0, at(5)), None);
        assert_eq!(clock.receive(1, at(6)), None);
        assert_eq!(clock.receive(0, at(9)), None);
        assert_eq!(clock.receive(1, at(8)), Some(at(8)));
    }
}
