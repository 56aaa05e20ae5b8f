//! What one attempt sends to the server, within a transaction.
//!
//! ```text
//! keys, locked in order ─▶ deletions ─▶ facts of known posts ─▶ posts ─▶ satellites ─▶ authors ─▶ gaps
//! ```
//!
//! Whoever has locked a key alone writes what belongs to it. So the facts of posts that are there
//! already stay true until the commit, and posts that are new are copied into their table at once.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::columns::{COLUMNS, ColumnFate, position};
use super::copy::{CopyBuffer, copy_rows};
use super::deletion::{DeletionFacts, DeletionRow, reach_name, reach_of_name};
use super::failure::{Done, Failure};
use super::months::{Micros, Month, micros};
use super::row::{AuthorRow, GapRow, PostRow};
use super::session::Session;
use super::units::{Attempt, StagedKey};
use super::wire::WireTime;
use crate::value::Value;

/// The temporary tables of a session, which each commit empties.
const STAGING: &str = "\
create temporary table staged_keys (ordinal integer, platform text collate \"C\", post_id text collate \"C\", \
created_at timestamptz, other_id text collate \"C\") on commit delete rows;
create temporary table staged_posts (like posts, wins integer) on commit delete rows;
create temporary table staged_authors (like authors) on commit delete rows;
create temporary table staged_engagement (like engagement) on commit delete rows;
create temporary table staged_deletions (like deletions) on commit delete rows;
create temporary table staged_cleared (platform text collate \"C\", post_id text collate \"C\", \
created_at timestamptz, deleted_at timestamptz) on commit delete rows;";

/// What empties them within a transaction.
const UNSTAGE: &str = "truncate pg_temp.staged_keys, pg_temp.staged_posts, pg_temp.staged_authors, \
                       pg_temp.staged_engagement, pg_temp.staged_deletions, pg_temp.staged_cleared";

/// Locks the keys in their order, and returns those that were there before.
const LOCK_KEYS: &str = "\
with locked as (
    insert into post_keys as k (platform, post_id, created_at, other_id)
    select platform, post_id, created_at, other_id from pg_temp.staged_keys order by platform, post_id
    on conflict (platform, post_id) do update
    set created_at = coalesce(k.created_at, excluded.created_at),
        other_id = coalesce(k.other_id, excluded.other_id)
    where k.created_at is null and excluded.created_at is not null
        or k.other_id is null and excluded.other_id is not null
    returning k.platform, k.post_id, k.xmax = 0 as is_new
)
select s.ordinal from pg_temp.staged_keys s
left join locked l on l.platform = s.platform and l.post_id = s.post_id
where l.is_new is not true";

/// What is known of the posts of such keys.
const KNOWN: &str = "\
select s.ordinal, k.created_at, p.post_id is not null, p.is_reading, p.edited_at, p.received_at, p.counted_at
from pg_temp.staged_keys s
join post_keys k on k.platform = s.platform and k.post_id = s.post_id
left join posts p on p.platform = k.platform and p.post_id = k.post_id and p.created_at = k.created_at
where s.ordinal = any($1)";

/// The deletions that name the posts.
const DELETIONS: &str = "\
select s.ordinal, d.post_id, d.reach, d.server, d.revision, d.deleted_at, d.seen_at
from pg_temp.staged_keys s join deletions d on d.platform = s.platform and d.post_id = s.post_id
union all
select s.ordinal, d.post_id, d.reach, d.server, d.revision, d.deleted_at, d.seen_at
from pg_temp.staged_keys s join deletions d on d.platform = s.platform and d.post_id = s.other_id
where s.other_id is not null";

/// Adds deletions; the earliest time counts, and of deletions until some time the latest.
const ADD_DELETIONS: &str = "\
insert into deletions as d
select * from pg_temp.staged_deletions order by platform, post_id, reach, server, revision
on conflict (platform, post_id, reach, server, revision) do update
set deleted_at = least(d.deleted_at, excluded.deleted_at),
    received_at = least(d.received_at, excluded.received_at),
    seen_at = greatest(d.seen_at, excluded.seen_at)
where excluded.deleted_at < d.deleted_at or excluded.received_at < d.received_at
    or d.seen_at is distinct from greatest(d.seen_at, excluded.seen_at)";

/// The posts that are there and that deletions name.
const NAMED: &str = "\
select d.ctid::text, d.post_id, d.reach, d.server, d.revision, d.deleted_at, d.seen_at,
    p.platform, p.post_id, p.created_at, p.revision, p.servers
from pg_temp.staged_deletions d
join post_keys k on k.platform = d.platform and k.post_id = d.post_id
join posts p on p.platform = k.platform and p.post_id = k.post_id and p.created_at = k.created_at
where p.deleted_at is null
union all
select d.ctid::text, d.post_id, d.reach, d.server, d.revision, d.deleted_at, d.seen_at,
    p.platform, p.post_id, p.created_at, p.revision, p.servers
from pg_temp.staged_deletions d
join post_keys k on k.platform = d.platform and k.other_id = d.post_id
join posts p on p.platform = k.platform and p.post_id = k.post_id and p.created_at = k.created_at
where p.deleted_at is null and d.reach <> 'all'";

/// Joins by indexes alone: a few keys are looked up in tables that may be large, of which the server
/// may have no statistics yet.
const BY_INDEX: &str = "set local enable_hashjoin to off; set local enable_mergejoin to off; set local enable_seqscan to off";
const ANY_JOIN: &str = "set local enable_hashjoin to on; set local enable_mergejoin to on; set local enable_seqscan to on";

const ADD_AUTHORS: &str = "\
insert into authors as a
select * from pg_temp.staged_authors order by platform, author_id
on conflict (platform, author_id) do update
set handle = case when excluded.last_seen > a.last_seen then coalesce(excluded.handle, a.handle) else a.handle end,
    name = case when excluded.last_seen > a.last_seen then coalesce(excluded.name, a.name) else a.name end,
    followers = case when excluded.last_seen > a.last_seen then coalesce(excluded.followers, a.followers) else a.followers end,
    following = case when excluded.last_seen > a.last_seen then coalesce(excluded.following, a.following) else a.following end,
    posts = case when excluded.last_seen > a.last_seen then coalesce(excluded.posts, a.posts) else a.posts end,
    verified = case when excluded.last_seen > a.last_seen then coalesce(excluded.verified, a.verified) else a.verified end,
    bot = case when excluded.last_seen > a.last_seen then coalesce(excluded.bot, a.bot) else a.bot end,
    created_at = coalesce(a.created_at, excluded.created_at),
    first_seen = least(a.first_seen, excluded.first_seen),
    last_seen = greatest(a.last_seen, excluded.last_seen)
where excluded.last_seen > a.last_seen or excluded.first_seen < a.first_seen";

const ADD_ENGAGEMENT: &str = "\
insert into engagement select * from pg_temp.staged_engagement order by platform, post_id, at on conflict do nothing";

const ADD_GAP: &str = "\
insert into gaps as g (id, component, platform, topic, from_time, to_time, reason, estimated_posts, filled, posts, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
on conflict (id) do update
set to_time = excluded.to_time, filled = excluded.filled, posts = excluded.posts
where excluded.filled and not g.filled";

/// The tables that hold the texts of posts, one row for each.
const SATELLITES: [&str; 3] = ["post_hashtags", "post_mentions", "post_urls"];

/// The longest hashtag, mention or domain that gets a row of its own, in bytes: an index takes no
/// long keys.
const INDEXED_BYTES_MAX: usize = 1_000;

const ENGAGEMENT: &str = "platform, post_id, at, likes, reposts, replies, quotes, views, bookmarks";

/// A key without the rest of its row.
type KeyOf<'a> = (&'a str, &'a str, Micros);

impl Session {
    /// Makes the temporary tables once.
    pub(super) async fn stage(&self) -> Done<()> {
        Ok(self.client().batch_execute(STAGING).await?)
    }

    /// Writes what is in an attempt. `is_first` in its transaction.
    pub(super) async fn write(&self, mut attempt: Attempt<'_>, is_first: bool) -> Done<()> {
        let client = self.client();
        if !is_first {
            client.batch_execute(UNSTAGE).await?;
        }
        let known = self.lock_keys(&attempt).await?;
        if !attempt.deletions.is_empty() {
            self.add_deletions(&attempt.deletions).await?;
        }
        self.apply_deletions(&mut attempt).await?;
        let posts = self.sort_out(attempt.posts, &known).await?;
        self.write_posts(&posts).await?;
        self.write_satellites(&posts).await?;
        self.write_engagement(&attempt.readings, &posts).await?;
        if !attempt.deletions.is_empty() {
            self.clear_deleted().await?;
        }
        self.write_authors(&attempt.authors).await?;
        for gap in attempt.gaps {
            self.write_gap(gap).await?;
        }
        Ok(())
    }

    /// Locks all keys, and returns the positions of the posts whose keys were there before, each
    /// with its ordinal.
    async fn lock_keys(&self, attempt: &Attempt<'_>) -> Done<BTreeMap<usize, i32>> {
        let keys = attempt.keys();
        let posts: Vec<Option<usize>> = keys.values().map(|key| key.post).collect();
        let columns = "ordinal, platform, post_id, created_at, other_id";
        copy_rows(
            self.client(),
            "pg_temp.staged_keys",
            columns,
            (0..).zip(&keys),
            |row, buffer| {
                let (ordinal, (key, StagedKey { created_at, other_id, .. })) = row;
                buffer.row(5);
                buffer.int4(ordinal);
                buffer.text(Some(&key.platform));
                buffer.text(Some(&key.post_id));
                buffer.time(*created_at);
                buffer.text(*other_id);
            },
        )
        .await?;
        let mut known = BTreeMap::new();
        for row in self.client().query(LOCK_KEYS, &[]).await? {
            let ordinal: i32 = row.get(0);
            let at = usize::try_from(ordinal).unwrap_or_default();
            if let Some(post) = posts.get(at).copied().flatten() {
                known.insert(post, ordinal);
            }
        }
        Ok(known)
    }

    async fn add_deletions(&self, deletions: &[&DeletionRow]) -> Done<()> {
        let mut once: BTreeMap<_, DeletionRow> = BTreeMap::new();
        for deletion in deletions {
            let reach = reach_name(deletion.reach);
            let DeletionRow { platform, post_id, server, revision, .. } = deletion;
            once.entry((platform, post_id, reach, server, revision))
                .and_modify(|known| {
                    known.join(deletion);
                })
                .or_insert_with(|| (*deletion).clone());
        }
        let columns =
            "platform, post_id, reach, server, revision, deleted_at, received_at, seen_at";
        let table = "pg_temp.staged_deletions";
        copy_rows(self.client(), table, columns, once.into_values(), |deletion, buffer| {
            buffer.row(8);
            buffer.text(Some(&deletion.platform));
            buffer.text(Some(&deletion.post_id));
            buffer.text(Some(reach_name(deletion.reach)));
            buffer.text(Some(&deletion.server));
            buffer.text(Some(&deletion.revision));
            buffer.time(Some(deletion.deleted_at));
            buffer.time(deletion.received_at);
            buffer.time(deletion.seen_at);
        })
        .await?;
        Ok(self.client().batch_execute(ADD_DELETIONS).await?)
    }

    /// Clears the posts of an attempt that deletions mean, those of the attempt among them.
    async fn apply_deletions(&self, attempt: &mut Attempt<'_>) -> Done<()> {
        let client = self.client();
        let any = client.query_one("select exists (select from deletions)", &[]).await?;
        if attempt.posts.is_empty() || !any.get::<_, bool>(0) {
            return Ok(());
        }
        let posts: Vec<Option<usize>> = attempt.keys().values().map(|key| key.post).collect();
        client.batch_execute(BY_INDEX).await?;
        let named = client.query(DELETIONS, &[]).await?;
        client.batch_execute(ANY_JOIN).await?;
        for row in named {
            let at = usize::try_from(row.get::<_, i32>(0)).unwrap_or_default();
            let Some(post) = posts.get(at).copied().flatten() else { continue };
            let post = &mut attempt.posts[post];
            let deletion = deletion_of(&row, &post.key.platform);
            if deletion.means(&post.facts) {
                post.to_mut().clear(deletion.deleted_at);
            }
        }
        Ok(())
    }

    /// Holds the posts against what is there.
    async fn sort_out<'r>(
        &self,
        posts: Vec<Cow<'r, PostRow>>,
        known: &BTreeMap<usize, i32>,
    ) -> Done<Sorted<'r>> {
        let mut facts = BTreeMap::new();
        if !known.is_empty() {
            let ordinals: Vec<i32> = known.values().copied().collect();
            self.client().batch_execute(BY_INDEX).await?;
            let rows = self.client().query(KNOWN, &[&ordinals]).await?;
            self.client().batch_execute(ANY_JOIN).await?;
            for row in rows {
                facts.insert(row.get::<_, i32>(0), KnownPost::of(&row));
            }
        }
        let mut sorted = Sorted::default();
        for (number, mut post) in posts.into_iter().enumerate() {
            let fact = known.get(&number).and_then(|ordinal| facts.get(ordinal));
            let Some(fact) = fact else {
                sorted.new.push(post);
                continue;
            };
            if let Some(created_at) = fact.created_at.filter(|time| *time != post.created_at) {
                if let Some(month) = Month::of(created_at)
                    && !self.months.contains(&month)
                {
                    return Err(Failure::PartitionGone(Some(month)));
                }
                post.to_mut().created_at = created_at;
            }
            match fact.wins(&post) {
                Some(wins) => sorted.known.push((wins, post)),
                None => sorted.older.push(post),
            }
        }
        Ok(sorted)
    }

    async fn write_posts(&self, posts: &Sorted<'_>) -> Done<()> {
        let client = self.client();
        let columns = post_columns();
        copy_rows(client, "posts", &columns, &posts.new, |post, buffer| {
            buffer.row(KEY_COLUMNS.len() + COLUMNS.len());
            encode_post(post, buffer);
        })
        .await?;
        let staged = format!("{columns}, wins");
        copy_rows(client, "pg_temp.staged_posts", &staged, &posts.known, |(wins, post), buffer| {
            buffer.row(KEY_COLUMNS.len() + COLUMNS.len() + 1);
            encode_post(post, buffer);
            buffer.int4(*wins as i32);
        })
        .await?;
        let kinds: BTreeSet<Wins> = posts.known.iter().map(|(wins, _)| *wins).collect();
        for wins in kinds {
            client.batch_execute(&wins.upsert(&columns)).await?;
        }
        Ok(())
    }

    /// Hashtags, mentions and addresses, each as a row.
    async fn write_satellites(&self, posts: &Sorted<'_>) -> Done<()> {
        let client = self.client();
        let mut changed: Vec<&PostRow> = posts.new.iter().map(|post| &**post).collect();
        let before = changed.len();
        for (wins, post) in &posts.known {
            if *wins != Wins::Counts {
                changed.push(post);
            }
        }
        if changed.len() > before {
            for table in SATELLITES {
                client
                    .batch_execute(&delete_from(table, "staged_posts", "and s.wins <> 2"))
                    .await?;
            }
        }
        for (table, column) in [("hashtag", "hashtags"), ("mention", "mentions")] {
            let mut rows: Vec<(KeyOf<'_>, &str)> = Vec::new();
            for post in &changed {
                let texts: BTreeSet<&str> = post
                    .texts(position(column))
                    .filter(|text| text.len() <= INDEXED_BYTES_MAX)
                    .collect();
                rows.extend(texts.into_iter().map(|text| (key_of(post), text)));
            }
            let columns = format!("platform, post_id, created_at, {table}");
            let table = format!("post_{column}");
            copy_rows(client, &table, &columns, rows, |(key, text), buffer| {
                buffer.row(4);
                encode_key(key, buffer);
                buffer.text(Some(text));
            })
            .await?;
        }
        self.write_urls(&changed).await
    }

    async fn write_urls(&self, posts: &[&PostRow]) -> Done<()> {
        let mut rows: Vec<UrlRow<'_>> = Vec::new();
        for post in posts {
            let domains: Vec<&str> = post.texts(position("domains")).collect();
            for (place, url) in (0..).zip(post.texts(position("urls"))) {
                let domain = domain_of(url, &domains);
                rows.push(UrlRow { key: key_of(post), place, url, domain });
            }
        }
        let columns = "platform, post_id, created_at, place, url, domain";
        copy_rows(self.client(), "post_urls", columns, rows, |row, buffer| {
            let UrlRow { key, place, url, domain } = row;
            buffer.row(6);
            encode_key(key, buffer);
            buffer.int4(place);
            buffer.text(Some(url));
            buffer.text(domain.filter(|domain| domain.len() <= INDEXED_BYTES_MAX));
        })
        .await
    }

    async fn write_engagement(&self, readings: &[&PostRow], posts: &Sorted<'_>) -> Done<()> {
        let known: BTreeSet<(&str, &str)> = posts.known_keys();
        let is_known = |reading: &&&PostRow| {
            known.contains(&(reading.key.platform.as_str(), reading.key.post_id.as_str()))
        };
        let (old, new): (Vec<&PostRow>, Vec<&PostRow>) =
            readings.iter().copied().partition(|reading| is_known(&reading));
        copy_rows(self.client(), "engagement", ENGAGEMENT, new, encode_reading).await?;
        if old.is_empty() {
            return Ok(());
        }
        let table = "pg_temp.staged_engagement";
        copy_rows(self.client(), table, ENGAGEMENT, old, encode_reading).await?;
        Ok(self.client().batch_execute(ADD_ENGAGEMENT).await?)
    }

    /// Clears the posts that were there before their deletions.
    async fn clear_deleted(&self) -> Done<()> {
        let client = self.client();
        client.batch_execute(BY_INDEX).await?;
        let mut cleared: BTreeMap<(String, String, Micros), Micros> = BTreeMap::new();
        for row in client.query(NAMED, &[]).await? {
            let platform: String = row.get(7);
            let deletion = deletion_of(&row, &platform);
            let created_at = row.get::<_, WireTime>(9).0;
            let facts = DeletionFacts {
                other_id: None,
                revision: row.get(10),
                servers: row.get::<_, Option<Vec<String>>>(11).unwrap_or_default(),
                own_time: Some(created_at),
            };
            if deletion.means(&facts) {
                let at = cleared.entry((platform, row.get(8), created_at));
                let deleted_at = at.or_insert(deletion.deleted_at);
                *deleted_at = deletion.deleted_at.min(*deleted_at);
            }
        }
        let columns = "platform, post_id, created_at, deleted_at";
        let none = cleared.is_empty();
        copy_rows(client, "pg_temp.staged_cleared", columns, cleared, |(key, at), buffer| {
            buffer.row(4);
            encode_key((&key.0, &key.1, key.2), buffer);
            buffer.time(Some(at));
        })
        .await?;
        if !none {
            client.batch_execute(&clear_posts()).await?;
            for table in SATELLITES {
                client.batch_execute(&delete_from(table, "staged_cleared", "")).await?;
            }
        }
        Ok(client.batch_execute(ANY_JOIN).await?)
    }

    async fn write_authors(&self, authors: &[AuthorRow]) -> Done<()> {
        if authors.is_empty() {
            return Ok(());
        }
        let columns = "platform, author_id, handle, name, followers, following, posts, verified, bot, created_at, \
                       first_seen, last_seen";
        copy_rows(self.client(), "pg_temp.staged_authors", columns, authors, |author, buffer| {
            buffer.row(12);
            buffer.text(Some(&author.platform));
            buffer.text(Some(&author.id));
            let [handle, name, followers, following, posts, verified, bot] = &author.values;
            for text in [handle, name] {
                buffer.text(text.as_text());
            }
            for number in [followers, following, posts] {
                buffer.int(number.as_int());
            }
            for is_true in [verified, bot] {
                buffer.bool(if let Value::Bool(is_true) = is_true { Some(*is_true) } else { None });
            }
            buffer.time(author.created_at);
            buffer.time(Some(author.first_seen));
            buffer.time(Some(author.seen));
        })
        .await?;
        Ok(self.client().batch_execute(ADD_AUTHORS).await?)
    }

    async fn write_gap(&self, GapRow { gap, platform }: &GapRow) -> Done<()> {
        let wire = |time: time::OffsetDateTime| WireTime(micros(time));
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let text = super::storable::storable_text;
        self.client()
            .execute(
                ADD_GAP,
                &[
                    &&*text(&gap.id),
                    &&*text(&gap.spout),
                    &&*text(platform),
                    &&*text(&gap.part),
                    &wire(gap.from),
                    &wire(gap.to),
                    &&*text(&gap.why),
                    &gap.estimated_posts.map(count),
                    &gap.filled,
                    &count(gap.posts),
                    &wire(gap.created_at),
                ],
            )
            .await?;
        Ok(())
    }
}

/// The posts of an attempt, held against what is there.
#[derive(Default)]
struct Sorted<'r> {
    /// Those whose keys are new, or whose rows aren't there.
    new: Vec<Cow<'r, PostRow>>,
    /// Those that change what is there.
    known: Vec<(Wins, Cow<'r, PostRow>)>,
    /// Those that are no newer than what is there.
    older: Vec<Cow<'r, PostRow>>,
}

impl Sorted<'_> {
    /// The keys of posts that were there.
    fn known_keys(&self) -> BTreeSet<(&str, &str)> {
        let changed = self.known.iter().map(|(_, post)| post);
        let all = changed.chain(&self.older);
        all.map(|post| (post.key.platform.as_str(), post.key.post_id.as_str())).collect()
    }
}

/// What of a post is newer than what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wins {
    Everything = 0,
    Version = 1,
    Counts = 2,
}

impl Wins {
    /// The statement for the staged posts of this sort.
    fn upsert(self, columns: &str) -> String {
        let mut changed = Vec::new();
        if self != Self::Counts {
            changed
                .extend(KEY_COLUMNS.iter().skip(3).filter(|name| **name != "counted_at").copied());
        }
        if self != Self::Version {
            changed.push("counted_at");
        }
        for column in &COLUMNS {
            let is_count = column.fate == ColumnFate::Count;
            if self == Self::Everything || is_count == (self == Self::Counts) {
                changed.push(column.name);
            }
        }
        let set: Vec<_> = changed.iter().map(|name| format!("{name} = excluded.{name}")).collect();
        format!(
            "insert into posts ({columns}, loaded_at) select {columns}, now() from pg_temp.staged_posts \
             where wins = {} order by platform, post_id on conflict (platform, post_id, created_at) \
             do update set {}, loaded_at = excluded.loaded_at",
            self as i32,
            set.join(", ")
        )
    }
}

/// What is known of a post that is there.
struct KnownPost {
    created_at: Option<Micros>,
    version: Option<(bool, Option<Micros>, Option<Micros>)>,
    counted_at: Option<Micros>,
}

impl KnownPost {
    fn of(row: &tokio_postgres::Row) -> Self {
        let time = |at: usize| row.get::<_, Option<WireTime>>(at).map(|time| time.0);
        let is_there: bool = row.get(2);
        let is_reading = row.get::<_, Option<bool>>(3).unwrap_or_default();
        Self {
            created_at: time(1),
            version: is_there.then(|| (!is_reading, time(4), time(5))),
            counted_at: time(6),
        }
    }

    /// What of a post is newer; nothing, if it is no newer.
    fn wins(&self, post: &PostRow) -> Option<Wins> {
        let Some(version) = self.version else { return Some(Wins::Everything) };
        let counts = post.counted_at > self.counted_at;
        match (post.version() > version, counts) {
            (true, true) => Some(Wins::Everything),
            (true, false) => Some(Wins::Version),
            (false, true) => Some(Wins::Counts),
            (false, false) => None,
        }
    }
}

/// The columns of `posts` beside those that are listed.
const KEY_COLUMNS: [&str; 11] = [
    "platform",
    "post_id",
    "created_at",
    "received_at",
    "edited_at",
    "deleted_at",
    "is_reading",
    "counted_at",
    "revision",
    "servers",
    "raw",
];

fn post_columns() -> String {
    let listed = COLUMNS.iter().map(|column| column.name);
    KEY_COLUMNS.into_iter().chain(listed).collect::<Vec<_>>().join(", ")
}

fn encode_post(post: &PostRow, buffer: &mut CopyBuffer) {
    encode_key(key_of(post), buffer);
    buffer.time(post.received_at);
    buffer.time(post.edited_at);
    buffer.time(post.deleted_at);
    buffer.bool(Some(post.is_reading));
    buffer.time(post.counted_at);
    buffer.text(post.facts.revision.as_deref());
    if post.facts.servers.is_empty() {
        buffer.null();
    } else {
        buffer.texts(post.facts.servers.iter().map(String::as_str));
    }
    match &post.raw {
        Some(raw) => buffer.jsonb(raw),
        None => buffer.null(),
    }
    for (column, value) in COLUMNS.iter().zip(&post.values) {
        column.write(value, buffer);
    }
}

fn encode_reading(reading: &PostRow, buffer: &mut CopyBuffer) {
    buffer.row(9);
    buffer.text(Some(&reading.key.platform));
    buffer.text(Some(&reading.key.post_id));
    buffer.time(reading.counted_at);
    for (column, value) in COLUMNS.iter().zip(&reading.values) {
        if column.fate == ColumnFate::Count {
            column.write(value, buffer);
        }
    }
}

fn key_of(post: &PostRow) -> KeyOf<'_> {
    (&post.key.platform, &post.key.post_id, post.created_at)
}

fn encode_key((platform, post_id, created_at): KeyOf<'_>, buffer: &mut CopyBuffer) {
    buffer.text(Some(platform));
    buffer.text(Some(post_id));
    buffer.time(Some(created_at));
}

/// An address in a post.
struct UrlRow<'a> {
    key: KeyOf<'a>,
    place: i32,
    url: &'a str,
    domain: Option<&'a str>,
}

/// Which of a post's domains an address is of.
pub(super) fn domain_of<'a>(url: &str, domains: &[&'a str]) -> Option<&'a str> {
    let behind = url.split_once("://").map_or(url, |(_, behind)| behind);
    let authority = behind.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default().trim_end_matches('.').to_lowercase();
    let is_of = |domain: &&&str| {
        host.strip_suffix(**domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    domains.iter().filter(is_of).max_by_key(|domain| domain.len()).copied()
}

/// The deletion in a row, from its second column on.
fn deletion_of(row: &tokio_postgres::Row, platform: &str) -> DeletionRow {
    DeletionRow {
        platform: platform.into(),
        post_id: row.get(1),
        reach: reach_of_name(row.get(2)),
        server: row.get(3),
        revision: row.get(4),
        deleted_at: row.get::<_, WireTime>(5).0,
        received_at: None,
        seen_at: row.get::<_, Option<WireTime>>(6).map(|time| time.0),
    }
}

fn delete_from(table: &str, staged: &str, condition: &str) -> String {
    format!(
        "delete from {table} t using pg_temp.{staged} s where t.platform = s.platform \
         and t.post_id = s.post_id and t.created_at = s.created_at {condition}"
    )
}

fn clear_posts() -> String {
    let content = COLUMNS.iter().filter(|column| column.fate == ColumnFate::Content);
    let cleared: Vec<_> = content.map(|column| format!("{} = null", column.name)).collect();
    format!(
        "update posts p set deleted_at = s.deleted_at, raw = null, {} from pg_temp.staged_cleared s \
         where p.platform = s.platform and p.post_id = s.post_id and p.created_at = s.created_at",
        cleared.join(", ")
    )
}
