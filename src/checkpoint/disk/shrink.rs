//! Makes a database's file smaller when most of it is free.
//!
//! redb keeps the pages of deleted keys for later ones. After a burst of keys the file would stay
//! as large as it ever was, and each start reads all of it. A kill in the middle does no harm,
//! since pages are moved in transactions.

use std::path::Path;

use redb::Database;

use super::handle::Attempt;

/// The size in bytes from which a file is made smaller. Reading a smaller one takes no noticeable
/// time.
const FILE_BYTES_MIN: u64 = 16 << 20;

/// The maximum number of bytes in use. In the worst case all of them are moved, which takes some
/// seconds for this many, and delays the start.
const USED_BYTES_MAX: u64 = 512 << 20;

/// Makes a database's file smaller, if more than half of it is free. Returns true if it did.
///
/// # Errors
/// If the disk fails: the database has to be opened again.
pub(crate) fn shrink(database: &mut Database, path: &Path) -> Attempt<bool> {
    let Ok(found) = path.metadata() else { return Ok(false) };
    if found.len() < FILE_BYTES_MIN {
        return Ok(false);
    }
    let transaction = database.begin_write()?;
    let stats = transaction.stats()?;
    transaction.abort()?;
    let used = stats.allocated_pages() * stats.page_size() as u64;
    if used > found.len() / 2 || used > USED_BYTES_MAX {
        return Ok(false);
    }
    Ok(database.compact()?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use time::OffsetDateTime;

    use super::super::DiskStore;
    use super::*;
    use crate::bolt::StateChange;
    use crate::checkpoint::{Changes, StateStore};

    /// Makes a change of each of these keys: to a value of one kibibyte, or a deletion.
    fn changes(epoch: u64, keys: std::ops::Range<u32>, is_there: bool) -> Changes {
        let change = |key: u32| StateChange {
            key_group: 0,
            key: key.to_be_bytes().to_vec(),
            value: is_there.then(|| key.to_be_bytes().repeat(256)),
        };
        let now = OffsetDateTime::UNIX_EPOCH;
        Changes {
            state: vec![("count".into(), keys.map(change).collect())],
            ..Changes::none(epoch, now, now)
        }
    }

    #[test]
    fn a_state_whose_keys_were_forgotten_gets_smaller_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(super::super::DATABASE);
        let size = || path.metadata().unwrap().len();
        let store = DiskStore::open(folder.path()).unwrap();
        store.save(&changes(1, 0..24_000, true)).unwrap();
        drop(store);
        let full = size();
        assert!(full > FILE_BYTES_MIN);
        let store = DiskStore::open(folder.path()).unwrap();
        assert_eq!(size(), full, "what is in use stays as it is");
        store.save(&changes(2, 500..24_000, false)).unwrap();
        drop(store);
        let store = DiskStore::open(folder.path()).unwrap();
        assert!(size() < full / 8, "{} of {full} bytes", size());
        let mut kept = BTreeMap::new();
        let mut take = |key: &[u8], value: &[u8]| {
            kept.insert(key.to_vec(), value.to_vec());
            Ok(())
        };
        store.restore("count", 0..1, &mut take).unwrap();
        let expected =
            (0..500_u32).map(|key| (key.to_be_bytes().to_vec(), key.to_be_bytes().repeat(256)));
        assert!(kept == expected.collect());
        assert_eq!(store.saved().unwrap().epoch, 2);
    }
}
