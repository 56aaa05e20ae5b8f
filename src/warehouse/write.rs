//! Sends one attempt to the server, within a transaction.
//!
//! ```text
//! keys, locked in order ─▶ deletions ─▶ facts of known posts ─▶ posts ─▶ satellites ─▶ authors ─▶ gaps ─▶ trends
//! ```
//!
//! Only the session that has locked a key writes data for the key. The facts of stored posts
//! therefore stay true until the commit, and new posts are copied directly into their table.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::columns::{COLUMNS, ColumnFate};
use super::copy::copy_rows;
use super::deletion::{DeletionFacts, DeletionRow, reach_name, reach_of_name};
use super::encode::{ENGAGEMENT, KEY_COLUMNS, encode_post, encode_reading, post_columns};
use super::failure::{Done, Failure};
use super::months::{Micros, Month, micros};
use super::row::{AuthorRow, GapRow, PostKey, PostRow};
use super::session::Session;
use super::standing::{KnownPost, Sorted, Wins};
use super::statements::{
    ADD_AUTHORS, ADD_DELETIONS, ADD_ENGAGEMENT, ADD_GAP, BY_ANY_SCAN, BY_INDEX, DELETE_KEY,
    DELETIONS, KNOWN, LOCK_KEYS, NAMED, STAGING, UNSTAGE,
};
use super::units::{Attempt, StagedKey, newest_authors};
use super::wire::WireTime;
use crate::value::Value;

impl Session {
    /// Creates the temporary tables once for each session.
    pub(super) async fn stage(&self) -> Done<()> {
        Ok(self.client().batch_execute(STAGING).await?)
    }

    /// Writes the content of an attempt except its authors, and returns the authors. `known` has
    /// the keys that existed before they were locked.
    pub(super) async fn write(
        &self,
        mut attempt: Attempt<'_>,
        known: &BTreeSet<PostKey>,
        is_staged: bool,
    ) -> Done<Vec<AuthorRow>> {
        if !is_staged {
            self.stage_keys(&attempt, false).await?;
        }
        let mut ordinals = BTreeMap::new();
        for (ordinal, (key, staged)) in (0..).zip(attempt.keys()) {
            if let Some(post) = staged.post.filter(|_| known.contains(&key)) {
                ordinals.insert(post, ordinal);
            }
        }
        if !attempt.deletions.is_empty() {
            self.add_deletions(&attempt.deletions).await?;
        }
        self.apply_deletions(&mut attempt).await?;
        let posts = self.sort_out(attempt.posts, &ordinals).await?;
        self.write_posts(&posts).await?;
        self.write_satellites(&posts).await?;
        self.write_engagement(&attempt.readings, &posts).await?;
        if !attempt.deletions.is_empty() {
            self.clear_deleted().await?;
        }
        for gap in attempt.gaps {
            self.write_gap(gap).await?;
        }
        self.write_trends(&attempt.trends).await?;
        Ok(attempt.authors)
    }

    /// Writes the keys of an attempt to their staging table; `is_first` is true for the first call
    /// in a transaction.
    async fn stage_keys(&self, attempt: &Attempt<'_>, is_first: bool) -> Done<()> {
        if !is_first {
            self.client().batch_execute(UNSTAGE).await?;
        }
        let columns = "ordinal, platform, post_id, created_at, other_id";
        let keys = attempt.keys();
        copy_rows(self.client(), "pg_temp.staged_keys", columns, (0..).zip(&keys), |row, buffer| {
            let (ordinal, (key, StagedKey { created_at, other_id, .. })) = row;
            buffer.row(5);
            buffer.int4(ordinal);
            buffer.text(Some(&key.platform));
            buffer.text(Some(&key.post_id));
            buffer.time(*created_at);
            buffer.text(*other_id);
        })
        .await
    }

    /// Stages and locks all keys of an attempt, and returns those that existed before.
    pub(super) async fn lock_keys(
        &self,
        attempt: &Attempt<'_>,
        is_first: bool,
    ) -> Done<Vec<PostKey>> {
        self.stage_keys(attempt, is_first).await?;
        let keys = attempt.keys();
        let rows = self.client().query(LOCK_KEYS, &[]).await?;
        if rows.len() == keys.len() {
            return Ok(Vec::new());
        }
        let mut new: BTreeSet<(&str, &str)> = BTreeSet::new();
        for row in &rows {
            new.insert((row.get(0), row.get(1)));
        }
        let is_new = |key: &PostKey| new.contains(&(key.platform.as_str(), key.post_id.as_str()));
        Ok(keys.into_keys().filter(|key| !is_new(key)).collect())
    }

    /// Deletes the keys of refused posts, unless other data belongs to them.
    pub(super) async fn take_back_keys(&self, keys: &BTreeSet<&PostKey>) -> Done<()> {
        let client = self.client();
        if keys.is_empty() {
            return Ok(());
        }
        let delete = client.prepare(DELETE_KEY).await?;
        for key in keys {
            client.execute(&delete, &[&key.platform, &key.post_id]).await?;
        }
        Ok(())
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

    /// Clears the posts that deletions name, including posts of the same attempt.
    async fn apply_deletions(&self, attempt: &mut Attempt<'_>) -> Done<()> {
        let client = self.client();
        let any = client.query_one("select exists (select from deletions)", &[]).await?;
        if attempt.posts.is_empty() || !any.get::<_, bool>(0) {
            return Ok(());
        }
        let posts: Vec<Option<usize>> = attempt.keys().values().map(|key| key.post).collect();
        client.batch_execute(BY_INDEX).await?;
        let named = client.query(DELETIONS, &[]).await?;
        client.batch_execute(BY_ANY_SCAN).await?;
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

    /// Compares the posts with the stored ones.
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
            self.client().batch_execute(BY_ANY_SCAN).await?;
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
        .await
        .map_err(|failure| {
            failure.of_post(|line| posts.new.get(line).map(|post| post.key.clone()))
        })?;
        let staged = format!("{columns}, wins");
        copy_rows(client, "pg_temp.staged_posts", &staged, &posts.known, |(wins, post), buffer| {
            buffer.row(KEY_COLUMNS.len() + COLUMNS.len() + 1);
            encode_post(post, buffer);
            buffer.int4(*wins as i32);
        })
        .await
        .map_err(|failure| {
            failure.of_post(|line| posts.known.get(line).map(|(_, post)| post.key.clone()))
        })?;
        let kinds: BTreeSet<Wins> = posts.known.iter().map(|(wins, _)| *wins).collect();
        for wins in kinds {
            client.batch_execute(&wins.upsert(&columns)).await?;
        }
        Ok(())
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

    /// Clears the posts that were stored before their deletions.
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
        client.batch_execute(BY_ANY_SCAN).await?;
        let clear = client.prepare(&clear_posts()).await?;
        for ((platform, post_id, created_at), deleted_at) in &cleared {
            let times = [created_at, deleted_at].map(|time| WireTime(*time));
            client.execute(&clear, &[platform, post_id, &times[0], &times[1]]).await?;
        }
        let keys = cleared.keys().map(|(platform, post_id, at)| (&**platform, &**post_id, *at));
        self.delete_satellites(keys.collect()).await
    }

    /// Writes authors, each of whom may occur several times.
    pub(super) async fn write_authors(&self, authors: Vec<AuthorRow>) -> Done<()> {
        let authors = newest_authors(authors);
        if authors.is_empty() {
            return Ok(());
        }
        let columns = "platform, author_id, handle, name, followers, following, posts, verified, \
            bot, created_at, \
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

/// Reads the deletion in a row, from its second column on.
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

fn clear_posts() -> String {
    let content = COLUMNS.iter().filter(|column| column.fate == ColumnFate::Content);
    let cleared: Vec<_> = content.map(|column| format!("{} = null", column.name)).collect();
    format!(
        "update posts set deleted_at = $4, raw = null, {} \
         where platform = $1 and post_id = $2 and created_at = $3",
        cleared.join(", ")
    )
}
