//! `state ls` and `state rm NAME…`: what topologies resume from.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;
use time::OffsetDateTime;
use time::macros::format_description;

use super::exit::{Code, Failure, Outcome};
use super::run::state_dir::{self, Home};
use super::run::units;
use super::stdout;
use crate::checkpoint::disk::{DiskStore, Look, is_state};
use crate::clock::SystemClock;
use crate::error::{Error, Result};
use crate::printable::printable_line;
use crate::units::Interval;

/// List or remove the states that topologies resume from
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the states under $XDG_STATE_HOME/waterspout, or ~/.local/state/waterspout
    ///
    /// Each state that isn't in use is read to its end, to see whether it is whole. A topology may
    /// start at the same time.
    Ls {
        /// Only states that were last saved this long ago or earlier and aren't in use: 30d
        #[arg(long, value_name = "AGE")]
        older_than: Option<Interval>,
        /// Print a line of JSON for each
        #[arg(long)]
        json: bool,
    },
    /// Remove states: the next run of the topology starts from nothing
    ///
    /// What it was about to deliver, its gap ledger and the dead letters in it are lost. Only files
    /// of a state are removed, whatever else lies in the folder.
    #[command(after_help = "\
Examples:
  waterspout state rm 'quickstart-*'
  waterspout state rm --older-than 30d --dry-run '*-replay-*'")]
    Rm {
        /// The names that `state ls` shows, globs of such names, or paths
        #[arg(required_unless_present = "older_than", value_name = "NAME-OR-PATH")]
        states: Vec<PathBuf>,
        /// Only states that were last saved this long ago or earlier; without names all of these
        #[arg(long, value_name = "AGE")]
        older_than: Option<Interval>,
        /// Only name the states that would be removed
        #[arg(long)]
        dry_run: bool,
    },
}

/// Lists states on standard output, or removes some.
pub(crate) fn run(args: &Args) -> Outcome {
    let states = state_dir::states(Home::of_process());
    match &args.what {
        What::Ls { older_than, json } => {
            let mut states = list(&states.ok_or_else(no_home)?)?;
            states.retain(|state| is_old(state, *older_than));
            stdout::print(&if *json { lines_of_json(&states) } else { table(&states) })
        }
        What::Rm { states: names, older_than, dry_run } => {
            let mut folders = found(names, states.as_deref())?;
            if names.is_empty() {
                folders = list(&states.ok_or_else(no_home)?)?
                    .into_iter()
                    .map(|state| state.path)
                    .collect();
            }
            if older_than.is_some() {
                folders.retain(|folder| is_old(&look(folder.clone()), *older_than));
            }
            if *dry_run {
                let lines = folders.iter().map(|path| format!("would remove {}\n", path.display()));
                return stdout::print(&lines.collect::<String>());
            }
            remove(&folders)
        }
    }
}

fn no_home() -> Failure {
    Failure::new(Code::Runtime, "neither $XDG_STATE_HOME nor $HOME is an absolute path")
}

/// Whether a state has that age: nobody uses it, and it was saved so long ago, or changed if it
/// never was.
fn is_old(state: &State, age: Option<Interval>) -> bool {
    let Some(Interval(age)) = age else { return true };
    let changed =
        || state.path.metadata().and_then(|found| found.modified()).ok().map(OffsetDateTime::from);
    let saved = state.saved.or_else(changed);
    let now = SystemClock::shared().now();
    !state.in_use && saved.is_some_and(|saved| now - saved >= age)
}

/// What there is to know of a state.
#[derive(Debug, Serialize)]
struct State {
    name: String,
    #[serde(serialize_with = "stdout::path_as_text")]
    path: PathBuf,
    /// The path of the topology's file.
    topology: Option<String>,
    epoch: Option<u64>,
    #[serde(with = "time::serde::rfc3339::option")]
    saved: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    finished: Option<OffsetDateTime>,
    bytes: u64,
    in_use: bool,
    /// The process that uses it.
    pid: Option<u32>,
    error: Option<String>,
}

/// The states in a folder, by name. There are none if the folder isn't there.
fn list(folder: &Path) -> Result<Vec<State>> {
    let cant =
        |cause| Error::file(format!("can't read the folder \"{}\"", folder.display()), cause);
    let mut states = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(states),
        other => other.map_err(cant)?,
    };
    for entry in entries {
        let path = entry.map_err(cant)?.path();
        if is_state(&path) {
            states.push(look(path));
        }
    }
    states.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(states)
}

fn look(path: PathBuf) -> State {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let bytes = size(&path);
    let look = DiskStore::look(&path);
    let mut state = State {
        name,
        path,
        topology: None,
        epoch: None,
        saved: None,
        finished: None,
        bytes,
        in_use: false,
        pid: None,
        error: None,
    };
    match look {
        Ok(Look::InUse(pid)) => (state.in_use, state.pid) = (true, pid),
        Ok(Look::Free(saved)) => {
            (state.epoch, state.saved, state.finished) =
                (Some(saved.epoch), saved.at, saved.finished);
            state.topology = Some(saved.about).filter(|about| !about.is_empty());
        }
        Err(error) => state.error = Some(error.chain()),
    }
    state
}

/// The bytes of all files below; what goes away meanwhile, or can't be read, counts as nothing.
fn size(path: &Path) -> u64 {
    let Ok(found) = path.symlink_metadata() else { return 0 };
    if !found.is_dir() {
        return found.len();
    }
    fs::read_dir(path).into_iter().flatten().flatten().map(|entry| size(&entry.path())).sum()
}

fn lines_of_json(states: &[State]) -> String {
    let line =
        |state| serde_json::to_string(state).expect("a state has text keys and no failing types");
    states.iter().map(|state| line(state) + "\n").collect()
}

const HEADINGS: [&str; 6] = ["NAME", "EPOCH", "SAVED", "SIZE", "STATUS", "TOPOLOGY"];

/// A line for each state below its headings; nothing if there is none.
fn table(states: &[State]) -> String {
    if states.is_empty() {
        return String::new();
    }
    let rows: Vec<_> =
        [HEADINGS.map(str::to_owned)].into_iter().chain(states.iter().map(row)).collect();
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; HEADINGS.len()] = std::array::from_fn(width);
    let line = |row: &[String; HEADINGS.len()]| {
        let cells: Vec<_> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn row(state: &State) -> [String; HEADINGS.len()] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        printable_line(&state.name).into_owned(),
        or_dash(state.epoch.map(|epoch| epoch.to_string())),
        or_dash(state.saved.and_then(minute)),
        units::bytes(state.bytes),
        printable_line(&status(state)).into_owned(),
        printable_line(&or_dash(state.topology.clone())).into_owned(),
    ]
}

/// `2015-12-18 00:12:30Z`.
fn minute(time: OffsetDateTime) -> Option<String> {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    time.to_offset(time::UtcOffset::UTC).format(format).ok()
}

fn status(state: &State) -> String {
    match (&state.error, state.in_use, state.pid, state.finished) {
        (Some(error), ..) => format!("error: {error}"),
        (None, true, Some(pid), _) => format!("in use by process {pid}"),
        (None, true, None, _) => "in use".to_owned(),
        (None, false, _, Some(_)) => "finished".to_owned(),
        (None, false, _, None) => "can be resumed".to_owned(),
    }
}

/// Removes every state, also behind one that can't be; the exit code is that of the first failure.
fn remove(folders: &[PathBuf]) -> Outcome {
    let mut first_failure = None;
    for folder in folders {
        match DiskStore::remove(folder) {
            Ok(removed) => {
                let lines = removed
                    .iter()
                    .map(|path| format!("removed {}\n", printable_line(&path.to_string_lossy())));
                stdout::print(&lines.collect::<String>())?;
            }
            Err(error) => {
                first_failure.get_or_insert(Failure::from(error).print());
            }
        }
    }
    Ok(first_failure.unwrap_or(Code::Success))
}

/// The folders that names mean: states of the user by name or by a glob of names, else paths.
fn found(names: &[PathBuf], states: Option<&Path>) -> std::result::Result<Vec<PathBuf>, Failure> {
    let mut folders = Vec::new();
    for name in names {
        let is_name = name.file_name() == Some(name.as_os_str());
        let of_user = states.filter(|_| is_name).map(|states| states.join(name));
        let text = name.to_string_lossy();
        match of_user {
            Some(path) if path.exists() => folders.push(path),
            _ if is_name && text.contains(['*', '?', '[']) && !name.exists() => {
                folders.extend(matching(&text, states.ok_or_else(no_home)?)?);
            }
            _ => folders.push(name.clone()),
        }
    }
    Ok(folders)
}

/// The states of the user whose names match a glob.
fn matching(glob: &str, states: &Path) -> std::result::Result<Vec<PathBuf>, Failure> {
    let pattern = glob::Pattern::new(glob)
        .map_err(|error| Failure::new(Code::Usage, format!("bad glob \"{glob}\": {error}")))?;
    let mut folders = Vec::new();
    for entry in fs::read_dir(states).into_iter().flatten().flatten() {
        if pattern.matches(&entry.file_name().to_string_lossy()) && is_state(&entry.path()) {
            folders.push(entry.path());
        }
    }
    if folders.is_empty() {
        return Err(Failure::new(
            Code::Runtime,
            format!("no state matches \"{glob}\" in \"{}\"", states.display()),
        ));
    }
    folders.sort();
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use time::macros::datetime;

    use super::*;
    use crate::checkpoint::{Changes, Started, StateStore};

    /// Saves an epoch.
    fn saved(folder: &Path, about: &str) -> DiskStore {
        let store = DiskStore::open(folder).unwrap();
        store.start(&Started { about: about.into(), ..Started::default() }).unwrap();
        let at = datetime!(2015-12-18 0:12:30.5 +1);
        store.save(&Changes::none(12, datetime!(2015-12-18 0:00 UTC), at)).unwrap();
        store
    }

    /// Three states, and what isn't one; the first is in use for as long as the store lives.
    fn states(folder: &Path) -> DiskStore {
        let store = saved(&folder.join("a"), "/x/a.ron");
        saved(&folder.join("bb"), "/x/b\u{1b}.ron")
            .end(Some(datetime!(2015-12-18 1:00 UTC)))
            .unwrap();
        fs::create_dir_all(folder.join("bad")).unwrap();
        fs::write(folder.join("bad/checkpoint.redb"), "x").unwrap();
        fs::create_dir(folder.join("other")).unwrap();
        store
    }

    #[test]
    fn the_list_tells_what_each_state_is() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(table(&list(&folder.path().join("nowhere")).unwrap()), "");
        let store = states(folder.path());
        let mut found = list(folder.path()).unwrap();
        found.iter_mut().for_each(|state| state.bytes = 39_845_888);
        let text = table(&found)
            .replace(&folder.path().display().to_string(), "FOLDER")
            .replace(&format!("process {}", std::process::id()), "process 4711");
        let cells = text
            .lines()
            .map(|line| line.split("  ").filter(|cell| !cell.is_empty()).collect::<Vec<_>>());
        let lines: Vec<_> = cells.map(|cells| cells.join(" |").replace(" | ", " |")).collect();
        expect![[r#"
            NAME |EPOCH |SAVED |SIZE |STATUS |TOPOLOGY
            a |- |- |38.0 MiB |in use by process 4711 |-
            bad |- |- |38.0 MiB |error: the state "FOLDER/bad/checkpoint.redb" is damaged (--fresh begins without it): Not a redb database: magic number mismatch |-
            bb |12 |2015-12-17 23:12:30Z |38.0 MiB |finished |/x/b\u001b.ron"#]]
        .assert_eq(&lines.join("\n"));
        drop(store);
        assert_eq!(status(&list(folder.path()).unwrap()[0]), "can be resumed");
    }

    #[test]
    fn the_list_in_json_has_every_field() {
        let folder = tempfile::tempdir().unwrap();
        let _store = states(folder.path());
        let text = lines_of_json(&list(folder.path()).unwrap());
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(text.lines().count(), 3);
        assert_eq!(
            (&last["name"], &last["epoch"], &last["in_use"]),
            (&"bb".into(), &12.into(), &false.into())
        );
        assert_eq!(last["saved"], "2015-12-18T00:12:30.5+01:00");
        assert_eq!(last["finished"], "2015-12-18T01:00:00Z");
        assert!(
            last["bytes"].as_u64().unwrap() > 1000
                && last["error"].is_null()
                && last["pid"].is_null()
        );
    }

    #[test]
    fn states_are_removed_by_name_or_path_and_what_is_no_state_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = states(folder.path());
        let rm = |names: &[&Path]| {
            let names: Vec<_> = names.iter().map(|name| name.to_path_buf()).collect();
            remove(&found(&names, Some(folder.path())).unwrap()).unwrap()
        };
        assert_eq!(rm(&[Path::new("a"), Path::new("bb")]), Code::Runtime);
        assert!(folder.path().join("a").exists() && !folder.path().join("bb").exists());
        drop(store);
        assert_eq!(rm(&[&folder.path().join("a"), Path::new("bad")]), Code::Success);
        for name in [Path::new("other"), Path::new("nowhere"), Path::new(".."), folder.path()] {
            assert_eq!(rm(&[name]), Code::Runtime);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn states_are_found_by_globs_and_by_their_age() {
        let folder = tempfile::tempdir().unwrap();
        let _in_use = states(folder.path());
        let names = |glob: &str| {
            let found = found(&[glob.into()], Some(folder.path()))?;
            let names =
                found.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
            Ok::<_, Failure>(names.collect::<Vec<_>>().join(" "))
        };
        assert_eq!(names("b*").unwrap(), "bad bb");
        assert!(names("x*").is_err() && names("[").is_err());
        let old = |age: &str| {
            let states = list(folder.path()).unwrap();
            let old = states.iter().filter(|state| is_old(state, Some(age.parse().unwrap())));
            old.map(|state| state.name.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(old("3000d"), "bb", "one is in use, one is damaged and new");
        assert_eq!(old("30000d"), "");
    }
}
