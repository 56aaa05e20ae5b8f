//! A session with Redshift: its settings, its schema, its ledger.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

use super::super::address::WarehouseAddress;
use super::super::failure::{Done, Failure};
use super::super::ledger::{RefusedRowNumber, SegmentLoad};
use super::super::months::Micros;
use super::super::schema::{Migrated, check_name};
use super::super::session::{Session, Warehouse};
use super::meaning::meaning;
use super::statements::{self, CopyOptions, LedgerPart, VERSIONS};
use crate::error::{Error, Result};
use crate::secret::Secret;

/// The version of the schema that this program writes.
const VERSION: i32 = VERSIONS.len() as i32;

/// Redshift's default port.
const PORT: u16 = 5439;

/// The time for one statement at the server: a COPY of large files takes minutes.
const STATEMENT_MAX: Duration = Duration::from_secs(30 * 60);

/// The time that the client waits for a whole load. After that, the client gives the connection up
/// and repeats the load over another one.
const ANSWER_MAX: Duration = Duration::from_secs(60 * 60);

/// The time that the history of loads is kept. The history has one row for each forgotten load.
const HISTORY_MICROS: Micros = 30 * 86_400 * 1_000_000;

/// The authorisation by which the server reads files from S3.
#[derive(Clone, Debug)]
pub struct CopyAccess {
    /// `default`, or the address of a role that may read the bucket.
    pub iam_role: String,
    /// The bucket's region, if it may differ from the cluster's.
    pub region: Option<String>,
}

/// Checks the role before it becomes a part of a statement.
///
/// # Errors
/// If the role is invalid; the error says why.
pub fn check_iam_role(role: &str) -> Result<(), String> {
    // Roles that are assumed one by the other are separated by commas.
    let is_address = |role: &str| {
        let mut parts = role.splitn(6, ':');
        let words: Vec<&str> = parts.by_ref().take(5).collect();
        let name = parts.next().and_then(|rest| rest.strip_prefix("role/")).unwrap_or_default();
        words.len() == 5
            && words[0] == "arn"
            && words[1].starts_with("aws")
            && words[2] == "iam"
            && !name.is_empty()
            && role.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\'' && byte != b'\\')
    };
    if role == "default" || role.split(',').all(is_address) {
        return Ok(());
    }
    Err("expected \"default\" or \"arn:aws:iam::<account>:role/<name>\", several with commas \
        between \
         them"
        .into())
}

/// Parses the address of a cluster or workgroup: `redshift://user:password@host:5439/database`, or
/// any form that `Postgres` accepts.
///
/// # Errors
/// If the address is invalid.
pub fn redshift_address(url: &Secret) -> Result<WarehouseAddress> {
    let text = url.reveal().trim();
    let schemes = ["redshift://", "postgres://", "postgresql://"];
    let url = match schemes.iter().find_map(|scheme| text.strip_prefix(scheme)) {
        Some(rest) => Secret::new(format!("postgres://{}", with_ports(rest))),
        None => url.clone(),
    };
    let mut address = WarehouseAddress::parse(&url)?;
    if address.config.get_ports().is_empty() {
        address.config.port(PORT);
    }
    Ok(address)
}

/// Returns the part of an address after the scheme, with a port for each host: without one, the
/// client would use PostgreSQL's port.
fn with_ports(rest: &str) -> String {
    let hosts_begin = rest.find('@').map_or(0, |at| at + 1);
    let (user, behind) = rest.split_at(hosts_begin);
    let (hosts, database) = behind.split_at(behind.find(['/', '?']).unwrap_or(behind.len()));
    let mut with_ports: Vec<String> = Vec::new();
    for host in hosts.split(',') {
        // The colons of an IPv6 address are in brackets.
        let name_end = host.rfind(']').unwrap_or(0);
        let is_whole = host.is_empty() || host[name_end..].contains(':');
        with_ports.push(if is_whole { host.into() } else { format!("{host}:{PORT}") });
    }
    format!("{user}{}{database}", with_ports.join(","))
}

/// A session.
pub struct RedshiftSession {
    session: Session,
    copy: CopyOptions,
}

impl RedshiftSession {
    /// Returns the warehouse at an address, in a schema of its database.
    ///
    /// # Errors
    /// If the address or the name of the schema can't be used.
    pub fn warehouse(url: &Secret, schema: &str) -> Result<Warehouse> {
        check_name(schema).map_err(Error::fatal)?;
        Warehouse::of(redshift_address(url)?, schema)
    }

    /// Begins a session. Neither creates nor checks the schema. Blocks.
    ///
    /// # Errors
    /// If the server can't be reached or refuses (transient), or isn't Redshift (fatal).
    pub fn connect(warehouse: &Warehouse, access: &CopyAccess) -> Result<Self> {
        let CopyAccess { iam_role, region } = access.clone();
        let copy = CopyOptions { iam_role, region };
        let session = Self { session: warehouse.begin("Redshift")?, copy };
        let name = warehouse.name();
        let version = session.server_version()?;
        if !version.contains("Redshift") {
            return Err(Error::fatal(format!(
                "the server at \"{name}\" is \"{version}\", expected Amazon Redshift: for \
                    PostgreSQL \
                 take the sink Postgres"
            )));
        }
        let settings = statements::settings(warehouse.schema(), STATEMENT_MAX.as_millis());
        let set = session.wait(session.run_all(&settings));
        set.map_err(|failure| failure.transient(format!("can't set up a session at \"{name}\"")))?;
        Ok(session)
    }

    /// Returns the server's version in its own words.
    ///
    /// # Errors
    /// If the server doesn't answer.
    pub fn server_version(&self) -> Result<String> {
        let asked = self.wait(self.ask(statements::SERVER));
        let rows = asked.map_err(|failure| failure.transient("can't ask for the version"))?;
        Ok(rows.first().and_then(|row| row.get(0)).unwrap_or_default().to_owned())
    }

    pub(super) fn copy_options(&self) -> &CopyOptions {
        &self.copy
    }

    pub(super) fn wait<T>(&self, answer: impl Future<Output = Done<T>>) -> Done<T> {
        self.session.wait_for(ANSWER_MAX, answer)
    }

    /// Sends one statement.
    pub(super) async fn run(&self, statement: &str) -> Done<()> {
        self.session.client().batch_execute(statement).await.map_err(meaning)
    }

    /// Sends statements, one after the other.
    pub(super) async fn run_all(&self, statements: &[String]) -> Done<()> {
        for statement in statements {
            self.run(statement).await?;
        }
        Ok(())
    }

    /// Sends one query.
    pub(super) async fn ask(&self, question: &str) -> Done<Vec<SimpleQueryRow>> {
        let answers = self.session.client().simple_query(question).await.map_err(meaning)?;
        let mut rows = Vec::new();
        for answer in answers {
            if let SimpleQueryMessage::Row(row) = answer {
                rows.push(row);
            }
        }
        Ok(rows)
    }

    /// Sends statements within a transaction that begins with a lock.
    async fn in_transaction(&self, lock: &str, statements: &[String]) -> Done<()> {
        self.run("begin").await?;
        let mut done = self.run(lock).await;
        if done.is_ok() {
            done = self.run_all(statements).await;
        }
        self.end_transaction(done).await
    }

    /// Commits a transaction, or rolls it back.
    pub(super) async fn end_transaction<T>(&self, done: Done<T>) -> Done<T> {
        match done {
            Ok(done) => self.run("commit").await.map(|()| done),
            Err(failure) => {
                // A server that is gone has rolled it back already.
                let _ = self.run("rollback").await;
                Err(failure)
            }
        }
    }

    /// Returns the schema's version in the database; none if the schema doesn't exist.
    ///
    /// # Errors
    /// If the server doesn't answer.
    pub fn schema_version(&self) -> Result<Option<i32>> {
        let asked = self.wait(self.schema_version_now());
        asked.map_err(|failure| failure.transient("can't ask for the schema's version"))
    }

    async fn schema_version_now(&self) -> Done<Option<i32>> {
        let schema = self.session.warehouse().schema();
        let tables = number(&self.ask(&statements::has_versions(schema)).await?);
        if tables.unwrap_or_default() == 0 {
            return Ok(None);
        }
        let version = number(&self.ask(statements::SCHEMA_VERSION).await?);
        Ok(version.and_then(|version| i32::try_from(version).ok()))
    }

    /// Creates the schema, or migrates it to this program's version, in one transaction. If several
    /// programs start together, one of them migrates, and the others wait.
    ///
    /// # Errors
    /// If the server doesn't do it (transient), or the schema was made by a newer program (fatal).
    pub fn migrate(&self, now: Micros) -> Result<Migrated> {
        let found = self.schema_version()?;
        self.check_is_known(found)?;
        if found == Some(VERSION) {
            return Ok(Migrated { from: found, to: VERSION });
        }
        let schema = self.session.warehouse().schema();
        self.wait(self.migrate_now(now))
            .map_err(|failure| failure.transient(format!("can't make the schema \"{schema}\"")))
    }

    /// Checks that this program knows the schema's version.
    ///
    /// # Errors
    /// If the version is unknown or missing.
    pub fn check_is_known(&self, found: Option<i32>) -> Result<()> {
        let Some(found) = found.filter(|found| *found > VERSION) else { return Ok(()) };
        let warehouse = self.session.warehouse();
        Err(Error::fatal(format!(
            "the schema \"{}\" at \"{}\" has version {found}, made by a newer waterspout: this one \
             knows versions up to {VERSION}; take the newer program, or another schema",
            warehouse.schema(),
            warehouse.name()
        )))
    }

    async fn migrate_now(&self, now: Micros) -> Done<Migrated> {
        self.run(&statements::make_schema(self.session.warehouse().schema())).await?;
        self.run(statements::MAKE_VERSIONS).await?;
        self.run("begin").await?;
        let migrated = self.migrate_locked(now).await;
        self.end_transaction(migrated).await
    }

    async fn migrate_locked(&self, now: Micros) -> Done<Migrated> {
        self.run(statements::LOCK_VERSIONS).await?;
        let from = number(&self.ask(statements::SCHEMA_VERSION).await?);
        let from = from.and_then(|version| i32::try_from(version).ok());
        self.check_is_known(from).map_err(Failure::Own)?;
        for (file, version) in VERSIONS.iter().zip(1..) {
            if version > from.unwrap_or_default() {
                self.run_all(&statements::of_version(file)).await?;
                self.run(&statements::note_version(version, now)).await?;
            }
        }
        Ok(Migrated { from, to: VERSION })
    }

    /// Returns the ledger's entries for segments.
    pub(super) async fn known_segments(
        &self,
        segments: &[String],
    ) -> Done<BTreeMap<String, SegmentLoad>> {
        let (mut known, mut refused) = (BTreeMap::new(), Vec::new());
        for row in self.ask(&statements::known_segments(segments)).await? {
            let segment = row.get(0).unwrap_or_default().to_owned();
            if whole(&row, 2) > 0 {
                refused.push(segment.clone());
            }
            let loaded_at = whole(&row, 1).saturating_mul(1_000_000);
            known.insert(segment, SegmentLoad { refused: Vec::new(), loaded_at });
        }
        if refused.is_empty() {
            return Ok(known);
        }
        for row in self.ask(&statements::known_refused(&refused)).await? {
            let number = usize::try_from(whole(&row, 1)).unwrap_or_default();
            if let Some(load) = known.get_mut(row.get(0).unwrap_or_default()) {
                let error = row.get(2).unwrap_or_default().to_owned();
                load.refused.push(RefusedRowNumber { number, error });
            }
        }
        Ok(known)
    }

    /// Removes segments that are never loaded again from the ledger, and adds them to the history.
    /// May be repeated. Blocks.
    ///
    /// # Errors
    /// If the server doesn't do it; transient.
    pub fn forget(&self, segments: &[String]) -> Result<()> {
        if segments.is_empty() {
            return Ok(());
        }
        self.forget_part(&LedgerPart::Named(segments))
    }

    /// Removes all segments of a task that no longer exists, except those that may be loaded again.
    ///
    /// # Errors
    /// If the server doesn't do it; transient.
    pub fn forget_task(&self, prefix: &str, but: &[String]) -> Result<()> {
        self.forget_part(&LedgerPart::Prefix(prefix, but))
    }

    fn forget_part(&self, part: &LedgerPart<'_>) -> Result<()> {
        let forget = statements::forget(part);
        let done = self.wait(self.in_transaction(statements::LOCK_LOADS, &forget));
        done.map_err(|failure| failure.transient("can't forget loaded segments"))
    }

    /// Deletes expired rows of the history.
    ///
    /// # Errors
    /// If the server doesn't do it; transient.
    pub fn prune_history(&self, now: Micros) -> Result<()> {
        let prune = statements::prune_history(now.saturating_sub(HISTORY_MICROS));
        let done = self.wait(self.run(&prune));
        done.map_err(|failure| failure.transient("can't prune the history of loads"))
    }
}

/// Returns the number in the first row.
pub(super) fn number(rows: &[SimpleQueryRow]) -> Option<i64> {
    rows.first()?.get(0)?.parse().ok()
}

/// Returns the number in a column.
pub(super) fn whole(row: &SimpleQueryRow, at: usize) -> i64 {
    row.get(at).and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_the_port_of_redshift() {
        let name = |url: &str| redshift_address(&Secret::new(url)).map(|address| address.name());
        assert_eq!(name("redshift://u:p@host/db").unwrap(), "host:5439/db");
        assert_eq!(name("postgres://u:p@host:5432/db").unwrap(), "host:5432/db");
        assert_eq!(name("postgresql://u:p@host/db?sslmode=require").unwrap(), "host:5439/db");
        assert_eq!(name("host=host user=u dbname=db").unwrap(), "host:5439/db");
        let several = with_ports("u:p%3A@a,b:1,[::1],[::1]:2?sslmode=disable");
        assert_eq!(several, "u:p%3A@a:5439,b:1,[::1]:5439,[::1]:2?sslmode=disable");
        assert_eq!(with_ports("/db?host=a"), "/db?host=a");
        assert!(name("mysql://host/db").is_err());
    }

    #[test]
    fn a_role_is_an_address_or_the_default() {
        let role = "arn:aws:iam::123456789012:role/load";
        for good in ["default", role, &format!("{role},{role}"), "arn:aws-cn:iam::1:role/a/b"] {
            check_iam_role(good).unwrap();
        }
        for bad in ["", "Default", "role/load", "arn:aws:iam::1:user/x", "arn:aws:iam::1:role/a'b"]
        {
            assert!(check_iam_role(bad).is_err(), "{bad}");
        }
    }
}
