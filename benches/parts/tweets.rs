//! Lakes of made-up tweets of 2.6 KB, a second from one to the next, in as many partitions of one
//! hour as are asked for, as that many writers would have made them together.

use std::fs;
use std::path::Path;

use time::macros::{datetime, format_description};
use time::{Duration, OffsetDateTime};

/// The number of posts in each file.
const POSTS: usize = 1000;

/// When the first is written.
const BEGINNING: OffsetDateTime = datetime!(2015-12-18 00:00:00 UTC);

/// The number of posts that were written, and their bytes.
pub(crate) struct Written {
    pub posts: u64,
    pub bytes: u64,
}

/// Writes at least so many bytes.
pub(crate) fn lake(root: &Path, partitions: usize, bytes: u64) -> Written {
    let rest = rest();
    let files = (bytes / (rest.len() * POSTS * partitions) as u64 + 1) as usize;
    let mut written = Written { posts: 0, bytes: 0 };
    for partition in 0..partitions {
        let folder =
            root.join(format!("2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-{partition:012x}"));
        fs::create_dir_all(&folder).expect("the disk has room");
        for file in 0..files {
            let post = |i: usize| tweet((file * POSTS + i) * partitions + partition, &rest);
            let array = format!("[{}]", (0..POSTS).map(post).collect::<Vec<_>>().join(","));
            fs::write(folder.join(format!("{file:07}")), &array).expect("the disk has room");
            written.posts += POSTS as u64;
            written.bytes += array.len() as u64;
        }
    }
    written
}

fn tweet(number: usize, rest: &str) -> String {
    let format = format_description!(
        "[weekday repr:short] [month repr:short] [day] [hour]:[minute]:[second] +0000 [year]"
    );
    let time = (BEGINNING + Duration::seconds(number as i64))
        .format(format)
        .expect("a date can be written");
    let id = 10_u64.pow(15) + number as u64;
    format!("{{\"tweet\":{{\"created_at\":\"{time}\",\"id\":{id},\"id_str\":\"{id}\",{rest}}}}}")
}

/// The common content of all posts: short and long strings, numbers, nesting.
fn rest() -> String {
    let user = serde_json::json!({
        "id": 1_000_000, "name": "台風が近づいています", "screen_name": "storm_chaser", "location": "Norddeutschland",
        "url": "https://example.org/storm/chaser", "followers_count": 9973, "verified": false, "lang": "de",
        "description": "storm over the bay, stay inside tonight, 気をつけて ".repeat(3), "protected": false,
        "profile_image_url": "https://example.org/images/1234567890/normal.jpg",
    });
    let entities = serde_json::json!({
        "hashtags": [{"text": "storm", "indices": [20, 26]}, {"text": "rain", "indices": [27, 32]}], "symbols": [],
        "urls": [{"url": "https://t.co/abcdefghij", "expanded_url": "https://example.org/a/longer/address?with=query"}],
        "user_mentions": [{"screen_name": "weather", "name": "Weather", "id": 4242, "id_str": "4242"}],
    });
    let inner = serde_json::json!({
        "text": "RT storm over the bay, stay inside tonight", "truncated": false, "user": user, "geo": null,
        "retweet_count": 77, "favorited": false, "entities": entities, "lang": "ja",
    });
    let again = inner.to_string();
    format!("\"retweeted_status\":{again},\"quoted_status\":{again},{}", &again[1..again.len() - 1])
}
