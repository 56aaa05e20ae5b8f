//! The tables of a state, and the migration of older ones.
//!
//! Everything except the keyed state is text: names, RFC 3339 times, JSON. The keyed state of each
//! component has a separate table, so that it can be deleted in one step, and keys don't contain
//! the component's name.

use std::collections::BTreeMap;
use std::path::Path;

use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTableMetadata, TableDefinition,
    TableError, WriteTransaction,
};

use super::handle::Attempt;
use crate::error::Error;

/// `version`, `epoch`, `boundary`, `at`, `finished`, `told` and `about`, as far as they are known.
pub(crate) const META: TableDefinition<&str, &str> = TableDefinition::new("meta");
/// By component and split: `start`, `end` or `at:` and the cursor.
pub(crate) const CURSORS: TableDefinition<(&str, &str), &str> = TableDefinition::new("cursors");
/// By component and split: the event time of its newest post, in milliseconds since 1970. A state
/// of an earlier version doesn't have this table.
pub(crate) const SPLIT_TIMES: TableDefinition<(&str, &str), i64> =
    TableDefinition::new("split_times");
/// By bolt: the event time that it has reached, in milliseconds since 1970. A state of an earlier
/// version doesn't have this table.
pub(crate) const WATERMARKS: TableDefinition<&str, i64> = TableDefinition::new("watermarks");
/// By component: JSON of all its promises.
pub(crate) const PROMISES: TableDefinition<&str, &str> = TableDefinition::new("promises");
/// By component: JSON of its places.
pub(crate) const PLACES: TableDefinition<&str, &str> = TableDefinition::new("places");
/// By component: JSON of its [`Kept`](crate::checkpoint::Kept).
pub(crate) const COMPONENTS: TableDefinition<&str, &str> = TableDefinition::new("components");

/// The keyed state of one component: the key group, two bytes in big endian, and the key.
pub(crate) type State<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;

/// Returns the name of the table of a component's keyed state.
pub(crate) fn state_table(component: &str) -> String {
    format!("state/{component}")
}

/// A step from one version of the tables to the next.
pub(crate) type Migration = fn(&WriteTransaction) -> Attempt<()>;

/// The steps from version 1 to 2, from 2 to 3, and so on. The current version is 1.
pub(crate) const MIGRATIONS: [Migration; 0] = [];

/// Creates the tables of a new database, or migrates those of an older version to the version after
/// the last migration, in one transaction.
///
/// # Errors
/// If the version is newer, or the database isn't a state.
pub(crate) fn prepare(database: &Database, path: &Path, migrations: &[Migration]) -> Attempt<()> {
    let known = migrations.len() as u64 + 1;
    let found = version(&database.begin_read()?, path)?;
    if found == Some(known) {
        return Ok(());
    }
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    match found {
        None => make_tables(&transaction)?,
        Some(found) if found > known => return Err(too_new(path, found, known).into()),
        Some(found) => {
            migrations.iter().skip(found as usize - 1).try_for_each(|step| step(&transaction))?
        }
    }
    transaction.open_table(META)?.insert("version", known.to_string().as_str())?;
    transaction.commit()?;
    Ok(())
}

/// Returns the version; `None` in a new database.
fn version(transaction: &ReadTransaction, path: &Path) -> Attempt<Option<u64>> {
    let foreign = || {
        Error::fatal(format!(
            "\"{}\" is a database, but not the state of a topology",
            path.display()
        ))
    };
    let meta = match transaction.open_table(META) {
        Err(TableError::TableDoesNotExist(_)) if transaction.list_tables()?.next().is_none() => {
            return Ok(None);
        }
        Err(TableError::Storage(error)) => return Err(error.into()),
        other => other.map_err(|error| foreign().because(error))?,
    };
    let version = meta
        .get("version")?
        .and_then(|text| text.value().parse().ok())
        .filter(|version| *version > 0);
    Ok(Some(version.ok_or_else(foreign)?))
}

fn too_new(path: &Path, found: u64, known: u64) -> Error {
    Error::fatal(format!(
        "the state \"{}\" has version {found}, and this waterspout knows versions up to {known}: \
         use a newer waterspout, or --fresh to begin without it",
        path.display()
    ))
}

/// Creates all tables at the beginning, so that readers can rely on them.
fn make_tables(transaction: &WriteTransaction) -> Attempt<()> {
    transaction.open_table(META)?;
    transaction.open_table(CURSORS)?;
    for table in [PROMISES, PLACES, COMPONENTS] {
        transaction.open_table(table)?;
    }
    Ok(())
}

/// Replaces the content of a table.
///
/// # Errors
/// If it can't be written.
pub(crate) fn replace(
    transaction: &WriteTransaction,
    table: TableDefinition<&'static str, &'static str>,
    entries: BTreeMap<&str, String>,
) -> Attempt<()> {
    let mut table = transaction.open_table(table)?;
    table.retain(|_, _| false)?;
    for (key, value) in entries {
        table.insert(key, value.as_str())?;
    }
    Ok(())
}

/// Returns true if a table exists and has an entry.
///
/// # Errors
/// If it can't be read.
pub(crate) fn holds_anything(transaction: &ReadTransaction, table: State) -> Attempt<bool> {
    match transaction.open_table(table) {
        Ok(table) => Ok(!table.is_empty()?),
        Err(TableError::TableDoesNotExist(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
