//! Tests of maintenance: the schema with two concurrent starts, months, retention.

use std::thread;

use time::macros::datetime;
use waterspout::warehouse::months::micros;
use waterspout::warehouse::schema;

use crate::support::postgres_server::PostgresServer;
use crate::tuples::{Row, load, session, warehouse};

#[test]
fn of_several_starters_one_makes_the_schema() {
    let database = PostgresServer::shared().database();
    let warehouse = warehouse(&database.url());
    let made = thread::scope(|scope| {
        let start = || schema::migrate(&warehouse.connect().unwrap()).unwrap();
        let starters = [(); 6].map(|()| scope.spawn(start));
        starters.map(|starter| starter.join().unwrap())
    });
    let first = made.iter().filter(|migrated| migrated.from.is_none()).count();
    assert_eq!(first, 1, "{made:?}");
    assert_eq!(database.ask("select version from schema_versions"), "1");
}

/// Several writers, each with posts of many months, also those that others make just then.
#[test]
fn several_writers_make_the_same_months() {
    let database = PostgresServer::shared().database();
    session(&database);
    thread::scope(|scope| {
        for writer in 0..4 {
            let database = &database;
            scope.spawn(move || {
                let mut session = session(database);
                for month in 1..=12 {
                    let time = format!("2015-{month:02}-03T00:00:00Z");
                    let row = |id: usize| {
                        Row::tweet(&format!("{month}-{id}")).with("created_at", time.as_str())
                    };
                    // Half of the posts are those of the next writer, in another order.
                    let rows: Vec<_> = (writer..writer + 20).rev().map(row).collect();
                    load(&mut session, &rows);
                }
            });
        }
    });
    assert_eq!(database.ask("select count(*), count(distinct post_id) from posts"), "276|276");
    let months = "select count(*) from pg_inherits where inhparent = 'posts'::regclass";
    assert_eq!(database.ask(months), "14");
}

#[test]
fn old_months_are_dropped_with_all_that_belongs_to_their_posts() {
    let database = PostgresServer::shared().database();
    let mut session = session(&database);
    let post = |id: &str, time: &str| {
        Row::tweet(id)
            .with("created_at", time)
            .list("hashtags", &["storm"])
            .list("mentions", &["bob"])
            .list("urls", &["http://a.example"])
            .with("likes", 1)
    };
    let rows = [post("old", "2015-11-30T00:00:00Z"), post("new", "2015-12-01T00:00:00Z")];
    load(&mut session, &rows);
    let dropped = session.drop_before(micros(datetime!(2015-12-01 00:00 UTC))).unwrap();
    assert_eq!(dropped, ["posts_2015_11"]);
    for table in ["posts", "post_keys", "post_hashtags", "post_mentions", "post_urls", "engagement"]
    {
        assert_eq!(database.ask(&format!("select post_id from {table}")), "new", "{table}");
    }
    assert_eq!(session.drop_before(micros(datetime!(2015-12-31 00:00 UTC))).unwrap(), [""; 0]);
    // A month that comes again has its partition again.
    load(&mut session, &rows);
    assert_eq!(database.ask("select count(*) from posts"), "2");
    // A session that doesn't know that a month was dropped finds it out.
    let mut other = crate::tuples::session(&database);
    other.drop_before(micros(datetime!(2015-12-01 00:00 UTC))).unwrap();
    load(&mut session, &rows);
    assert_eq!(database.ask("select count(*) from posts"), "2");
}
