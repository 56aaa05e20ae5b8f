//! `lake cat`: the posts.

use std::io::Write;

use super::super::exit::Outcome;
use super::super::stdout;
use super::json;
use crate::error::{Error, Result};
use crate::lake::replay::{News, Place, Stream, Wanted};
use crate::lake::view::Selection;
use crate::post::Post;

/// Print posts as NDJSON, one post a line
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
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
pub(crate) fn run(args: &Args) -> Outcome {
    stdout::with(|out| {
        for lake in &args.lakes {
            let selection = Selection::parse(lake)?;
            let mut wanted = Vec::new();
            for (split, partition) in selection.readable()?.into_iter().enumerate() {
                wanted.push(Wanted { split, partition, from: None });
            }
            let mut stream = Stream::open(&Place::Store(selection.store), wanted)?;
            while let Some(news) = stream.next_news()? {
                if let News::Posts { posts, key, .. } = news {
                    print(&posts, args.json.then_some(&*key), out)?;
                }
            }
        }
        Ok(())
    })
}

/// Prints posts, each with its place if the key of their file is given.
fn print(posts: &[Post], key: Option<&str>, out: &mut dyn Write) -> Result<()> {
    for post in posts {
        let written = match key.and_then(|key| key.split_once('/')) {
            None => out.write_all(post).and_then(|()| out.write_all(b"\n")),
            Some((partition, file)) => out.write_all(placed(partition, file, post)?.as_bytes()),
        };
        written.map_err(|cause| Error::fatal("can't write to standard output").because(cause))?;
    }
    Ok(())
}

fn placed(partition: &str, file: &str, post: &[u8]) -> Result<String> {
    let post = serde_json::from_slice(post)
        .map_err(|cause| Error::fatal("a post is no JSON").because(cause))?;
    Ok(json(&Placed { partition, file, post }))
}
