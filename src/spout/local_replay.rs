//! `LocalReplay`: a lake in a folder as a source.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Cursor, Split, Spout, SpoutConfig, SpoutContext, SpoutOutput};
use crate::error::{Error, Result};
use crate::lake::partitions::{Partition, partitions};
use crate::lake::replay::{Position, read};
use crate::post::Post;
use crate::registry::Component;
use crate::value::Value;

/// Reads the posts of a lake in a folder again, partition by partition, as fast as they are taken.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalReplay {
    /// The folder of the lake.
    pub root: PathBuf,
    /// Which partitions: a glob over their names, such as `2015-12-18T00:00:00-*`.
    #[serde(default = "every")]
    pub partitions: String,
}

fn every() -> String {
    "*".into()
}

impl Component for LocalReplay {
    const NAME: &'static str = "LocalReplay";
    const GUARANTEE: &'static str =
        "resumes behind the last post of the checkpoint, so each post is read once; a damaged file stops it";
}

impl LocalReplay {
    fn absolute_root(&self) -> Result<PathBuf> {
        std::path::absolute(&self.root)
            .map_err(|cause| Error::fatal(format!("bad root \"{}\"", self.root.display())).because(cause))
    }
}

impl SpoutConfig for LocalReplay {
    fn splits(&self) -> Result<Vec<String>> {
        let partitions = partitions(&self.absolute_root()?, &self.partitions)?;
        Ok(partitions.into_iter().map(|partition| partition.name).collect())
    }

    fn build(&self, _context: &SpoutContext) -> Result<Box<dyn Spout>> {
        Ok(Box::new(Replay { root: self.absolute_root()? }))
    }
}

/// How many pieces are read ahead, of some hundred kilobytes each. More would only hold memory: a
/// piece is read faster than it is worked on.
const PIECES_AHEAD: usize = 4;

/// How many posts are handed over in one go at most, for small posts.
const EMIT_POSTS_MAX: usize = 1024;

struct Replay {
    root: PathBuf,
}

/// Posts of one split, and where it stands behind them.
#[derive(Debug)]
struct Piece {
    split: usize,
    posts: Vec<Post>,
    /// `None` at the end of the split.
    position: Option<Position>,
}

#[async_trait(?Send)]
impl Spout for Replay {
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()> {
        let (sender, mut pieces) = mpsc::channel(PIECES_AHEAD);
        let (root, splits) = (self.root.clone(), out.splits().to_vec());
        // It ends with its work, or as soon as nobody takes its pieces any more.
        let reader = thread::Builder::new()
            .name("replay".into())
            .spawn(move || read_splits(root, &splits, |piece| sender.blocking_send(piece).is_ok()))
            .map_err(|cause| Error::transient("can't start a thread that reads the lake").because(cause))?;
        let topics: Arc<[Value]> = [].into();
        while let Some(piece) = pieces.recv().await {
            emit(piece, &topics, out).await?;
        }
        reader.join().unwrap_or_else(|_| Err(Error::fatal("the thread that reads the lake panicked")))
    }
}

async fn emit(piece: Piece, topics: &Arc<[Value]>, out: &mut SpoutOutput) -> Result<()> {
    let Some(Position { file, posts: end }) = piece.position else {
        return out.emit(piece.split, Cursor::End).await;
    };
    let mut behind = end - piece.posts.len() as u64;
    let mut posts = piece.posts.into_iter().peekable();
    while posts.peek().is_some() {
        for post in posts.by_ref().take(EMIT_POSTS_MAX) {
            let kind = Value::from(post.kind());
            out.push([Value::Post(post), kind, Value::List(Arc::clone(topics))]);
            behind += 1;
        }
        out.emit(piece.split, Cursor::At(format!("{file}:{behind}"))).await?;
    }
    Ok(())
}

/// Reads splits one after the other, until `take` returns false.
fn read_splits(root: PathBuf, splits: &[Split], mut take: impl FnMut(Piece) -> bool) -> Result<()> {
    for (split, Split { id, cursor }) in splits.iter().enumerate() {
        let Some(from) = position(cursor)? else { continue };
        let partition = Partition { name: id.clone(), folder: root.join(id) };
        let read = read(&partition, from, |posts, position| take(Piece { split, posts, position: Some(position) }))?;
        if !read || !take(Piece { split, posts: Vec::new(), position: None }) {
            return Ok(());
        }
    }
    Ok(())
}

/// Where a cursor says to go on; `None` if the split is at its end.
fn position(cursor: &Cursor) -> Result<Option<Option<Position>>> {
    let text = match cursor {
        Cursor::Start => return Ok(Some(None)),
        Cursor::End => return Ok(None),
        Cursor::At(text) => text,
    };
    let parse = || {
        let (file, posts) = text.split_once(':')?;
        Some(Position { file: file.parse().ok()?, posts: posts.parse().ok()? })
    };
    let found = parse().ok_or_else(|| Error::fatal(format!("bad cursor \"{text}\": expected <file>:<posts>")))?;
    Ok(Some(Some(found)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const NIGHT: &str = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";
    const MORNING: &str = "2015-12-18T06:00:00-0fa5ac3a-e695-4f96-aca2-d24c7527aed7";

    fn lake() -> (tempfile::TempDir, LocalReplay) {
        let root = tempfile::tempdir().unwrap();
        for (file, content) in [("0000000", "[{\"a\":1},{\"a\":2}]"), ("0000001", "[{\"b\":3}]")] {
            for partition in [NIGHT, MORNING] {
                fs::create_dir_all(root.path().join(partition)).unwrap();
                fs::write(root.path().join(partition).join(file), content).unwrap();
            }
        }
        let config = LocalReplay { root: root.path().into(), partitions: every() };
        (root, config)
    }

    fn read_all(root: &tempfile::TempDir, splits: &[(&str, Cursor)]) -> Vec<String> {
        let splits: Vec<_> =
            splits.iter().map(|(id, cursor)| Split { id: (*id).into(), cursor: cursor.clone() }).collect();
        let mut found = Vec::new();
        read_splits(root.path().into(), &splits, |piece| {
            let posts: Vec<_> = piece.posts.iter().map(|post| String::from_utf8_lossy(post)).collect();
            let position = piece.position.map_or("end".into(), |at| format!("{}:{}", at.file, at.posts));
            found.push(format!("{} {} {position}", piece.split, posts.join(" ")));
            true
        })
        .unwrap();
        found
    }

    #[test]
    fn each_partition_is_a_split() {
        let (_root, config) = lake();
        assert_eq!(config.splits().unwrap(), [NIGHT, MORNING]);
        assert_eq!(LocalReplay { partitions: "*T06*".into(), ..config }.splits().unwrap(), [MORNING]);
    }

    #[test]
    fn a_split_goes_on_behind_its_cursor() {
        let (root, _config) = lake();
        let at = |text: &str| Cursor::At(text.into());
        assert_eq!(
            read_all(&root, &[(NIGHT, Cursor::End), (MORNING, Cursor::Start)]),
            ["1 {\"a\":1} {\"a\":2} 0000000:2", "1 {\"b\":3} 0000001:1", "1  end"]
        );
        assert_eq!(
            read_all(&root, &[(NIGHT, at("0000000:1")), (MORNING, at("0000001:1"))]),
            ["0 {\"a\":2} 0000000:2", "0 {\"b\":3} 0000001:1", "0  end", "1  end"]
        );
    }

    #[test]
    fn a_reader_whose_pieces_nobody_takes_ends() {
        let (root, _config) = lake();
        let mut pieces = 0;
        let splits = [Split { id: NIGHT.into(), cursor: Cursor::Start }];
        read_splits(root.path().into(), &splits, |_| {
            pieces += 1;
            false
        })
        .unwrap();
        assert_eq!(pieces, 1);
    }

    #[test]
    fn a_cursor_that_is_none_and_a_partition_that_is_gone_are_errors() {
        let (root, _config) = lake();
        let error = |id: &str, cursor| {
            let splits = [Split { id: id.into(), cursor }];
            read_splits(root.path().into(), &splits, |_| true).unwrap_err().chain()
        };
        assert!(error(NIGHT, Cursor::At("12".into())).contains("bad cursor \"12\""));
        assert!(error("gone", Cursor::Start).contains("gone"));
    }
}
