//! Reads the contents of a state from its tables.

use std::collections::BTreeMap;
use std::ops::Range;

use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError};
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::handle::{Attempt, Handle};
use super::schema::{
    COMPONENTS, CURSORS, META, PLACES, PROMISES, SPLIT_TIMES, State, WATERMARKS, state_table,
};
use crate::checkpoint::{Saved, Take};
use crate::epoch::Cursor;
use crate::event_time::EventTime;

/// Reads everything except the keyed state.
///
/// # Errors
/// If it can't be read, or isn't what [`write`](super::write) wrote.
pub(crate) fn saved(transaction: &ReadTransaction, handle: &Handle) -> Attempt<Saved> {
    let meta = transaction.open_table(META)?;
    let text = |name: &str| -> Attempt<Option<String>> {
        Ok(meta.get(name)?.map(|text| text.value().to_owned()))
    };
    let time = |name: &str| -> Attempt<Option<OffsetDateTime>> {
        let parse = |text: String| OffsetDateTime::parse(&text, &Rfc3339);
        Ok(text(name)?.map(parse).transpose().map_err(|error| handle.damaged(error))?)
    };
    let epoch = text("epoch")?
        .map(|text| text.parse())
        .transpose()
        .map_err(|error| handle.damaged(error))?;
    Ok(Saved {
        epoch: epoch.unwrap_or(0),
        boundary: time("boundary")?,
        at: time("at")?,
        about: text("about")?.unwrap_or_default(),
        cursors: cursors(transaction, handle)?,
        split_times: split_times(transaction)?,
        watermarks: watermarks(transaction)?,
        promises: json(transaction, handle, PROMISES)?,
        components: json(transaction, handle, COMPONENTS)?,
        places: json(transaction, handle, PLACES)?,
        finished: time("finished")?,
        told: text("told")?.is_some(),
    })
}

fn cursors(
    transaction: &ReadTransaction,
    handle: &Handle,
) -> Attempt<BTreeMap<(String, String), Cursor>> {
    let mut cursors = BTreeMap::new();
    for entry in transaction.open_table(CURSORS)?.iter()? {
        let (key, cursor) = entry?;
        let (component, split) = key.value();
        let cursor = decode(cursor.value())
            .ok_or_else(|| handle.damaged(format!("no cursor: {:?}", cursor.value())))?;
        cursors.insert((component.to_owned(), split.to_owned()), cursor);
    }
    Ok(cursors)
}

fn split_times(transaction: &ReadTransaction) -> Attempt<BTreeMap<(String, String), EventTime>> {
    let mut times = BTreeMap::new();
    let table = match transaction.open_table(SPLIT_TIMES) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(times),
        other => other?,
    };
    for entry in table.iter()? {
        let (key, time) = entry?;
        let (component, split) = key.value();
        times.insert(
            (component.to_owned(), split.to_owned()),
            EventTime::from_unix_millis(time.value()),
        );
    }
    Ok(times)
}

fn watermarks(transaction: &ReadTransaction) -> Attempt<BTreeMap<String, EventTime>> {
    let mut times = BTreeMap::new();
    let table = match transaction.open_table(WATERMARKS) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(times),
        other => other?,
    };
    for entry in table.iter()? {
        let (component, time) = entry?;
        times.insert(component.value().to_owned(), EventTime::from_unix_millis(time.value()));
    }
    Ok(times)
}

fn decode(cursor: &str) -> Option<Cursor> {
    match cursor {
        "start" => Some(Cursor::Start),
        "end" => Some(Cursor::End),
        at => at.strip_prefix("at:").map(|at| Cursor::At(at.to_owned())),
    }
}

fn json<T: DeserializeOwned>(
    transaction: &ReadTransaction,
    handle: &Handle,
    table: TableDefinition<&'static str, &'static str>,
) -> Attempt<BTreeMap<String, T>> {
    let mut all = BTreeMap::new();
    for entry in transaction.open_table(table)?.iter()? {
        let (component, json) = entry?;
        let value = serde_json::from_str(json.value()).map_err(|error| handle.damaged(error))?;
        all.insert(component.value().to_owned(), value);
    }
    Ok(all)
}

/// Passes the keyed state of a component in a range of key groups to `take`, in one scan of one
/// table.
///
/// # Errors
/// If it can't be read, or `take` fails.
pub(crate) fn state(
    transaction: &ReadTransaction,
    handle: &Handle,
    component: &str,
    groups: Range<u16>,
    take: &mut Take<'_>,
) -> Attempt<()> {
    let name = state_table(component);
    let table = match transaction.open_table(State::new(&name)) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        other => other?,
    };
    if groups.is_empty() {
        return Ok(());
    }
    let (from, to) = (groups.start.to_be_bytes(), groups.end.to_be_bytes());
    for entry in table.range(from.as_slice()..to.as_slice())? {
        let (key, value) = entry?;
        let key =
            key.value().get(2..).ok_or_else(|| handle.damaged("a key without a key group"))?;
        take(key, value.value())?;
    }
    Ok(())
}
