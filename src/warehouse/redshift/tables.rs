//! The temporary tables that files are copied into.

use super::super::columns::{COLUMNS, ColumnFate};
use super::super::trend::trend_columns;

/// One temporary table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StagedTable {
    Posts,
    Hashtags,
    Mentions,
    Urls,
    Engagement,
    Authors,
    Deletions,
    Gaps,
    Trends,
}

/// The key of a post.
pub(super) const POST_KEY: [&str; 2] = ["platform", "post_id"];

/// The key of an author.
pub(super) const AUTHOR_KEY: [&str; 2] = ["platform", "author_id"];

/// The key of a reading of counts.
pub(super) const READING_KEY: [&str; 3] = ["platform", "post_id", "at"];

/// The key of a deletion.
pub(super) const DELETION_KEY: [&str; 5] = ["platform", "post_id", "reach", "server", "revision"];

/// The columns of `posts` that a version sets, besides those that are listed in [`COLUMNS`].
pub(super) const VERSION: [&str; 7] =
    ["received_at", "edited_at", "deleted_at", "is_reading", "revision", "servers", "raw"];

/// The columns of `engagement`.
pub(super) const ENGAGEMENT: [&str; 9] =
    ["platform", "post_id", "at", "likes", "reposts", "replies", "quotes", "views", "bookmarks"];

/// The identity of an author, from the newest post that has it.
pub(super) const AUTHOR_FACTS: [&str; 7] =
    ["handle", "name", "followers", "following", "posts", "verified", "bot"];

/// The columns of `gaps`.
pub(super) const GAP: [&str; 11] = [
    "id",
    "component",
    "platform",
    "topic",
    "from_time",
    "to_time",
    "reason",
    "estimated_posts",
    "filled",
    "posts",
    "created_at",
];

impl StagedTable {
    /// All temporary tables, in the order in which they are loaded.
    pub(crate) const ALL: [Self; 9] = [
        Self::Posts,
        Self::Hashtags,
        Self::Mentions,
        Self::Urls,
        Self::Engagement,
        Self::Authors,
        Self::Deletions,
        Self::Gaps,
        Self::Trends,
    ];

    /// Returns the table's name in the session.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Posts => "staged_posts",
            Self::Hashtags => "staged_hashtags",
            Self::Mentions => "staged_mentions",
            Self::Urls => "staged_urls",
            Self::Engagement => "staged_engagement",
            Self::Authors => "staged_authors",
            Self::Deletions => "staged_deletions",
            Self::Gaps => "staged_gaps",
            Self::Trends => "staged_trends",
        }
    }

    /// Returns the table's columns and types.
    pub(crate) fn definition(self) -> &'static str {
        match self {
            Self::Posts => "like posts, \"own_time\" timestamptz, \"wins\" smallint",
            Self::Hashtags => {
                "\"platform\" varchar(256), \"post_id\" varchar(2048), \"hashtag\" varchar(65535)"
            }
            Self::Mentions => {
                "\"platform\" varchar(256), \"post_id\" varchar(2048), \"mention\" varchar(65535)"
            }
            Self::Urls => {
                "\"platform\" varchar(256), \"post_id\" varchar(2048), \"place\" integer, \
                 \"url\" varchar(65535), \"domain\" varchar(2048)"
            }
            Self::Engagement => "like engagement",
            Self::Authors => "like authors",
            Self::Deletions => "like deletions",
            Self::Gaps => "like gaps",
            Self::Trends => "like trends",
        }
    }

    /// Returns the columns of the table's file.
    pub(crate) fn columns(self) -> Vec<&'static str> {
        match self {
            Self::Posts => {
                let mut names = post_columns();
                names.push("own_time");
                names
            }
            Self::Hashtags => vec!["platform", "post_id", "hashtag"],
            Self::Mentions => vec!["platform", "post_id", "mention"],
            Self::Urls => vec!["platform", "post_id", "place", "url", "domain"],
            Self::Engagement => ENGAGEMENT.to_vec(),
            Self::Authors => {
                let mut names = AUTHOR_KEY.to_vec();
                names.extend(AUTHOR_FACTS);
                names.extend(["created_at", "first_seen", "last_seen"]);
                names
            }
            Self::Deletions => {
                let mut names = DELETION_KEY.to_vec();
                names.extend(["deleted_at", "received_at", "seen_at"]);
                names
            }
            Self::Gaps => GAP.to_vec(),
            Self::Trends => trend_columns(),
        }
    }
}

/// Returns the columns of `posts`, except the time of the load.
pub(super) fn post_columns() -> Vec<&'static str> {
    let mut names = POST_KEY.to_vec();
    names.extend(["created_at", "counted_at", "other_id"]);
    names.extend(VERSION);
    names.extend(COLUMNS.iter().map(|column| column.name));
    names
}

/// Returns the listed columns that a version sets.
pub(super) fn version_columns() -> Vec<&'static str> {
    let mut names = VERSION.to_vec();
    let of_version = COLUMNS.iter().filter(|column| column.fate != ColumnFate::Count);
    names.extend(of_version.map(|column| column.name));
    names
}

/// Returns the columns that a reading of the counts sets.
pub(super) fn count_columns() -> Vec<&'static str> {
    let mut names = vec!["counted_at"];
    let counts = COLUMNS.iter().filter(|column| column.fate == ColumnFate::Count);
    names.extend(counts.map(|column| column.name));
    names
}

#[cfg(test)]
mod tests {
    use super::super::super::columns::ColumnForm;
    use super::*;

    const SCHEMA: &str = include_str!("schema/0001.sql");

    /// Returns the columns of a table in the schema, each with its type.
    fn in_schema(table: &str) -> Vec<(&'static str, &'static str)> {
        let behind = SCHEMA.split(&format!("create table {table} (\n")).nth(1).unwrap();
        let lines = behind.lines().take_while(|line| line.starts_with("    \""));
        lines
            .map(|line| {
                let mut parts = line.trim().splitn(3, ['"']).skip(1);
                let name = parts.next().unwrap();
                (name, parts.next().unwrap().trim().split([' ', ',', '(']).next().unwrap())
            })
            .collect()
    }

    #[track_caller]
    fn check(table: &str, mut columns: Vec<&'static str>, others: &[&'static str]) {
        columns.extend(others);
        columns.sort_unstable();
        let mut found: Vec<_> = in_schema(table).into_iter().map(|(name, _)| name).collect();
        found.sort_unstable();
        assert_eq!(found, columns, "{table}");
    }

    #[test]
    fn files_have_the_columns_of_the_schema() {
        check("posts", post_columns(), &["loaded_at"]);
        check("engagement", StagedTable::Engagement.columns(), &[]);
        check("authors", StagedTable::Authors.columns(), &[]);
        check("deletions", StagedTable::Deletions.columns(), &[]);
        check("gaps", StagedTable::Gaps.columns(), &[]);
        check("trends", StagedTable::Trends.columns(), &[]);
        check("post_hashtags", StagedTable::Hashtags.columns(), &["created_at"]);
        check("post_mentions", StagedTable::Mentions.columns(), &["created_at"]);
        check("post_urls", StagedTable::Urls.columns(), &["created_at"]);
    }

    #[test]
    fn each_listed_column_has_its_type() {
        let found = in_schema("posts");
        for column in &COLUMNS {
            let wanted = match column.form {
                ColumnForm::Text => "varchar",
                ColumnForm::Texts => "super",
                ColumnForm::Int => "bigint",
                ColumnForm::Float => "double",
            };
            assert!(found.contains(&(column.name, wanted)), "{}", column.name);
        }
    }
}
