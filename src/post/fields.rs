//! What a post says about itself, read on demand from its raw bytes. Each function passes over the
//! post once, stops at what it wants, and builds no tree. A field that is absent, null or of another
//! type than its platform gives it is as good as absent.

use std::borrow::Cow;

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

use super::check::Scan;
use super::{DEPTH_MAX, Post};

impl Post {
    /// The key that names the post's kind, as it is written (without decoding escapes, which no
    /// platform's kind has). Costs no more than finding two quotes.
    pub fn kind(&self) -> &str {
        let mut scan = Scan::new(self);
        scan.at = 1;
        let key = scan.key().unwrap_or_default();
        std::str::from_utf8(key).unwrap_or_default()
    }

    /// The raw JSON under the kind.
    pub fn body(&self) -> &[u8] {
        body(self)
    }

    /// The post's own time in UTC: the one answer that the index, replay and windows share.
    ///
    /// It is `created_at` of a tweet or a toot, `created_time` of a Facebook post, `publishedAt` of a
    /// video, and the time at which Bluesky's server saw an event, because `createdAt` there is the
    /// clock of whoever posted and may be years off. Other kinds are read by the same names.
    pub fn created_at(&self) -> Option<OffsetDateTime> {
        time_in(self.body())
    }

    /// The platform's id for the post, as text, with every digit of it. For Bluesky it is the record's
    /// `at://` address; for a toot its `uri`, since its `id` is another one on every server.
    pub fn id(&self) -> Option<Cow<'_, str>> {
        match self.kind() {
            "bsky" => record_address(self.body()).map(Cow::Owned),
            "toot" => {
                let [uri, id] = pick(self.body(), ["uri", "id"]);
                uri.and_then(string).or_else(|| id.and_then(id_text))
            }
            _ => own_id(self.body()),
        }
    }

    /// What the post says: a tweet's longest text, a Facebook post's message or story, a video's title
    /// and description on a line each, a Bluesky post's text, a toot's content (which is HTML). Of
    /// another kind, whatever is there by one of these names, or the string that stands under the kind.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        let body = self.body();
        match self.kind() {
            "tweet" => tweet_text(body),
            "post" => facebook_text(body),
            "video" => video_text(body),
            "bsky" => record_text(body),
            "toot" => get(body, "content").and_then(string),
            _ => string(body)
                .or_else(|| tweet_text(body))
                .or_else(|| facebook_text(body))
                .or_else(|| get(body, "content").and_then(string))
                .or_else(|| video_text(body))
                .or_else(|| record_text(body)),
        }
    }
}

/// The own time of a post that is in no buffer of its own: one well-formed JSON object with one key; see
/// [`Post::created_at`].
pub(crate) fn own_time(post: &[u8]) -> Option<OffsetDateTime> {
    time_in(body(post))
}

/// The raw JSON under the only key of an object.
fn body(post: &[u8]) -> &[u8] {
    let mut scan = Scan::new(post);
    scan.at = 1;
    if scan.key().is_err() {
        return &[];
    }
    scan.space();
    post[scan.at..].strip_suffix(b"}").unwrap_or_default().trim_ascii_end()
}

fn time_in(object: &[u8]) -> Option<OffsetDateTime> {
    let mut scan = Scan::new(object);
    let mut before = b'{';
    while scan.space()? == before {
        before = b',';
        scan.at += 1;
        let key = scan.key().ok()?;
        scan.space();
        let start = scan.at;
        // Looked into before it is passed over, since what is wanted mostly stands in it.
        let inside = match key {
            b"snippet" => get(&object[start..], "publishedAt").and_then(string).and_then(|text| date(&text)),
            // A tweet of X's stream, and what a deletion is about.
            b"data" | b"status" => time_in(&object[start..]),
            _ => None,
        };
        if inside.is_some() {
            return inside;
        }
        scan.value(DEPTH_MAX).ok()?;
        let value = &object[start..scan.at];
        let own = match key {
            b"created_at" | b"created_time" | b"time" | b"timestamp" => string(value).and_then(|text| date(&text)),
            b"time_us" => unix_time(value, 1_000),
            b"timestamp_ms" => unix_time(value, 1_000_000),
            _ => None,
        };
        if own.is_some() {
            return own;
        }
    }
    None
}

fn own_id(object: &[u8]) -> Option<Cow<'_, str>> {
    // Twitter's `id` is a number that tools round, so `id_str` comes first where there is one.
    let mut number = None;
    let text = members(object).find_map(|(key, value)| match key {
        b"id_str" => string(value),
        b"id" => match value.first() {
            Some(b'"') => string(value),
            Some(b'{') => get(value, "videoId").and_then(string),
            _ => {
                number = id_text(value);
                None
            }
        },
        b"data" | b"status" => own_id(value),
        _ => None,
    });
    text.or(number)
}

fn tweet_text(tweet: &[u8]) -> Option<Cow<'_, str>> {
    let [note, note_post, extended, full, text, data] =
        pick(tweet, ["note_tweet", "note_post", "extended_tweet", "full_text", "text", "data"]);
    let note = note.or(note_post).and_then(|note| get(note, "text"));
    let extended = extended.and_then(|tweet| get(tweet, "full_text"));
    let texts = [note, extended, full, text].into_iter().flatten();
    texts.into_iter().find_map(string).or_else(|| data.and_then(tweet_text))
}

fn facebook_text(post: &[u8]) -> Option<Cow<'_, str>> {
    let [message, story] = pick(post, ["message", "story"]);
    [message, story].into_iter().flatten().find_map(string)
}

fn video_text(video: &[u8]) -> Option<Cow<'_, str>> {
    let [title, description] = pick(get(video, "snippet")?, ["title", "description"]);
    match (title.and_then(string), description.and_then(string)) {
        (Some(title), Some(description)) => Some(format!("{title}\n{description}").into()),
        (title, description) => title.or(description),
    }
}

/// The text of a Jetstream event; its second version has no `commit` around the record.
fn record_text(event: &[u8]) -> Option<Cow<'_, str>> {
    let [commit, record] = pick(event, ["commit", "record"]);
    let record = commit.and_then(|commit| get(commit, "record")).or(record)?;
    get(record, "text").and_then(string)
}

fn record_address(event: &[u8]) -> Option<String> {
    let [did, commit] = pick(event, ["did", "commit"]);
    let [collection, rkey] = pick(commit.unwrap_or(event), ["collection", "rkey"]);
    Some(format!("at://{}/{}/{}", string(did?)?, string(collection?)?, string(rkey?)?))
}

/// The members of an object in checked JSON, keys as they are written; none if it is no object.
pub(crate) fn members(object: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut scan = Scan::new(object);
    let mut before = b'{';
    std::iter::from_fn(move || {
        if scan.space()? != before {
            return None;
        }
        before = b',';
        scan.at += 1;
        let key = scan.key().ok()?;
        scan.space();
        let start = scan.at;
        scan.value(DEPTH_MAX).ok()?;
        Some((key, &object[start..scan.at]))
    })
}

/// The elements of an array in checked JSON; none if it is no array.
pub(crate) fn elements(array: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut scan = Scan::new(array);
    let mut before = b'[';
    std::iter::from_fn(move || {
        if scan.space()? != before {
            return None;
        }
        before = b',';
        scan.at += 1;
        // An empty array has its end here, which is no value.
        scan.space();
        let start = scan.at;
        scan.value(DEPTH_MAX).ok()?;
        Some(&array[start..scan.at])
    })
}

/// The values of several members, in one pass that ends when all are found.
pub(crate) fn pick<'a, const N: usize>(object: &'a [u8], names: [&str; N]) -> [Option<&'a [u8]>; N] {
    let mut found = [None; N];
    for (key, value) in members(object) {
        if let Some(i) = names.iter().position(|name| name.as_bytes() == key) {
            found[i].get_or_insert(value);
            if found.iter().all(Option::is_some) {
                break;
            }
        }
    }
    found
}

pub(crate) fn get<'a>(object: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let [value] = pick(object, [name]);
    value
}

/// An id that is text or a whole number, digit for digit: nothing goes through a float.
pub(crate) fn id_text(value: &[u8]) -> Option<Cow<'_, str>> {
    if value.first()?.is_ascii_digit() && value.iter().all(u8::is_ascii_digit) {
        return std::str::from_utf8(value).ok().map(Cow::Borrowed);
    }
    string(value)
}

/// The text of a JSON string, borrowed if it has no escapes. Half of a surrogate pair, which no text
/// can hold, becomes U+FFFD.
pub(crate) fn string(value: &[u8]) -> Option<Cow<'_, str>> {
    let raw = std::str::from_utf8(value).ok()?.strip_prefix('"')?.strip_suffix('"')?;
    Some(if raw.contains('\\') { unescape(raw).into() } else { raw.into() })
}

fn unescape(mut raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    while let Some((plain, escape)) = raw.split_once('\\') {
        text.push_str(plain);
        let (character, length) = match escape.as_bytes().first() {
            Some(b'u') => code_point(escape),
            Some(b'b') => ('\u{8}', 1),
            Some(b'f') => ('\u{c}', 1),
            Some(b'n') => ('\n', 1),
            Some(b'r') => ('\r', 1),
            Some(b't') => ('\t', 1),
            Some(&byte) => (char::from(byte), 1),
            None => (char::REPLACEMENT_CHARACTER, 0),
        };
        text.push(character);
        raw = escape.get(length..).unwrap_or_default();
    }
    text.push_str(raw);
    text
}

/// What `uXXXX`, or `uXXXX\uXXXX` with both halves of a pair, stands for, and how long it is.
fn code_point(escape: &str) -> (char, usize) {
    let unit = |from: usize| escape.get(from..from + 4).and_then(|digits| u16::from_str_radix(digits, 16).ok());
    let first = unit(1).unwrap_or(0xfffd);
    let second = if escape.get(5..7) == Some("\\u") { unit(7) } else { None };
    let mut decoded = char::decode_utf16([first].into_iter().chain(second));
    match decoded.next() {
        Some(Ok(character)) => (character, if character.len_utf16() == 2 { 11 } else { 5 }),
        _ => (char::REPLACEMENT_CHARACTER, 5),
    }
}

/// A whole number of units of so many nanoseconds since 1970, as a number or in quotes.
fn unix_time(value: &[u8], nanoseconds: i128) -> Option<OffsetDateTime> {
    let number: i64 = id_text(value)?.parse().ok()?;
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(number) * nanoseconds).ok()
}

const TWITTER: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short] [month repr:short] [day] [hour]:[minute]:[second] [offset_hour sign:mandatory][offset_minute] [year]"
);

/// RFC 3339 would have a colon in the offset.
const FACEBOOK: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second][offset_hour sign:mandatory][offset_minute]");

pub(crate) fn date(text: &str) -> Option<OffsetDateTime> {
    let time = if text.starts_with(|first: char| first.is_ascii_digit()) {
        OffsetDateTime::parse(text, &Rfc3339).or_else(|_| OffsetDateTime::parse(text, FACEBOOK))
    } else {
        OffsetDateTime::parse(text, TWITTER)
    };
    // In UTC the last hours of the year 9999 may be outside of what the type holds.
    time.ok()?.checked_to_offset(UtcOffset::UTC)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    fn post(json: &str) -> Post {
        Post::check(Bytes::copy_from_slice(json.as_bytes())).expect("a post")
    }

    fn check_time(json: &str, expected: impl Into<Option<OffsetDateTime>>) {
        assert_eq!(post(json).created_at(), expected.into(), "{json}");
    }

    fn check_id<'a>(json: &str, expected: impl Into<Option<&'a str>>) {
        assert_eq!(post(json).id().as_deref(), expected.into(), "{json}");
    }

    fn check_text<'a>(json: &str, expected: impl Into<Option<&'a str>>) {
        assert_eq!(post(json).text().as_deref(), expected.into(), "{json}");
    }

    #[test]
    fn the_kind_and_the_body_are_the_key_and_the_value() {
        let spaced = post(" {\t\"tweet\" : [ 1 ] } ");
        assert_eq!((spaced.kind(), spaced.body()), ("tweet", &b"[ 1 ]"[..]));
        let bare = post(r#"{"a\"b":"}"}"#);
        assert_eq!((bare.kind(), bare.body()), (r#"a\"b"#, &br#""}""#[..]));
    }

    #[test]
    fn every_platform_has_its_own_way_to_write_a_time() {
        let expected = datetime!(2019-07-12 23:40:37 UTC);
        check_time(r#"{"tweet":{"created_at":"Fri Jul 12 23:40:37 +0000 2019"}}"#, expected);
        check_time(r#"{"tweet":{"id":"1","created_at":"2019-07-12T23:40:37.000Z"}}"#, expected);
        check_time(r#"{"tweet":{"data":{"created_at":"2019-07-12T23:40:37.000Z"}}}"#, expected);
        check_time(r#"{"post":{"created_time":"2019-07-12T23:40:37+0000"}}"#, expected);
        check_time(r#"{"post":{"created_time":"2019-07-13T01:40:37+0200"}}"#, expected);
        check_time(r#"{"video":{"snippet":{"publishedAt":"2019-07-12T23:40:37Z"}}}"#, expected);
        check_time(r#"{"video":{"snippet":{"publishedAt":"2019-07-12T23:40:37.000Z"}}}"#, expected);
        check_time(r#"{"toot":{"created_at":"2019-07-12T23:40:37.000Z"}}"#, expected);
        check_time(r#"{"delete":{"created_at":"2019-07-12T23:40:37Z"}}"#, expected);
        check_time(r#"{"delete":{"status":{"id":1},"timestamp_ms":"1562974837000"}}"#, expected);
    }

    #[test]
    fn a_bluesky_event_has_the_time_of_the_server_and_not_of_the_client() {
        let expected = datetime!(2026-07-04 01:02:03.456789 UTC);
        let commit = r#""commit":{"record":{"createdAt":"1999-01-01T00:00:00Z"}}"#;
        check_time(&format!(r#"{{"bsky":{{"did":"d",{commit},"time_us":1783126923456789}}}}"#), expected);
        check_time(r#"{"bsky":{"did":"d","seq":1,"time":"2026-07-04T01:02:03.456789Z"}}"#, expected);
        check_time(&format!(r#"{{"bsky":{{"did":"d",{commit}}}}}"#), None);
    }

    #[test]
    fn a_time_that_is_none_is_no_time() {
        for value in [
            "null",
            "17",
            "[]",
            r#""""#,
            r#""yesterday""#,
            r#""2019-02-30T00:00:00Z""#,
            r#""9999-12-31T23:59:59-01:00""#,
            r#""Fri Jul 12 23:40:37 2019""#,
            r#""日本語の日付""#,
        ] {
            check_time(&format!(r#"{{"tweet":{{"created_at":{value}}}}}"#), None);
        }
        check_time(r#"{"bsky":{"time_us":99999999999999999999}}"#, None);
        check_time(r#"{"bsky":{"time_us":9223372036854775807}}"#, None);
        check_time(r#"{"bsky":{"time_us":1.5}}"#, None);
        check_time(r#"{"a":[{"created_at":"2019-07-12T23:40:37Z"}]}"#, None);
    }

    #[test]
    fn ids_keep_every_digit() {
        check_id(r#"{"tweet":{"id":9007199254740993}}"#, "9007199254740993");
        check_id(r#"{"tweet":{"id":1149834587453210624,"id_str":"1149834587453210625"}}"#, "1149834587453210625");
        check_id(r#"{"tweet":{"id":12345678901234567890123456789}}"#, "12345678901234567890123456789");
        check_id(r#"{"tweet":{"text":"x","id":"1149834587453210624"}}"#, "1149834587453210624");
        check_id(r#"{"tweet":{"data":{"id":"1149834587453210624"},"includes":{}}}"#, "1149834587453210624");
        check_id(r#"{"delete":{"status":{"id":1,"id_str":"1"}}}"#, "1");
        check_id(r#"{"post":{"id":"12_34"}}"#, "12_34");
        check_id(r#"{"video":{"id":"abc-_DEF"}}"#, "abc-_DEF");
        check_id(r#"{"video":{"id":{"kind":"youtube#video","videoId":"abc-_DEF"}}}"#, "abc-_DEF");
        check_id(r#"{"toot":{"id":"1","uri":"https://a.example/s/9"}}"#, "https://a.example/s/9");
        check_id(r#"{"toot":{"id":"1","uri":null}}"#, "1");
        check_id(
            r#"{"bsky":{"did":"did:plc:a","commit":{"collection":"app.bsky.feed.post","rkey":"3k"}}}"#,
            "at://did:plc:a/app.bsky.feed.post/3k",
        );
        check_id(r#"{"bsky":{"did":"did:plc:a","collection":"c","rkey":"3k"}}"#, "at://did:plc:a/c/3k");
        check_id(r#"{"bsky":{"did":"did:plc:a","kind":"identity"}}"#, None);
        for value in ["null", "1.5", "-1", "1e3", "[]", "true", "{}"] {
            check_id(&format!(r#"{{"tweet":{{"id":{value}}}}}"#), None);
        }
    }

    #[test]
    fn every_platform_has_its_own_place_for_the_text() {
        check_text(r#"{"tweet":{"text":"short","full_text":"long"}}"#, "long");
        check_text(r#"{"tweet":{"text":"short","note_tweet":{"text":"longest"}}}"#, "longest");
        check_text(r#"{"tweet":{"text":"short","note_post":{"text":"longest"}}}"#, "longest");
        check_text(r#"{"tweet":{"text":"short","extended_tweet":{"full_text":"long"}}}"#, "long");
        check_text(r#"{"tweet":{"text":"short","full_text":null,"note_tweet":7}}"#, "short");
        check_text(r#"{"tweet":{"data":{"text":"of the stream"}}}"#, "of the stream");
        check_text(r#"{"post":{"story":"s","message":"m"}}"#, "m");
        check_text(r#"{"post":{"story":"s"}}"#, "s");
        check_text(r#"{"video":{"snippet":{"title":"t","description":"d"}}}"#, "t\nd");
        check_text(r#"{"video":{"snippet":{"description":"d"}}}"#, "d");
        check_text(r#"{"bsky":{"commit":{"record":{"text":"b"}}}}"#, "b");
        check_text(r#"{"bsky":{"record":{"text":"b"}}}"#, "b");
        check_text(r#"{"toot":{"content":"<p>c</p>"}}"#, "<p>c</p>");
        check_text(r#"{"line":"a line"}"#, "a line");
        check_text(r#"{"log":{"message":"a line"}}"#, "a line");
        for body in ["null", "1", "[]", "{}", "\"\\\\\"", r#"{"text":1,"snippet":[],"commit":"x"}"#] {
            check_text(&format!(r#"{{"tweet":{body}}}"#), None);
        }
    }

    #[test]
    fn escapes_are_decoded_and_half_a_pair_is_replaced() {
        check_text(r#"{"tweet":{"text":"\"\\\/\b\f\n\r\t\u0000\u00e9\ud83e\udd80"}}"#, "\"\\/\u{8}\u{c}\n\r\t\0é🦀");
        check_text(r#"{"tweet":{"text":"\ud83e \ud83e\ud83e\udd80 \udd80\n"}}"#, "\u{fffd} \u{fffd}🦀 \u{fffd}\n");
    }

    proptest! {
        #[test]
        fn a_text_is_read_as_serde_json_reads_it(text: String) {
            let json = serde_json::to_string(&text).expect("a text");
            let escapes: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            let escaped = format!("\"{escapes}\"");
            prop_assert_eq!(string(json.as_bytes()), Some(text.as_str().into()));
            prop_assert_eq!(string(escaped.as_bytes()), Some(text.into()));
        }

        #[test]
        fn no_bytes_make_a_reader_panic(body in "[ {}\\[\\]\",:a0\\\\u]{0,40}", bytes: Vec<u8>) {
            let _ = unescape(&body);
            for body in [body.as_bytes(), &bytes] {
                let post = Post(Bytes::from([b"{\"tweet\":", body, b"}"].concat()));
                let _ = (post.kind(), post.body(), post.created_at(), post.id(), post.text());
                let post = Post(Bytes::copy_from_slice(body));
                let _ = (post.kind(), post.body(), post.created_at(), post.id(), post.text());
            }
        }
    }
}
