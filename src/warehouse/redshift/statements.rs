//! Every statement that is sent to Redshift. None has parameters: values are written into the
//! statement.

use super::super::columns::{COLUMNS, ColumnFate};
use super::super::months::Micros;
use super::super::schema::quoted;
use super::super::trend::{TREND_KEY, trend_columns};
use super::sql::{columns, literal, literals, prefixed, same, taken_from, time_literal};
use super::tables::{
    AUTHOR_FACTS, AUTHOR_KEY, DELETION_KEY, ENGAGEMENT, GAP, POST_KEY, READING_KEY, StagedTable,
    count_columns, post_columns, version_columns,
};

/// The files of the schema, one for each version, from 1.
pub(super) const VERSIONS: [&str; 1] = [include_str!("schema/0001.sql")];

/// The largest number of refused rows of a COPY that searches for them; the server accepts no more.
const ERRORS_MAX: u32 = 100_000;

/// Older than any post.
const NEVER: &str = "cast('0001-01-01 00:00:00+00' as timestamptz)";

/// Takes the writers' lock, as the first statement of a transaction, so that the transaction sees
/// everything that earlier writers committed, and no two transactions conflict (error 1023).
pub(super) const LOCK_LOADS: &str = "lock loads";

/// Asks for the server's version in its own words.
pub(super) const SERVER: &str = "select version()";

/// Takes the lock for creating the tables.
pub(super) const LOCK_VERSIONS: &str = "lock schema_versions";

/// Asks for the version of the schema.
pub(super) const SCHEMA_VERSION: &str = "select max(\"version\") from schema_versions";

/// Creates the table of versions.
pub(super) const MAKE_VERSIONS: &str = "create table if not exists schema_versions (\
\"version\" integer not null, \"applied_at\" timestamptz not null, primary key (\"version\")) \
diststyle all";

/// The temporary table of posts that deletions clear.
const CLEARED: &str =
    "\"platform\" varchar(256), \"post_id\" varchar(2048), \"deleted_at\" timestamptz";

/// The tables that hold the texts of posts, one row for each.
const SATELLITES: [&str; 3] = ["post_hashtags", "post_mentions", "post_urls"];

/// The server's access to the files.
#[derive(Clone, Debug)]
pub(super) struct CopyOptions {
    /// `default`, or the address of a role.
    pub iam_role: String,
    /// The bucket's region, if the topology names one.
    pub region: Option<String>,
}

/// Returns the settings of a session.
pub(super) fn settings(schema: &str, statement_ms_max: u128) -> Vec<String> {
    vec![
        format!("set search_path to {}", quoted(schema)),
        "set timezone to 'UTC'".into(),
        format!("set statement_timeout to {statement_ms_max}"),
    ]
}

/// Asks whether the schema has its table of versions.
pub(super) fn has_versions(schema: &str) -> String {
    format!(
        "select count(*) from pg_catalog.pg_tables where schemaname = {} and tablename = \
            'schema_versions'",
        literal(schema)
    )
}

/// Creates the schema.
pub(super) fn make_schema(schema: &str) -> String {
    format!("create schema if not exists {}", quoted(schema))
}

/// Returns the statements of one version's file.
pub(super) fn of_version(file: &str) -> Vec<String> {
    let lines = file.lines().map(|line| line.split("--").next().unwrap_or_default().trim_end());
    let code: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let code = code.join("\n");
    code.split(';').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

/// Records that a version was created.
pub(super) fn note_version(version: i32, now: Micros) -> String {
    format!(
        "insert into schema_versions (\"version\", \"applied_at\") values ({version}, {})",
        time_literal(now)
    )
}

/// Asks which of the segments are loaded.
pub(super) fn known_segments(segments: &[String]) -> String {
    format!(
        "select \"segment\", cast(extract(epoch from \"loaded_at\") as bigint), \"refused\" \
         from loads where \"segment\" in ({})",
        literals(segments)
    )
}

/// Asks for the refused rows of segments.
pub(super) fn known_refused(segments: &[String]) -> String {
    format!(
        "select \"segment\", \"row\", \"error\" from refused_rows where \"segment\" in ({}) \
         order by \"segment\", \"row\"",
        literals(segments)
    )
}

/// Asks how many of the segments are loaded.
pub(super) fn count_known(segments: &[String]) -> String {
    format!("select count(*) from loads where \"segment\" in ({})", literals(segments))
}

/// Creates the temporary tables.
pub(super) fn stage() -> Vec<String> {
    let mut statements = Vec::new();
    for table in StagedTable::ALL {
        statements.push(format!("drop table if exists {}", table.name()));
        let (name, definition) = (table.name(), table.definition());
        statements.push(format!("create temporary table {name} ({definition})"));
    }
    statements.push("drop table if exists staged_cleared".into());
    statements.push(format!("create temporary table staged_cleared ({CLEARED})"));
    statements
}

/// Copies the files of a manifest into a temporary table, either all rows or none.
pub(super) fn copy(table: StagedTable, manifest: &str, options: &CopyOptions) -> String {
    format!("{} maxerror 0 compupdate off statupdate off", copy_base(table, manifest, options))
}

/// Parses the files of a manifest as a COPY would, and loads nothing: the server records the lines
/// that it would refuse.
pub(super) fn copy_noload(
    table: StagedTable,
    manifest: &str,
    options: &CopyOptions,
    errors_max: u32,
) -> String {
    let errors_max = errors_max.min(ERRORS_MAX);
    format!("{} maxerror {errors_max} noload", copy_base(table, manifest, options))
}

fn copy_base(table: StagedTable, manifest: &str, options: &CopyOptions) -> String {
    let role = match options.iam_role.as_str() {
        "default" => "default".to_owned(),
        role => literal(role),
    };
    let region = match &options.region {
        Some(region) => format!(" region {}", literal(region)),
        None => String::new(),
    };
    format!(
        "copy {} ({}) from {} iam_role {role}{region} manifest gzip format as json 'auto' \
         timeformat 'auto'",
        table.name(),
        columns(&table.columns()),
        literal(manifest)
    )
}

/// Asks for the lines of a file that the server has recorded as refused.
pub(super) fn refused_lines(file: &str) -> String {
    format!(
        "select line_number, trim(column_name), trim(error_message) from sys_load_error_detail \
         where trim(file_name) = {} order by line_number",
        literal(file)
    )
}

/// Merges staged deletions with the stored ones: the earliest time counts, and the latest limit of
/// deletions that cover posts up to a time.
pub(super) fn add_deletions() -> Vec<String> {
    let update = format!(
        "update staged_deletions set \
         \"deleted_at\" = least(staged_deletions.\"deleted_at\", d.\"deleted_at\"), \
         \"received_at\" = least(staged_deletions.\"received_at\", d.\"received_at\"), \
         \"seen_at\" = greatest(staged_deletions.\"seen_at\", d.\"seen_at\") \
         from deletions d where {}",
        same("staged_deletions", "d", &DELETION_KEY)
    );
    let changed = ["deleted_at", "received_at", "seen_at"];
    let all = StagedTable::Deletions.columns();
    vec![update, merge("deletions", "staged_deletions", &DELETION_KEY, &changed, &all)]
}

/// Clears the staged posts that deletions name.
pub(super) fn clear_staged() -> Vec<String> {
    let named = |other: &str, condition: &str| {
        format!(
            "select s.\"platform\", s.\"post_id\", d.\"deleted_at\" from staged_posts s \
             join deletions d on d.\"platform\" = s.\"platform\" and d.\"post_id\" = s.\"{other}\" \
             where {condition}{}",
            means("s", "own_time")
        )
    };
    vec![
        add_cleared(&named("post_id", ""), &named("other_id", "d.\"reach\" <> 'all' and ")),
        clear("staged_posts"),
        "delete from staged_cleared".into(),
    ]
}

/// Clears the stored posts that staged deletions name.
pub(super) fn clear_known() -> Vec<String> {
    let named = |other: &str, condition: &str| {
        format!(
            "select p.\"platform\", p.\"post_id\", d.\"deleted_at\" from staged_deletions d \
             join posts p on p.\"platform\" = d.\"platform\" and p.\"{other}\" = d.\"post_id\" \
             where p.\"deleted_at\" is null and {condition}{}",
            means("p", "created_at")
        )
    };
    let mut statements = vec![
        add_cleared(&named("post_id", ""), &named("other_id", "d.\"reach\" <> 'all' and ")),
        clear("posts"),
    ];
    for table in SATELLITES {
        let key = same(table, "c", &POST_KEY);
        statements.push(format!("delete from {table} using staged_cleared c where {key}"));
    }
    statements
}

fn add_cleared(by_own_id: &str, by_other_id: &str) -> String {
    format!(
        "insert into staged_cleared (\"platform\", \"post_id\", \"deleted_at\") \
         select n.\"platform\", n.\"post_id\", min(n.\"deleted_at\") \
         from ({by_own_id} union all {by_other_id}) n group by n.\"platform\", n.\"post_id\""
    )
}

fn clear(table: &str) -> String {
    let content = COLUMNS.iter().filter(|column| column.fate == ColumnFate::Content);
    let cleared: Vec<String> =
        content.map(|column| format!("\"{}\" = null", column.name)).collect();
    format!(
        "update {table} set \"deleted_at\" = c.\"deleted_at\", \"raw\" = null, {} \
         from staged_cleared c where {}",
        cleared.join(", "),
        same(table, "c", &POST_KEY)
    )
}

/// Returns the condition that the deletion `d` covers a post; see `DeletionRow::means`.
fn means(post: &str, own_time: &str) -> String {
    format!(
        "(d.\"reach\" = 'all' or d.\"reach\" = 'server' and d.\"server\" <> '' \
         and position(',' || d.\"server\" || ',' in {post}.\"servers\") > 0 \
         or d.\"reach\" = 'until' and case when {post}.\"revision\" <> '' and d.\"revision\" <> '' \
         and d.\"post_id\" like 'at://%' then {post}.\"revision\" <= d.\"revision\" \
         else {post}.\"{own_time}\" is null or d.\"seen_at\" is null \
         or {post}.\"{own_time}\" <= d.\"seen_at\" end)"
    )
}

/// Compares the staged posts with the stored ones, and merges them. `wins` says which part of a
/// stored post is newer: 0 for all, 1 for its version, 2 for its counts, 3 for nothing.
pub(super) fn resolve_posts() -> Vec<String> {
    let time = |table: &str, column: &str| format!("coalesce({table}.\"{column}\", {NEVER})");
    let newer = |column: &str| format!("{} > {}", time("staged_posts", column), time("p", column));
    let equal = |column: &str| format!("{} = {}", time("staged_posts", column), time("p", column));
    let version = format!(
        "(p.\"is_reading\" and not staged_posts.\"is_reading\" \
         or p.\"is_reading\" = staged_posts.\"is_reading\" and ({} or {} and {}))",
        newer("edited_at"),
        equal("edited_at"),
        newer("received_at")
    );
    let counts = newer("counted_at");
    let key = same("staged_posts", "p", &POST_KEY);
    vec![
        format!(
            "update staged_posts set \"created_at\" = p.\"created_at\", \
             \"other_id\" = coalesce(p.\"other_id\", staged_posts.\"other_id\"), \
             \"wins\" = case when {version} then case when {counts} then 0 else 1 end \
             when {counts} then 2 else 3 end from posts p where {key}"
        ),
        format!(
            "update staged_posts set {} from posts p where {key} and staged_posts.\"wins\" in (2, \
                3)",
            taken_from("p", &version_columns())
        ),
        format!(
            "update staged_posts set {} from posts p where {key} and staged_posts.\"wins\" in (1, \
                3)",
            taken_from("p", &count_columns())
        ),
        format!(
            "update posts set \"other_id\" = s.\"other_id\" from staged_posts s where {} \
             and s.\"wins\" = 3 and posts.\"other_id\" is null and s.\"other_id\" is not null",
            same("posts", "s", &POST_KEY)
        ),
        "delete from staged_posts where \"wins\" = 3".into(),
    ]
}

/// Writes the staged posts.
pub(super) fn merge_posts(now: Micros) -> String {
    let all = post_columns();
    let changed: Vec<&str> = all.iter().copied().filter(|name| !POST_KEY.contains(name)).collect();
    let now = time_literal(now);
    format!(
        "merge into posts using staged_posts as s on {} \
         when matched then update set {}, \"loaded_at\" = {now} \
         when not matched then insert ({}, \"loaded_at\") values ({}, {now})",
        same("posts", "s", &POST_KEY),
        taken_from("s", &changed),
        columns(&all),
        prefixed("s.", &all)
    )
}

/// Replaces the hashtags, mentions and addresses of posts with a new version.
pub(super) fn replace_satellites() -> Vec<String> {
    let mut statements = Vec::new();
    for table in SATELLITES {
        let key = same(table, "s", &POST_KEY);
        statements.push(format!(
            "delete from {table} using staged_posts s where {key} and s.\"wins\" in (0, 1)"
        ));
    }
    for (table, staged) in SATELLITES.into_iter().zip([
        StagedTable::Hashtags,
        StagedTable::Mentions,
        StagedTable::Urls,
    ]) {
        let own: Vec<&str> =
            staged.columns().into_iter().filter(|name| !POST_KEY.contains(name)).collect();
        statements.push(format!(
            "insert into {table} (\"platform\", \"post_id\", \"created_at\", {}) \
             select s.\"platform\", s.\"post_id\", s.\"created_at\", {} from {} t \
             join staged_posts s on {} where s.\"deleted_at\" is null \
             and (s.\"wins\" is null or s.\"wins\" in (0, 1))",
            columns(&own),
            prefixed("t.", &own),
            staged.name(),
            same("t", "s", &POST_KEY)
        ));
    }
    statements
}

/// Adds readings that aren't stored yet.
pub(super) fn add_engagement() -> String {
    format!(
        "insert into engagement ({}) select {} from staged_engagement s \
         left join engagement e on {} where e.\"platform\" is null",
        columns(&ENGAGEMENT),
        prefixed("s.", &ENGAGEMENT),
        same("e", "s", &READING_KEY)
    )
}

/// Writes authors: each value is the newest one that a post has.
pub(super) fn add_authors() -> Vec<String> {
    let newest = "staged_authors.\"last_seen\" > a.\"last_seen\"";
    let mut set: Vec<String> = Vec::new();
    for name in AUTHOR_FACTS {
        set.push(format!(
            "\"{name}\" = case when {newest} then coalesce(staged_authors.\"{name}\", \
                a.\"{name}\") \
             else a.\"{name}\" end"
        ));
    }
    let update = format!(
        "update staged_authors set {}, \
         \"created_at\" = coalesce(a.\"created_at\", staged_authors.\"created_at\"), \
         \"first_seen\" = least(a.\"first_seen\", staged_authors.\"first_seen\"), \
         \"last_seen\" = greatest(a.\"last_seen\", staged_authors.\"last_seen\") \
         from authors a where {}",
        set.join(", "),
        same("staged_authors", "a", &AUTHOR_KEY)
    );
    let all = StagedTable::Authors.columns();
    vec![update, merge("authors", "staged_authors", &AUTHOR_KEY, &all[2..], &all)]
}

/// Writes gaps: an entry of a filled gap replaces one of an unfilled gap.
pub(super) fn add_gaps() -> Vec<String> {
    let known = "delete from staged_gaps using gaps g where staged_gaps.\"id\" = g.\"id\" \
                 and (g.\"filled\" or not staged_gaps.\"filled\")";
    let changed = ["to_time", "filled", "posts"];
    vec![known.into(), merge("gaps", "staged_gaps", &["id"], &changed, &GAP)]
}

/// Writes trends: a row replaces the row with the same key and bucket.
pub(super) fn add_trends() -> String {
    let all = trend_columns();
    merge("trends", "staged_trends", &TREND_KEY, &all[TREND_KEY.len()..], &all)
}

/// Writes the rows of a staged table: replaces rows with the same key, and adds the others.
fn merge(table: &str, staged: &str, key: &[&str], changed: &[&str], all: &[&str]) -> String {
    format!(
        "merge into {table} using {staged} as s on {} when matched then update set {} \
         when not matched then insert ({}) values ({})",
        same(table, "s", key),
        taken_from("s", changed),
        columns(all),
        prefixed("s.", all)
    )
}

/// The ledger's entry for a segment.
pub(super) struct LedgerRow<'a> {
    pub segment: &'a str,
    pub rows: usize,
    pub refused: usize,
}

/// Records segments as loaded.
pub(super) fn note_loads(loads: &[LedgerRow<'_>], now: Micros) -> String {
    let mut values: Vec<String> = Vec::new();
    for load in loads {
        let (segment, now) = (literal(load.segment), time_literal(now));
        values.push(format!("({segment}, {now}, {}, {})", load.rows, load.refused));
    }
    format!(
        "insert into loads (\"segment\", \"loaded_at\", \"rows\", \"refused\") values {}",
        values.join(", ")
    )
}

/// The ledger's entry for a refused row.
pub(super) struct RefusedLedgerRow<'a> {
    pub segment: &'a str,
    pub number: usize,
    pub error: &'a str,
}

/// Records refused rows.
pub(super) fn note_refused(rows: &[RefusedLedgerRow<'_>]) -> String {
    let mut values: Vec<String> = Vec::new();
    for row in rows {
        let (segment, error) = (literal(row.segment), literal(row.error));
        values.push(format!("({segment}, {}, {error})", row.number));
    }
    format!(
        "insert into refused_rows (\"segment\", \"row\", \"error\") values {}",
        values.join(", ")
    )
}

/// A selection of the ledger's segments.
#[derive(Clone, Debug)]
pub(super) enum LedgerPart<'a> {
    /// These segments.
    Named(&'a [String]),
    /// The segments that begin with a prefix, except these.
    Prefix(&'a str, &'a [String]),
}

impl LedgerPart<'_> {
    fn condition(&self) -> String {
        match self {
            Self::Named(segments) => format!("\"segment\" in ({})", literals(segments)),
            Self::Prefix(prefix, but) => {
                // A prefix of ASCII has as many characters as bytes.
                let begins = format!("left(\"segment\", {}) = {}", prefix.len(), literal(prefix));
                if but.is_empty() {
                    return begins;
                }
                format!("{begins} and \"segment\" not in ({})", literals(but))
            }
        }
    }
}

/// Removes segments from the ledger, and adds them to the history.
pub(super) fn forget(part: &LedgerPart<'_>) -> Vec<String> {
    let condition = part.condition();
    vec![
        format!(
            "insert into load_history (\"minute\", \"source\", \"loads\", \"rows\", \"refused\", \
                \"last_load\") \
             select date_trunc('minute', \"loaded_at\"), split_part(\"segment\", '/', 2), \
             count(*), \
             sum(\"rows\"), sum(\"refused\"), max(\"loaded_at\") from loads where {condition} \
             group by 1, 2"
        ),
        format!("delete from refused_rows where {condition}"),
        format!("delete from loads where {condition}"),
    ]
}

/// Deletes expired rows of the history.
pub(super) fn prune_history(before: Micros) -> String {
    format!("delete from load_history where \"minute\" < {}", time_literal(before))
}

/// Every statement, each with example values: a test checks them with another parser, and compares
/// them with the statements that were sent.
pub fn every_statement() -> Vec<String> {
    let named = ["run/warehouse-0/0000001".to_owned()];
    let roles = ["default", "arn:aws:iam::123456789012:role/load"];
    let mut all = settings("waterspout", 1_000);
    all.extend([
        "begin".into(),
        "commit".into(),
        "rollback".into(),
        SERVER.into(),
        LOCK_LOADS.into(),
        LOCK_VERSIONS.into(),
        SCHEMA_VERSION.into(),
        MAKE_VERSIONS.into(),
        has_versions("waterspout"),
        make_schema("waterspout"),
        note_version(1, 0),
        known_segments(&named),
        known_refused(&named),
        count_known(&named),
        refused_lines("s3://bucket/file.json.gz"),
        merge_posts(0),
        add_engagement(),
        add_trends(),
        note_loads(&[LedgerRow { segment: &named[0], rows: 1, refused: 0 }], 0),
        note_refused(&[RefusedLedgerRow { segment: &named[0], number: 0, error: "it's a \\" }]),
        prune_history(0),
    ]);
    for file in VERSIONS {
        all.extend(of_version(file));
    }
    for table in StagedTable::ALL {
        for iam_role in roles {
            for region in [None, Some("eu-central-1".to_owned())] {
                let options = CopyOptions { iam_role: iam_role.into(), region };
                let manifest = "s3://bucket/posts.manifest";
                all.push(copy(table, manifest, &options));
                all.push(copy_noload(table, manifest, &options, 0));
            }
        }
    }
    let parts = [
        LedgerPart::Named(&named),
        LedgerPart::Prefix("run/warehouse-0/", &[]),
        LedgerPart::Prefix("run/warehouse-0/", &named),
    ];
    for part in &parts {
        all.extend(forget(part));
    }
    all.extend(stage());
    all.extend(add_deletions());
    all.extend(clear_staged());
    all.extend(clear_known());
    all.extend(resolve_posts());
    all.extend(replace_satellites());
    all.extend(add_authors());
    all.extend(add_gaps());
    all
}
