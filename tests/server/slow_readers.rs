//! Readers of Server-Sent Events that never read.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::world::{Server, World};

const SLOW_READERS: usize = 20;

/// The maximum growth of the server's memory: the events that wait for slow readers, and the
/// buffers of their connections.
const GROWTH_BYTES_MAX: u64 = 64 << 20;

fn topology() -> &'static str {
    r#"Topology(
        name: "fast",
        spouts: {"posts": Spout(run: Generate(rate: 3000))},
        bolts: {"out": Bolt(run: Null(), inputs: [Shuffle("posts")])},
        checkpoint: Checkpoint(every: "50ms"),
    )"#
}

/// Opens a stream of events, of which nothing is read.
fn open(server: &Server, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    let (host, token) = (server.address, server.token());
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn resident_bytes(server: &Server) -> u64 {
    let status = format!("/proc/{}/status", server.process.id());
    let status = std::fs::read_to_string(status).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes << 10
}

#[test]
fn readers_that_never_read_keep_no_other_from_events_and_take_little_memory() {
    let world = World::new();
    let server = world.serve(&[]);
    server.submit(topology()).with(201);
    server.wait_for_count("fast", "out", "received", 100);
    let tap = "/api/v1/topologies/fast/tap?component=posts";
    // Another reader is as fast as ever. It also warms the server up.
    assert_eq!(super::watching::events(&server, tap, 500).len(), 500);
    let before = resident_bytes(&server);
    let paths = [
        "/api/v1/topologies/fast/events?interval=200ms",
        "/topology/fast/live/events",
        "/live/events",
        tap,
    ];
    let mut slow = Vec::new();
    for number in 0..SLOW_READERS {
        // A process has room for 8 taps only.
        slow.push(open(&server, paths[if number < 3 { 3 } else { number % 3 }]));
    }
    let began = Instant::now();
    assert_eq!(super::watching::events(&server, tap, 5_000).len(), 5_000);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    for path in &paths[..3] {
        assert_eq!(super::watching::events(&server, path, 3).len(), 3, "{path}");
    }
    let grown = resident_bytes(&server).saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "{grown} bytes");
    assert_eq!(server.summary("fast")["state"], "running");
    let began = Instant::now();
    server.stop().with(0);
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    drop(slow);
}
