//! `lake cat`: the posts.

use std::io::Write;

use super::super::exit::Outcome;
use super::super::stdout;
use super::json;
use crate::error::{Error, Result};
use crate::lake::scan::ObjectReader;
use crate::lake::store::Store;
use crate::lake::view::{Selection, files};

/// Print posts as NDJSON, one post a line
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The lake, or some of its partitions
    // Several, since a shell expands a glob that isn't quoted.
    #[arg(required = true, value_name = "ROOT[/GLOB]")]
    lakes: Vec<String>,
    /// Print where each post is, too: {"partition","file","post"}
    #[arg(long)]
    json: bool,
}

/// A post with its place.
#[derive(serde::Serialize)]
struct Placed<'a> {
    partition: &'a str,
    file: &'a str,
    post: &'a serde_json::value::RawValue,
}

/// Prints the posts on standard output.
pub fn run(args: &Args) -> Outcome {
    stdout::with(|out| {
        for lake in &args.lakes {
            let selection = Selection::parse(lake)?;
            let store = selection.store.as_ref();
            for partition in selection.partitions()? {
                for (name, key) in files(store, &partition)? {
                    let place = args.json.then(|| (partition.as_str(), name.to_string()));
                    print(store, &key, place, out)?;
                }
            }
        }
        Ok(())
    })
}

/// Prints the posts of one file, each with its place if that is given.
fn print(store: &dyn Store, key: &str, place: Option<(&str, String)>, out: &mut dyn Write) -> Result<()> {
    let mut reader = ObjectReader::new(store, key);
    while let Some(posts) = reader.next_posts().map_err(|trouble| trouble.of(store, key))? {
        for post in posts {
            let written = match &place {
                None => out.write_all(&post).and_then(|()| out.write_all(b"\n")),
                Some((partition, file)) => out.write_all(placed(partition, file, &post)?.as_bytes()),
            };
            written.map_err(|cause| Error::fatal("can't write to standard output").because(cause))?;
        }
    }
    Ok(())
}

fn placed(partition: &str, file: &str, post: &[u8]) -> Result<String> {
    let post = serde_json::from_slice(post).map_err(|cause| Error::fatal("a post is no JSON").because(cause))?;
    Ok(json(&Placed { partition, file, post }))
}
