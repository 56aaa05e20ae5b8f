//! The versions of the schema, and their migrations.

use super::failure::{Done, Failure};
use super::session::Session;
use crate::error::{Error, Result};

/// The SQL files, one for each version, from 1.
const VERSIONS: [&str; 1] = [include_str!("schema/0001.sql")];

/// The version that this program writes.
pub const VERSION: i32 = VERSIONS.len() as i32;

/// The longest name that the server accepts, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// Checks the name of a schema.
///
/// # Errors
/// If the name is invalid; the error says why.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(format!(
            "expected the name of a schema of 1 to {NAME_BYTES_MAX} bytes, found \"{name}\""
        ));
    }
    if name.starts_with("pg_") || name == "information_schema" {
        return Err(format!("the schema \"{name}\" belongs to the server: choose another name"));
    }
    if name.contains('\0') {
        return Err("the name of a schema can't have a NUL in it".into());
    }
    Ok(())
}

/// Quotes a name for SQL.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The result of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The version before; none in a new schema.
    pub from: Option<i32>,
    /// The version after.
    pub to: i32,
}

/// Returns the schema's version in a database; none if the schema doesn't exist.
///
/// # Errors
/// If the server doesn't answer.
pub fn version(session: &Session) -> Result<Option<i32>> {
    session
        .wait(version_of(session))
        .map_err(|failure| failure.transient("can't ask for the schema's version"))
}

async fn version_of(session: &Session) -> Done<Option<i32>> {
    let client = session.client();
    let table = format!("{}.schema_versions", quoted(session.warehouse().schema()));
    let found = client.query_one("select to_regclass($1) is not null", &[&table]).await?;
    if !found.get::<_, bool>(0) {
        return Ok(None);
    }
    let query = format!("select max(version) from {table}");
    Ok(client.query_one(&query, &[]).await?.get(0))
}

/// Creates the schema, or migrates it to this program's version, in one transaction. If several
/// programs start together, one of them migrates, and the others wait.
///
/// # Errors
/// If the server doesn't do it (transient), or the schema was made by a newer program (fatal).
pub fn migrate(session: &Session) -> Result<Migrated> {
    if let Some(found) = version(session)? {
        check_is_known(session, found)?;
        if found == VERSION {
            return Ok(Migrated { from: Some(found), to: found });
        }
    }
    let name = session.warehouse().schema();
    session
        .wait(migrate_in_transaction(session))
        .map_err(|failure| failure.transient(format!("can't make the schema \"{name}\"")))
}

/// Checks that this program knows the schema's version.
///
/// # Errors
/// If the version is unknown or missing.
pub fn check_is_known(session: &Session, found: i32) -> Result<()> {
    if found <= VERSION {
        return Ok(());
    }
    let warehouse = session.warehouse();
    Err(Error::fatal(format!(
        "the schema \"{}\" at \"{}\" has version {found}, made by a newer waterspout: this one \
            knows versions up to \
         {VERSION}; take the newer program, or another schema",
        warehouse.schema(),
        warehouse.name()
    )))
}

async fn migrate_in_transaction(session: &Session) -> Done<Migrated> {
    session.client().batch_execute("begin").await?;
    let done = migrate_locked(session).await;
    let end = if done.is_ok() { "commit" } else { "rollback" };
    let ended = session.client().batch_execute(end).await;
    let migrated = done?;
    ended?;
    Ok(migrated)
}

async fn migrate_locked(session: &Session) -> Done<Migrated> {
    let client = session.client();
    let name = session.warehouse().schema();
    // No other program's migration runs until the commit.
    let lock = "select pg_advisory_xact_lock(hashtextextended('waterspout schema ' || $1, 0))";
    client.execute(lock, &[&name]).await?;
    let exists = "select exists (select from pg_namespace where nspname = $1)";
    if !client.query_one(exists, &[&name]).await?.get::<_, bool>(0) {
        client.batch_execute(&format!("create schema {}", quoted(name))).await?;
    }
    let from = version_of(session).await?;
    check_is_known(session, from.unwrap_or_default()).map_err(Failure::Own)?;
    for (file, version) in VERSIONS.iter().zip(1..) {
        if version > from.unwrap_or_default() {
            client.batch_execute(file).await?;
            let add = "insert into schema_versions (version) values ($1)";
            client.execute(add, &[&version]).await?;
        }
    }
    Ok(Migrated { from, to: VERSION })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_quoted() {
        for bad in ["", "pg_x", "information_schema", "a\0", &"x".repeat(64)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        check_name("Water spout").unwrap();
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }
}
