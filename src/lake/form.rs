//! The forms that a file of the lake may have. The extension of a file tells its form.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::FileName;

/// The layout of the posts in a file.
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
    /// One post per line.
    Ndjson,
}

/// The compression that is applied to the text of a file when the file closes.
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
    /// No compression.
    #[default]
    None,
    /// Gzip, which every tool can read.
    Gzip,
    /// Zstandard, which compresses better than gzip and is several times as fast.
    Zstd,
}

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// JSON text, compressed or not.
    Text(Format, Compression),
    /// Parquet, one post per row: see [`columns`](super::columns).
    Parquet,
}

use Compression::{Gzip, None as Plain, Zstd};
use Format::{JsonArray, Ndjson};

impl Form {
    /// An uncompressed JSON array, the default form of written files.
    pub const ARRAY: Self = Self::Text(JsonArray, Plain);

    /// All forms with the extensions of their files. Writing, reading and the command line use this
    /// one list.
    pub const ALL: [(Self, &str); 7] = [
        (Self::ARRAY, ""),
        (Self::Text(JsonArray, Gzip), ".json.gz"),
        (Self::Text(JsonArray, Zstd), ".json.zst"),
        (Self::Text(Ndjson, Plain), ".ndjson"),
        (Self::Text(Ndjson, Gzip), ".ndjson.gz"),
        (Self::Text(Ndjson, Zstd), ".ndjson.zst"),
        (Self::Parquet, ".parquet"),
    ];

    /// Returns the form of files with this extension, which begins with its dot or is empty.
    pub fn of_extension(extension: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == extension).map(|(form, _)| form)
    }

    /// Returns the form of the file at a key or path. A file with an unknown extension is taken for
    /// an uncompressed array.
    pub fn of(key: &str) -> Self {
        let name = key.rsplit('/').next().unwrap_or(key);
        name.parse().map_or(Self::ARRAY, |name: FileName| name.form)
    }

    /// Returns the extension of this form's files.
    pub fn extension(self) -> &'static str {
        let found = Self::ALL.into_iter().find(|(form, _)| *form == self);
        found.map_or("", |(_, extension)| extension)
    }

    /// Returns true if the files of this form are uncompressed JSON text.
    pub fn is_plain(self) -> bool {
        matches!(self, Self::Text(_, Plain))
    }

    /// Returns the bytes that end the text of a file.
    pub fn end(self) -> &'static [u8] {
        if let Self::Text(JsonArray, _) = self { b"]" } else { b"" }
    }
}

impl Format {
    /// Returns the bytes before and after a post in a file.
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
