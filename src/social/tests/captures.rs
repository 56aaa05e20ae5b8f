//! Tests that a capture outlives its tasks, and that checkpoints outlive a power loss.

use std::ops::Range;
use std::path::PathBuf;

use super::super::capture;
use super::*;
use crate::checkpoint::{Changes, Saved, Started, StateStore, Take};
use crate::epoch::Cursor;

/// A store that compares each checkpoint with the spool's synced position when it is saved.
struct Watched {
    store: MemoryStore,
    spool: PathBuf,
    /// The positions of checkpoints, each with the position up to which the spool was synced.
    seen: Mutex<Vec<(u64, u64)>>,
}

impl StateStore for Watched {
    fn saved(&self) -> Result<Saved> {
        self.store.saved()
    }

    fn restore(&self, component: &str, groups: Range<u16>, take: &mut Take<'_>) -> Result<()> {
        self.store.restore(component, groups, take)
    }

    fn has_state(&self, component: &str) -> Result<bool> {
        self.store.has_state(component)
    }

    fn start(&self, started: &Started) -> Result<()> {
        self.store.start(started)
    }

    fn save(&self, changes: &Changes) -> Result<()> {
        for cursor in changes.cursors.values() {
            let Cursor::At(position) = cursor else { panic!("{cursor:?}") };
            let synced = capture::of(&self.spool).unwrap().spool.synced();
            self.seen.lock().unwrap().push((position.parse().unwrap(), synced));
        }
        self.store.save(changes)
    }

    fn end(&self, finished: Option<OffsetDateTime>) -> Result<()> {
        self.store.end(finished)
    }

    fn tell(&self) -> Result<()> {
        self.store.tell()
    }
}

/// Starts a topology of the scripted source with these fields.
fn begin(state: &Path, fields: &str, store: Arc<dyn StateStore>) -> Arc<Running> {
    let text = format!(
        r#"Topology(name: "t", spouts: {{"in": Spout(run: Scripted({fields}))}}, bolts: {{
            "out": Bolt(run: Null(), inputs: [Shuffle("in")]),
        }}, checkpoint: Checkpoint(every: "20ms"))"#
    );
    let registry = crate::components::standard().spout::<Scripted>();
    let topology = parse("t.ron", &text, &registry, &LoadOptions::default())
        .unwrap_or_else(|problems| panic!("{problems}"));
    start(topology, RunOptions::new(store, state)).unwrap()
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "not in time: {what}");
        std::thread::yield_now();
    }
}

fn stop(running: &Running) {
    running.stop();
    assert_eq!(running.wait(Duration::from_secs(60)), Some(Exit::Finished));
}

#[test]
fn no_checkpoint_covers_what_the_spool_has_not_synced() {
    let script = |feed: &Feed| {
        feed.offer(tweet("a storm"));
        Ok(())
    };
    SCRIPTS.lock().unwrap().insert("synced".into(), Arc::new(script));
    let state = tempfile::tempdir().unwrap();
    let (spool, store, seen) =
        (state.path().join("spool/in"), MemoryStore::default(), Mutex::default());
    let watched = Arc::new(Watched { store, spool, seen });
    // By itself the spool would not be synced during this test.
    let fields = r#"script: "synced", topics: ["storm"], spool: Options(sync_every: "1d")"#;
    let running = begin(state.path(), fields, watched.clone());
    until("a checkpoint", || !watched.seen.lock().unwrap().is_empty());
    stop(&running);
    let seen = watched.seen.lock().unwrap();
    assert!(seen.iter().all(|(covered, synced)| *covered > 0 && covered <= synced), "{seen:?}");
}

#[test]
fn a_capture_that_lingers_is_joined_by_the_same_configuration_and_gives_way_to_another() {
    static TOPICS: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let script = |feed: &Feed| {
        let wanted = ["a storm", "rain"]
            .into_iter()
            .filter(|text| feed.offer(tweet(text)) == Offered::Taken);
        TOPICS.lock().unwrap().extend(wanted.map(str::to_owned));
        Ok(())
    };
    SCRIPTS.lock().unwrap().insert("lingers".into(), Arc::new(script));
    let state = tempfile::tempdir().unwrap();
    let run = |topic: &str, count: usize| {
        let fields = format!(r#"script: "lingers", topics: ["{topic}"]"#);
        let running = begin(state.path(), &fields, Arc::new(MemoryStore::default()));
        until("the posts of the spool", || {
            running
                .status()
                .components
                .iter()
                .any(|component| component.id == "out" && component.received as usize == count)
        });
        stop(&running);
        TOPICS.lock().unwrap().clone()
    };
    assert_eq!(run("storm", 1), ["a storm"]);
    assert_eq!(run("storm", 1), ["a storm"], "it is the same capture");
    assert_eq!(run("rain", 2), ["a storm", "rain"]);
}

#[test]
fn a_spool_that_was_cut_or_deleted_under_its_checkpoint_is_a_gap() {
    let script = |feed: &Feed| {
        (0..20).for_each(|number| _ = feed.offer(tweet(&format!("a storm, number {number}"))));
        Ok(())
    };
    SCRIPTS.lock().unwrap().insert("lost".into(), Arc::new(script));
    for (is_deleted, says) in
        [(true, "is gone, or empty"), (false, "before the newest checkpoint: it was cut")]
    {
        let state = tempfile::tempdir().unwrap();
        let store = Arc::new(MemoryStore::default());
        let run = || {
            let fields = r#"script: "lost", topics: ["storm"]"#;
            begin(state.path(), fields, Arc::<MemoryStore>::clone(&store))
        };
        let first = run();
        let is_full = |running: &Running| running.status().components[1].received >= 20;
        until("the posts", || is_full(&first));
        stop(&first);
        let spool = state.path().join("spool/in");
        let capture = capture::of(&spool).unwrap();
        block_on(capture.dismiss()).unwrap();
        drop(capture);
        if is_deleted {
            std::fs::remove_dir_all(&spool).unwrap();
        } else {
            let entries = std::fs::read_dir(&spool).unwrap().map(|entry| entry.unwrap().path());
            let is_segment = |path: &PathBuf| path.extension().is_some_and(|end| end == "seg");
            let segment = entries.filter(is_segment).max().unwrap();
            let bytes = segment.metadata().unwrap().len();
            std::fs::OpenOptions::new()
                .write(true)
                .open(segment)
                .unwrap()
                .set_len(bytes / 2)
                .unwrap();
        }
        let second = run();
        let gaps = || crate::gaps::ledger_entries(state.path()).unwrap();
        until("an entry of the ledger", || !gaps().is_empty());
        let is_told = |running: &Running| {
            let mut messages = running.messages(0).into_iter();
            messages.any(|said| said.text.contains("may be missing") && said.text.contains(says))
        };
        until("a message of the gap", || is_told(&second));
        stop(&second);
        let gaps = gaps();
        assert_eq!(gaps.len(), 1);
        assert!(
            gaps[0].why.contains(says) && gaps[0].from < gaps[0].to && !gaps[0].filled,
            "{gaps:?}"
        );
    }
}
