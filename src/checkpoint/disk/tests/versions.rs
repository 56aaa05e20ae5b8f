//! Tests states of other versions.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::checkpoint::disk::handle::{Attempt, Fault};
use crate::checkpoint::disk::schema::{META, Migration, prepare};
use crate::error::Error;

const ADDED: TableDefinition<&str, &str> = TableDefinition::new("added");

fn database() -> Database {
    Database::builder().create_with_backend(redb::backends::InMemoryBackend::new()).unwrap()
}

fn try_prepare(database: &Database, migrations: &[Migration]) -> Result<(), String> {
    prepare(database, Path::new("/x/checkpoint.redb"), migrations).map_err(|fault| match fault {
        Fault::Database(error) => error.to_string(),
        Fault::Ours(error) => error.chain(),
    })
}

fn version(database: &Database) -> String {
    let read = database.begin_read().unwrap();
    read.open_table(META).unwrap().get("version").unwrap().unwrap().value().to_owned()
}

/// Records the order of the steps.
fn step(transaction: &redb::WriteTransaction, name: &str) -> Attempt<()> {
    let mut added = transaction.open_table(ADDED)?;
    let before = added.get("steps")?.map(|text| text.value().to_owned()).unwrap_or_default();
    added.insert("steps", format!("{before}{name} ").as_str())?;
    Ok(())
}

const STEPS: [Migration; 3] = [
    |transaction| step(transaction, "1-2"),
    |transaction| step(transaction, "2-3"),
    |transaction| step(transaction, "3-4"),
];

#[test]
fn a_new_database_has_todays_version_and_needs_no_step() {
    let database = database();
    try_prepare(&database, &STEPS).unwrap();
    assert_eq!(version(&database), "4");
    assert!(database.begin_read().unwrap().open_table(ADDED).is_err());
}

#[test]
fn an_older_version_takes_the_steps_that_it_lacks_in_order_and_once() {
    let database = database();
    try_prepare(&database, &STEPS[..1]).unwrap();
    for _ in 0..2 {
        try_prepare(&database, &STEPS).unwrap();
        assert_eq!(version(&database), "4");
        let read = database.begin_read().unwrap();
        assert_eq!(
            read.open_table(ADDED).unwrap().get("steps").unwrap().unwrap().value(),
            "2-3 3-4 "
        );
    }
}

#[test]
fn a_step_that_fails_leaves_everything_as_it_was() {
    let database = database();
    try_prepare(&database, &[]).unwrap();
    let failing: [Migration; 2] = [STEPS[0], |_| Err(Error::fatal("can't").into())];
    assert_eq!(try_prepare(&database, &failing).unwrap_err(), "can't");
    assert_eq!(version(&database), "1");
    assert!(database.begin_read().unwrap().open_table(ADDED).is_err());
}

#[test]
fn a_newer_version_is_refused() {
    let database = database();
    try_prepare(&database, &STEPS).unwrap();
    let expected = "the state \"/x/checkpoint.redb\" has version 4, and this waterspout knows versions up to 1: \
                    use a newer waterspout, or --fresh to begin without it";
    assert_eq!(try_prepare(&database, &[]).unwrap_err(), expected);
    assert_eq!(version(&database), "4");
}

#[test]
fn a_database_of_something_else_is_refused() {
    let database = database();
    let write = database.begin_write().unwrap();
    write.open_table(ADDED).unwrap().insert("a", "b").unwrap();
    write.commit().unwrap();
    let expected = "\"/x/checkpoint.redb\" is a database, but not the state of a topology: Table 'meta' does not exist";
    assert_eq!(try_prepare(&database, &[]).unwrap_err(), expected);
}
