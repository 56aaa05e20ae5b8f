//! A test of the spool against a `Vec`, by random operations.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Read,
    Sync,
    /// Trim at this fraction (of 255) of the posts that were read.
    Trim(u8),
    /// Close the spool, and open it at the position of the last trim.
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_usize..900).prop_map(Step::Append),
        2 => Just(Step::Read),
        1 => Just(Step::Sync),
        1 => any::<u8>().prop_map(Step::Trim),
        1 => Just(Step::Reopen),
    ]
}

struct Model {
    folder: tempfile::TempDir,
    options: Options,
    spool: Spool,
    reader: Reader,
    /// All appended posts.
    log: Vec<Record>,
    read: usize,
    /// The number of posts that a checkpoint covers, and its position.
    trimmed: (usize, u64),
}

impl Model {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { on_full: OnFull::Drop, retain: ByteSize(1500), ..options(SMALL) };
        let (spool, _) = Spool::open_on(Arc::new(Unsynced), folder.path(), 0, options).unwrap();
        let reader = spool.reader(0);
        Self { folder, options, spool, reader, log: Vec::new(), read: 0, trimmed: (0, 0) }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Append(bytes) => {
                let record = (self.log.len().to_string(), post(self.log.len(), bytes));
                if let Appended::At(position) =
                    self.spool.append(record.0.as_bytes(), &record.1).unwrap()
                {
                    self.log.push(Record {
                        cursor: record.0.into(),
                        post: record.1.into(),
                        position,
                    });
                }
            }
            Step::Read => {
                assert_eq!(read(&mut self.reader), self.log[self.read..]);
                self.read = self.log.len();
            }
            Step::Sync => {
                self.spool.sync().unwrap();
                assert!(self.spool.synced() >= self.log.last().map_or(0, |record| record.position));
            }
            Step::Trim(fraction) => {
                let count =
                    self.trimmed.0 + (self.read - self.trimmed.0) * usize::from(fraction) / 255;
                self.trimmed =
                    (count, self.log[..count].last().map_or(0, |record| record.position));
                self.spool.trim(self.trimmed.1).unwrap();
            }
            Step::Reopen => {
                self.spool.close().unwrap();
                let disk = Arc::new(Unsynced);
                let (spool, torn) =
                    Spool::open_on(disk, self.folder.path(), self.trimmed.1, self.options).unwrap();
                assert_eq!(torn, None);
                (self.reader, self.spool, self.read) =
                    (spool.reader(self.trimmed.1), spool, self.trimmed.0);
            }
        }
    }

    fn check(&self) {
        let kept: Vec<Record> =
            self.spool.records_from_oldest(0).map(|record| record.unwrap()).collect();
        let trimmed = self.log.len() - kept.len();
        assert!(trimmed <= self.trimmed.0);
        assert_eq!(kept, self.log[trimmed..]);
        assert!(self.spool.bytes() <= SMALL + 20);
        let findings = verify(self.folder.path()).unwrap();
        assert!(findings.are_none(), "{findings:?}");
        assert_eq!(findings.records, kept.len() as u64);
        assert_eq!(findings.newest, self.spool.end());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_is_a_vec_that_survives(steps in vec(step(), 1..80)) {
        let mut model = Model::new();
        for step in steps {
            model.run(step);
            model.check();
        }
        model.run(Step::Read);
    }
}
