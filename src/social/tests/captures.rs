//! A capture outlives its tasks.

use super::*;
use crate::checkpoint::StateStore;

/// Starts a topology of the scripted source with these fields.
fn begin(state: &Path, fields: &str, store: Arc<dyn StateStore>) -> Arc<Running> {
    let text = format!(
        r#"Topology(name: "t", spouts: {{"in": Spout(run: Scripted({fields}))}}, bolts: {{
            "out": Bolt(run: Null(), inputs: [Shuffle("in")]),
        }}, checkpoint: Checkpoint(every: "20ms"))"#
    );
    let registry = Registry::standard().spout::<Scripted>();
    let topology =
        parse("t.ron", &text, &registry, &LoadOptions::default()).unwrap_or_else(|problems| panic!("{problems}"));
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
fn a_capture_that_lingers_is_joined_by_the_same_configuration_and_gives_way_to_another() {
    static TOPICS: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let script = |feed: &Feed| {
        let wanted = ["a storm", "rain"].into_iter().filter(|text| feed.offer(tweet(text)) == Offered::Taken);
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
