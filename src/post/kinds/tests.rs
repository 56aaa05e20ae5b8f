//! Tests the facts of posts of each kind, in a table.

use std::fmt::Write;

use bytes::Bytes;
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;

use super::*;

mod properties;

fn post(json: &str) -> Post {
    Post::check(Bytes::copy_from_slice(json.as_bytes())).expect("a post")
}

/// Prints all facts of a post, with a name before each; absent facts are left out.
fn said(post: &Post) -> String {
    let time = |time: OffsetDateTime| time.format(&Rfc3339).expect("a time of the tests");
    let mut said = String::new();
    let mut say = |name: &str, what: Option<&str>| {
        if let Some(what) = what {
            let comma = if said.is_empty() { "" } else { ", " };
            write!(said, "{comma}{name} {}", what.escape_debug())
                .expect("text is written into memory");
        }
    };
    let content = post.content();
    assert_eq!(
        (&content.text, &content.author, &content.labels),
        (&post.text(), &post.author(), &post.labels())
    );
    let Content { text, author: Author { id, handle, name }, labels } = content;
    let Labels { hashtags, cashtags, mentions, langs, place } = labels;
    say("time", post.created_at().map(time).as_deref());
    say("id", post.id().as_deref());
    say("other", post.other_id().as_deref());
    say("text", text.as_deref());
    say("by", id.as_deref());
    say("@", handle.as_deref());
    say("named", name.as_deref());
    for (name, list) in [("#", hashtags), ("$", cashtags), ("mentions", mentions), ("in", langs)] {
        list.iter().for_each(|label| say(name, Some(label)));
    }
    say("on", place.as_deref());
    say("edited", post.edited_at().map(time).as_deref());
    post.edit_history().iter().for_each(|id| say("version", Some(id)));
    say("revision", post.revision().as_deref());
    let stream = post.stream();
    say(
        "stream",
        Some(&format!("{stream:?}")).filter(|_| stream != PostStream::Default).map(|name| &**name),
    );
    said
}

#[track_caller]
fn check(json: &str, expected: &str) {
    assert_eq!(said(&post(json)), expected, "{json}");
}

#[track_caller]
fn check_time(json: &str, expected: impl Into<Option<OffsetDateTime>>) {
    assert_eq!(post(json).created_at(), expected.into(), "{json}");
}

#[track_caller]
fn check_id<'a>(json: &str, expected: impl Into<Option<&'a str>>) {
    assert_eq!(post(json).id().as_deref(), expected.into(), "{json}");
}

#[track_caller]
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
fn tweets_of_v2() {
    check(
        r##"{"tweet":{"id":"1","text":"a &amp; #b","created_at":"2024-01-15T10:35:00.000Z","author_id":"7",
            "edit_history_tweet_ids":["1"],"lang":"en","entities":{"hashtags":[{"tag":"b"}],"cashtags":[{"tag":"C"}],
            "mentions":[{"username":"d","id":"8"}]},"includes":{"users":[{"id":"8","username":"no"},
            {"id":"7","username":"ann","name":"Ann"}]},"matching_rules":[{"id":"1","tag":"t"}]}}"##,
        "time 2024-01-15T10:35:00Z, id 1, text a & #b, by 7, @ ann, named Ann, # b, $ C, mentions d, in en, version 1",
    );
    check(
        r#"{"tweet":{"data":{"id":"2","text":"w","created_at":"2024-01-15T10:35:00.000Z","author_id":"7",
            "edit_history_post_ids":["1","2"]},"includes":{"users":[{"id":"7","username":"ann"}]}}}"#,
        "time 2024-01-15T10:35:00Z, id 2, text w, by 7, @ ann, edited 2024-01-15T10:35:00Z, version 1, version 2, \
         stream Edits",
    );
    let author =
        r#""author":{"id":"7","name":"Ann","username":"ann","created_at":"2001-01-01T00:00:00Z"}"#;
    check(
        &format!(r#"{{"tweet":{{"id":"1","author_id":"7",{author}}}}}"#),
        "id 1, by 7, @ ann, named Ann",
    );
    check(r#"{"tweet":{"id":"1","text":"a","refreshed":"1h"}}"#, "id 1, text a, stream Counts");
}

#[test]
fn tweets_of_v1_1() {
    check(
        r##"{"tweet":{"created_at":"Fri Jul 12 23:40:37 +0000 2019","id":1149834587453210624,
            "id_str":"1149834587453210625","text":"cut…","truncated":true,"user":{"id":7,"id_str":"7","name":"Ann",
            "screen_name":"ann","created_at":"Mon Feb 02 10:11:12 +0000 2015","lang":null},"extended_tweet":
            {"full_text":"whole &lt;3 #b","entities":{"hashtags":[{"text":"b"}]}},"entities":{"hashtags":[],
            "symbols":[{"text":"C"}],"user_mentions":[{"screen_name":"d"}]},"lang":"en",
            "timestamp_ms":"1562974837123"}}"##,
        "time 2019-07-12T23:40:37Z, id 1149834587453210625, text whole <3 #b, by 7, @ ann, named Ann, # b, $ C, \
         mentions d, in en",
    );
}

#[test]
fn a_tweet_has_its_longest_text() {
    check_text(r#"{"tweet":{"text":"short","full_text":"long"}}"#, "long");
    check_text(r#"{"tweet":{"text":"short","note_tweet":{"text":"longest"}}}"#, "longest");
    check_text(
        r#"{"tweet":{"note_post":{"text":"longest &amp; &quot;"},"text":"short"}}"#,
        "longest & &quot;",
    );
    check_text(
        r#"{"tweet":{"text":"short","note_tweet":null,"note_post":{"text":"longest"}}}"#,
        "longest",
    );
    check_text(r#"{"tweet":{"text":"short","extended_tweet":{"full_text":"long"}}}"#, "long");
    check_text(r#"{"tweet":{"text":"short","full_text":null,"note_tweet":7}}"#, "short");
    check_text(r#"{"tweet":{"data":{"text":"of the stream"}}}"#, "of the stream");
    for body in ["null", "1", "[]", "{}", r#"{"text":1,"snippet":[],"commit":"x"}"#] {
        check_text(&format!(r#"{{"tweet":{body}}}"#), None);
    }
}

#[test]
fn a_retweet_says_what_it_repeats_and_a_quote_its_own_words() {
    let own = r#""id":"2","text":"RT @ann: what is cut he…""#;
    let whole = r##"{"id":"1","text":"cut","note_tweet":{"text":"what is cut here #b","entities":{"hashtags":[{"tag":"b"}]}}}"##;
    let told = "id 2, text what is cut here #b, # b, mentions ann";
    for (references, includes) in [("referenced_tweets", "tweets"), ("referenced_posts", "posts")] {
        for kind in ["retweeted", "reposted"] {
            let references = format!(
                r#""{references}":[{{"type":"quoted","id":"9"}},{{"type":"{kind}","id":"1"}}]"#
            );
            let included = format!(r#"{{"{includes}":[{{"id":"9","text":"no"}},{whole}]}}"#);
            check(&format!(r#"{{"tweet":{{{own},{references},"includes":{included}}}}}"#), told);
            check(
                &format!(r#"{{"tweet":{{"data":{{{own},{references}}},"includes":{included}}}}}"#),
                told,
            );
            check_text(
                &format!(r#"{{"tweet":{{{own},{references}}}}}"#),
                "RT @ann: what is cut he…",
            );
        }
    }
    let old = r#"{"id":1,"id_str":"1","text":"cut","extended_tweet":{"full_text":"whole"}}"#;
    check_text(&format!(r#"{{"tweet":{{{own},"retweeted_status":{old}}}}}"#), "whole");
    check_text(
        &format!(r#"{{"tweet":{{{own},"retweeted_status":{{"id":1}}}}}}"#),
        "RT @ann: what is cut he…",
    );
    check_text(&format!(r#"{{"tweet":{{"id":"2","text":"mine","quoted_status":{old}}}}}"#), "mine");
    let quote = r#""referenced_tweets":[{"type":"quoted","id":"1"}],"includes":{"tweets":[{"id":"1","text":"no"}]}"#;
    check_text(&format!(r#"{{"tweet":{{"id":"2","text":"mine",{quote}}}}}"#), "mine");
}

#[test]
fn a_tweet_is_an_edit_if_its_history_begins_with_another() {
    let stream = |json: &str| post(json).stream();
    assert_eq!(
        stream(r#"{"tweet":{"id":"1","edit_history_tweet_ids":["1"]}}"#),
        PostStream::Default
    );
    assert_eq!(
        stream(r#"{"tweet":{"id":"1","edit_history_tweet_ids":["1","2"]}}"#),
        PostStream::Default
    );
    assert_eq!(
        stream(r#"{"tweet":{"id":"2","edit_history_tweet_ids":["1","2"]}}"#),
        PostStream::Edits
    );
    assert_eq!(
        stream(r#"{"tweet":{"edit_history_post_ids":["1","2"],"id":"2"}}"#),
        PostStream::Edits
    );
    let read_again = r#"{"tweet":{"id":"2","edit_history_tweet_ids":["1","2"],"refreshed":"1h"}}"#;
    assert_eq!(stream(read_again), PostStream::Counts);
}

#[test]
fn posts_of_facebook() {
    check(
        r##"{"post":{"id":"12_34","message":"m #b","story":"s","created_time":"2019-07-13T01:40:37+0200",
            "from":{"id":"12","name":"A Page"},"message_tags":[{"id":"1","name":"#b"},{"id":"2","name":"Ann"}],
            "updated_time":"2020-01-01T00:00:00+0000"}}"##,
        "time 2019-07-12T23:40:37Z, id 12_34, text m #b, by 12, named A Page, # b, mentions Ann, on 12",
    );
    check(r#"{"post":{"id":"12_34","story":"s"}}"#, "id 12_34, text s, on 12");
    check(r#"{"post":{"id":"12_34","story":"s","message":"m"}}"#, "id 12_34, text m, on 12");
    check(
        r#"{"post":{"id":"12_34","message":"n","edited_at":"2020-01-01T00:00:00+0000"}}"#,
        "id 12_34, text n, on 12, edited 2020-01-01T00:00:00Z, revision 2020-01-01T00:00:00+0000, stream Edits",
    );
}

#[test]
fn videos_of_youtube() {
    let snippet = r#""snippet":{"publishedAt":"2019-07-12T23:40:37.000Z","channelId":"UC-1","title":"t &amp; u",
        "description":"d","channelTitle":"A Channel","tags":["b"],"defaultLanguage":"en-GB"}"#;
    let by = "by UC-1, named A Channel, # b, in en-GB, on UC-1";
    check(
        &format!(r#"{{"video":{{"kind":"youtube#video","id":"abc-_DEF",{snippet}}}}}"#),
        &format!("time 2019-07-12T23:40:37Z, id abc-_DEF, text t &amp; u\\nd, {by}"),
    );
    check(
        &format!(
            r#"{{"video":{{"kind":"youtube#searchResult","id":{{"videoId":"abc-_DEF"}},{snippet}}}}}"#
        ),
        &format!("time 2019-07-12T23:40:37Z, id abc-_DEF, text t & u\\nd, {by}"),
    );
    check(
        r#"{"video":{"kind":"youtube#playlistItem","id":"UU1","snippet":{"title":"t","resourceId":{"videoId":"abc"}}}}"#,
        "id abc, text t",
    );
    check_text(r#"{"video":{"snippet":{"description":"d"}}}"#, "d");
    check_text(r#"{"video":{"id":"abc"}}"#, None);
}

#[test]
fn events_of_bluesky() {
    let record = r##""record":{"$type":"app.bsky.feed.post","text":"a #b","createdAt":"1999-01-01T00:00:00Z",
        "langs":["en"],"tags":["c"],"facets":[{"features":[{"tag":"b"}]},{"features":[{"did":"did:plc:d"}]}],
        "embed":{"record":{"text":"no"}}}"##;
    let place = r#""rev":"3r","operation":"create","collection":"app.bsky.feed.post","rkey":"3k""#;
    let said = "id at://did:plc:a/app.bsky.feed.post/3k, other did:plc:a, text a #b, by did:plc:a, # b, # c, \
                mentions did:plc:d, in en, revision 3r";
    let at = "time 2026-07-04T01:02:03.456789Z";
    let first = format!(
        r#"{{"bsky":{{"did":"did:plc:a","time_us":1783126923456789,"kind":"commit","commit":{{{place},{record}}}}}}}"#
    );
    check(&first, &format!("{at}, {said}"));
    let event = format!(
        r#""seq":1,"did":"did:plc:a","time":"2026-07-04T01:02:03.456789Z",{place},{record}"#
    );
    check(&format!(r#"{{"bsky":{{"$type":"x#commit",{event}}}}}"#), &format!("{at}, {said}"));
    check(
        &format!(r#"{{"bsky":{{"$type":"message","payload":{{{event}}}}}}}"#),
        &format!("{at}, {said}"),
    );
    check(
        &first.replace("create", "update"),
        &format!("{at}, {said}, stream Edits")
            .replace(", rev", ", edited 2026-07-04T01:02:03.456789Z, rev"),
    );
    check(
        r#"{"bsky":{"uri":"at://did:plc:a/c/3k","author":{"did":"did:plc:a","handle":"a.example","displayName":"Ann"},
            "record":{"text":"b"},"indexedAt":"2026-07-04T01:02:03.456789Z","refreshed":"1h"}}"#,
        &format!(
            "{at}, id at://did:plc:a/c/3k, other did:plc:a, text b, by did:plc:a, @ a.example, named Ann, stream Counts"
        ),
    );
    check(r#"{"bsky":{"did":"did:plc:a","kind":"identity"}}"#, "other did:plc:a, by did:plc:a");
    check(r#"{"bsky":[]}"#, "");
}

#[test]
fn toots() {
    let account = r#""account":{"id":"5","username":"ann","acct":"ann@b.example","display_name":"Ann",
        "url":"https://b.example/@ann","uri":"https://b.example/users/ann","note":"<p>no</p>"}"#;
    let by = "by https://b.example/users/ann, @ ann@b.example, named Ann";
    let head = r#""id":"117","created_at":"2019-07-12T23:40:37.000Z","uri":"https://b.example/s/9","language":"en""#;
    let content =
        r##""content":"<p>a <a href=\"x\">#<span>b</span></a> &amp; c</p>","tags":[{"name":"b"}]"##;
    let labels = "# b, mentions d@e.example, mentions d, in en";
    let mentions = r#""mentions":[{"acct":"d@e.example","username":"d"}]"#;
    let said = "time 2019-07-12T23:40:37Z, id https://b.example/s/9, other 117";
    check(
        &format!(
            r#"{{"toot":{{{head},"spoiler_text":"","reblog":null,"edited_at":null,{content},{account},{mentions}}}}}"#
        ),
        &format!("{said}, text \\na #b & c\\n, {by}, {labels}"),
    );
    check(
        &format!(
            r#"{{"toot":{{{head},"spoiler_text":"w","edited_at":"2020-01-01T00:00:00.000Z",{content},{mentions}}}}}"#
        ),
        &format!(
            "{said}, text w\\n\\na #b & c\\n, {labels}, edited 2020-01-01T00:00:00Z, \
             revision 2020-01-01T00:00:00.000Z, stream Edits"
        ),
    );
    check(
        &format!(
            r#"{{"toot":{{{head},"content":"","reblog":{{"id":"9",{content},{mentions}}},{account}}}}}"#
        ),
        &format!("{said}, text \\na #b & c\\n, {by}, {labels}"),
    );
    check(r#"{"toot":{"id":"1","uri":null,"url":"https://a.example/1"}}"#, "id 1, other 1");
    check_text(r#"{"toot":{"content":""}}"#, "");
    check_text(r#"{"toot":{"spoiler_text":"w"}}"#, None);
}

#[test]
fn deletions_and_gaps() {
    check(
        r#"{"delete":{"kind":"tweet","id":"1","created_at":"2019-07-12T23:40:37Z","raw":{"text":"no"}}}"#,
        "time 2019-07-12T23:40:37Z, id 1, stream Deletes",
    );
    check(
        r#"{"delete":{"status":{"id":1,"id_str":"2"},"timestamp_ms":"1562974837000"}}"#,
        "time 2019-07-12T23:40:37Z, id 2, stream Deletes",
    );
    check(r#"{"delete":{"what":1}}"#, "stream Deletes");
    check(
        r#"{"gap":{"id":"g","kind":"toot","why":"w","filled":true,"created_at":"2019-07-12T23:40:37Z"}}"#,
        "time 2019-07-12T23:40:37Z, id g, revision true, stream Gaps",
    );
}

#[test]
fn a_deletion_says_which_posts_it_means() {
    let read = |json: &str| {
        let post = post(json);
        let Deletion { kind, id, server, reach, revision, seen_at } = post.deletion()?;
        Some(format!(
            "{kind} {id} {server:?} {reach:?} {revision:?} {:?}",
            seen_at.map(|at| at.unix_timestamp())
        ))
    };
    #[track_caller]
    fn same(found: Option<String>, expected: &str) {
        assert_eq!(found.as_deref(), Some(expected));
    }
    same(
        read(r#"{"delete":{"kind":"tweet","id":"1","raw":{}}}"#),
        "tweet 1 None AllOfId None None",
    );
    same(read(r#"{"delete":{"status":{"id":905}}}"#), "tweet 905 None AllOfId None None");
    same(
        read(r#"{"delete":{"kind":"toot","id":"5","instance":"a.example","raw":"5"}}"#),
        "toot 5 Some(\"a.example\") OfServer None None",
    );
    same(
        read(r#"{"delete":{"kind":"toot","id":"https://a.example/5"}}"#),
        "toot https://a.example/5 None AllOfId None None",
    );
    let bsky = |raw: &str| {
        read(&format!(r#"{{"delete":{{"kind":"bsky","id":"at://d/c/r","raw":{raw}}}}}"#))
    };
    same(
        bsky(r#"{"time_us":20000000,"commit":{"rev":"3b"}}"#),
        "bsky at://d/c/r None UntilDeletion Some(\"3b\") Some(20)",
    );
    same(
        bsky(r#"{"seq":1,"time":"1970-01-01T00:00:20Z","rev":"3b"}"#),
        "bsky at://d/c/r None UntilDeletion Some(\"3b\") Some(20)",
    );
    for bad in
        [r#"{"delete":{"id":"1"}}"#, r#"{"delete":{"kind":"tweet","id":1}}"#, r#"{"delete":1}"#]
    {
        assert!(read(bad).is_none() && post(bad).is_deletion(), "{bad}");
    }
    assert!(read(r#"{"tweet":{"kind":"tweet","id":"1"}}"#).is_none());
}

#[test]
fn other_kinds_are_read_by_the_same_names() {
    check(r#"{"note":{"text":"a note"}}"#, "text a note");
    check(r#"{"line":"a \"line\""}"#, "text a \\\"line\\\"");
    check(r#"{"tweet":"a line"}"#, "text a line");
    check(
        r#"{"log":{"message":"a &amp; b","timestamp":"2019-07-12T23:40:37Z"}}"#,
        "time 2019-07-12T23:40:37Z, text a &amp; b",
    );
    check(
        r#"{"x":{"id":5,"content":"<c>","user":{"id":"7","username":"ann","name":"Ann"},"lang":"en"}}"#,
        "id 5, text <c>, by 7, @ ann, named Ann, in en",
    );
    check(r#"{"x":{"story":"s","text":"t","full_text":"f"}}"#, "text f");
    check(
        r#"{"x":{"data":{"id":"1","text":"t","created_at":"2019-07-12T23:40:37Z"}}}"#,
        "time 2019-07-12T23:40:37Z, id 1, text t",
    );
    check(r#"{"x":{"snippet":{"title":"t","description":"d"}}}"#, "text t\\nd");
    check(r#"{"x":{"record":{"text":"t"}}}"#, "text t");
    for json in [
        r#"{"x":null}"#,
        r#"{"x":1}"#,
        r#"{"x":[{"text":"no"}]}"#,
        r#"{"x":{"y":{"text":"no"}}}"#,
        r#"{"x":{}}"#,
    ] {
        check(json, "");
    }
}

#[test]
fn a_known_kind_with_foreign_names_is_read_by_them() {
    check(
        r#"{"post":{"id":"1","text":"t","created_at":"2019-07-12T23:40:37Z","author":"ann"}}"#,
        "time 2019-07-12T23:40:37Z, id 1, text t, @ ann",
    );
    check_text(r#"{"bsky":{"text":"t"}}"#, "t");
    let expected = datetime!(2019-07-12 23:40:37 UTC);
    check_time(r#"{"toot":{"timestamp_ms":"1562974837000"}}"#, expected);
    check_time(
        r#"{"toot":{"time":"2001-01-01T00:00:00Z","created_at":"2019-07-12T23:40:37Z"}}"#,
        expected,
    );
}

#[test]
fn a_later_version_is_greater() {
    let version = |json: &str| post(json).version();
    let first = version(r#"{"toot":{"edited_at":null,"received_at":"2026-01-01T00:00:09Z"}}"#);
    let edit = version(
        r#"{"toot":{"edited_at":"2026-01-01T00:00:01Z","received_at":"2026-01-01T00:00:02Z"}}"#,
    );
    let again = version(
        r#"{"toot":{"edited_at":"2026-01-01T00:00:01Z","received_at":"2026-01-01T00:00:03Z"}}"#,
    );
    let second = version(
        r#"{"toot":{"edited_at":"2026-01-01T00:00:02Z","received_at":"2026-01-01T00:00:02Z"}}"#,
    );
    assert!(first < edit && edit < again && again < second);
    assert!(version(r#"{"toot":{}}"#) < first);
}

#[test]
fn a_number_of_a_server_is_told_from_that_of_another() {
    let toot = |host: &str, acct: &str| {
        post(&format!(
            r#"{{"toot":{{"id":"5","uri":"https://{host}/s/5","account":{{"acct":"{acct}"}}}}}}"#
        ))
    };
    assert_eq!(toot("A.example", "u").is_of_server("a.example"), Some(true));
    assert_eq!(toot("xa.example", "u").is_of_server("a.example"), Some(false));
    assert_eq!(toot("b.example", "u@b.example").is_of_server("a.example"), None);
    assert_eq!(post(r#"{"tweet":{"id":"5"}}"#).is_of_server("a.example"), Some(true));
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
    check_time(
        r#"{"bsky":{"did":"d","commit":{"record":{"createdAt":"1999-01-01T00:00:00Z"}}}}"#,
        None,
    );
    check_time(
        r#"{"tweet":{"created_at":"no","timestamp_ms":"1562974837000"}}"#,
        datetime!(2019-07-12 23:40:37 UTC),
    );
}

#[test]
fn ids_keep_every_digit() {
    check_id(r#"{"tweet":{"id":9007199254740993}}"#, "9007199254740993");
    check_id(
        r#"{"tweet":{"id":1149834587453210624,"id_str":"1149834587453210625"}}"#,
        "1149834587453210625",
    );
    check_id(r#"{"tweet":{"id":12345678901234567890123456789}}"#, "12345678901234567890123456789");
    check_id(r#"{"tweet":{"text":"x","id":"1149834587453210624"}}"#, "1149834587453210624");
    check_id(
        r#"{"tweet":{"data":{"id":"1149834587453210624"},"includes":{}}}"#,
        "1149834587453210624",
    );
    for value in ["null", "1.5", "-1", "1e3", "[]", "true", "{}"] {
        check_id(&format!(r#"{{"tweet":{{"id":{value}}}}}"#), None);
    }
}
