//! Keeps the open taps of each component across restarts of its tasks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::component::Role;
use crate::error::{Error, Result};
use crate::flow::{ComponentTap, Tap};
use crate::topology::ComponentSpec;
use crate::tuple::{Fields, StreamId};

/// The tuples that a tap should copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapWanted {
    /// The component. A tap shows the tuples that it emits, or for a sink the tuples that it takes.
    pub component: String,
    /// One of its streams; `None` for all of them.
    pub stream: Option<String>,
    /// Show only every nth tuple.
    pub every: u64,
}

/// A stream that a tap copies.
#[derive(Clone, Debug)]
pub struct TapSource {
    /// `component` or `component:stream`.
    pub from: String,
    /// The fields of its tuples.
    pub fields: Fields,
}

/// The taps of all components.
#[derive(Default)]
pub(crate) struct Taps(Mutex<HashMap<String, Arc<ComponentTap>>>);

impl Taps {
    /// Returns the taps of a component.
    pub(crate) fn of(&self, id: &str) -> Arc<ComponentTap> {
        let mut taps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(taps.entry(id.to_owned()).or_default())
    }

    /// Opens a tap on all wanted streams.
    ///
    /// # Errors
    /// If no stream matches.
    pub(crate) fn open(
        &self,
        components: &[ComponentSpec],
        wanted: &TapWanted,
    ) -> Result<(Tap, Vec<TapSource>)> {
        let streams = streams_of(components, wanted)?;
        let (tap, mut sources) = (Tap::default(), Vec::new());
        for (component, stream) in streams {
            let spec = &components[component];
            let name = spec.streams.iter().nth(stream.0).map_or("", |(name, _)| name);
            let from = match stream {
                StreamId::DEFAULT => spec.id.clone(),
                _ => format!("{}:{name}", spec.id),
            };
            let fields = spec.streams.fields(stream).clone();
            tap.open(&self.of(&spec.id), stream, wanted.every, sources.len());
            sources.push(TapSource { from, fields });
        }
        Ok((tap, sources))
    }
}

/// Returns the wanted streams, each with the position of its component.
fn streams_of(components: &[ComponentSpec], wanted: &TapWanted) -> Result<Vec<(usize, StreamId)>> {
    let visible = || components.iter().enumerate().filter(|(_, spec)| !spec.id.starts_with('_'));
    let Some((position, spec)) = visible().find(|(_, spec)| spec.id == wanted.component) else {
        let known: Vec<_> = visible().map(|(_, spec)| format!("\"{}\"", spec.id)).collect();
        return Err(Error::fatal(format!(
            "there is no component \"{}\", but {}",
            wanted.component,
            known.join(", ")
        )));
    };
    if spec.role == Role::Sink {
        let inputs = spec.inputs.iter().map(|input| (input.from, input.stream));
        return Ok(inputs.collect());
    }
    let is_taken = |stream: StreamId| {
        let takes =
            |input: &crate::topology::InputSpec| input.from == position && input.stream == stream;
        visible().any(|(_, taker)| taker.inputs.iter().any(takes))
    };
    let named = spec.streams.iter().enumerate().map(|(id, (name, _))| (StreamId(id), name));
    let is_wanted = |name: &str| wanted.stream.as_deref().is_none_or(|stream| stream == name);
    let found: Vec<_> = named
        .filter(|(stream, name)| is_wanted(name) && is_taken(*stream))
        .map(|(stream, _)| (position, stream))
        .collect();
    if found.is_empty() {
        let known: Vec<_> = spec.streams.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        return Err(Error::fatal(format!(
            "no bolt takes such a stream of \"{}\"; its streams are {}",
            spec.id,
            known.join(", ")
        )));
    }
    Ok(found)
}
