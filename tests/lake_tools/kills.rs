//! Tools that are killed before each change that they make, with a reader beside them, and a replay
//! that goes on from cursors whose partition a tool has replaced.

use waterspout::lake::replay::{Choice, News, Place, Stream, Wanted};

use super::*;

/// kill -9 before each change that the tools make, then the same command again.
#[test]
fn a_killed_tool_is_run_again() {
    let sandbox = captured();
    let (pristine, root) = (sandbox.path("pristine"), sandbox.path("lake"));
    fs::rename(&root, &pristine).unwrap();
    sandbox.write("ids", "17\n");
    let mut rest = all();
    rest.retain(|post| !post.contains("\"id\":\"17\""));
    let parquet = ["lake", "compact", "lake", "--to", "parquet", "--closed-before", LATER];
    let (compact, erase) = (
        ["lake", "compact", "lake", "--closed-before", LATER],
        ["lake", "erase", "lake", "--ids", "ids", "--closed-before", LATER],
    );
    let index = ["lake", "index", "lake"];
    let mut kills = BTreeMap::new();
    for (command, end) in
        [(&compact[..], all()), (&parquet[..], all()), (&erase[..], rest), (&index, all())]
    {
        for point in
            ["tools.step", "disk.rename", "disk.renamed", "disk.sync_folder", "disk.make_folder"]
        {
            // Into Parquet is the same way with other bytes.
            let times: &[u64] = if command == parquet || command == index {
                &[0, 1, 3, 8]
            } else {
                &[0, 1, 2, 3, 5, 8, 13, 21]
            };
            for after in times {
                if root.exists() {
                    fs::remove_dir_all(&root).unwrap();
                }
                copy(&pristine, &root);
                let faults = format!("{point}={after}*off->return(kill)");
                let mut reader = Beside::begin(&root);
                let killed = sandbox.run_with(command, &[("FAILPOINTS", &faults)]);
                let beside = reader.rest();
                assert!(
                    end.iter().all(|post| beside.binary_search(post).is_ok()),
                    "{command:?} with {faults} loses"
                );
                assert!(
                    beside.windows(2).all(|pair| pair[0] != pair[1]),
                    "{command:?} with {faults} doubles"
                );
                let mut reader = Beside::begin(&root);
                let seen = sandbox.run(&["replay", "lake"]).with(0).sorted_lines();
                assert!(
                    end.iter().all(|post| seen.binary_search(post).is_ok()),
                    "{command:?} with {faults} loses"
                );
                assert!(
                    seen.windows(2).all(|pair| pair[0] != pair[1]),
                    "{command:?} with {faults} doubles"
                );
                sandbox.run(command).with(0);
                let beside = reader.rest();
                assert!(
                    end.iter().all(|post| beside.binary_search(post).is_ok()),
                    "{command:?} after {faults} loses"
                );
                assert!(
                    beside.windows(2).all(|pair| pair[0] != pair[1]),
                    "{command:?} after {faults} doubles"
                );
                assert_eq!(
                    sandbox.run(&["replay", "lake"]).with(0).sorted_lines(),
                    end,
                    "{command:?} with {faults}"
                );
                sandbox.run(&["lake", "verify", "lake", "--require-index"]).with(0);
                *kills.entry(command).or_insert(0) += usize::from(killed.code.is_none());
            }
        }
    }
    assert!(
        kills.values().sum::<usize>() > 30 && kills.values().all(|kills| *kills > 2),
        "{kills:?}"
    );
}

/// What is pruned is gone for a reader: it has all posts, or it says which partition is gone.
#[test]
fn a_killed_prune_is_run_again() {
    let sandbox = captured();
    let (pristine, root) = (sandbox.path("pristine"), sandbox.path("lake"));
    let old = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";
    fs::rename(partition(&sandbox), root.join(old)).unwrap();
    sandbox.run(&["lake", "index", "lake"]).with(0);
    let left: BTreeMap<_, _> =
        lake_by_partition(&root, &OTHERS).into_iter().filter(|(name, _)| name != old).collect();
    let mut left: Vec<_> = left.into_values().flatten().collect();
    left.sort();
    for index in
        glob::glob(&format!("{}/_index/*.json", root.display())).unwrap().map(Result::unwrap)
    {
        let partition = index.file_stem().unwrap();
        if !root.join(partition).exists() {
            fs::remove_file(index).unwrap();
        }
    }
    fs::rename(&root, &pristine).unwrap();
    let prune = ["lake", "prune", "lake", "--older-than", "90d"];
    let (mut kills, mut named) = (0, 0);
    for point in
        ["tools.step", "disk.rename", "disk.renamed", "disk.sync_folder", "disk.make_folder"]
    {
        for after in [0, 1, 2, 3, 5, 8] {
            if root.exists() {
                fs::remove_dir_all(&root).unwrap();
            }
            copy(&pristine, &root);
            let mut reader = Beside::begin(&root);
            let killed = sandbox
                .run_with(&prune, &[("FAILPOINTS", &format!("{point}={after}*off->return(kill)"))]);
            kills += usize::from(killed.code.is_none());
            let verified = sandbox.run(&["lake", "verify", "lake"]).out;
            assert!(!verified.contains("stands beside"), "{verified}");
            named += usize::from(verified.contains("it is to be deleted, and `prune` was killed"));
            let seen = sandbox.run(&["replay", "lake"]).with(0).sorted_lines();
            assert!(seen == all() || seen == left, "{} posts with {point}={after}", seen.len());
            match reader.try_rest() {
                Ok(seen) => assert!(
                    seen == all() || seen == left,
                    "{} posts with {point}={after}",
                    seen.len()
                ),
                Err(error) => assert!(error.contains(old) && error.contains("is gone"), "{error}"),
            }
            sandbox.run(&prune).with(0);
            assert_eq!(
                sandbox.run(&["replay", "lake"]).with(0).sorted_lines(),
                left,
                "{point}={after}"
            );
            sandbox.run(&["lake", "verify", "lake", "--require-index"]).with(0);
        }
    }
    assert!(kills > 5 && named > 0, "{kills} kills, {named} named");
}

/// The cursors of a replay are in a partition that `compact` has replaced, when all of its tasks go
/// back to the newest checkpoint: once before the replay goes on, and once while `compact` is at
/// work.
#[test]
fn a_replay_that_is_rebalanced_after_and_during_compact_hands_over_each_post_once() {
    let sandbox = Sandbox::new();
    let line = |i: usize| {
        let (second, milli) = (i / 100, i % 100 * 10);
        format!(
            "{{\"tweet\":{{\"created_at\":\"2015-12-18T00:00:{second:02}.{milli:03}Z\",\"id\":\"{i:05}\"}}}}"
        )
    };
    let lines: Vec<String> = (0..6_000).map(line).collect();
    sandbox.write("in.ndjson", lines.join("\n") + "\n");
    sandbox.write(
        "t.ron",
        "Topology(name: \"t\", spouts: {\"in\": Spout(run: Lines(paths: [\"in.ndjson\"]))},
         bolts: {\"lake\": Bolt(run: Local(root: \"lake\"), inputs: [Shuffle(\"in\")])},
         micro_batch: MicroBatch(posts: 20))",
    );
    sandbox.run(&["run", "t.ron", "--state", "captured"]).with(0);
    // 60 seconds of posts in six.
    sandbox.write(
        "r.ron",
        "Topology(name: \"r\", spouts: {\"in\": Spout(run: LocalReplay(root: \"lake\", speed: 10.0))},
         bolts: {\"out\": Bolt(run: Local(root: \"second\"), inputs: [Shuffle(\"in\")])},
         checkpoint: Checkpoint(every: \"20ms\"), micro_batch: MicroBatch(posts: 50))",
    );
    let mut running = sandbox.start(&["run", "r.ron", "--state", "state", "--interval", "50ms"]);
    let files = || support::files_by_partition(&sandbox.path("lake")).into_iter().sum::<usize>();
    let emitted = |report: &Value| support::total(report, "in", "emitted");
    running.wait_for("a part is handed over", |report| emitted(report) > 300);
    let compact = |bytes: &'static str| {
        ["lake", "compact", "lake", "--closed-before", LATER, "--bytes", bytes]
    };
    sandbox.run(&compact("20KiB")).with(0);
    assert!(files() < 100, "{} files", files());
    sandbox.run(&["rebalance", "--state", "state", "out=2"]).with(0);
    running.wait_for("it goes on", |report| emitted(report) > 1_500 && emitted(report) < 6_000);
    std::thread::scope(|scope| {
        let at_work = scope.spawn(|| sandbox.run(&compact("1MiB")).with(0));
        sandbox.run(&["rebalance", "--state", "state", "out=1"]).with(0);
        at_work.join().unwrap();
    });
    assert_eq!(files(), 1);
    running.end().with(0);
    assert!(support::lake(&sandbox.path("second"), false) == lines, "each post once");
    // Partitions that the rebalances ended have their index.
    sandbox.run(&["lake", "verify", "second", "--require-index"]).with(0);
}

/// A reader that has begun, and goes on when something was done to the lake.
struct Beside {
    stream: Stream,
    posts: Vec<String>,
}

impl Beside {
    fn begin(root: &Path) -> Self {
        let lake = Place::Folder(root.into());
        let partitions = lake.partitions(&Choice::glob("*")).unwrap();
        let wanted = |(split, partition)| Wanted { split, partition, from: None };
        let stream = Stream::open(&lake, partitions.into_iter().enumerate().map(wanted)).unwrap();
        let mut reader = Self { stream, posts: Vec::new() };
        assert!(reader.next(), "there is a post");
        reader
    }

    fn next(&mut self) -> bool {
        let Some(news) = self.stream.next_news().unwrap() else { return false };
        self.take(news);
        true
    }

    fn take(&mut self, news: News) {
        if let News::Posts { posts, .. } = news {
            self.posts.extend(posts.iter().map(|post| String::from_utf8(post.to_vec()).unwrap()));
        }
    }

    /// All posts, sorted, or why it can't go on.
    fn try_rest(&mut self) -> Result<Vec<String>, String> {
        while let Some(news) = self.stream.next_news().map_err(|error| error.chain())? {
            self.take(news);
        }
        Ok(self.rest())
    }

    /// All posts that it has read, sorted.
    fn rest(&mut self) -> Vec<String> {
        while self.next() {}
        self.posts.sort();
        std::mem::take(&mut self.posts)
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to)
        } else {
            fs::copy(entry.path(), to).map(drop).unwrap()
        }
    }
}
