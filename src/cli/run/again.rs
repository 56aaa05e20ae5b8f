//! What `run --dead-letters` says, and what it ends with.

use crate::cli::exit::{Code, Outcome};
use crate::engine::Again;

use super::summary::plural;
use super::units::plain;

/// `sending 6 dead letters again`, and what can't be sent.
pub(crate) fn begins(again: &Again) -> String {
    let sending = match again.letters {
        0 => "no dead letters to send again".to_owned(),
        letters => format!("sending {} again", plural(letters, "dead letter")),
    };
    let left = again.left.iter().map(|left| plain(left).to_string());
    std::iter::once(sending).chain(left).collect::<Vec<_>>().join("; ")
}

/// `sent 6 dead letters again, 1 refused again`.
pub(crate) fn ends(again: &Again, refused: u64) -> String {
    format!("sent {} again, {refused} refused again", plural(again.sent(), "dead letter"))
}

/// What can't be sent is a finding.
pub(crate) fn outcome(again: &Again, outcome: Outcome) -> Outcome {
    match outcome {
        Ok(Code::Success) if !again.left.is_empty() => Ok(Code::Findings),
        other => other,
    }
}
