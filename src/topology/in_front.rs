//! Inserts bolts that sinks ask for. A warehouse whose input is raw posts, for example, gets the
//! bolt that extracts columns from posts.

use super::{ComponentSpec, InputSpec};
use crate::component::Role;
use crate::flow::Grouping;
use crate::registry::Config;
use crate::sink::BoltInFront;
use crate::tuple::{DEFAULT_STREAM, Fields, StreamId};

/// The separator between the sink's id and the bolt's name in the id of an inserted bolt. No id in
/// a file may contain this character.
const SEPARATOR: char = '~';

/// Inserts the bolts that each sink asks for, between the sink and those of its inputs that need
/// them. Each component still comes after all components that it takes input from.
pub(super) fn with_bolts_in_front(components: Vec<ComponentSpec>) -> Vec<ComponentSpec> {
    let mut all: Vec<ComponentSpec> = Vec::with_capacity(components.len());
    // The new position of each component.
    let mut positions = Vec::with_capacity(components.len());
    for mut component in components {
        for input in &mut component.inputs {
            input.from = positions[input.from];
        }
        let bolts = taken_over(&all, &mut component);
        for (number, (bolt, inputs)) in bolts.into_iter().enumerate() {
            component.inputs.push(InputSpec {
                from: all.len(),
                stream: StreamId::DEFAULT,
                grouping: grouping(&bolt, &inputs_fields(&all, &inputs)),
            });
            all.push(spec(&component, (number, bolt), inputs, &all));
        }
        positions.push(all.len());
        all.push(component);
    }
    all
}

/// Returns the bolts that a component asks for, each with its inputs. These inputs are removed from
/// the component.
fn taken_over(
    all: &[ComponentSpec],
    component: &mut ComponentSpec,
) -> Vec<(BoltInFront, Vec<InputSpec>)> {
    let Config::Sink(sink) = &component.config else { return Vec::new() };
    let mut bolts: Vec<(BoltInFront, Vec<InputSpec>)> = Vec::new();
    let mut own = Vec::new();
    for input in std::mem::take(&mut component.inputs) {
        let (stream, fields) = stream_of(all, &input);
        let Some(bolt) = sink.bolt_in_front(stream, fields) else {
            own.push(input);
            continue;
        };
        let is_same =
            |known: &BoltInFront| known.explained == bolt.explained && known.keys == bolt.keys;
        match bolts.iter_mut().find(|(known, _)| is_same(known)) {
            Some((_, inputs)) => inputs.push(input),
            None => bolts.push((bolt, vec![input])),
        }
    }
    component.inputs = own;
    bolts
}

fn stream_of<'a>(all: &'a [ComponentSpec], input: &InputSpec) -> (&'a str, &'a Fields) {
    let streams = &all[input.from].streams;
    let name = streams.iter().nth(input.stream.0).map_or(DEFAULT_STREAM, |(name, _)| name);
    (name, streams.fields(input.stream))
}

fn inputs_fields(all: &[ComponentSpec], inputs: &[InputSpec]) -> Vec<Fields> {
    inputs.iter().map(|input| stream_of(all, input).1.clone()).collect()
}

/// Returns the grouping by the key that the sink names, so that all tuples of a key reach the same
/// task.
fn grouping(bolt: &BoltInFront, inputs: &[Fields]) -> Grouping {
    let Ok(streams) = bolt.config.streams(inputs) else { return Grouping::LocalOrShuffle };
    let fields = streams.fields(StreamId::DEFAULT);
    let keys: Option<Vec<usize>> = bolt.keys.iter().map(|key| fields.position(key)).collect();
    match keys {
        Some(keys) if !keys.is_empty() => Grouping::Fields(keys),
        _ => Grouping::LocalOrShuffle,
    }
}

fn spec(
    sink: &ComponentSpec,
    (number, bolt): (usize, BoltInFront),
    inputs: Vec<InputSpec>,
    all: &[ComponentSpec],
) -> ComponentSpec {
    // A bolt that doesn't take these fields declares no streams here. It fails with the reason when
    // its task is created.
    let streams = bolt.config.streams(&inputs_fields(all, &inputs)).unwrap_or_default();
    // The second bolt in front of a sink is its `features2`.
    let mut id = format!("{}{SEPARATOR}{}", sink.id, bolt.type_name.to_ascii_lowercase());
    if number > 0 {
        id += &(number + 1).to_string();
    }
    ComponentSpec {
        id,
        type_name: bolt.type_name,
        role: Role::Bolt,
        guarantee: bolt.guarantee,
        config: Config::Bolt(bolt.config),
        explained: bolt.explained,
        parallelism_hint: sink.parallelism_hint,
        inputs,
        streams,
        on_error: sink.on_error.clone(),
        batch: sink.batch,
        linger: sink.linger,
        in_front_of: Some(sink.id.clone()),
    }
}
