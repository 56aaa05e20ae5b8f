//! Tests positions in partitions that were replaced.

use super::*;
use crate::lake::store::memory::MemoryStore;

fn name(time: &str, number: u32) -> String {
    format!("2015-12-18T{time}:00:00-afa5ac3{number}-e695-4f96-aca2-d24c7527aed7")
}

fn generation(old: &str, counts: &[u64], erased: &[(u64, u64)], into: Option<&str>) -> Generation {
    Generation {
        partition: old.into(),
        files: (0..counts.len()).map(|file| format!("{file:07}")).collect(),
        posts: counts.iter().sum(),
        bytes: 0,
        why: "erase".into(),
        when: time::OffsetDateTime::UNIX_EPOCH,
        counts: counts.to_vec(),
        erased: erased.to_vec(),
        into: into.map(str::to_owned),
        offset: 0,
    }
}

/// Formats each stretch as `file:first+posts>at`.
fn shown(pieces: &[Piece]) -> String {
    let mut shown = Vec::new();
    for Stretch { file, first, posts, at } in pieces.iter().flat_map(|piece| &piece.stretches) {
        shown.push(format!(
            "{}:{first}+{posts}>{at}",
            file.to_string().trim_start_matches("000000")
        ));
    }
    shown.join(" ")
}

#[track_caller]
fn check(generations: &[Generation], expected: &str) {
    let store = MemoryStore::default();
    for generation in generations {
        replaced::put(&store, generation).unwrap();
    }
    let pieces = trace(&store, &generations[0].partition).unwrap().unwrap();
    assert_eq!(shown(&pieces), expected);
}

#[test]
fn posts_are_found_behind_erased_ones_and_through_several_generations() {
    let (a, b, c) = (name("00", 1), name("00", 2), name("00", 3));
    let compacted = generation(&a, &[2, 0, 3], &[], Some(&b));
    check(std::slice::from_ref(&compacted), "0:0+2>0 2:0+3>2");
    check(&[generation(&a, &[2, 3], &[(1, 2)], Some(&b))], "0:0+1>0 1:1+2>1");
    check(&[generation(&a, &[2, 3], &[(0, 1), (4, 1)], Some(&b))], "0:1+1>0 1:0+2>1");
    check(&[generation(&a, &[2, 3], &[(0, 5)], None)], "");
    let joined = Generation { offset: 7, ..compacted.clone() };
    check(&[joined, generation(&b, &[6, 6], &[(8, 2)], Some(&c))], "0:0+1>7 2:1+2>8");
    check(&[compacted, generation(&b, &[5], &[(0, 5)], None)], "");
}

#[test]
fn what_was_deleted_or_is_of_an_earlier_version_is_named() {
    let (a, b) = (name("00", 1), name("00", 2));
    let error = |generation: &Generation| {
        let store = MemoryStore::default();
        replaced::put(&store, generation).unwrap();
        trace(&store, &a).unwrap_err().chain()
    };
    let pruned = Generation { why: "prune".into(), ..generation(&a, &[2], &[], None) };
    assert!(error(&pruned).contains(&a) && error(&pruned).contains("\"prune\" deleted it"));
    let old = Generation { counts: Vec::new(), ..generation(&a, &[2], &[], Some(&b)) };
    assert!(error(&old).contains(&a) && error(&old).contains("of an earlier version"));
}

#[test]
fn what_was_read_in_part_keeps_its_name_and_so_do_its_siblings() {
    let (a, b, joined, later) = (name("00", 1), name("00", 2), name("00", 3), name("01", 4));
    let store = MemoryStore::default();
    for partition in [&joined, &later] {
        store.put(&format!("{partition}/0000000"), "[]".into()).unwrap();
    }
    replaced::put(&store, &generation(&a, &[2], &[], Some(&joined))).unwrap();
    let second = Generation { offset: 2, ..generation(&b, &[3], &[], Some(&joined)) };
    replaced::put(&store, &second).unwrap();
    let listing = Listing::read(&store).unwrap();
    let chosen = listing.matching(&store, "*").unwrap();
    let found = |progress: &[(&String, bool)], to_roots: bool| {
        let progress = progress.iter().map(|(id, ended)| ((*id).clone(), *ended)).collect();
        splits(&store, &listing, &chosen, &|_| true, &progress, to_roots)
    };
    assert_eq!(found(&[], false).unwrap(), [&joined[..], &later]);
    assert_eq!(found(&[(&a, true)], false).unwrap(), [&a[..], &b, &later]);
    assert_eq!(found(&[(&b, false), (&later, false)], false).unwrap(), [&a[..], &b, &later]);
    assert_eq!(found(&[(&joined, false)], false).unwrap(), [&joined[..], &later]);
    assert_eq!(found(&[], true).unwrap(), [&a[..], &b, &later]);
    let gone = name("02", 5);
    assert_eq!(found(&[(&gone, true)], false).unwrap(), [&joined[..], &later]);
    assert!(found(&[(&gone, false)], false).unwrap_err().chain().contains(&gone));
}
