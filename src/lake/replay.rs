//! A lake's posts, one after the other.

use std::io::{self, BufWriter, Write};

use super::names::FileNumber;
use super::partitions::{Partition, partitions_of};
use super::reader::FileReader;
use crate::error::{Error, Result};
use crate::post::Post;

/// How far a partition has been read: so many posts of one of its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The file.
    pub file: FileNumber,
    /// How many of its posts.
    pub posts: u64,
}

/// Reads a partition from a position on, and hands its posts to `take` with the position behind
/// them, until that returns false. Returns whether it was read to the end.
///
/// # Errors
/// If a file can't be read, is damaged, or has fewer posts than were read of it before.
pub fn read(
    partition: &Partition,
    from: Option<Position>,
    mut take: impl FnMut(Vec<Post>, Position) -> bool,
) -> Result<bool> {
    for (file, path) in partition.files()? {
        if from.is_some_and(|from| file < from.file) {
            continue;
        }
        let skip = from.filter(|from| from.file == file).map_or(0, |from| from.posts);
        let mut reader = FileReader::open(path.clone())?;
        let mut read = 0;
        while let Some(mut posts) = reader.next_posts()? {
            let before = usize::try_from(skip.saturating_sub(read)).unwrap_or(usize::MAX).min(posts.len());
            read += posts.len() as u64;
            posts.drain(..before);
            if !posts.is_empty() && !take(posts, Position { file, posts: read }) {
                return Ok(false);
            }
        }
        if read < skip {
            let path = path.display();
            return Err(Error::fatal(format!("\"{path}\" has {read} posts, but {skip} of it were read before")));
        }
    }
    Ok(true)
}

/// How many bytes of output are gathered.
const OUTPUT_BYTES: usize = 256 << 10;

/// Prints the posts of partitions as NDJSON, in the order of the partitions' names, and returns how
/// many there were. `glob` is `<root>/<glob>`, a root, or a partition's folder. A reader that has
/// seen enough and closes the pipe ends it without an error.
///
/// # Errors
/// If nothing matches, a file is damaged, or the output can't be written.
pub fn replay(glob: &str, out: &mut dyn Write) -> Result<u64> {
    let mut out = BufWriter::with_capacity(OUTPUT_BYTES, out);
    let (mut printed, mut failed) = (0, None);
    for partition in partitions_of(glob)? {
        let going_on = read(&partition, None, |posts, _| {
            failed = print(&posts, &mut out).err();
            printed += posts.len() as u64;
            failed.is_none()
        })?;
        if !going_on {
            break;
        }
    }
    match failed.map_or_else(|| out.flush(), Err) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::fatal("can't write the output").because(error))
        }
        _ => Ok(printed),
    }
}

fn print(posts: &[Post], out: &mut impl Write) -> io::Result<()> {
    posts.iter().try_for_each(|post| {
        out.write_all(post)?;
        out.write_all(b"\n")
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const PARTITION: &str = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";

    fn lake() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(PARTITION)).unwrap();
        for (name, content) in [("0000004", "[{\"a\":3}]"), ("0000001", "[{\"a\":1}, {\"a\":2}]"), ("0000003", "[]")] {
            fs::write(root.path().join(PARTITION).join(name), content).unwrap();
        }
        root
    }

    fn printed(glob: &str) -> String {
        let mut out = Vec::new();
        let count = replay(glob, &mut out).unwrap();
        assert_eq!(count, out.iter().filter(|byte| **byte == b'\n').count() as u64);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_partial_partition_is_printed_in_number_order() {
        let root = lake();
        for glob in ["", "/*", &format!("/{PARTITION}"), "/2015-12-18T00:00:00-*"] {
            let glob = format!("{}{glob}", root.path().display());
            assert_eq!(printed(&glob), "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
        }
    }

    #[test]
    fn damage_is_an_error_after_what_came_before_it() {
        let root = lake();
        fs::write(root.path().join(PARTITION).join("0000002"), "[{\"a\":").unwrap();
        let mut out = Vec::new();
        let error = replay(&root.path().display().to_string(), &mut out).unwrap_err();
        assert!(error.chain().contains("0000002\" is damaged at byte 6"), "{error:?}");
        assert_eq!(out, b"{\"a\":1}\n{\"a\":2}\n");
    }

    #[test]
    fn a_closed_pipe_is_no_error_and_a_full_disk_is_one() {
        struct Broken(io::ErrorKind);
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let root = lake();
        let glob = root.path().display().to_string();
        replay(&glob, &mut Broken(io::ErrorKind::BrokenPipe)).unwrap();
        replay(&glob, &mut Broken(io::ErrorKind::StorageFull)).unwrap_err();
    }

    #[test]
    fn reading_goes_on_behind_any_position() {
        let root = lake();
        let partition = &partitions_of(&root.path().display().to_string()).unwrap()[0];
        let rest = |file: &str, posts| {
            let mut rest = Vec::new();
            let from = Position { file: file.parse().unwrap(), posts };
            let end = read(partition, Some(from), |posts, _| {
                rest.extend(posts.into_iter().map(|post| String::from_utf8_lossy(&post).into_owned()));
                true
            });
            end.map(|_| rest)
        };
        assert_eq!(rest("0000001", 1).unwrap(), ["{\"a\":2}", "{\"a\":3}"]);
        assert_eq!(rest("0000001", 2).unwrap(), ["{\"a\":3}"]);
        assert_eq!(rest("0000002", 5).unwrap(), ["{\"a\":3}"]);
        assert_eq!(rest("0000004", 1).unwrap(), Vec::<String>::new());
        assert!(rest("0000004", 2).unwrap_err().chain().contains("has 1 posts, but 2"));
    }
}
