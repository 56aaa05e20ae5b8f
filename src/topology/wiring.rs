//! Checks inputs against the streams that other components declare, in the order in which data
//! flows.

use std::collections::{BTreeSet, HashMap};

use super::component::Draft;
use super::in_front::with_bolts_in_front;
use super::input_share::grouping_needed;
use super::inputs::Input;
use super::problem::{Report, quoted};
use super::{ComponentSpec, InputSpec};
use crate::bolt::BoltConfig;
use crate::component::{Problem, Role};
use crate::flow::Grouping;
use crate::registry::{Config, Entry};
use crate::tuple::{DEFAULT_STREAM, Fields, StreamId, Streams};

type Inputs<'t> = [Vec<Option<Input<'t>>>];

/// Checks how the components are connected, and sorts them. Leaves out entries that have no valid
/// type or configuration.
pub(super) fn connect(
    report: &mut Report,
    drafts: Vec<Draft<'_>>,
    inputs: &Inputs<'_>,
) -> Vec<ComponentSpec> {
    let order = order(report, &drafts, inputs);
    let mut wiring = Wiring { report, drafts: &drafts, streams: vec![None; drafts.len()] };
    let connected: Vec<_> = order.iter().map(|i| wiring.connect(*i, &inputs[*i])).collect();
    let streams = std::mem::take(&mut wiring.streams);

    let mut positions = vec![0; drafts.len()];
    order.iter().enumerate().for_each(|(position, i)| positions[*i] = position);
    let mut drafts: Vec<_> = drafts.into_iter().map(Some).collect();
    let mut components = Vec::new();
    for (i, inputs) in order.into_iter().zip(connected) {
        let (draft, streams) = (drafts[i].take(), streams[i].clone());
        components.extend(draft.zip(inputs).zip(streams).and_then(
            |((draft, mut inputs), streams)| {
                inputs.iter_mut().for_each(|input| input.from = positions[input.from]);
                component(draft, inputs, streams)
            },
        ));
    }
    with_bolts_in_front(components)
}

fn component(draft: Draft<'_>, inputs: Vec<InputSpec>, streams: Streams) -> Option<ComponentSpec> {
    let (entry, configured) = (draft.entry?, draft.configured?);
    Some(ComponentSpec {
        id: draft.id,
        type_name: entry.name,
        role: entry.role,
        guarantee: entry.guarantee,
        config: configured.config,
        explained: configured.explained,
        parallelism_hint: draft.parallelism_hint,
        inputs,
        streams,
        on_error: draft.on_error,
        batch: draft.batch,
        linger: draft.linger,
        in_front_of: None,
    })
}

/// Sorts the components so that each comes after all that it takes input from, and otherwise in the
/// order of the file. A cycle is reported as a path, and then broken.
fn order(report: &mut Report, drafts: &[Draft<'_>], inputs: &Inputs<'_>) -> Vec<usize> {
    let known = |input: &&Input<'_>| !input.guessed;
    let from: Vec<BTreeSet<usize>> = inputs
        .iter()
        .map(|inputs| inputs.iter().flatten().filter(known).map(|input| input.from).collect())
        .collect();
    let mut to = vec![Vec::new(); drafts.len()];
    for (i, from) in from.iter().enumerate() {
        from.iter().for_each(|from| to[*from].push(i));
    }
    let mut waits: Vec<usize> = from.iter().map(BTreeSet::len).collect();
    let mut ready: BTreeSet<usize> = (0..drafts.len()).filter(|i| waits[*i] == 0).collect();
    let mut placed = vec![false; drafts.len()];
    let mut order = Vec::new();
    let mut first_left = 0;
    while order.len() < drafts.len() {
        let next = ready.pop_first().unwrap_or_else(|| {
            while placed[first_left] {
                first_left += 1;
            }
            report_cycle(report, drafts, inputs, &from, &placed, first_left)
        });
        placed[next] = true;
        order.push(next);
        for to in &to[next] {
            waits[*to] -= 1;
            if waits[*to] == 0 && !placed[*to] {
                ready.insert(*to);
            }
        }
    }
    order
}

/// Finds a cycle and reports it. Each remaining component takes input from another remaining one,
/// so following inputs backwards always ends in a cycle. Returns a component of the cycle.
fn report_cycle(
    report: &mut Report,
    drafts: &[Draft<'_>],
    inputs: &Inputs<'_>,
    from: &[BTreeSet<usize>],
    placed: &[bool],
    start: usize,
) -> usize {
    let mut path = vec![start];
    let mut met = HashMap::new();
    let begin = loop {
        let last = path[path.len() - 1];
        if let Some(begin) = met.insert(last, path.len() - 1) {
            break begin;
        }
        path.extend(from[last].iter().find(|from| !placed[**from]));
    };
    let mut cycle: Vec<_> = path[begin..path.len() - 1].iter().rev().copied().collect();
    let first = (0..cycle.len()).min_by_key(|i| cycle[*i]).unwrap_or(0);
    cycle.rotate_left(first);
    let (head, tail) = (cycle[0], cycle[cycle.len() - 1]);
    let names = cycle.iter().map(|i| format!("{} -> ", drafts[*i].id)).collect::<String>();
    let place = inputs[head]
        .iter()
        .flatten()
        .find(|input| input.from == tail)
        .map_or(drafts[head].place, |input| input.place);
    report.add(place, format!("the inputs make a cycle: {names}{}", drafts[head].id));
    head
}

struct Wiring<'a, 't> {
    report: &'a mut Report,
    drafts: &'a [Draft<'t>],
    /// The streams that each component declares, as far as they are known. Components that depend
    /// on one with problems aren't checked, because the same problems would be repeated.
    streams: Vec<Option<Streams>>,
}

/// An input whose component was found, with its fields.
struct Found {
    spec: InputSpec,
    fields: Fields,
}

impl Wiring<'_, '_> {
    /// Checks the inputs of a component and returns the streams that it declares. The positions in
    /// the inputs are those of the drafts.
    fn connect(&mut self, i: usize, inputs: &[Option<Input<'_>>]) -> Option<Vec<InputSpec>> {
        let draft = &self.drafts[i];
        let what = draft.title();
        let found: Vec<_> = inputs.iter().map(|input| self.find(&what, input.as_ref()?)).collect();
        let found: Vec<_> = found.into_iter().collect::<Option<_>>()?;
        if found.is_empty() && !draft.is_spout {
            return None;
        }
        let guessed = inputs.iter().flatten().any(|input| input.guessed);
        let fields: Vec<_> = found.iter().map(|found| found.fields.clone()).collect();
        let configured = draft.configured.as_ref()?;
        let declared = match &configured.config {
            Config::Spout(spout) => Ok(spout.streams()),
            Config::Bolt(bolt) => bolt.streams(&fields),
            Config::Sink(sink) => {
                match sink.check(&fields).map_err(|problems| configured.without_guesses(problems)) {
                    Err(problems) if !problems.is_empty() => Err(problems),
                    _ => Ok(Streams::none()),
                }
            }
        };
        if let Config::Spout(spout) = &configured.config
            && let Err(problems) = spout.check()
        {
            self.report_all(draft, configured.without_guesses(problems));
        }
        match declared {
            Ok(streams) => self.streams[i] = Some(streams),
            Err(problems) if !guessed => self.report_all(draft, problems),
            Err(_) => {}
        }
        if let Config::Bolt(bolt) = &configured.config
            && draft.parallelism_hint.get() > 1
        {
            for (input, found) in inputs.iter().flatten().zip(&found) {
                self.check_share(&what, bolt.as_ref(), input, found);
            }
        }
        Some(found.into_iter().map(|found| found.spec).collect())
    }

    /// Checks that each task of a bolt gets the part of an input that the bolt needs.
    fn check_share(&mut self, what: &str, bolt: &dyn BoltConfig, input: &Input<'_>, found: &Found) {
        let stream = self.stream_name(input);
        let Some(expected) = grouping_needed(bolt, &stream, &found.fields, &found.spec.grouping)
        else {
            return;
        };
        let text = format!(
            "{what}: with more than one task the results would depend on their number: expected \
             `{expected}`, found {}",
            input.grouping
        );
        self.report.add(input.place, text);
    }

    fn report_all(&mut self, draft: &Draft<'_>, problems: Vec<Problem>) {
        let (Some(configured), Some(entry)) = (&draft.configured, draft.entry) else { return };
        for Problem { field, what, candidates } in problems {
            let place = configured.place(field);
            if configured.is_from_outside(field) {
                let text = format!(
                    "{}: {}: {field}: what comes from outside doesn't fit here",
                    draft.title(),
                    entry.name
                );
                self.report.add(place, text);
                continue;
            }
            let text = format!("{}: {}: {what}", draft.title(), entry.name);
            match candidates {
                Some((name, known)) => {
                    self.report.add_unknown(place, text, &name, known.iter().map(String::as_str));
                }
                None => self.report.add(place, text),
            }
        }
    }

    fn find(&mut self, what: &str, input: &Input<'_>) -> Option<Found> {
        let from = &self.drafts[input.from];
        if from.entry.is_some_and(|entry| entry.role == Role::Sink) {
            let kind = from.entry.map_or("", |entry: &Entry| entry.name);
            let text = format!(
                "{what} takes input from \"{}\", but that is a sink ({kind}) and emits nothing",
                from.id
            );
            self.report.add(input.place, text);
            return None;
        }
        let streams = self.streams[input.from].clone()?;
        let Some(stream) = streams.id(input.stream) else {
            self.unknown_stream(what, input, &from.id, &streams);
            return None;
        };
        let fields = streams.fields(stream).clone();
        let grouping = self.grouping(what, input, &fields);
        Some(Found { spec: InputSpec { from: input.from, stream, grouping }, fields })
    }

    fn unknown_stream(&mut self, what: &str, input: &Input<'_>, from: &str, streams: &Streams) {
        let names: Vec<_> = streams.iter().map(|(name, _)| name).collect();
        let declares = match names.as_slice() {
            [] => "no stream".into(),
            names => format!("the streams {}", quoted(names.iter().copied())),
        };
        let text = format!(
            "{what} takes the stream \"{}\" of \"{from}\", which declares {declares}",
            input.stream
        );
        self.report.add_unknown(input.place, text, input.stream, names);
    }

    fn grouping(&mut self, what: &str, input: &Input<'_>, fields: &Fields) -> Grouping {
        let names = || fields.names().iter().map(String::as_str);
        let mut keys = Vec::new();
        for (key, place) in &input.keys {
            match fields.position(key) {
                Some(position) => keys.push(position),
                None => {
                    let stream = self.stream_name(input);
                    let declares =
                        if fields.is_empty() { "no field".into() } else { quoted(names()) };
                    let text = format!(
                        "{what} groups by \"{key}\", but stream \"{stream}\" declares {declares}"
                    );
                    self.report.add_unknown(*place, text, key, names());
                }
            }
        }
        match input.grouping {
            "LocalOrShuffle" => Grouping::LocalOrShuffle,
            "Fields" => Grouping::Fields(keys),
            "PartialKey" => Grouping::PartialKey(keys),
            "All" => Grouping::All,
            "Global" => Grouping::Global,
            "Direct" => Grouping::Direct,
            _ => Grouping::Shuffle,
        }
    }

    fn stream_name(&self, input: &Input<'_>) -> String {
        stream_name(&self.drafts[input.from].id, input.stream)
    }
}

/// Returns a stream as an input names it: `id`, or `id:stream`.
pub(super) fn stream_name(id: &str, stream: &str) -> String {
    if stream == DEFAULT_STREAM { id.into() } else { format!("{id}:{stream}") }
}

/// Returns the stream of an input as it is named in a file.
pub(super) fn input_name(components: &[ComponentSpec], input: &InputSpec) -> String {
    let from = &components[input.from];
    let StreamId(position) = input.stream;
    let stream = from.streams.iter().nth(position).map_or(DEFAULT_STREAM, |(name, _)| name);
    stream_name(&from.id, stream)
}
