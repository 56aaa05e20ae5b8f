//! Tests of power losses at a random moment: unsynced pages are lost one by one.

use std::fs;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

const PAGE_BYTES: u64 = 4 << 10;
const SECTOR_BYTES: u64 = 512;

/// A bound with segments of 16 KiB, so that they have several pages.
const BYTES_MAX: u64 = 128 << 10;

/// The disk after a power loss.
struct Crash {
    folder: tempfile::TempDir,
    appended: Vec<Record>,
    synced: u64,
    /// The position of a checkpoint, which may be earlier.
    checkpoint: u64,
}

/// Appends and syncs at random, and copies the content of the page cache.
fn crash(random: &mut impl Rng) -> Crash {
    let (live, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut spool, _) =
        Spool::open_on(Arc::new(Unsynced), live.path(), 0, options(BYTES_MAX)).unwrap();
    let mut appended: Vec<Record> = Vec::new();
    for number in 0..random.random_range(1..120) {
        let (cursor, post) = (number.to_string(), post(number, random.random_range(0..1500)));
        let Appended::At(position) = spool.append(cursor.as_bytes(), &post).unwrap() else { break };
        appended.push(Record { cursor: cursor.into(), post: post.into(), position });
        match random.random_range(0..30) {
            0..3 => spool.sync().unwrap(),
            3 => {
                drop(spool);
                spool = Spool::open_on(Arc::new(Unsynced), live.path(), 0, options(BYTES_MAX))
                    .unwrap()
                    .0;
            }
            _ => {}
        }
        if spool.bytes() > BYTES_MAX - 2000 {
            break;
        }
    }
    for base in segment::list(live.path()).unwrap() {
        fs::copy(segment::path(live.path(), base), segment::path(folder.path(), base)).unwrap();
    }
    let checkpoint = match random.random_range(0..4) {
        0 => appended[random.random_range(0..appended.len())].position,
        _ => 0,
    };
    Crash { folder, synced: spool.synced(), appended, checkpoint }
}

impl Crash {
    /// Returns the segment that was open at the power loss, with the offset and the length of its
    /// unsynced part.
    fn last(&self) -> (File, u64, u64) {
        let base = *segment::list(self.folder.path()).unwrap().last().unwrap();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(segment::path(self.folder.path(), base))
            .unwrap();
        let (from, length) =
            (segment::HEADER_BYTES + self.synced - base, file.metadata().unwrap().len());
        (file, from, length - from)
    }

    /// Loses a random part of the unsynced bytes.
    fn lose(&self, random: &mut impl Rng) {
        let (file, from, unsynced) = self.last();
        let end = from + unsynced;
        let lost = random.random_range(0..=100);
        for page in from / PAGE_BYTES..end.div_ceil(PAGE_BYTES) {
            let range = (page * PAGE_BYTES).max(from)..((page + 1) * PAGE_BYTES).min(end);
            if random.random_range(0..100) < lost {
                overwrite(&file, range, random);
            }
        }
        if random.random() && unsynced > 0 {
            let sector = random.random_range(from..end) / SECTOR_BYTES * SECTOR_BYTES;
            let torn = sector + random.random_range(0..SECTOR_BYTES);
            overwrite(
                &file,
                torn.clamp(from, end)..(sector + SECTOR_BYTES).clamp(from, end),
                random,
            );
        }
        if random.random() {
            file.set_len(random.random_range(from..=end)).unwrap();
        }
    }

    /// Opens the spool, and compares it with the appended posts.
    fn check(&self) {
        let (spool, _) = Spool::open_on(
            Arc::new(Unsynced),
            self.folder.path(),
            self.checkpoint,
            options(BYTES_MAX),
        )
        .unwrap();
        let found = read(&mut spool.reader(self.checkpoint));
        let due: Vec<&Record> =
            self.appended.iter().filter(|record| record.position > self.checkpoint).collect();
        let synced = due.iter().filter(|record| record.position <= self.synced).count();
        assert!(found.len() >= synced, "{} found, {synced} were synced", found.len());
        assert!(found.iter().eq(due.into_iter().take(found.len())), "something was invented");
        assert!(spool.end() >= self.checkpoint);
        // The spool can be used again: one more post is appended, and the next opening finds
        // nothing to cut.
        append(&spool, 7, 100);
        drop(spool);
        let again = Spool::open_on(
            Arc::new(Unsynced),
            self.folder.path(),
            self.checkpoint,
            options(BYTES_MAX),
        )
        .unwrap();
        assert_eq!(again.1, None);
        assert_eq!(read(&mut again.0.reader(self.checkpoint)).len(), found.len() + 1);
    }

    /// Flips a bit in the synced part, and checks that opening reports this.
    fn check_flipped(&self, random: &mut impl Rng) {
        let bases = segment::list(self.folder.path()).unwrap();
        let at = random.random_range(0..self.synced);
        let base = bases[bases.partition_point(|base| *base <= at) - 1];
        let path = segment::path(self.folder.path(), base);
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let offset = if random.random_range(0..8) == 0 {
            random.random_range(0..36)
        } else {
            36 + at - base
        };
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        byte[0] ^= 1 << random.random_range(0..8);
        file.write_all_at(&byte, offset).unwrap();
        match Spool::open_on(Arc::new(Unsynced), self.folder.path(), 0, options(BYTES_MAX)) {
            Err(error) => {
                let text = error.chain();
                let place = format!("{}\" is damaged at byte ", path.display());
                let (_, told) = text.split_once(&place).unwrap_or_else(|| panic!("{text}"));
                let told: u64 = told.split([' ', ':']).next().unwrap().parse().unwrap();
                assert!(told <= offset && offset < told + 1600, "told {told}, flipped {offset}");
            }
            Ok((_, torn)) => {
                let torn = torn.expect("a flipped bit is told");
                assert!(
                    torn.file == path && torn.offset <= offset && offset < torn.offset + torn.bytes
                );
                assert!(!self.is_marked(offset, base), "synced, as a mark tells, and yet cut off");
            }
        }
    }

    /// Returns true if a sync mark covers this place: the log wrote one after each sync.
    fn is_marked(&self, offset: u64, base: u64) -> bool {
        let position = base + offset.saturating_sub(segment::HEADER_BYTES);
        let next = self.appended.iter().find(|record| record.position > position);
        // The last synced record is covered by the mark behind it, unless that mark was damaged.
        next.is_some_and(|record| record.position <= self.synced)
    }
}

/// Overwrites a range with zeros, or with random bytes as the block's former content.
fn overwrite(file: &File, range: std::ops::Range<u64>, random: &mut impl Rng) {
    let mut bytes = vec![0; (range.end.saturating_sub(range.start)) as usize];
    if random.random() {
        random.fill_bytes(&mut bytes);
    }
    file.write_all_at(&bytes, range.start).unwrap();
}

/// Runs many cases, and names the seed of one that fails.
fn for_seeds(count: u64, case: impl Fn(&mut ChaCha8Rng)) {
    for seed in 0..count {
        let run = AssertUnwindSafe(|| case(&mut ChaCha8Rng::seed_from_u64(seed)));
        if let Err(panic) = catch_unwind(run) {
            eprintln!("the case with seed {seed} failed");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn a_power_loss_takes_nothing_that_was_synced_and_invents_nothing() {
    for_seeds(300, |random| {
        let crash = crash(random);
        crash.lose(random);
        crash.check();
    });
}

#[test]
fn a_flipped_bit_in_what_was_synced_is_always_told() {
    for_seeds(300, |random| {
        let crash = crash(random);
        if crash.synced > 0 {
            crash.check_flipped(random);
        }
    });
}

#[test]
fn killed_by_kill_9_nothing_is_lost() {
    for_seeds(50, |random| {
        let crash = crash(random);
        let spool = Spool::open_on(Arc::new(Unsynced), crash.folder.path(), 0, options(BYTES_MAX))
            .unwrap()
            .0;
        assert_eq!(read(&mut spool.reader(0)), crash.appended);
    });
}
