//! Tuples that came after their window had closed.

use crate::bolt::Output;
use crate::event_time::EventTime;
use crate::tuple::{Fields, StreamId, Tuple, to_json};
use crate::value::Value;

/// The name of the stream of late tuples.
pub(crate) const LATE: &str = "late";

/// The fields of that stream: the tuple's event time, null if it has none, and the tuple itself as
/// an object of its fields.
pub(crate) const LATE_FIELDS: [&str; 2] = ["time", "tuple"];

/// Emits a late tuple.
pub(crate) fn emit_late(stream: StreamId, fields: &Fields, tuple: Tuple<'_>, out: &mut Output) {
    let mut json = Vec::new();
    to_json(fields, tuple.values, &mut json);
    out.emit_to(stream, [time_text(tuple.time), Value::Json(json.into())]);
}

/// Formats an event time; null if it is unknown or can't be formatted.
pub(crate) fn time_text(time: EventTime) -> Value {
    let format = time::macros::format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z"
    );
    let date: Option<time::OffsetDateTime> = time.into();
    date.and_then(|date| date.format(format).ok()).map_or(Value::Null, Value::from)
}
