//! Rows as lines of JSON, one file for each staged table, with the rows of each line.

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;

use super::super::columns::{COLUMNS, ColumnFate, position};
use super::super::deletion::{DeletionRow, reach_name};
use super::super::load::LoadRows;
use super::super::months::{Micros, micros};
use super::super::row::{AuthorRow, GapRow, PostRow, WarehouseRow};
use super::super::satellites::domain_of;
use super::super::storable::storable_text;
use super::super::trend::TrendKey;
use super::super::units::{Attempt, newest_authors, units};
use super::sql::time_text;
use super::tables::StagedTable;
use crate::value::Value;

/// The lines of one staged table.
pub(super) struct TableLines {
    pub table: StagedTable,
    pub json: Vec<u8>,
    /// For each line, the positions of the rows that are refused with the line.
    pub rows: Vec<Vec<usize>>,
}

impl TableLines {
    fn of(table: StagedTable) -> Self {
        Self { table, json: Vec::new(), rows: Vec::new() }
    }

    fn end(&mut self, line: JsonLine, rows: Vec<usize>) {
        self.json.extend_from_slice(&line.0);
        self.json.extend_from_slice(b"}\n");
        self.rows.push(rows);
    }
}

/// Returns the tables that have lines, for the rows at the given positions.
pub(super) fn encode(load: &LoadRows, positions: &[usize]) -> Vec<TableLines> {
    let units = units(&load.rows, positions.iter().copied());
    let mut attempt = Attempt::of(&load.rows, &units);
    let authors = newest_authors(std::mem::take(&mut attempt.authors));
    let origins = RowOrigins::of(&load.rows, positions);
    let mut tables = posts_lines(&attempt, &origins);
    tables.push(engagement_lines(&attempt, &origins));
    tables.push(author_lines(&authors, &origins));
    tables.push(deletion_lines(&attempt, &origins));
    tables.push(gap_lines(&attempt, &origins));
    tables.push(trend_lines(&attempt, &origins));
    tables.retain(|table| !table.rows.is_empty());
    tables.sort_by_key(|table| table.table);
    tables
}

/// The rows that a line is made of.
#[derive(Default)]
struct RowOrigins<'r> {
    /// The rows of a post.
    posts: BTreeMap<(&'r str, &'r str), Vec<(usize, &'r PostRow)>>,
    /// For each author the row that shows the newest state.
    authors: BTreeMap<(&'r str, &'r str), (usize, Micros)>,
    deletions: BTreeMap<DeletionKey<'r>, Vec<usize>>,
    gaps: BTreeMap<&'r str, Vec<usize>>,
    trends: BTreeMap<&'r TrendKey, Vec<usize>>,
}

type DeletionKey<'r> = (&'r str, &'r str, &'static str, &'r str, &'r str);

fn deletion_key(deletion: &DeletionRow) -> DeletionKey<'_> {
    let DeletionRow { platform, post_id, reach, server, revision, .. } = deletion;
    (platform, post_id, reach_name(*reach), server, revision)
}

impl<'r> RowOrigins<'r> {
    fn of(rows: &'r [WarehouseRow], positions: &[usize]) -> Self {
        let mut origins = Self::default();
        for position in positions {
            match &rows[*position] {
                WarehouseRow::Post(post) => origins.add_post(*position, post),
                WarehouseRow::Deletion(deletion) => {
                    origins.deletions.entry(deletion_key(deletion)).or_default().push(*position);
                }
                WarehouseRow::Gap(gap) => {
                    origins.gaps.entry(&gap.gap.id).or_default().push(*position);
                }
                // If rows have the same key, the last one is written.
                WarehouseRow::Trend(trend) => {
                    origins.trends.insert(&trend.key, vec![*position]);
                }
            }
        }
        origins
    }

    fn add_post(&mut self, position: usize, post: &'r PostRow) {
        let key = (post.key.platform.as_str(), post.key.post_id.as_str());
        self.posts.entry(key).or_default().push((position, post));
        let Some(author) = &post.author else { return };
        let key = (author.platform.as_str(), author.id.as_str());
        let newest = self.authors.entry(key).or_insert((position, author.seen));
        if author.seen > newest.1 {
            *newest = (position, author.seen);
        }
    }

    fn versions<'a>(&'a self, post: &'a PostRow) -> &'a [(usize, &'a PostRow)] {
        let key = (post.key.platform.as_str(), post.key.post_id.as_str());
        self.posts.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Returns the row with the content of the newest version.
    fn newest(&self, post: &PostRow) -> Vec<usize> {
        let versions = self.versions(post);
        let is_it = |(_, version): &&(usize, &PostRow)| version.version() == post.version();
        let found = versions.iter().find(is_it).or(versions.first());
        found.map(|(position, _)| *position).into_iter().collect()
    }

    /// The rows with these counts.
    fn reading(&self, reading: &PostRow) -> Vec<usize> {
        let versions = self.versions(reading).iter();
        let same = versions.filter(|(_, version)| version.counted_at == reading.counted_at);
        same.map(|(position, _)| *position).collect()
    }
}

/// A line of JSON that is being written. Null values are left out.
struct JsonLine(Vec<u8>);

impl JsonLine {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn name(&mut self, name: &str) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn json(&mut self, value: &serde_json::Value) {
        // Writing to memory can't fail, since all keys are texts.
        self.0.extend_from_slice(value.to_string().as_bytes());
    }

    fn text(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.name(name);
            self.json(&storable_text(text).into());
        }
    }

    fn int(&mut self, name: &str, number: Option<i64>) {
        if let Some(number) = number {
            self.name(name);
            self.json(&number.into());
        }
    }

    fn bool(&mut self, name: &str, is_true: Option<bool>) {
        if let Some(is_true) = is_true {
            self.name(name);
            self.json(&is_true.into());
        }
    }

    fn time(&mut self, name: &str, time: Option<Micros>) {
        if let Some(time) = time {
            self.text(name, Some(&time_text(time)));
        }
    }

    fn raw(&mut self, name: &str, json: Option<&[u8]>) {
        if let Some(json) = json {
            self.name(name);
            self.0.extend_from_slice(json);
        }
    }

    fn value(&mut self, name: &str, value: &Value) {
        match value {
            Value::Text(_) => self.text(name, value.as_text()),
            Value::Int(number) => self.int(name, Some(*number)),
            Value::Bool(is_true) => self.bool(name, Some(*is_true)),
            Value::Float(number) if number.is_finite() => {
                self.name(name);
                self.json(&(*number).into());
            }
            Value::List(values) => {
                let mut texts: Vec<String> = Vec::with_capacity(values.len());
                for text in values.iter().filter_map(Value::as_text) {
                    texts.push(storable_text(text).into_owned());
                }
                self.name(name);
                self.json(&texts.into());
            }
            _ => {}
        }
    }
}

/// Writes the posts, and the hashtags, mentions and addresses of their texts.
fn posts_lines(attempt: &Attempt<'_>, origins: &RowOrigins<'_>) -> Vec<TableLines> {
    let mut posts = TableLines::of(StagedTable::Posts);
    let mut hashtags = TableLines::of(StagedTable::Hashtags);
    let mut mentions = TableLines::of(StagedTable::Mentions);
    let mut urls = TableLines::of(StagedTable::Urls);
    for post in &attempt.posts {
        let rows = origins.newest(post);
        posts.end(post_line(post), rows.clone());
        for (lines, column, name) in
            [(&mut hashtags, "hashtags", "hashtag"), (&mut mentions, "mentions", "mention")]
        {
            let texts: BTreeSet<&str> = post.texts(position(column)).collect();
            for text in texts {
                let mut line = key_line(post);
                line.text(name, Some(text));
                lines.end(line, rows.clone());
            }
        }
        let domains: Vec<&str> = post.texts(position("domains")).collect();
        for (place, url) in (0..).zip(post.texts(position("urls"))) {
            let mut line = key_line(post);
            line.int("place", Some(place));
            line.text("url", Some(url));
            line.text("domain", domain_of(url, &domains));
            urls.end(line, rows.clone());
        }
    }
    vec![posts, hashtags, mentions, urls]
}

fn key_line(post: &PostRow) -> JsonLine {
    let mut line = JsonLine::new();
    line.text("platform", Some(&post.key.platform));
    line.text("post_id", Some(&post.key.post_id));
    line
}

fn post_line(post: &PostRow) -> JsonLine {
    let mut line = key_line(post);
    line.time("created_at", Some(post.created_at));
    line.time("counted_at", post.counted_at);
    line.text("other_id", post.facts.other_id.as_deref());
    line.time("received_at", post.received_at);
    line.time("edited_at", post.edited_at);
    line.time("deleted_at", post.deleted_at);
    line.bool("is_reading", Some(post.is_reading));
    line.text("revision", post.facts.revision.as_deref());
    if !post.facts.servers.is_empty() {
        line.text("servers", Some(&format!(",{},", post.facts.servers.join(","))));
    }
    line.raw("raw", post.raw.as_deref());
    for (column, value) in COLUMNS.iter().zip(&post.values) {
        line.value(column.name, value);
    }
    line.time("own_time", post.facts.own_time);
    line
}

fn engagement_lines(attempt: &Attempt<'_>, origins: &RowOrigins<'_>) -> TableLines {
    let mut lines = TableLines::of(StagedTable::Engagement);
    for reading in &attempt.readings {
        let mut line = key_line(reading);
        line.time("at", reading.counted_at);
        for (column, value) in COLUMNS.iter().zip(&reading.values) {
            if column.fate == ColumnFate::Count {
                line.value(column.name, value);
            }
        }
        lines.end(line, origins.reading(reading));
    }
    lines
}

fn author_lines(authors: &[AuthorRow], origins: &RowOrigins<'_>) -> TableLines {
    let mut lines = TableLines::of(StagedTable::Authors);
    for author in authors {
        let AuthorRow { platform, id, values, created_at, seen, first_seen } = author;
        let mut line = JsonLine::new();
        line.text("platform", Some(platform));
        line.text("author_id", Some(id));
        for (name, value) in super::tables::AUTHOR_FACTS.iter().zip(values) {
            line.value(name, value);
        }
        line.time("created_at", *created_at);
        line.time("first_seen", Some(*first_seen));
        line.time("last_seen", Some(*seen));
        let newest = origins.authors.get(&(platform.as_str(), id.as_str()));
        lines.end(line, newest.map(|(position, _)| *position).into_iter().collect());
    }
    lines
}

fn deletion_lines(attempt: &Attempt<'_>, origins: &RowOrigins<'_>) -> TableLines {
    let mut once: BTreeMap<DeletionKey<'_>, DeletionRow> = BTreeMap::new();
    for deletion in &attempt.deletions {
        once.entry(deletion_key(deletion))
            .and_modify(|known| known.join(deletion))
            .or_insert_with(|| (*deletion).clone());
    }
    let mut lines = TableLines::of(StagedTable::Deletions);
    for (key, deletion) in once {
        let mut line = JsonLine::new();
        line.text("platform", Some(&deletion.platform));
        line.text("post_id", Some(&deletion.post_id));
        line.text("reach", Some(reach_name(deletion.reach)));
        line.text("server", Some(&deletion.server));
        line.text("revision", Some(&deletion.revision));
        line.time("deleted_at", Some(deletion.deleted_at));
        line.time("received_at", deletion.received_at);
        line.time("seen_at", deletion.seen_at);
        lines.end(line, origins.deletions.get(&key).cloned().unwrap_or_default());
    }
    lines
}

fn gap_lines(attempt: &Attempt<'_>, origins: &RowOrigins<'_>) -> TableLines {
    // If a gap has several entries, the first one that says that the gap was filled counts.
    let mut once: BTreeMap<&str, &GapRow> = BTreeMap::new();
    for gap in &attempt.gaps {
        let known = once.entry(&gap.gap.id).or_insert(gap);
        if gap.gap.filled && !known.gap.filled {
            *known = gap;
        }
    }
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let time = |time: OffsetDateTime| Some(micros(time));
    let mut lines = TableLines::of(StagedTable::Gaps);
    for (id, GapRow { gap, platform }) in once {
        let mut line = JsonLine::new();
        line.text("id", Some(&gap.id));
        line.text("component", Some(&gap.spout));
        line.text("platform", Some(platform));
        line.text("topic", Some(&gap.part));
        line.time("from_time", time(gap.from));
        line.time("to_time", time(gap.to));
        line.text("reason", Some(&gap.why));
        line.int("estimated_posts", gap.estimated_posts.map(count));
        line.bool("filled", Some(gap.filled));
        line.int("posts", Some(count(gap.posts)));
        line.time("created_at", time(gap.created_at));
        lines.end(line, origins.gaps.get(id).cloned().unwrap_or_default());
    }
    lines
}

fn trend_lines(attempt: &Attempt<'_>, origins: &RowOrigins<'_>) -> TableLines {
    let mut lines = TableLines::of(StagedTable::Trends);
    for trend in &attempt.trends {
        let mut line = JsonLine::new();
        line.text("key_type", Some(&trend.key.key_type));
        line.text("key", Some(&trend.key.key));
        line.time("bucket_start", Some(trend.key.bucket_start));
        for (name, time) in trend.times() {
            line.time(name, time);
        }
        for (name, value) in trend.values() {
            line.value(name, value);
        }
        lines.end(line, origins.trends.get(&trend.key).cloned().unwrap_or_default());
    }
    lines
}
