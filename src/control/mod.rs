//! Control of a running topology by other processes, over a Unix socket in its state folder.
//!
//! A client that may write to `<state folder>/control` (mode 0600: its owner) connects, sends one
//! line of JSON and gets one line of JSON, once or several times:
//!
//! ```text
//! {"status":{}}
//!     → {"ok":{"status":{…},"flow":[["posts","count"],…],"rss_bytes":39845888}}
//! {"rebalance":{"count":4,"split":2}}
//!     → {"ok":{"seconds":0.123,"tasks":{"count":[1,4],"split":[1,2]}}}
//! {"deactivate":{}}
//!     → {"ok":{}}; spouts emit nothing from here on, also in a replay
//! {"activate":{}}
//!     → {"ok":{}}; spouts continue
//! {"messages":{"after":17}}
//!     → {"ok":[{"number":18,"text":"…"},…]}, the oldest first
//! {"tap":{"component":"words"}}
//!     → {"ok":{}}, {"from":"words","tuple":{…}}, …, {"missed":3,"failed":0}
//! {"trends":{}}
//!     → {"ok":[{"component":"trends","key":"#storm",…},…]}, newest first
//! {"log":{"level":"debug"}}
//!     → {"ok":{"before":"info","now":"debug"}}; without a level, nothing changes
//! {"stop":{}}
//!     → {"ok":{}}, once everything that was in flight is written
//! {"stop":{"within_s":60}}
//!     → the same, with a drain deadline of 60 seconds instead of 30
//! anything else
//!     → {"error":"…"}
//! ```
//!
//! New requests get new keys. The connection ends if a line is too long, or if the client sends
//! nothing for a while.

mod client;
mod remote;
mod server;
mod socket;
mod tap;
mod trends;

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use crate::log_level::LogLevel;
use crate::metrics::Status;
use crate::watch::bottleneck::Flow;

pub use client::{ask, tap};
pub use remote::{RemoteLines, Unanswered, ask_remote};
pub use server::Control;
pub use tap::TapRequest;
pub(crate) use trends::TRENDS;
pub use trends::TrendNow;

/// The longest request, in bytes. This is enough for the parallelism hints of a thousand
/// components.
const REQUEST_BYTES_MAX: u64 = 64 << 10;

/// A request to a running topology.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// Asks for the status: [`Seen`].
    Status {},
    /// Changes the numbers of tasks: [`Rebalanced`].
    Rebalance(BTreeMap<String, NonZeroU16>),
    /// Lets spouts continue after [`Deactivate`](Self::Deactivate).
    Activate {},
    /// Stops spouts from emitting until [`Activate`](Self::Activate).
    Deactivate {},
    /// Asks for the messages after the one with this number: a list of
    /// [`Message`](crate::protocol::Message).
    Messages {
        /// The number of the last message that the client has; 0 to get all that are kept.
        after: u64,
    },
    /// Asks for tuples as they pass, until the client closes the connection. After the answer
    /// `{"ok":{}}`, each tuple is a line. A line without a tuple is sent after two seconds without
    /// one.
    Tap(TapRequest),
    /// Asks for the last rows of its `Trends`: a list of [`TrendNow`].
    Trends {},
    /// Asks for the level of the log, or changes it: [`LogLevels`].
    Log {
        /// The new level; `None` leaves the level unchanged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        level: Option<LogLevel>,
    },
    /// Drains the topology gracefully, and answers when the drain is complete.
    Stop {
        /// The deadline of the drain, in seconds; 30 seconds by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        within_s: Option<u64>,
    },
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The request was carried out; its result.
    Ok(serde_json::Value),
    /// The request failed; a sentence for users says why.
    Error(String),
}

/// A running topology, with everything needed to show it as `run` does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// The topology.
    pub status: Status,
    /// The edges between components.
    pub flow: Flow,
    /// The memory of the process, in bytes.
    pub rss_bytes: Option<u64>,
}

/// The result of a rebalance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rebalanced {
    /// The duration in seconds.
    pub seconds: f64,
    /// The numbers of tasks before and after, by component.
    pub tasks: BTreeMap<String, (usize, usize)>,
}

/// The levels of a topology's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLevels {
    /// The level before the request.
    pub before: LogLevel,
    /// The level after the request.
    pub now: LogLevel,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_is_as_documented() {
        let hints = [("count".to_owned(), NonZeroU16::new(4).unwrap())].into();
        for (request, text) in [
            (Request::Status {}, r#"{"status":{}}"#),
            (Request::Rebalance(hints), r#"{"rebalance":{"count":4}}"#),
            (Request::Activate {}, r#"{"activate":{}}"#),
            (Request::Deactivate {}, r#"{"deactivate":{}}"#),
            (Request::Messages { after: 17 }, r#"{"messages":{"after":17}}"#),
            (Request::Trends {}, r#"{"trends":{}}"#),
            (Request::Log { level: None }, r#"{"log":{}}"#),
            (Request::Log { level: Some(LogLevel::Debug) }, r#"{"log":{"level":"debug"}}"#),
            (Request::Stop { within_s: None }, r#"{"stop":{}}"#),
            (Request::Stop { within_s: Some(60) }, r#"{"stop":{"within_s":60}}"#),
        ] {
            assert_eq!(serde_json::to_string(&request).unwrap(), text);
            assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request);
        }
        assert_eq!(
            serde_json::to_string(&Answer::Error("no".into())).unwrap(),
            r#"{"error":"no"}"#
        );
        assert!(serde_json::from_str::<Request>(r#"{"rebalance":{"count":0}}"#).is_err());
    }
}
