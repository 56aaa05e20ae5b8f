//! Tuples as `Features` emits them, made by hand, and a session that loads them.

use time::macros::datetime;
use waterspout::post::Post;
use waterspout::secret::Secret;
use waterspout::tuple::Fields;
use waterspout::value::Value;
use waterspout::warehouse::ledger::{Ledger, RefusedPosition, RowPosition};
use waterspout::warehouse::load::{LoadRows, Loaded};
use waterspout::warehouse::row::{RowLayout, RowReading, read};
use waterspout::warehouse::schema;
use waterspout::warehouse::session::{Session, Warehouse};

use crate::support::postgres_server::Database;

pub(crate) const FIELDS: [&str; 38] = [
    "post",
    "kind",
    "topics",
    "stream",
    "platform",
    "post_id",
    "created_at",
    "received_at",
    "edited_at",
    "author_id",
    "author_handle",
    "author_name",
    "author_followers",
    "author_following",
    "author_posts",
    "author_verified",
    "author_bot",
    "author_created_at",
    "lang",
    "lang_source",
    "text",
    "hashtags",
    "cashtags",
    "mentions",
    "urls",
    "domains",
    "media",
    "reply_to",
    "repost_of",
    "quote_of",
    "conversation_id",
    "relation",
    "likes",
    "reposts",
    "replies",
    "quotes",
    "views",
    "bookmarks",
];

/// One tuple.
#[derive(Clone)]
pub(crate) struct Row(Vec<Value>);

impl Row {
    /// Of a post, with nothing that anybody says of it.
    pub(crate) fn new(stream: &str, platform: &str, post_id: &str, post: &str) -> Self {
        let post = Post::check(post.to_owned().into()).unwrap();
        let row = Self(vec![Value::Null; FIELDS.len()]);
        let kind = post.kind().to_owned();
        row.with("post", Value::Post(post))
            .with("kind", kind)
            .with("stream", stream)
            .with("platform", platform)
            .with("post_id", post_id)
            .with("created_at", "2015-12-18T00:00:00.123000Z")
    }

    /// A tweet.
    pub(crate) fn tweet(id: &str) -> Self {
        let post = format!("{{\"tweet\":{{\"id_str\":\"{id}\",\"text\":\"a storm\"}}}}");
        Self::new("default", "x", id, &post).with("text", "a storm")
    }

    /// The deletion of a tweet.
    pub(crate) fn deleted(id: &str) -> Self {
        let post = format!("{{\"delete\":{{\"kind\":\"tweet\",\"id\":\"{id}\"}}}}");
        Self::new("deletes", "x", id, &post).with("created_at", "2015-12-19T00:00:00Z")
    }

    pub(crate) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        let at = FIELDS.iter().position(|name| *name == field).unwrap();
        self.0[at] = value.into();
        self
    }

    pub(crate) fn list(self, field: &str, texts: &[&str]) -> Self {
        self.with(field, Value::List(texts.iter().map(|text| Value::from(*text)).collect()))
    }
}

/// The warehouse at an address.
pub(crate) fn warehouse(url: &str) -> Warehouse {
    Warehouse::at(&Secret::new(url), "waterspout").unwrap()
}

/// A session with a database that has the schema.
pub(crate) fn session(database: &Database<'_>) -> Session {
    let session = warehouse(&database.url()).connect().unwrap();
    schema::migrate(&session).unwrap();
    session
}

/// The rows, read.
pub(crate) fn rows(rows: &[Row]) -> LoadRows {
    let layout = RowLayout::of(&Fields::new(FIELDS)).unwrap();
    let reading = RowReading { now: datetime!(2026-02-03 12:00 UTC), keeps_raw: true };
    let mut load = LoadRows::default();
    for (number, Row(values)) in rows.iter().enumerate() {
        load.add(RowPosition { segment: 0, number }, read(&layout, values, reading), None);
    }
    load
}

/// Loads rows in one transaction.
#[track_caller]
pub(crate) fn load(session: &mut Session, of: &[Row]) -> Loaded {
    session.load(&rows(of), &Ledger::History("test".into())).unwrap().unwrap()
}

/// The numbers of the rows that were refused.
pub(crate) fn numbers(refused: &[RefusedPosition]) -> Vec<usize> {
    refused.iter().map(|refused| refused.at.number).collect()
}
