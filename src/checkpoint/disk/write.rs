//! Writes the changes of a transaction into the tables.

use std::collections::BTreeMap;

use redb::{ReadableTable, Table, WriteTransaction};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::handle::Attempt;
use super::schema::{
    COMPONENTS, CURSORS, META, PLACES, PROMISES, SPLIT_TIMES, State, WATERMARKS, replace,
    state_table,
};
use crate::checkpoint::{Changes, Started, out_of_order};
use crate::epoch::{Cursor, StateChange};
use crate::error::{Error, Result};

/// Writes the data of [`StateStore::start`](crate::checkpoint::StateStore::start).
///
/// # Errors
/// If it can't be written.
pub(crate) fn start(transaction: &WriteTransaction, started: &Started) -> Attempt<()> {
    let dropped = &started.dropped;
    transaction.open_table(CURSORS)?.retain(|(component, _), _| !dropped.contains(component))?;
    transaction
        .open_table(SPLIT_TIMES)?
        .retain(|(component, _), _| !dropped.contains(component))?;
    transaction.open_table(WATERMARKS)?.retain(|component, _| !dropped.contains(component))?;
    transaction.open_table(PROMISES)?.retain(|component, _| !dropped.contains(component))?;
    for component in dropped {
        transaction.delete_table(State::new(&state_table(component)))?;
    }
    replace(transaction, COMPONENTS, json(&started.components)?)?;
    replace(transaction, PLACES, json(&started.places)?)?;
    let mut meta = transaction.open_table(META)?;
    meta.insert("about", started.about.as_str())?;
    meta.remove("finished")?;
    meta.remove("told")?;
    Ok(())
}

/// Writes the data of [`StateStore::tell`](crate::checkpoint::StateStore::tell).
///
/// # Errors
/// If it can't be written.
pub(crate) fn tell(transaction: &WriteTransaction) -> Attempt<()> {
    transaction.open_table(META)?.insert("told", "yes")?;
    Ok(())
}

/// Writes the data of [`StateStore::save`](crate::checkpoint::StateStore::save). A complete epoch
/// is only written once more if it is saved `again`, because the result of the first save isn't
/// known.
///
/// # Errors
/// If this epoch or a later one is already complete, or the data can't be written.
pub(crate) fn save(transaction: &WriteTransaction, changes: &Changes, again: bool) -> Attempt<()> {
    let mut meta = transaction.open_table(META)?;
    let complete = meta.get("epoch")?.and_then(|text| text.value().parse().ok()).unwrap_or(0);
    if changes.epoch < complete || changes.epoch == complete && !again {
        return Err(out_of_order(changes.epoch, complete).into());
    }
    meta.insert("epoch", changes.epoch.to_string().as_str())?;
    meta.insert("boundary", text(changes.boundary)?.as_str())?;
    meta.insert("at", text(changes.at)?.as_str())?;
    let mut cursors = transaction.open_table(CURSORS)?;
    for ((component, split), cursor) in &changes.cursors {
        cursors.insert((component.as_str(), split.as_str()), encode(cursor).as_str())?;
    }
    if !changes.split_times.is_empty() {
        let mut split_times = transaction.open_table(SPLIT_TIMES)?;
        for ((component, split), time) in &changes.split_times {
            split_times.insert((component.as_str(), split.as_str()), time.unix_millis())?;
        }
    }
    if !changes.watermarks.is_empty() {
        let mut watermarks = transaction.open_table(WATERMARKS)?;
        for (component, time) in &changes.watermarks {
            watermarks.insert(component.as_str(), time.unix_millis())?;
        }
    }
    replace(transaction, PROMISES, json(&changes.promises)?)?;
    for (component, changes) in by_component(&changes.state) {
        let mut table = transaction.open_table(State::new(&state_table(component)))?;
        write_state(&mut table, changes)?;
    }
    Ok(())
}

/// Writes the data of [`StateStore::end`](crate::checkpoint::StateStore::end).
///
/// # Errors
/// If it can't be written.
pub(crate) fn end(transaction: &WriteTransaction, finished: Option<OffsetDateTime>) -> Attempt<()> {
    replace(transaction, PROMISES, BTreeMap::new())?;
    replace(transaction, PLACES, BTreeMap::new())?;
    if let Some(at) = finished {
        transaction.open_table(META)?.insert("finished", text(at)?.as_str())?;
    }
    Ok(())
}

/// Groups the changes of all tasks by component.
fn by_component(state: &[(String, Vec<StateChange>)]) -> BTreeMap<&str, Vec<&StateChange>> {
    let mut all = BTreeMap::<&str, Vec<&StateChange>>::new();
    for (component, changes) in state.iter().filter(|(_, changes)| !changes.is_empty()) {
        all.entry(component).or_default().extend(changes);
    }
    all
}

/// Writes keys in order, so that neighbours are written while their page is in memory. If a key has
/// two changes, the later one counts: the sort is stable.
fn write_state(
    table: &mut Table<&'static [u8], &'static [u8]>,
    mut changes: Vec<&StateChange>,
) -> Attempt<()> {
    changes.sort_by(|a, b| (a.key_group, &a.key).cmp(&(b.key_group, &b.key)));
    let mut key = Vec::new();
    for change in changes {
        key.clear();
        key.extend_from_slice(&change.key_group.to_be_bytes());
        key.extend_from_slice(&change.key);
        match &change.value {
            Some(value) => table.insert(key.as_slice(), value.as_slice())?,
            None => table.remove(key.as_slice())?,
        };
    }
    Ok(())
}

fn json<'a, T: Serialize>(values: &'a BTreeMap<String, T>) -> Result<BTreeMap<&'a str, String>> {
    let encode = |(key, value): (&'a String, &T)| Ok((key.as_str(), serde_json::to_string(value)?));
    let encoded: serde_json::Result<_> = values.iter().map(encode).collect();
    encoded.map_err(|error| Error::fatal("can't write a part of the state as JSON").because(error))
}

fn text(time: OffsetDateTime) -> Result<String> {
    time.format(&Rfc3339).map_err(|error| {
        Error::fatal(format!("the time {time} has no RFC 3339 form")).because(error)
    })
}

fn encode(cursor: &Cursor) -> String {
    match cursor {
        Cursor::Start => "start".to_owned(),
        Cursor::At(at) => format!("at:{at}"),
        Cursor::End => "end".to_owned(),
    }
}
