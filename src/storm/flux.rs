//! A Flux file, with the place of each element.

use std::borrow::Cow;
use std::fmt;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

/// A note about a place in a Flux file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FluxNote {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// The text of the note.
    pub what: String,
}

impl fmt::Display for FluxNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.what)
    }
}

/// A node of a Flux file, with its place.
#[derive(Clone, Copy)]
pub(super) struct FluxNode<'a>(&'a MarkedYaml<'a>);

/// Reads the one document of a file.
///
/// # Errors
/// If the text isn't YAML or has more than one document.
pub(super) fn read(text: &str) -> Result<Vec<MarkedYaml<'_>>, FluxNote> {
    let documents = MarkedYaml::load_from_str(text).map_err(|error| {
        let marker = error.marker();
        let what = format!("not YAML: {}", error.info());
        FluxNote { line: marker.line(), column: marker.col() + 1, what }
    })?;
    match documents.len() {
        1 => Ok(documents),
        found => {
            let what = format!("expected one document, found {found}");
            Err(FluxNote { line: 1, column: 1, what })
        }
    }
}

impl<'a> FluxNode<'a> {
    /// Wraps a node of the YAML parser.
    pub(crate) fn new(node: &'a MarkedYaml<'a>) -> Self {
        Self(node)
    }

    /// Creates a note about this place.
    pub(crate) fn note(self, what: impl Into<String>) -> FluxNote {
        let start = self.0.span.start;
        FluxNote { line: start.line(), column: start.col() + 1, what: what.into() }
    }

    /// Returns the value of a key, if this is a mapping that has it.
    pub(crate) fn get(self, key: &str) -> Option<Self> {
        self.entries().into_iter().find(|(name, _)| name.text() == Some(key.into())).map(|e| e.1)
    }

    /// Returns the keys and values, if this is a mapping.
    pub(crate) fn entries(self) -> Vec<(Self, Self)> {
        match &self.0.data {
            YamlData::Mapping(entries) => {
                entries.iter().map(|(key, value)| (Self(key), Self(value))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Returns the elements, if this is a list.
    pub(crate) fn items(self) -> Option<Vec<Self>> {
        match &self.0.data {
            YamlData::Sequence(items) => Some(items.iter().map(Self).collect()),
            _ => None,
        }
    }

    /// Returns the text of a scalar, as Java's `String` would have it.
    pub(crate) fn text(self) -> Option<Cow<'a, str>> {
        match &self.0.data {
            YamlData::Value(Scalar::String(text)) => Some(Cow::Borrowed(text)),
            YamlData::Value(Scalar::Integer(number)) => Some(number.to_string().into()),
            YamlData::Value(Scalar::Boolean(value)) => Some(value.to_string().into()),
            YamlData::Value(Scalar::FloatingPoint(number)) => Some(number.to_string().into()),
            _ => None,
        }
    }

    /// Returns the whole number in a scalar.
    pub(crate) fn number(self) -> Option<i64> {
        match &self.0.data {
            YamlData::Value(Scalar::Integer(number)) => Some(*number),
            _ => None,
        }
    }

    /// Returns the texts in a list of texts.
    pub(crate) fn texts(self) -> Option<Vec<String>> {
        let items = self.items()?;
        items.into_iter().map(|item| item.text().map(Cow::into_owned)).collect()
    }

    /// Returns the same value in RON.
    pub(crate) fn ron(self) -> String {
        match &self.0.data {
            YamlData::Value(Scalar::Null) => "None".into(),
            YamlData::Value(Scalar::Integer(number)) => number.to_string(),
            YamlData::Value(Scalar::Boolean(value)) => value.to_string(),
            YamlData::Value(Scalar::FloatingPoint(number)) => format!("{:?}", number.into_inner()),
            YamlData::Sequence(items) => {
                let items: Vec<_> = items.iter().map(|item| Self(item).ron()).collect();
                format!("[{}]", items.join(", "))
            }
            YamlData::Mapping(_) => {
                let entries: Vec<_> = self
                    .entries()
                    .into_iter()
                    .map(|(key, value)| {
                        format!("{}: {}", quoted(&key.text().unwrap_or_default()), value.ron())
                    })
                    .collect();
                format!("{{{}}}", entries.join(", "))
            }
            _ => quoted(&self.text().unwrap_or_default()),
        }
    }

    /// Adds a note for each text that Flux would fill in, such as `${key}`.
    pub(crate) fn placeholders(self, found: &mut Vec<FluxNote>) {
        if let YamlData::Value(Scalar::String(text)) = &self.0.data
            && let Some(at) = text.find("${")
        {
            let name = text[at..].split_inclusive('}').next().unwrap_or_default();
            found.push(self.note(format!(
                "\"{name}\" is filled in by Flux when a topology is submitted: write the value in \
                 its place"
            )));
        }
        for item in self.items().unwrap_or_default() {
            item.placeholders(found);
        }
        for (_, value) in self.entries() {
            value.placeholders(found);
        }
    }
}

/// Returns a text in RON.
pub(super) fn quoted(text: &str) -> String {
    format!("{text:?}")
}
