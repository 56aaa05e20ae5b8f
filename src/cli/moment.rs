//! Times on the command line.

use crate::clock::SystemClock;
use crate::moment::Moment;

/// Reads a time, or one before now such as `-1h`. An option that takes one has
/// `allow_hyphen_values`.
///
/// # Errors
/// If it is neither.
pub(crate) fn moment(text: &str) -> Result<Moment, String> {
    Moment::parse(text, SystemClock::shared().now())
}
