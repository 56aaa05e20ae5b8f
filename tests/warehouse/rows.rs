//! What rows become, whatever order they come in.

use waterspout::error::Kind;
use waterspout::value::Value;
use waterspout::warehouse::ledger::Ledger;

use crate::support::postgres_server::PostgresServer;
use crate::tuples::{Row, load, numbers, session};

const RECEIVED: [&str; 3] =
    ["2015-12-18T00:00:01Z", "2015-12-18T00:00:02Z", "2015-12-18T00:00:03Z"];

#[test]
fn a_post_is_a_row_with_all_that_belongs_to_it() {
    let database = PostgresServer::shared().database();
    let mut session = session(&database);
    let post = Row::tweet("1")
        .with("received_at", RECEIVED[0])
        .with("author_id", "a1")
        .with("author_handle", "ann")
        .with("author_followers", 7)
        .with("author_verified", true)
        .list("hashtags", &["storm", "rust"])
        .list("mentions", &["bob"])
        .list("urls", &["https://www.example.org/a", "http://other.example/"])
        .list("domains", &["example.org", "other.example"])
        .list("media", &[])
        .with("likes", 3);
    for _ in 0..2 {
        assert_eq!(load(&mut session, std::slice::from_ref(&post)).refused, []);
    }
    let ask = |query: &str| database.ask(query);
    assert_eq!(
        ask(
            "select platform, post_id, created_at, received_at, text, hashtags, media, likes, raw->'tweet'->>'id_str' from posts"
        ),
        "x|1|2015-12-18 00:00:00.123+00|2015-12-18 00:00:01+00|a storm|{storm,rust}|{}|3|1"
    );
    assert_eq!(
        ask("select author_id, handle, followers, verified, bot from authors"),
        "a1|ann|7|t|"
    );
    assert_eq!(ask("select hashtag from post_hashtags order by 1"), "rust\nstorm");
    assert_eq!(ask("select mention from post_mentions"), "bob");
    assert_eq!(
        ask("select place, url, domain from post_urls order by 1"),
        "0|https://www.example.org/a|example.org\n1|http://other.example/|other.example"
    );
    assert_eq!(ask("select at, likes, views from engagement"), "2015-12-18 00:00:01+00|3|");
    assert_eq!(ask("select tableoid::regclass from posts"), "posts_2015_12");
    assert_eq!(ask("select loads, rows, refused from load_history"), "2|2|0");
}

/// All orders of three versions, in one load and in three.
#[test]
fn the_newest_version_wins_in_any_order() {
    let version = |number: usize| {
        Row::tweet("1")
            .with("received_at", RECEIVED[number])
            .with("text", format!("v{number}"))
            .list("hashtags", &[&format!("tag{number}")])
            .with("likes", number as i64)
    };
    let edited = version(0).with("edited_at", "2015-12-18T00:00:00.5Z").with("text", "edited");
    let versions = [version(1), edited, version(2)];
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for order in orders {
        for together in [true, false] {
            let database = PostgresServer::shared().database();
            let mut session = session(&database);
            let rows: Vec<_> = order.iter().map(|number| versions[*number].clone()).collect();
            for rows in rows.chunks(if together { 3 } else { 1 }) {
                load(&mut session, rows);
            }
            // An edit is newer than any version without one; counts are those that were read last.
            let found = database.ask("select text, likes, hashtags, counted_at from posts");
            assert_eq!(found, "edited|2|{tag0}|2015-12-18 00:00:03+00", "{order:?} {together}");
            assert_eq!(database.ask("select hashtag from post_hashtags"), "tag0");
            assert_eq!(database.ask("select count(*) from engagement"), "2", "{order:?}");
        }
    }
}

#[test]
fn counts_fill_what_they_name_before_and_after_their_post() {
    let reading = Row::tweet("1")
        .with("stream", "counts")
        .with("received_at", RECEIVED[2])
        .with("text", "as it was read again")
        .with("likes", 9);
    let post = Row::tweet("1").with("likes", 0).with("text", "as it was");
    for rows in [[post.clone(), reading.clone()], [reading, post]] {
        for together in [true, false] {
            let database = PostgresServer::shared().database();
            let mut session = session(&database);
            for rows in rows.chunks(if together { 2 } else { 1 }) {
                load(&mut session, rows);
            }
            assert_eq!(database.ask("select text, likes, is_reading from posts"), "as it was|9|f");
            assert_eq!(
                database.ask("select at, likes from engagement"),
                "2015-12-18 00:00:03+00|9"
            );
        }
    }
}

#[test]
fn a_deletion_clears_its_post_also_when_it_comes_first() {
    let post = Row::tweet("1").list("hashtags", &["storm"]).list("urls", &["http://a.example"]);
    for rows in [[post.clone(), Row::deleted("1")], [Row::deleted("1"), post]] {
        for together in [true, false] {
            let database = PostgresServer::shared().database();
            let mut session = session(&database);
            for rows in rows.chunks(if together { 2 } else { 1 }) {
                load(&mut session, rows);
            }
            load(&mut session, &rows);
            assert_eq!(
                database.ask("select created_at, text, raw, hashtags, deleted_at from posts"),
                "2015-12-18 00:00:00.123+00||||2015-12-19 00:00:00+00"
            );
            assert_eq!(
                database.ask("select post_id, reach, deleted_at from deletions"),
                "1|all|2015-12-19 00:00:00+00"
            );
            assert_eq!(database.ask("select count(*) from post_hashtags, post_urls"), "0");
        }
    }
}

fn toot(number: &str, server: &str) -> Row {
    let uri = format!("https://{server}/{number}");
    let post = format!(
        "{{\"toot\":{{\"id\":\"{number}\",\"uri\":\"{uri}\",\"account\":{{\"acct\":\"a\"}}}}}}"
    );
    Row::new("default", "mastodon", &uri, &post).with("text", "a toot")
}

fn record(name: &str, revision: &str, seconds: u32) -> Row {
    let id = format!("at://did:plc:a/app.bsky.feed.post/{name}");
    let post = format!(
        "{{\"bsky\":{{\"did\":\"did:plc:a\",\"time_us\":{seconds}000000,\"commit\":{{\"rev\":\"{revision}\",\
         \"collection\":\"app.bsky.feed.post\",\"rkey\":\"{name}\",\"operation\":\"create\"}}}}}}"
    );
    let time = format!("2015-12-18T00:00:{seconds:02}Z");
    Row::new("default", "bluesky", &id, &post)
        .with("text", format!("revision {revision}"))
        .with("created_at", time.as_str())
        .with("received_at", time.as_str())
}

/// Mastodon's deletions name a number of their server; Bluesky's name a record that may be made
/// again, or an account.
#[test]
fn a_deletion_means_the_posts_of_its_server_and_of_its_time() {
    let of_server = r#"{"delete":{"kind":"toot","id":"17","instance":"a.example"}}"#;
    let deletion = Row::new("deletes", "mastodon", "17", of_server);
    let toots = [toot("17", "a.example"), toot("17", "b.example")];
    let of_record = r#"{"delete":{"kind":"bsky","id":"at://did:plc:a/app.bsky.feed.post/r","raw":{"commit":{"rev":"2"}}}}"#;
    let record_deletion =
        Row::new("deletes", "bluesky", "at://did:plc:a/app.bsky.feed.post/r", of_record);
    let records = [record("r", "1", 1), record("s", "1", 1)];
    let again = record("t", "3", 3);
    let of_again = of_record.replace("post/r", "post/t");
    let again_deletion =
        Row::new("deletes", "bluesky", "at://did:plc:a/app.bsky.feed.post/t", &of_again);
    let all = [toots.to_vec(), records.to_vec(), vec![again]].concat();
    let deletions = [deletion, record_deletion, again_deletion];
    for deletions_first in [true, false] {
        let database = PostgresServer::shared().database();
        let mut session = session(&database);
        let loads: [&[Row]; 2] =
            if deletions_first { [&deletions, &all] } else { [&all, &deletions] };
        for rows in loads {
            load(&mut session, rows);
        }
        assert_eq!(
            database.ask(
                "select post_id from posts where deleted_at is not null and text is null order by 1"
            ),
            "at://did:plc:a/app.bsky.feed.post/r\nhttps://a.example/17"
        );
        let account = r#"{"delete":{"kind":"bsky","id":"did:plc:a","raw":{"did":"did:plc:a","time_us":2000000}}}"#;
        load(&mut session, &[Row::new("deletes", "bluesky", "did:plc:a", account)]);
        assert_eq!(
            database.ask(
                "select count(*) from posts where platform = 'bluesky' and deleted_at is null"
            ),
            "2",
            "those of 2015 are newer than the deletion"
        );
    }
}

#[test]
fn a_record_that_is_made_again_comes_back() {
    let database = PostgresServer::shared().database();
    let mut session = session(&database);
    let deletion = r#"{"delete":{"kind":"bsky","id":"at://did:plc:a/app.bsky.feed.post/r","raw":{"commit":{"rev":"2"}}}}"#;
    let deletion = Row::new("deletes", "bluesky", "at://did:plc:a/app.bsky.feed.post/r", deletion);
    for row in [record("r", "1", 1), deletion, record("r", "3", 3)] {
        load(&mut session, &[row]);
    }
    assert_eq!(database.ask("select text, deleted_at from posts"), "revision 3|");
}

#[test]
fn gaps_are_kept_and_filled() {
    let database = PostgresServer::shared().database();
    let mut session = session(&database);
    let gap = |filled: bool| {
        let post = format!(
            "{{\"gap\":{{\"id\":\"g\",\"spout\":\"tweets\",\"kind\":\"tweet\",\"part\":\"#storm\",\
             \"from\":\"2015-12-18T00:00:00Z\",\"to\":\"2015-12-18T00:05:00Z\",\"why\":\"lost\",\
             \"estimated_posts\":7,\"filled\":{filled},\"posts\":0,\"created_at\":\"2015-12-18T00:05:00Z\"}}}}"
        );
        Row::new("gaps", "x", "g", &post)
    };
    let states = [(false, "f"), (true, "t"), (false, "t")];
    for (filled, expected) in states {
        load(&mut session, &[gap(filled)]);
        assert_eq!(
            database.ask(
                "select component, platform, topic, reason, estimated_posts, filled from gaps"
            ),
            format!("tweets|x|#storm|lost|7|{expected}")
        );
    }
}

/// NUL and halves of pairs are replaced, in columns and in the post; what the server still refuses
/// is found among the rest.
#[test]
fn one_bad_row_is_refused_and_the_rest_is_written() {
    let database = PostgresServer::shared().database();
    let mut session = session(&database);
    let mut rows: Vec<Row> = (0..300).map(|number| Row::tweet(&format!("{number}"))).collect();
    let too_large = |id: &str| {
        let post = format!("{{\"tweet\":{{\"id_str\":\"{id}\",\"n\":1e200000}}}}");
        Row::new("default", "x", id, &post)
    };
    rows[17] = too_large("17");
    rows[18] = Row::new("default", "x", "18", "{\"tweet\":{\"text\":\"a\\u0000b\\ud800\"}}")
        .with("text", "a\0b")
        .with("author_id", "a\0")
        .with("author_name", "n\0");
    rows[200] = too_large("200");
    // The bad version of a post is refused, and the good one stays.
    rows[201] = too_large("202").with("received_at", RECEIVED[2]);
    rows[203] = Row::tweet("203").with("likes", "many");
    rows[204] = Row::tweet("204").with("created_at", "yesterday");
    let loaded = load(&mut session, &rows);
    assert_eq!(numbers(&loaded.refused), [17, 200, 201, 203, 204]);
    assert!(loaded.refused[0].error.contains("22003"), "{}", loaded.refused[0].error);
    assert_eq!(database.ask("select count(*), count(distinct post_id) from posts"), "295|295");
    assert_eq!(database.ask("select text from posts where post_id = '202'"), "a storm");
    let storable =
        database.ask("select text, raw->'tweet'->>'text' from posts where post_id = '18'");
    assert_eq!(storable, "a\u{fffd}b|a\u{fffd}b\u{fffd}");
    assert_eq!(load(&mut session, &rows).refused, loaded.refused, "the same at each repetition");
}

#[test]
fn a_post_without_id_or_time_is_kept() {
    let database = PostgresServer::shared().database();
    let mut session = session(&database);
    let note = Row::new("default", "note", "", "{\"note\":{\"text\":\"hi\"}}")
        .with("post_id", Value::Null)
        .with("created_at", Value::Null);
    for _ in 0..2 {
        load(&mut session, std::slice::from_ref(&note));
    }
    let found = database.ask("select left(post_id, 1), length(post_id), created_at from posts");
    assert_eq!(found, "#|33|2026-02-03 12:00:00+00", "the first time of a load");
}

#[test]
fn times_far_away_have_partitions_of_their_own() {
    let database = PostgresServer::shared().database();
    let mut session = session(&database);
    let times = [
        "0001-01-01T00:00:00Z",
        "1999-12-31T23:59:59.999999Z",
        "2000-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
    ];
    let rows: Vec<_> = times
        .iter()
        .enumerate()
        .map(|(id, time)| Row::tweet(&id.to_string()).with("created_at", *time).with("likes", 1))
        .collect();
    assert_eq!(load(&mut session, &rows).refused, []);
    assert_eq!(
        database.ask("select tableoid::regclass from posts order by created_at"),
        "posts_early\nposts_early\nposts_2000_01\nposts_late"
    );
}

/// A constraint that the server checks at the commit alone: the row is found, and the rest written.
#[test]
fn a_row_that_is_refused_at_the_commit_is_found() {
    let database = PostgresServer::shared().database();
    let mut session = session(&database);
    database.ask(
        "create function refuses() returns trigger language plpgsql as $$ begin \
         if to_jsonb(new)->>'post_id' = '3' or to_jsonb(new)->>'author_id' = 'bad' then \
         raise exception 'not this one' using errcode = '23514'; end if; return null; end $$; \
         create constraint trigger refuses after insert on posts deferrable initially deferred \
         for each row execute function refuses(); \
         create constraint trigger refuses after insert on authors deferrable initially deferred \
         for each row execute function refuses()",
    );
    let mut rows: Vec<Row> = (0..8).map(|id| Row::tweet(&id.to_string())).collect();
    rows[5] = rows[5].clone().with("author_id", "bad");
    rows[6] = rows[6].clone().with("author_id", "good");
    let loaded = load(&mut session, &rows);
    assert_eq!((numbers(&loaded.refused), loaded.rows), (vec![3, 5], 6));
    assert!(loaded.refused[0].error.contains("not this one"), "{:?}", loaded.refused);
    let posts = database.ask("select string_agg(post_id, '' order by post_id) from posts");
    assert_eq!(posts, "012467");
    assert_eq!(database.ask("select author_id from authors"), "good");
    // A load that is refused each time ends, instead of being tried for ever.
    database.ask(
        "create function never() returns trigger language plpgsql as $$ begin \
         raise exception 'never' using errcode = '23514'; end $$; \
         create constraint trigger never after insert on load_history deferrable initially deferred \
         for each row execute function never()",
    );
    let failed =
        session.load(&crate::tuples::rows(&[Row::tweet("9")]), &Ledger::History("other".into()));
    let error = failed.unwrap_err().transient("load");
    assert_eq!(error.kind(), Kind::Fatal, "{}", error.chain());
    assert!(error.chain().contains("refuses a whole load"), "{}", error.chain());
}

/// A deletion of all posts of an id doesn't mean one that has that id as its other one.
#[test]
fn a_deletion_by_the_own_id_leaves_posts_with_that_other_id() {
    let database = PostgresServer::shared().database();
    let mut session = session(&database);
    let deleted =
        Row::new("deletes", "mastodon", "77", "{\"delete\":{\"kind\":\"tweet\",\"id\":\"77\"}}");
    load(&mut session, &[deleted]);
    let toot = "{\"toot\":{\"id\":\"77\",\"uri\":\"https://a.example/1\",\"content\":\"rain\"}}";
    let row = Row::new("default", "mastodon", "https://a.example/1", toot).with("text", "rain");
    load(&mut session, &[row]);
    let kept = "select k.other_id, p.deleted_at is null from posts p join post_keys k using (platform, post_id)";
    assert_eq!(database.ask(kept), "77|t");
}
