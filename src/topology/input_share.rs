//! Checks that each task of a bolt gets the part of the input that the bolt needs.

use super::ComponentSpec;
use super::wiring::input_name;
use crate::bolt::{BoltConfig, InputShare};
use crate::flow::Grouping;
use crate::registry::Config;
use crate::tuple::Fields;

/// Returns the grouping that an input needs if the bolt has more than one task, as written in a
/// topology. `None` if the present grouping is right.
pub(super) fn grouping_needed(
    bolt: &dyn BoltConfig,
    stream: &str,
    fields: &Fields,
    grouping: &Grouping,
) -> Option<String> {
    let key = bolt.state_key().unwrap_or_default();
    match (bolt.input_share(fields), grouping) {
        (InputShare::Any, _)
        | (InputShare::ByKey, Grouping::Global)
        | (InputShare::Whole, Grouping::All) => None,
        (InputShare::Whole, _) => Some(format!("All(\"{stream}\")")),
        (InputShare::ByKey, _) if key.is_empty() => Some(format!("Global(\"{stream}\")")),
        (InputShare::ByKey, Grouping::Fields(positions))
            if positions.iter().map(|at| &fields.names()[*at]).eq(key.iter()) =>
        {
            None
        }
        (InputShare::ByKey, _) => Some(format!("Fields(\"{stream}\", {key:?})")),
    }
}

/// Checks that the inputs of a component allow it to have more than one task.
///
/// # Errors
/// If an input needs another grouping; the text says which.
pub fn check_shares(components: &[ComponentSpec], spec: &ComponentSpec) -> Result<(), String> {
    let Config::Bolt(bolt) = &spec.config else { return Ok(()) };
    for input in &spec.inputs {
        let stream = input_name(components, input);
        let mut streams = components[input.from].streams.iter();
        let Some((_, fields)) = streams.nth(input.stream.0) else { continue };
        if let Some(needed) = grouping_needed(bolt.as_ref(), &stream, fields, &input.grouping) {
            return Err(format!(
                "component \"{}\" can have one task only, unless its inputs have `{needed}`",
                spec.id
            ));
        }
    }
    Ok(())
}
