//! Texts and names from people and disks, of which none may make the program panic.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::{Debug, Display};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use time::OffsetDateTime;
use time::macros::datetime;

use super::main_with;
use crate::clock::{earlier, later};
use crate::lake::address::Address;
use crate::lake::names::{FileName, FileNumber, PartitionName, Segment, boundary};
use crate::lake::replay::{Shard, Speed};
use crate::moment::Moment;
use crate::registry::Config;
use crate::social::{Topic, Topics};
use crate::spout::Cursor;
use crate::units::{ByteSize, Interval};

const NOW: OffsetDateTime = datetime!(2026-11-26 12:00 UTC);

/// Texts that mean something in one place or another.
const TEXTS: [&str; 27] = [
    "90s",
    "36500d",
    "32MiB",
    "18446744073709551615B",
    "2015-12-18T01:00:00Z",
    "9999-12-31T23:59:59-23:59",
    "0000-01-01T00:00:00+23:59",
    "2015-12-18",
    "-1h",
    "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7",
    "9999-12-31T23:59:59-afa5ac3a-e695-4f96-aca2-d24c7527aed7",
    "20151218T000000-afa5ac3a-e695-4f96-aca2-d24c7527aed7/0000012.json.gz",
    "0000012",
    "0000012.parquet",
    "0/2",
    "18446744073709551615/18446744073709551615",
    "60",
    "max",
    "1e400",
    "lake/2015-12-18T*",
    "posts/{a,b}*.[!a-z]?",
    "s3://bucket/prefix/2015-12*",
    "http://user:password@host:99999/path?token=x",
    "\"a phrase\" -word lang:en from:user@host",
    "#tag @user page:123 channel:UC123",
    "/var/log/x.log//18446744073709551615",
    "9 2 2d06800538d394c2 64769 18446744073709551615 -1 end",
];

/// A text that means something with some characters changed, or any text.
fn texts() -> impl Strategy<Value = String> {
    let text = prop::sample::select(TEXTS.to_vec());
    let edit = (any::<prop::sample::Index>(), 0..4_usize, "[ -~é\\x00\u{feff}]{0,3}");
    let edited = (text, prop::collection::vec(edit, 0..4)).prop_map(|(text, edits)| {
        let mut characters: Vec<char> = text.chars().collect();
        for (from, length, other) in edits {
            let start = from.index(characters.len() + 1);
            let end = (start + length).min(characters.len());
            characters.splice(start..end, other.chars());
        }
        characters.into_iter().collect()
    });
    prop_oneof![3 => edited, 1 => any::<String>()]
}

/// A name on a disk: texts like these without slashes, or any bytes.
fn file_names() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), Just(0xff), Just(b'.'), Just(b'\n'), Just(0x1b)];
    let name = prop_oneof![
        texts().prop_map(String::into_bytes),
        prop::collection::vec(byte, 1..20),
        Just(b"2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7".to_vec()),
        Just(b"0000000.json".to_vec()),
    ];
    name.prop_map(|mut name| {
        name.retain(|byte| *byte != b'/' && *byte != 0);
        name.truncate(200);
        if name.is_empty() || name.iter().all(|byte| *byte == b'.') { b"x".to_vec() } else { name }
    })
}

/// A text that is read prints as one that reads back to the same.
fn reads_back<T>(text: &str) -> Result<(), TestCaseError>
where
    T: FromStr + Display + PartialEq + Debug,
{
    if let Ok(value) = text.parse::<T>() {
        let printed = value.to_string();
        match printed.parse::<T>() {
            Ok(again) => prop_assert_eq!(again, value),
            Err(_) => {
                prop_assert!(false, "{:?} prints as {:?}, which doesn't read back", text, printed)
            }
        }
    }
    Ok(())
}

fn run(arguments: &[&OsStr]) {
    let program = OsStr::new("waterspout");
    let arguments = std::iter::once(&program).chain(arguments).map(|word| OsString::from(*word));
    main_with(arguments, &crate::components::standard());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_text_that_a_person_writes_makes_its_reader_panic(text in texts()) {
        reads_back::<Interval>(&text)?;
        reads_back::<ByteSize>(&text)?;
        reads_back::<Moment>(&text)?;
        reads_back::<FileName>(&text)?;
        reads_back::<FileNumber>(&text)?;
        reads_back::<PartitionName>(&text)?;
        reads_back::<Segment>(&text)?;
        for time in [Moment::parse(&text, NOW).ok(), text.parse::<Moment>().ok()].into_iter().flatten() {
            boundary(time.time(), Duration::from_secs(3_600));
            earlier(later(time.time(), Interval::MAX.0), Interval::MAX.0);
        }
        if let Ok(number) = text.parse::<FileNumber>() {
            let _ = number.next();
        }
        if let Ok(speed) = text.parse::<Speed>() {
            speed.span();
        }
        let _ = text.parse::<Shard>();
        if let Ok(topic) = text.parse::<Topic>() {
            let names = (topic.name(), topic.page().map(str::len), topic.channel().map(str::len));
            prop_assert!(!names.0.is_empty());
            Topics::new(&[topic]);
        }
        if !text.starts_with("s3://")
            && let Ok(address) = Address::parse(&text)
        {
            address.roots();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn no_name_in_a_lake_makes_its_tools_panic(
        names in prop::collection::vec((file_names(), file_names()), 0..6),
        content in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let lake = tempfile::tempdir().unwrap();
        for (folder, file) in names {
            let folder = lake.path().join(OsStr::from_bytes(&folder));
            // A name may be there already, as a file.
            if fs::create_dir_all(&folder).is_ok() {
                let _ = fs::write(folder.join(OsStr::from_bytes(&file)), &content);
            }
        }
        for command in ["ls", "verify", "paths", "cat"] {
            run(&[OsStr::new("lake"), OsStr::new(command), lake.path().as_os_str()]);
        }
    }

    #[test]
    fn no_file_that_a_command_reads_makes_it_panic(
        name in file_names(),
        text in prop::collection::vec(texts(), 0..4),
        bytes in prop::collection::vec(any::<u8>(), 0..30),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (file, lake) = (folder.path().join(OsStr::from_bytes(&name)), folder.path().join("lake-of-none"));
        fs::create_dir(&lake).unwrap();
        for content in [text.join("\n").into_bytes(), bytes] {
            fs::write(&file, &content).unwrap();
            let ids = [OsStr::new("lake"), OsStr::new("erase"), lake.as_os_str(), OsStr::new("--ids"), file.as_os_str()];
            run(&ids);
            run(&[OsStr::new("validate"), file.as_os_str()]);
            run(&[OsStr::new("state"), OsStr::new("rm"), file.as_os_str()]);
            run(&[OsStr::new("gaps"), OsStr::new("--state"), folder.path().as_os_str()]);
        }
    }

    #[test]
    fn no_name_beside_the_input_and_no_cursor_makes_lines_panic(
        names in prop::collection::vec(file_names(), 0..6),
        pattern in texts(),
        cursors in prop::collection::vec((texts(), texts()), 0..4),
        follows in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let _ = fs::write(folder.path().join(OsStr::from_bytes(&name)), "{\"note\":1}\n");
        }
        let path = |text: &str| folder.path().join(text.replace(['/', '\0'], "_"));
        let mut known = BTreeMap::new();
        for (split, cursor) in cursors {
            known.insert(path(&split).to_string_lossy().into_owned(), Cursor::At(cursor.clone()));
            known.insert(split, Cursor::At(cursor));
        }
        for pattern in [Path::new("*"), Path::new(&pattern.replace('/', "_"))] {
            let paths = [folder.path().join(pattern).to_string_lossy().into_owned()];
            let text = format!("Lines(paths: {paths:?}, follow: {follows})");
            // A text with such characters may be no RON.
            let Ok(read) = crate::components::standard().find("Lines").unwrap().read(&text) else { continue };
            let Config::Spout(lines) = read.config else { panic!("Lines is a spout") };
            let _ = (lines.splits(), lines.splits_after(&known), lines.notes(true), lines.check());
        }
    }
}
