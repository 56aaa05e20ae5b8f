//! Two made-up snapshots of a running topology, two seconds apart, for tests of what watchers show.

use std::time::Duration;

use time::macros::datetime;

use crate::metrics::{ComponentStatus, Phase, Status};
use crate::watch::bottleneck::Flow;

/// Returns the edges `posts → split → words`.
pub(crate) fn flow() -> Flow {
    Flow::with(&[("posts", "split"), ("split", "words")])
}

/// Returns the snapshot after ten seconds.
pub(crate) fn before() -> Status {
    Status {
        state_file_bytes: None,
        waits: None,
        drain: None,
        hangs: Vec::new(),
        topology: "quickstart".into(),
        uptime: Duration::from_secs(10),
        phase: Phase::Running,
        partition: datetime!(2015-12-18 0:00 UTC),
        rolls_over: datetime!(2015-12-18 1:00 UTC),
        epoch: 9,
        checkpoint_age: Some(Duration::from_millis(700)),
        checkpoint_took: None,
        inactive: false,
        components: vec![
            component("posts", "spout", 1, (0, 8_000), 500, 0.0, "running"),
            component("split", "bolt", 2, (7_990, 96_000), 5_000, 0.5, "running"),
            component("words", "sink", 1, (95_000, 0), 1_000, 0.1, "running"),
        ],
    }
}

/// Returns the snapshot after twelve seconds, in which `split` can't keep up.
pub(crate) fn after() -> Status {
    let mut split = component("split", "bolt", 2, (11_970, 144_000), 8_820, 1.0, "running");
    (split.failed, split.dead_letters) = (12, 3);
    Status {
        waits: None,
        drain: None,
        hangs: Vec::new(),
        uptime: Duration::from_secs(12),
        epoch: 11,
        checkpoint_age: Some(Duration::from_millis(412)),
        components: vec![
            component("posts", "spout", 1, (0, 12_000), 580, 0.0, "blocked"),
            split,
            component("words", "sink", 1, (143_000, 0), 1_150, 0.125, "idle"),
        ],
        ..before()
    }
}

fn component(
    id: &str,
    role: &'static str,
    tasks: usize,
    (received, emitted): (u64, u64),
    busy_ms: u64,
    inbox: f64,
    state: &str,
) -> ComponentStatus {
    ComponentStatus {
        id: id.into(),
        role: role.into(),
        type_name: "MadeUp".into(),
        tasks,
        received,
        emitted,
        failed: 0,
        dead_letters: 0,
        letters_dropped: 0,
        dropped: 0,
        out_of_order: 0,
        late: 0,
        watermark: None,
        behind: None,
        drifted: 0,
        keys: None,
        state_bytes: None,
        forgotten: 0,
        p50: (role != "spout").then_some(Duration::from_nanos(16_400)),
        p99: (role != "spout").then_some(Duration::from_micros(3_512)),
        executes: None,
        busy: Duration::from_millis(busy_ms),
        inbox,
        state: state.into(),
        troubles: Vec::new(),
        only_failed: false,
    }
}
