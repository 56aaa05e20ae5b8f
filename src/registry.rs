//! A list of components, which parses their RON, prints their help, and names candidates for a
//! wrong name.

use std::sync::Arc;

use ron::error::SpannedError;
use ron::extensions::Extensions;
use schemars::{Schema, schema_for};

use crate::bolt::BoltConfig;
use crate::sink::SinkConfig;
use crate::spout::SpoutConfig;

pub use crate::component::{Component, Role};

/// A component's parsed and typed configuration.
#[derive(Clone)]
pub enum Config {
    /// The configuration of a spout.
    Spout(Arc<dyn SpoutConfig>),
    /// The configuration of a bolt.
    Bolt(Arc<dyn BoltConfig>),
    /// The configuration of a sink.
    Sink(Arc<dyn SinkConfig>),
}

/// The result of [`Entry::read`].
pub struct Read {
    /// The typed configuration.
    pub config: Config,
    /// The same configuration in RON, on one line, with every default written out.
    pub explained: String,
}

/// One registered component.
#[derive(Clone)]
pub struct Entry {
    /// The name in RON.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// Its role.
    pub role: Role,
    /// Its guarantee, in a sentence.
    pub guarantee: &'static str,
    schema: fn() -> Schema,
    read: fn(&str) -> Result<Read, SpannedError>,
}

impl Entry {
    /// Returns the JSON schema of the configuration: each field with type, default and meaning.
    pub fn schema(&self) -> Schema {
        (self.schema)()
    }

    /// Parses a configuration from its RON, which begins with the component's own name (or alias)
    /// and parentheses.
    ///
    /// # Errors
    /// If the RON doesn't fit the configuration; positions are relative to `text`.
    pub fn read(&self, text: &str) -> Result<Read, SpannedError> {
        (self.read)(text)
    }
}

/// Returns the RON dialect of topology files, which need no `#![enable]` line.
pub fn ron_options() -> ron::Options {
    ron::Options::default().with_default_extension(
        Extensions::IMPLICIT_SOME
            | Extensions::UNWRAP_NEWTYPES
            | Extensions::UNWRAP_VARIANT_NEWTYPES,
    )
}

fn parse<C: Component>(text: &str) -> Result<(C, String), SpannedError> {
    // `ron` checks the name of the struct, so the name, which may be an alias, is left out.
    let body = text.find('(').map_or("()", |paren| &text[paren..]);
    let padding = " ".repeat(text.len().saturating_sub(body.len()));
    let config: C = ron_options().from_str(&format!("{padding}{body}"))?;
    let body = ron_options().to_string(&config).unwrap_or_else(|error| format!("/* {error} */"));
    Ok((config, format!("{}{body}", C::NAME)))
}

/// The components that a topology may name.
#[derive(Clone)]
pub struct Registry {
    entries: Vec<Entry>,
}

impl Registry {
    /// Creates a list without components.
    pub fn empty() -> Self {
        Self { entries: Vec::new() }
    }

    /// Adds a spout.
    #[must_use]
    pub fn spout<C: Component + SpoutConfig>(self) -> Self {
        self.with::<C>(Role::Spout, |text| {
            let (config, explained) = parse::<C>(text)?;
            Ok(Read { config: Config::Spout(Arc::new(config)), explained })
        })
    }

    /// Adds a bolt.
    #[must_use]
    pub fn bolt<C: Component + BoltConfig>(self) -> Self {
        self.with::<C>(Role::Bolt, |text| {
            let (config, explained) = parse::<C>(text)?;
            Ok(Read { config: Config::Bolt(Arc::new(config)), explained })
        })
    }

    /// Adds a sink.
    #[must_use]
    pub fn sink<C: Component + SinkConfig>(self) -> Self {
        self.with::<C>(Role::Sink, |text| {
            let (config, explained) = parse::<C>(text)?;
            Ok(Read { config: Config::Sink(Arc::new(config)), explained })
        })
    }

    fn with<C: Component>(
        mut self,
        role: Role,
        read: fn(&str) -> Result<Read, SpannedError>,
    ) -> Self {
        // A spout and a bolt may share a name, because the place in the file tells them apart.
        let is_spout = role == Role::Spout;
        self.entries
            .retain(|entry| entry.name != C::NAME || (entry.role == Role::Spout) != is_spout);
        self.entries.push(Entry {
            name: C::NAME,
            aliases: C::ALIASES,
            role,
            guarantee: C::GUARANTEE,
            schema: || schema_for!(C),
            read,
        });
        self
    }

    /// Returns the component with this name or alias.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name || entry.aliases.contains(&name))
    }

    /// Returns the component with this name or alias that is a spout (`is_spout`) or isn't one.
    pub fn find_for(&self, name: &str, is_spout: bool) -> Option<&Entry> {
        let fits = |entry: &&Entry| (entry.role == Role::Spout) == is_spout;
        self.entries
            .iter()
            .filter(fits)
            .find(|entry| entry.name == name || entry.aliases.contains(&name))
    }

    /// Returns all components, in the order in which they were added.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}
