use std::fs;
use std::io::{self, Write};

use super::*;
use crate::lake::index;

const PARTITION: &str = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";

fn lake() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join(PARTITION)).unwrap();
    for (name, content) in
        [("0000004", "[{\"a\":3}]"), ("0000001", "[{\"a\":1}, {\"a\":2}]"), ("0000003", "[]")]
    {
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

/// Makes a lake with an index of all files, whose entry for the last file is wrong.
fn altered() -> tempfile::TempDir {
    let root = lake();
    let store = crate::lake::store::local::LocalStore::new(root.path());
    let mut index = index::build(&store, PARTITION).unwrap();
    index.files[2].crc32 += 1;
    index::write(&store, &index).unwrap();
    root
}

#[test]
fn a_file_that_is_not_what_the_index_says_is_damaged() {
    let root = altered();
    let address = root.path().display().to_string();
    let mut out = Vec::new();
    let error = replay(&address, &mut out).unwrap_err().chain();
    assert!(
        error.contains("0000004\" is damaged: its checksum is") && error.contains("in the index"),
        "{error}"
    );
    for order in [Order::Partition, Order::Time] {
        let printing = Printing { on_damage: OnDamage::Skip, order, ..Printing::default() };
        let (mut out, mut said) = (Vec::new(), Vec::new());
        let clock = crate::clock::SystemClock::shared();
        assert_eq!(
            print(&address, &printing, &clock, &mut out, &mut |text| said.push(text)).unwrap(),
            3
        );
        assert!(said.len() == 1 && said[0].ends_with("its posts are handed over"), "{said:?}");
    }
}

#[test]
fn a_sample_of_an_indexed_partition_and_a_damaged_index_are_fine() {
    let root = altered();
    fs::remove_file(root.path().join(PARTITION).join("0000004")).unwrap();
    assert_eq!(printed(&root.path().display().to_string()), "{\"a\":1}\n{\"a\":2}\n");
    fs::write(root.path().join(PARTITION).join("0000007"), "[{\"a\":7}]").unwrap();
    assert_eq!(printed(&root.path().display().to_string()), "{\"a\":1}\n{\"a\":2}\n{\"a\":7}\n");
    fs::write(root.path().join(index::key(PARTITION)), "{").unwrap();
    assert_eq!(printed(&root.path().display().to_string()), "{\"a\":1}\n{\"a\":2}\n{\"a\":7}\n");
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
    let place = Place::Folder(root.path().into());
    let rest = |file: &str, posts| {
        let mut rest = Vec::new();
        let from = Position { file: file.parse().unwrap(), posts };
        let end = read(&place, PARTITION, Some(from), |posts, _| {
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
