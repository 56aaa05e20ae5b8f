//! `spool verify DIR`: whether a spool is whole.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;

use super::exit::{Code, Failure, Outcome};
use super::run::summary::plural;
use super::run::units;
use super::stdout;
use crate::error::Error;
use crate::lake::disk::failed;
use crate::printable::printable_line;
use crate::spool::{Findings, verify};

/// Look into spools, the logs of sources that can't resume
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Read a spool, and tell what is torn or damaged; nothing is changed
    Verify {
        /// A spool's folder, or a state folder for all its spools
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Print a JSON array with an object for each spool
        #[arg(long)]
        json: bool,
    },
}

/// A spool and what is in it.
#[derive(Serialize)]
struct Verified {
    #[serde(serialize_with = "stdout::path_as_text")]
    folder: PathBuf,
    #[serde(flatten)]
    findings: Findings,
}

/// Prints on standard output what is in the spools.
pub(crate) fn run(args: &Args) -> Outcome {
    let What::Verify { folder, json } = &args.what;
    let verified = spools(folder)?
        .into_iter()
        .map(|folder| Ok(Verified { findings: verify(&folder)?, folder }));
    let verified = verified.collect::<Result<Vec<Verified>, Error>>()?;
    let text = if *json { as_json(&verified)? } else { verified.iter().map(as_text).collect() };
    stdout::print(&text)?;
    Ok(if verified.iter().all(|spool| spool.findings.are_none()) {
        Code::Success
    } else {
        Code::Findings
    })
}

/// The spools that are meant.
fn spools(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let all = folder.join("spool");
    let mut found = if all.is_dir() { folders(&all)? } else { vec![folder.to_path_buf()] };
    found.retain(|folder| is_spool(folder));
    if found.is_empty() {
        return Err(Failure::new(
            Code::Runtime,
            format!("no spool is in \"{}\"", folder.display()),
        ));
    }
    found.sort();
    Ok(found)
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let unlisted = |cause| failed("list", folder, cause);
    let entries = fs::read_dir(folder).map_err(unlisted)?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(unlisted)).collect()
}

/// Whether an engine has ever opened it: an open spool has a lock, and a closed one keeps the file.
fn is_spool(folder: &Path) -> bool {
    folder.join("lock").is_file()
}

fn as_json(verified: &[Verified]) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(verified);
    Ok(text.map_err(|error| Failure::new(Code::Runtime, error))? + "\n")
}

fn as_text(spool: &Verified) -> String {
    let Findings { segments, records, bytes, oldest, newest, torn, damage } = &spool.findings;
    let name = |path: &Path| printable_line(&path.to_string_lossy()).into_owned();
    let folder = name(&spool.folder);
    let mut text = format!(
        "{folder}: {}, {} in {}, positions {oldest} to {newest}\n",
        plural(*records, "record"),
        units::bytes(*bytes),
        plural(*segments, "segment")
    );
    for damage in damage {
        let (file, what) = (name(&damage.file), printable_line(&damage.what));
        text.push_str(&format!("{file}: byte {}: damaged: {what}\n", damage.offset));
    }
    if let Some(torn) = torn {
        let file = name(&torn.file);
        text.push_str(&format!(
            "{file}: byte {}: {} at the end are torn\n",
            torn.offset,
            units::bytes(torn.bytes)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::{Options, Spool};

    fn code(folder: &Path) -> Code {
        run(&Args { what: What::Verify { folder: folder.into(), json: false } })
            .unwrap_or_else(|failure| failure.print())
    }

    #[test]
    fn it_tells_whole_torn_and_missing_apart() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(code(state.path()), Code::Runtime);
        let folder = state.path().join("spool/stdin-0");
        let (spool, _) = Spool::open(&folder, 0, Options::default()).unwrap();
        let _ = spool.append(b"1", b"a").unwrap();
        drop(spool);
        assert_eq!(code(&folder), Code::Success);
        assert_eq!(code(state.path()), Code::Success);
        let file = folder.join("00000000000000000000.seg");
        fs::write(&file, &fs::read(&file).unwrap()[..40]).unwrap();
        assert_eq!(code(&folder), Code::Findings);
        assert_eq!(code(state.path()), Code::Findings);
    }

    #[test]
    fn the_text_names_every_place() {
        let findings = Findings {
            segments: 2,
            records: 9,
            bytes: 1234,
            oldest: 100,
            newest: 1300,
            torn: Some(crate::spool::Torn {
                file: "s/1.seg".into(),
                offset: 40,
                bytes: 7,
                missing: None,
            }),
            damage: vec![crate::spool::Damage {
                file: "s/0.seg".into(),
                offset: 36,
                what: "bad".into(),
            }],
        };
        expect_test::expect![[r#"
            s: 9 records, 1.2 KiB in 2 segments, positions 100 to 1300
            s/0.seg: byte 36: damaged: bad
            s/1.seg: byte 40: 7 B at the end are torn
        "#]]
        .assert_eq(&as_text(&Verified { folder: "s".into(), findings }));
    }
}
