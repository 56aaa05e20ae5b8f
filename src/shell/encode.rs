//! Tuples as messages to a child.

use crate::component::TopologyOutline;
use crate::tuple::value_to_json;
use crate::value::Value;

use super::framing::END;
use super::handshake::task_id;

/// The text before the values of a tuple of one input.
pub(super) struct Prefix(Vec<u8>);

impl Prefix {
    /// Creates the prefixes of all inputs of a component. The task that emitted a tuple isn't
    /// known, so the first task of its component stands for it.
    pub(crate) fn of_inputs(
        outline: &TopologyOutline,
        component: &str,
        inputs: usize,
    ) -> Vec<Self> {
        let known = outline.component(component).map(|own| own.inputs.as_slice());
        let known = known.unwrap_or_default();
        let mut prefixes = Vec::new();
        for input in 0..inputs {
            let (from, stream) =
                known.get(input).map_or(("", ""), |input| (&input.from, &input.stream));
            let first = outline.component(from).map_or(0, |from| from.first_task);
            prefixes.push(Self(prefix(from, stream, task_id(first))));
        }
        prefixes
    }

    /// Writes a tuple with this number.
    #[inline]
    pub(crate) fn push(&self, values: &[Value], number: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
        push_rest(values, number, out);
    }
}

fn prefix(component: &str, stream: &str, task: i64) -> Vec<u8> {
    let mut text = b"{\"comp\":".to_vec();
    value_to_json(&component.into(), &mut text);
    text.extend_from_slice(b",\"stream\":");
    value_to_json(&stream.into(), &mut text);
    text.extend_from_slice(format!(",\"task\":{task},\"tuple\":[").as_bytes());
    text
}

/// Writes a tuple of a component and stream that aren't inputs.
pub(super) fn push_tuple(
    out: &mut Vec<u8>,
    component: &str,
    stream: &str,
    task: i64,
    values: &[Value],
    number: u64,
) {
    out.extend_from_slice(&prefix(component, stream, task));
    push_rest(values, number, out);
}

#[inline]
fn push_rest(values: &[Value], number: u64, out: &mut Vec<u8>) {
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_value(value, out);
    }
    out.extend_from_slice(b"],\"id\":\"");
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(b"\"}");
    out.extend_from_slice(END);
}

/// Writes a value. JSON of several lines is put on one line.
#[inline]
fn push_value(value: &Value, out: &mut Vec<u8>) {
    let start = out.len();
    value_to_json(value, out);
    if matches!(value, Value::Json(_) | Value::List(_)) {
        crate::post::break_no_lines(&mut out[start..]);
    }
}
