//! The page in a real Chromium, as its user sees it: by keyboard and screen reader too, narrow and
//! wide, light and dark.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{cache, repository};
use super::world::World;

/// The pinned Python packages that drive the browser.
const PINS: &str = "tests/server/browser.txt";

/// The paths of Chromium in the packages of Debian and of others.
const CHROMIUMS: [&str; 4] = [
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    "/usr/bin/google-chrome-stable",
];

fn chromium() -> PathBuf {
    if let Some(named) = std::env::var_os("WATERSPOUT_CHROMIUM") {
        return named.into();
    }
    let found = CHROMIUMS.iter().map(Path::new).find(|path| path.exists());
    found.map(Path::to_owned).unwrap_or_else(|| {
        panic!(
            "Chromium is missing: tests/run installs Debian's package chromium where it runs as \
             root; otherwise install it, or name another Chromium by WATERSPOUT_CHROMIUM"
        )
    })
}

/// Posts with a script in the text of one, in the time of a second.
fn write_posts(world: &World) -> String {
    let mut lines = String::new();
    for number in 0..30 {
        let text = match number {
            0 => "<script>document.title = 'taken over'</script> & <b>bold</b>".to_owned(),
            _ => format!("post {number} of the storm"),
        };
        lines += &serde_json::json!({"tweet": {
            "id": (1_000_000 + number).to_string(),
            "created_at": "2015-12-18T00:00:00Z",
            "text": text,
            "user": {"name": "<i>Ann</i>", "screen_name": "ann"},
        }})
        .to_string();
        lines += "\n";
    }
    // A line that isn't a post becomes a dead letter.
    lines += "[\"<script>no post</script>\"]\n";
    world.sandbox.write("posts.ndjson", lines);
    world.path("posts.ndjson")
}

/// A topology that has something of everything that the page shows.
fn topology(world: &World) -> String {
    format!(
        r#"Topology(
    name: "storm watch",
    spouts: {{
        "posts": Spout(run: Generate(rate: 8, speed: 100)),
        "file": Spout(run: Lines(paths: ["{posts}"])),
    }},
    bolts: {{
        "features": Bolt(
            run: Features(keys: [Hashtag], sentiment: false),
            inputs: [LocalOrShuffle("posts")],
        ),
        "trends": Bolt(
            run: Trends(bucket: "1m", key_types: ["hashtag"], warm_up: 5),
            inputs: [Fields("features:keys", ["key_type", "key"]), All("posts")],
        ),
        "found": Bolt(run: Null(), inputs: [Global("trends")]),
        "words": Bolt(run: Words(field: "text"), inputs: [LocalOrShuffle("posts")]),
        "count": Bolt(run: Count(fields: ["word"]), inputs: [Fields("words", ["word"])]),
        "shown": Bolt(run: Null(), inputs: [LocalOrShuffle("count")]),
        "all posts": Bolt(run: Local(root: "{all}"), inputs: [Shuffle("posts")]),
        "lake": Bolt(run: Local(root: "{lake}"), inputs: [Shuffle("file")]),
    }},
    checkpoint: Checkpoint(every: "200ms"),
    micro_batch: MicroBatch(age: "1s"),
)"#,
        posts = write_posts(world),
        all = world.path("all"),
        lake = world.path("lake"),
    )
    .replace("\"all posts\"", "\"all-posts\"")
}

#[test]
fn the_page_is_used_in_chromium() {
    let world = World::new();
    let server = world.serve(&[]);
    world.sandbox.write("topology.ron", topology(&world));
    let python = cache::folder("browser", PINS).join("bin/python");
    assert!(python.exists(), "\"{}\" is missing: tests/run installs it", python.display());
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    let ended = Command::new(python)
        .arg(repository("tests/server/browser.py"))
        .args(["--url", &server.url])
        .arg("--chromium")
        .arg(chromium())
        .arg("--topology")
        .arg(world.sandbox.path("topology.ron"))
        .arg("--screenshots")
        .arg(&screenshots)
        .env("WATERSPOUT_TOKEN", server.token())
        .output()
        .unwrap();
    // Not by `println!`, which is shown for failed tests only.
    let folder = screenshots.display();
    writeln!(std::io::stderr(), "the screenshots of the page are in \"{folder}\"").unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{said}\n{}", String::from_utf8_lossy(&ended.stderr));
    assert!(server.summary("storm watch").is_null());
    server.stop().with(0);
}
