//! The cost of a post on its way in: checking a line, asking it something, and splitting a file into
//! lines.
//!
//!     cargo bench --bench posts

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a bench measures real time")]

use std::hint::black_box;
use std::io::Write;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use waterspout::post::Post;
use waterspout::spout::lines::{Content, LineSplitter, Place};

/// More than the processor's caches hold.
const POSTS: u64 = 10_000;

/// As large as what the spout reads in one go.
const CHUNK_BYTES: usize = 1 << 20;

/// A made-up tweet in Twitter's v1.1 shape, about 2.4 KB.
fn tweet(number: u64) -> String {
    let id = 1_150_000_000_000_000_000 + number * 7_919;
    let user = 2_000_000_000 + number;
    let words = [
        "storm",
        "bolt",
        "spout",
        "lake",
        "stream",
        "a",
        "of",
        "the",
        "\\\"topology\\\"",
        "\\u2026",
        "日本",
    ];
    let word =
        |i: u64| words[((number + 1) * (i + 3) * 2_654_435_761 % 4_093) as usize % words.len()];
    let text = (0..20 + number % 13).map(word).collect::<Vec<_>>().join(" ");
    let nulls = [
        "in_reply_to_status_id",
        "in_reply_to_status_id_str",
        "in_reply_to_user_id",
        "in_reply_to_screen_name",
    ]
    .map(|name| format!(r#""{name}":null"#))
    .join(",");
    let colours = ["background", "link", "sidebar_border", "sidebar_fill", "text"]
        .map(|name| format!(r#""profile_{name}_color":"F5F8FA""#))
        .join(",");
    let flags = [
        "protected",
        "verified",
        "geo_enabled",
        "contributors_enabled",
        "is_translator",
        "default_profile",
    ]
    .map(|name| format!(r#""{name}":false"#))
    .join(",");
    let image = format!("//img.example.com/profile_images/{user}/abcdefgh_normal.jpg");
    [
        format!(r#"{{"tweet":{{"created_at":"Fri Jul 12 23:40:37 +0000 2019","id":{id},"id_str":"{id}","text":"{text}","#),
        format!(r#""source":"<a href=\"http://example.com/client\" rel=\"nofollow\">A client</a>","truncated":false,{nulls},"#),
        format!(r#""user":{{"id":{user},"id_str":"{user}","name":"User {number}","screen_name":"user_{number}","#),
        r#""location":"Somewhere","url":null,"description":"Somebody who was made up for a benchmark, with a few words about that.","#.into(),
        format!(r#"{flags},"followers_count":{},"friends_count":321,"listed_count":4,"favourites_count":5678,"#, number % 9_999),
        r#""statuses_count":12345,"created_at":"Mon Feb 02 10:11:12 +0000 2015","utc_offset":null,"time_zone":null,"lang":null,"#.into(),
        format!(r#"{colours},"profile_background_image_url":"","profile_background_image_url_https":"","#),
        format!(r#""profile_image_url":"http:{image}","profile_image_url_https":"https:{image}","profile_use_background_image":true,"#),
        r#""default_profile_image":false,"following":null,"follow_request_sent":null,"notifications":null},"geo":null,"#.into(),
        format!(r#""coordinates":null,"place":null,"contributors":null,"is_quote_status":false,"retweet_count":{number},"#),
        r#""quote_count":0,"reply_count":1,"favorite_count":3,"entities":{"hashtags":[{"text":"rust","indices":[10,15]},"#.into(),
        r#"{"text":"streams","indices":[20,28]}],"urls":[{"url":"https://t.example/abcdef","#.into(),
        format!(r#""expanded_url":"https://example.com/an/article/{number}","display_url":"example.com/an/article","#),
        format!(r#""indices":[30,53]}}],"user_mentions":[{{"screen_name":"someone","name":"Some One","id":{user},"#),
        format!(r#""id_str":"{user}","indices":[0,8]}}],"symbols":[]}},"favorited":false,"retweeted":false,"#),
        r#""possibly_sensitive":false,"filter_level":"low","lang":"en","timestamp_ms":"1562974837123"}}"#.into(),
    ]
    .concat()
}

/// The lines of a file of tweets.
fn lines() -> Vec<Bytes> {
    (0..POSTS).map(|number| tweet(number).into()).collect()
}

fn bytes_of(lines: &[Bytes]) -> Throughput {
    Throughput::Bytes(lines.iter().map(|line| line.len() as u64 + 1).sum())
}

fn check(c: &mut Criterion) {
    let lines = lines();
    let mut group = c.benchmark_group("check");
    group.throughput(bytes_of(&lines));
    group.bench_function("post", |b| {
        b.iter(|| lines.iter().filter(|line| Post::check(Bytes::clone(line)).is_ok()).count());
    });
    group.bench_function("wrap", |b| {
        b.iter(|| lines.iter().filter(|line| Post::wrap("tweet", line).is_ok()).count());
    });
    // What the same check costs with serde_json, for comparison; it has no bound on depth.
    group.bench_function("serde_json", |b| {
        let is_json = |line: &&Bytes| {
            serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
                && std::str::from_utf8(line).is_ok()
        };
        b.iter(|| lines.iter().filter(is_json).count());
    });
    group.finish();
}

fn ask(c: &mut Criterion) {
    let posts: Vec<Post> =
        lines().into_iter().map(|line| Post::check(line).expect("a tweet is a post")).collect();
    let mut group = c.benchmark_group("ask");
    group.throughput(Throughput::Elements(POSTS));
    group.bench_function("kind", |b| {
        b.iter(|| posts.iter().map(|post| post.kind().len()).sum::<usize>())
    });
    group.bench_function("created_at", |b| {
        b.iter(|| posts.iter().filter_map(Post::created_at).count())
    });
    group.bench_function("id", |b| b.iter(|| posts.iter().filter_map(Post::id).count()));
    group.bench_function("text", |b| b.iter(|| posts.iter().filter_map(Post::text).count()));
    group.finish();
}

/// Splits a file that comes in chunks, and does something with each line.
fn split(file: &Bytes, mut take: impl FnMut(Bytes)) {
    let mut splitter = LineSplitter::new(Place::default(), 16 << 20);
    for start in (0..file.len()).step_by(CHUNK_BYTES) {
        splitter.feed(file.slice(start..file.len().min(start + CHUNK_BYTES)));
        while let Some(line) = splitter.next_line() {
            if let Content::Whole(line) = line.content {
                take(line);
            }
        }
    }
}

fn split_lines(c: &mut Criterion) {
    let lines = lines();
    let mut file = Vec::new();
    for line in &lines {
        writeln!(file, "{}", String::from_utf8_lossy(line)).expect("a line is written into memory");
    }
    let file = Bytes::from(file);
    let mut group = c.benchmark_group("split");
    group.throughput(bytes_of(&lines));
    group.bench_function("lines", |b| b.iter(|| split(&file, |line| drop(black_box(line)))));
    group.bench_function("lines, checked", |b| {
        b.iter(|| split(&file, |line| drop(black_box(Post::check(line)))))
    });
    group.finish();
}

criterion_group!(benches, check, ask, split_lines);
criterion_main!(benches);
