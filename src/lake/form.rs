//! The forms that a file of the lake may have, each known by its extension.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::FileName;

/// How the posts of a file are put together.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum Format {
    /// One JSON array on one line.
    #[default]
    JsonArray,
    /// One post a line.
    Ndjson,
}

/// How the text of a file is compressed, when it closes.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// By gzip, which every tool reads.
    Gzip,
    /// By Zstandard: smaller, and several times as fast.
    Zstd,
}

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// JSON text, compressed or not.
    Text(Format, Compression),
    /// Parquet, one post a row: see [`columns`](super::columns).
    Parquet,
}

use Compression::{Gzip, None as Plain, Zstd};
use Format::{JsonArray, Ndjson};

impl Form {
    /// A JSON array as it is: what is written without being told otherwise.
    pub const ARRAY: Self = Self::Text(JsonArray, Plain);

    /// All forms with the extensions of their files. One list for writing, reading and the command
    /// line.
    pub const ALL: [(Self, &str); 7] = [
        (Self::ARRAY, ""),
        (Self::Text(JsonArray, Gzip), ".json.gz"),
        (Self::Text(JsonArray, Zstd), ".json.zst"),
        (Self::Text(Ndjson, Plain), ".ndjson"),
        (Self::Text(Ndjson, Gzip), ".ndjson.gz"),
        (Self::Text(Ndjson, Zstd), ".ndjson.zst"),
        (Self::Parquet, ".parquet"),
    ];

    /// The form of the files with this extension, which begins with its dot, or is empty.
    pub fn of_extension(extension: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == extension).map(|(form, _)| form)
    }

    /// The form of the file at a key or path. One of another name is taken for a plain array.
    pub fn of(key: &str) -> Self {
        let name = key.rsplit('/').next().unwrap_or(key);
        name.parse().map_or(Self::ARRAY, |name: FileName| name.form)
    }

    /// The extension of its files.
    pub fn extension(self) -> &'static str {
        let found = Self::ALL.into_iter().find(|(form, _)| *form == self);
        found.map_or("", |(_, extension)| extension)
    }

    /// Whether its files are JSON text as they lie there.
    pub fn is_plain(self) -> bool {
        matches!(self, Self::Text(_, Plain))
    }

    /// What ends the text of a file.
    pub fn end(self) -> &'static [u8] {
        if let Self::Text(JsonArray, _) = self { b"]" } else { b"" }
    }
}

impl Format {
    /// What stands before a post in a file, and what behind it.
    pub fn around(self, first: bool) -> [&'static [u8]; 2] {
        match self {
            JsonArray if first => [b"[", b""],
            JsonArray => [b",", b""],
            Ndjson => [b"", b"\n"],
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.extension())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_known_by_the_extension() {
        for (form, extension) in Form::ALL {
            assert_eq!(Form::of_extension(extension), Some(form));
            assert_eq!(Form::of(&format!("p/0000012{extension}")), form);
            assert_eq!(form.extension(), extension);
        }
        assert_eq!(Form::of("p/0000012.json"), Form::ARRAY);
        assert_eq!(Form::of_extension(".csv"), None);
    }
}
