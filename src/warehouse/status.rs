//! The content of a warehouse, and its recent loads.

use serde::Serialize;
use time::OffsetDateTime;

use super::failure::Done;
use super::months::time_of;
use super::schema;
use super::session::{Session, Warehouse};
use super::wire::WireTime;
use crate::error::Result;

/// The tables whose rows are counted.
const TABLES: [&str; 9] = [
    "posts",
    "authors",
    "post_hashtags",
    "post_mentions",
    "post_urls",
    "engagement",
    "trends",
    "gaps",
    "deletions",
];

/// The largest table whose rows are counted, in bytes; for a larger table, the server's estimate is
/// shown. A table of this size is read in about a second.
const COUNTED_BYTES_MAX: i64 = 1 << 30;

/// The number of loads that are listed.
const LOADS_LISTED: i64 = 10;

/// The age within which the newest post is searched first: an index finds few rows quickly.
const NEWEST_WITHIN: [&str; 4] = [
    "now() - interval '1 hour'",
    "now() - interval '1 day'",
    "now() - interval '31 days'",
    "'-infinity'",
];

/// The state of a warehouse.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WarehouseStatus {
    /// The server and the database.
    pub server: String,
    /// The server's version.
    pub server_version: String,
    /// The schema's name.
    pub schema: String,
    /// The version of the schema; none if the schema doesn't exist.
    pub schema_version: Option<i32>,
    /// The version that this program writes.
    pub program_version: i32,
    /// Each table with its rows.
    pub tables: Vec<TableRows>,
    /// The months that have partitions.
    pub months: u64,
    /// The own time of the newest post.
    #[serde(with = "time::serde::rfc3339::option")]
    pub newest_post: Option<OffsetDateTime>,
    /// The time of the last load.
    #[serde(with = "time::serde::rfc3339::option")]
    pub newest_load: Option<OffsetDateTime>,
    /// The age of the newest post, in seconds.
    pub post_lag_seconds: Option<i64>,
    /// The time since the last load, in seconds.
    pub load_lag_seconds: Option<i64>,
    /// The last loads, by minute and source, the newest first.
    pub last_loads: Vec<LoadOfMinute>,
    /// The number of refused rows in the history.
    pub refused: i64,
    /// The number of refused rows of segments that are still in the ledger, with the reasons of
    /// some.
    pub refused_reasons: Vec<String>,
}

/// The rows of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableRows {
    /// The table.
    pub table: String,
    /// The number of its rows.
    pub rows: i64,
    /// True if the rows were not counted, but estimated by the server.
    pub is_estimate: bool,
}

/// The loads of a source within a minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoadOfMinute {
    /// The minute.
    #[serde(with = "time::serde::rfc3339")]
    pub minute: OffsetDateTime,
    /// A sink's task, or the globs of a `warehouse load`.
    pub source: String,
    /// The number of transactions or segments.
    pub loads: i64,
    /// The number of rows that were written or existed.
    pub rows: i64,
    /// The number of refused rows.
    pub refused: i64,
}

const ALL_LOADS: &str = "\
select minute, source, sum(loads)::bigint, sum(rows)::bigint, sum(refused)::bigint, max(last_load) \
from (
    select minute, source, loads, rows, refused, last_load from load_history
    union all
    select date_trunc('minute', loaded_at), split_part(segment, '/', 2), 1, rows, refused, \
    loaded_at from loads
) all_loads group by 1, 2";

impl WarehouseStatus {
    /// Queries the server. Blocks.
    ///
    /// # Errors
    /// If the server doesn't answer, or the schema was made by a newer program.
    pub fn ask(warehouse: &Warehouse) -> Result<Self> {
        let session = warehouse.connect()?;
        let version = schema::version(&session)?;
        let mut status = Self {
            server: warehouse.name(),
            server_version: session.server_version()?,
            schema: warehouse.schema().into(),
            schema_version: version,
            program_version: schema::VERSION,
            tables: Vec::new(),
            months: 0,
            newest_post: None,
            newest_load: None,
            post_lag_seconds: None,
            load_lag_seconds: None,
            last_loads: Vec::new(),
            refused: 0,
            refused_reasons: Vec::new(),
        };
        if let Some(version) = version {
            schema::check_is_known(&session, version)?;
            session
                .wait(status.fill(&session))
                .map_err(|failure| failure.transient("can't ask for the warehouse's state"))?;
        }
        Ok(status)
    }

    async fn fill(&mut self, session: &Session) -> Done<()> {
        let client = session.client();
        for table in TABLES {
            self.tables.push(table_rows(session, table).await?);
        }
        self.months = session.months_there().await?.len() as u64;
        for within in NEWEST_WITHIN {
            // With a constant bound, the planner can skip partitions.
            let newest = format!(
                "select max(created_at), extract(epoch from now() - max(created_at))::bigint from \
                    posts \
                 where created_at >= {within}"
            );
            let row = client.query_one(&newest, &[]).await?;
            self.newest_post = row.get::<_, Option<WireTime>>(0).map(|time| time_of(time.0));
            self.post_lag_seconds = row.get(1);
            if self.newest_post.is_some() {
                break;
            }
        }
        let totals = format!(
            "select max(max), extract(epoch from now() - max(max))::bigint, coalesce(sum(refused), \
                0)::bigint \
             from ({ALL_LOADS}) as l(minute, source, loads, rows, refused, max)"
        );
        let row = client.query_one(&totals, &[]).await?;
        self.newest_load = row.get::<_, Option<WireTime>>(0).map(|time| time_of(time.0));
        self.load_lag_seconds = row.get(1);
        self.refused = row.get(2);
        let last = format!("{ALL_LOADS} order by 6 desc, 2 limit $1");
        for row in client.query(&last, &[&LOADS_LISTED]).await? {
            self.last_loads.push(LoadOfMinute {
                minute: time_of(row.get::<_, WireTime>(0).0),
                source: row.get(1),
                loads: row.get(2),
                rows: row.get(3),
                refused: row.get(4),
            });
        }
        let reasons = "select segment || ', row ' || row || ': ' || error from refused_rows \
                       order by segment desc, row limit $1";
        for row in client.query(reasons, &[&LOADS_LISTED]).await? {
            self.refused_reasons.push(row.get(0));
        }
        Ok(())
    }
}

async fn table_rows(session: &Session, table: &str) -> Done<TableRows> {
    let client = session.client();
    let size = "select coalesce(sum(pg_table_size(relid)), 0)::bigint, \
                coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint \
                from pg_partition_tree(to_regclass($1)) join pg_class c on c.oid = relid where \
                isleaf";
    let row = client.query_one(size, &[&table]).await?;
    if row.get::<_, i64>(0) > COUNTED_BYTES_MAX {
        return Ok(TableRows { table: table.into(), rows: row.get(1), is_estimate: true });
    }
    let count = client.query_one(&format!("select count(*) from {table}"), &[]).await?;
    Ok(TableRows { table: table.into(), rows: count.get(0), is_estimate: false })
}
