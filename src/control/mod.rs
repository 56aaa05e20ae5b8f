//! Control of a running topology by other processes, over a Unix socket in its state folder.
//!
//! Whoever may write to `<state folder>/control` (mode 0600: its owner) connects, sends one line of
//! JSON, and gets one line of JSON; several times, if it likes:
//!
//! ```text
//! {"status":{}}                            → {"ok":{"status":{…},"flow":[["posts","count"],…],"rss_bytes":39845888}}
//! {"rebalance":{"count":4,"split":2}}      → {"ok":{"seconds":0.123,"tasks":{"count":[1,4],"split":[1,2]}}}
//! {"deactivate":{}}                        → {"ok":{}}: spouts emit nothing, also in a replay
//! {"activate":{}}                          → {"ok":{}}: they go on
//! {"messages":{"after":17}}                → {"ok":[{"number":18,"text":"…"},…]}, oldest first
//! {"tap":{"component":"words"}}            → {"ok":{}}, {"from":"words","tuple":{…}}, …, {"missed":3,"failed":0}
//! {"trends":{}}                            → {"ok":[{"component":"trends","key":"#storm",…},…]}, newest first
//! {"log":{"level":"debug"}}                → {"ok":{"before":"info","now":"debug"}}; without a level only told
//! {"stop":{}}                              → {"ok":{}}, when everything that was in flight is written
//! {"stop":{"within_s":60}}                 → the same; the drain is given up after a minute, and not after half of one
//! anything else                            → {"error":"…"}
//! ```
//!
//! Requests that are added later are further keys. A line that is too long, and a peer that sends
//! nothing for a while, end the connection.

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

/// The longest request, in bytes: room for the numbers of a thousand components.
const REQUEST_BYTES_MAX: u64 = 64 << 10;

/// What is asked of a running topology.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// How it is: [`Seen`].
    Status {},
    /// Other numbers of tasks: [`Rebalanced`].
    Rebalance(BTreeMap<String, NonZeroU16>),
    /// Spouts go on after [`Deactivate`](Self::Deactivate).
    Activate {},
    /// Spouts emit nothing until [`Activate`](Self::Activate).
    Deactivate {},
    /// The messages behind the one with this number: a list of
    /// [`Message`](crate::protocol::Message).
    Messages {
        /// The number of the last message that the watcher has; 0 for all that are kept.
        after: u64,
    },
    /// Tuples as they pass, until the watcher goes. After the answer `{"ok":{}}` each tuple is a
    /// line, and every two seconds without one there is a line too.
    Tap(TapRequest),
    /// What its `Trends` found last: a list of [`TrendNow`].
    Trends {},
    /// How much its log has, or is to have: [`LogLevels`].
    Log {
        /// The new level; none leaves it as it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        level: Option<LogLevel>,
    },
    /// A graceful drain, and an answer when it is done.
    Stop {
        /// How many seconds the drain may take; otherwise it is half a minute.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        within_s: Option<u64>,
    },
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// It was done.
    Ok(serde_json::Value),
    /// It couldn't be; a sentence for a person.
    Error(String),
}

/// A running topology, and what is needed to show it as `run` does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// The topology.
    pub status: Status,
    /// Who takes from whom.
    pub flow: Flow,
    /// Memory of the process.
    pub rss_bytes: Option<u64>,
}

/// A rebalance that was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rebalanced {
    /// How long it took.
    pub seconds: f64,
    /// Numbers of tasks before and after, by component.
    pub tasks: BTreeMap<String, (usize, usize)>,
}

/// Levels of a topology's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLevels {
    /// Before the request.
    pub before: LogLevel,
    /// Behind it.
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
