//! Tests the configurations of replays, and the threads that read for them.

use std::fs;

use super::strays::Place as At;
use super::*;
use crate::epoch::Cursor;
use crate::lake::replay::{Event, Split};
use crate::lake::store::Store;
use crate::lake::store::local::LocalStore;
use crate::lake::tools::compact::compact;
use crate::registry::Config;

const NIGHT: &str = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";
const MORNING: &str = "2015-12-18T06:00:00-0fa5ac3a-e695-4f96-aca2-d24c7527aed7";

fn lake() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (file, content) in [("0000000", "[{\"a\":1},{\"a\":2}]"), ("0000001", "[{\"b\":3}]")] {
        for partition in [NIGHT, MORNING] {
            fs::create_dir_all(root.path().join(partition)).unwrap();
            fs::write(root.path().join(partition).join(file), content).unwrap();
        }
    }
    root
}

fn config(root: &tempfile::TempDir, more: &str) -> Arc<dyn SpoutConfig> {
    let registry = crate::components::standard();
    let read = registry
        .find("LocalReplay")
        .unwrap()
        .read(&format!("LocalReplay(root: {:?}{more})", root.path()));
    let Config::Spout(config) = read.unwrap().config else { panic!("it is a spout") };
    config
}

fn read_all(root: &tempfile::TempDir, splits: &[(&str, Cursor)]) -> Result<Vec<String>> {
    let split = |(id, cursor): &(&str, Cursor)| {
        let At { mark, ended, .. } = At::of(cursor)?;
        Ok(Split { partition: (*id).into(), mark, ended })
    };
    let splits = splits.iter().map(split).collect::<Result<Vec<_>>>()?;
    let place = Place::Folder(root.path().into());
    let (order, sorting, tempo, times, on_damage) = Default::default();
    let mut found = Vec::new();
    Replay { place, order, sorting, tempo, times, on_damage }.run(&splits, &mut |event| {
        let Event::Handed(handed, _) = event else { panic!("nothing is damaged or late") };
        let posts: Vec<_> = handed.posts.iter().map(|post| String::from_utf8_lossy(post)).collect();
        let (split, mark) = handed.marks[0];
        found.push(format!(
            "{split} {} {}",
            posts.join(" "),
            mark.map_or("end".into(), |mark| mark.to_string())
        ));
        true
    })?;
    Ok(found)
}

#[test]
fn each_partition_that_is_meant_is_a_split() {
    let root = lake();
    let splits = |more: &str| config(&root, more).splits().unwrap();
    assert_eq!(splits(""), [NIGHT, MORNING]);
    assert_eq!(splits(", partitions: \"*T06*\""), [MORNING]);
    assert_eq!(splits(", from: \"2015-12-18T01:00:00\""), [MORNING]);
    assert_eq!(splits(", to: \"2015-12-18T06:00:00Z\""), [NIGHT]);
    let (even, odd) = (splits(", shard: (0, 2)"), splits(", shard: (1, 2)"));
    assert_eq!(even.len() + odd.len(), 2);
    assert!(even.iter().all(|name| !odd.contains(name)));
}

#[test]
fn a_timetable_needs_one_task() {
    let root = lake();
    assert_eq!(config(&root, ", speed: 60.0").tasks_max(), Some(1));
    assert_eq!(config(&root, ", speed: Max, order: Time, on_damage: Skip").tasks_max(), None);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let registry = crate::components::standard();
    for bad in ["shard: (2, 2)", "from: \"noon\"", "speed: -1.0", "order: Random"] {
        assert!(
            registry
                .find("LocalReplay")
                .unwrap()
                .read(&format!("LocalReplay(root: \"x\", {bad})"))
                .is_err(),
            "{bad}"
        );
    }
}

#[test]
fn a_split_goes_on_behind_its_cursor() {
    let root = lake();
    let at = |text: &str| Cursor::At(text.into());
    assert_eq!(
        read_all(&root, &[(NIGHT, Cursor::End), (MORNING, Cursor::Start)]).unwrap(),
        ["1 {\"a\":1} {\"a\":2} 0000000:2", "1 {\"b\":3} 0000001:1", "1  end"]
    );
    assert_eq!(
        read_all(&root, &[(NIGHT, at("0000000:1")), (MORNING, at("0000001:1"))]).unwrap(),
        ["0 {\"a\":2} 0000000:2", "0 {\"b\":3} 0000001:1", "0  end", "1  end"]
    );
}

#[test]
fn a_split_goes_on_in_what_took_its_place() {
    let root = lake();
    let store: Arc<dyn Store> = Arc::new(LocalStore::new(root.path()));
    let (all, now) = ([NIGHT.to_owned(), MORNING.to_owned()], time::OffsetDateTime::UNIX_EPOCH);
    compact(&store, &all, (1 << 20, None), now, |_| Ok(())).unwrap();
    let at = |text: &str| Cursor::At(text.into());
    let cursors = [(NIGHT.to_owned(), at("0000000:1")), (MORNING.to_owned(), Cursor::End)].into();
    assert_eq!(config(&root, "").splits_after(&cursors).unwrap(), [NIGHT, MORNING]);
    assert_eq!(
        read_all(&root, &[(NIGHT, at("0000000:1")), (MORNING, Cursor::End)]).unwrap(),
        ["0 {\"a\":2} 0000000:2", "0 {\"b\":3} 0000001:1", "0  end"]
    );
    let fresh = config(&root, "").splits().unwrap();
    assert!(fresh.len() == 2 && !fresh.contains(&all[0]) && !fresh.contains(&all[1]), "{fresh:?}");
    assert_eq!(config(&root, &format!(", partitions: \"{NIGHT}\"")).splits().unwrap(), [NIGHT]);
}

#[test]
fn a_partition_that_was_read_in_part_and_is_gone_is_named() {
    let root = lake();
    fs::remove_dir_all(root.path().join(NIGHT)).unwrap();
    let cursors = |cursor| [(NIGHT.to_owned(), cursor)].into();
    let error = config(&root, "")
        .splits_after(&cursors(Cursor::At("0000000:1".into())))
        .unwrap_err()
        .chain();
    assert!(error.contains(NIGHT) && error.contains("read in part and is gone"), "{error}");
    assert_eq!(config(&root, "").splits_after(&cursors(Cursor::End)).unwrap(), [MORNING]);
    let later = config(&root, ", from: \"2015-12-18T06:00:00\"");
    assert_eq!(later.splits_after(&cursors(Cursor::At("0000000:1".into()))).unwrap(), [MORNING]);
}

#[test]
fn a_cursor_that_is_none_and_a_partition_that_is_gone_are_errors() {
    let root = lake();
    let error = |id: &str, cursor| read_all(&root, &[(id, cursor)]).unwrap_err().chain();
    assert!(error(NIGHT, Cursor::At("12".into())).contains("bad cursor \"12\""));
    assert!(error("gone", Cursor::Start).contains("gone"));
    assert!(
        error(NIGHT, Cursor::At("0000000:0+0000001:1".into()))
            .contains("can't go on in another order")
    );
}
