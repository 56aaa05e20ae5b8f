//! The contents of a lake as its store reports them, without partitions that `compact` and `erase`
//! have begun or replaced.

use std::collections::BTreeSet;
use std::sync::Arc;

use glob::Pattern;

use super::address::Address;
use super::form::{Compression, Form};
use super::index::{self, Found};
use super::names::FileName;
use super::scan::{ObjectBytes, Trouble};
use super::store::{Object, Store, open};
use super::{columns, parallel};
use crate::error::{Error, Result};

use super::listing::Listing;
pub use super::listing::{files, objects, partitions};

/// A lake, and the selected partitions in it.
pub struct Selection {
    /// The store that holds the lake.
    pub store: Arc<dyn Store>,
    /// A glob over the names of partitions.
    pub glob: Pattern,
    text: String,
}

impl Selection {
    /// Parses `ROOT[/GLOB]`: a lake, a glob over its partitions, or one partition; see [`Address`].
    ///
    /// # Errors
    /// If the lake doesn't exist, or the glob is malformed.
    pub fn parse(address: &str) -> Result<Self> {
        let Address { root, partitions } = Address::parse(address)?;
        let text = partitions.glob();
        let glob = Pattern::new(&text)
            .map_err(|cause| Error::fatal(format!("bad glob \"{text}\"")).because(cause))?;
        Ok(Self { store: open(&root)?, glob, text })
    }

    /// Returns the names of the partitions, in order.
    ///
    /// # Errors
    /// If they can't be listed, or none matches; but a lake may be empty.
    pub fn partitions(&self) -> Result<Vec<String>> {
        let all = partitions(self.store.as_ref())?;
        let matching: Vec<_> = all.iter().filter(|name| self.glob.matches(name)).cloned().collect();
        if matching.is_empty() && self.text != "*" {
            let (root, glob, all) = (self.store.address(""), &self.text, all.len());
            return Err(Error::fatal(format!(
                "no partition in \"{root}\" matches \"{glob}\"; there are {all} others"
            )));
        }
        Ok(matching)
    }

    /// Returns the partitions under the names by which they are read, in order, including folders
    /// with other names.
    ///
    /// # Errors
    /// As [`partitions`](Self::partitions).
    pub fn readable(&self) -> Result<Vec<String>> {
        let store = self.store.as_ref();
        Listing::read(store)?.matching(store, &self.text)
    }

    /// Returns true if the whole lake is selected.
    pub fn is_whole(&self) -> bool {
        self.text == "*"
    }
}

/// Returns the forms of the files of these partitions with their extensions, from the index if it
/// exists.
///
/// # Errors
/// If an object can't be listed or read.
pub fn forms(store: &dyn Store, partitions: &[String]) -> Result<BTreeSet<(Form, &'static str)>> {
    let found: Vec<_> = partitions.iter().zip(index::read_all(store, partitions)?).collect();
    let form = |name: FileName| (name.form, name.extension());
    let forms = |(partition, found): &(&String, Found)| match found {
        Found::Index(index) => Ok(index
            .files
            .iter()
            .filter_map(|file| file.file.parse().ok())
            .map(form)
            .collect::<BTreeSet<_>>()),
        _ => Ok(files(store, partition)?.into_iter().map(|(name, _)| form(name)).collect()),
    };
    parallel::map(&found, forms)
        .into_iter()
        .try_fold(BTreeSet::new(), |all, forms| Ok(&all | &forms?))
}

/// Returns the length of a file's text, according to the file itself, without reading all of it.
/// The value is too small if another tool compressed the text in several members, 0 if the file
/// doesn't say it, and for Parquet a little more than the length of its posts.
///
/// # Errors
/// If the store can't return a part of the file.
pub fn text_bytes(store: &dyn Store, name: FileName, object: &Object) -> Result<u64> {
    let part = |from: u64, to: u64| {
        Ok::<_, Error>(store.get_range(&object.key, from..to)?.unwrap_or_default())
    };
    let last = |bytes: u64| part(object.bytes.saturating_sub(bytes), object.bytes);
    Ok(match name.form {
        Form::Text(_, Compression::None) => object.bytes,
        Form::Text(_, Compression::Gzip) => {
            last(4)?[..].try_into().map_or(0, |end| u64::from(u32::from_le_bytes(end)))
        }
        Form::Text(_, Compression::Zstd) => {
            zstd::zstd_safe::get_frame_content_size(&part(0, 18)?).ok().flatten().unwrap_or(0)
        }
        Form::Parquet => match columns::text_bytes(&mut ObjectBytes::new(store, &object.key)) {
            Err(Trouble::Store(error)) => return Err(error),
            said => said.unwrap_or(0),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NIGHT: &str = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";

    #[test]
    fn an_address_is_a_root_a_glob_or_a_partition() {
        let root = tempfile::tempdir().unwrap();
        let lake = root.path().join("lake");
        std::fs::create_dir_all(lake.join(NIGHT)).unwrap();
        std::fs::write(lake.join(NIGHT).join("0000000"), "[]").unwrap();
        let of = |rest: &str| {
            let selection = Selection::parse(&format!("{}{rest}", lake.display()))?;
            Ok::<_, Error>((selection.text.clone(), selection.partitions()?))
        };
        for (rest, glob) in
            [("", "*"), ("/", "*"), ("/2015*", "2015*"), (&format!("/{NIGHT}"), NIGHT)]
        {
            assert_eq!(of(rest).unwrap(), (glob.to_owned(), vec![NIGHT.to_owned()]), "{rest}");
        }
        assert!(
            of("/2016*").unwrap_err().chain().contains("matches \"2016*\"; there are 1 others")
        );
        assert!(of("/nowhere").unwrap_err().chain().contains("no lake at"));
        assert!(of("/no/where/*").unwrap_err().chain().contains("no lake at"));
        assert!(
            Selection::parse("gs://bucket/*").is_err_and(|error| error.chain().contains("gs://"))
        );
    }
}
