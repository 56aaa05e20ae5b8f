//! Tests followed files against a model that knows all written lines.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// A step of the model, on files whose names are small numbers.
#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Rename(u8, u8),
    Truncate(u8),
    /// A copy that stays.
    Copy(u8, u8),
    CopyAndCut(u8, u8),
    Link(u8, u8),
    /// Replaces the previous symbolic link by one to the name of a file, which may not exist.
    Symlink(u8),
    /// Writes to the file that the symbolic link names.
    AppendBySymlink,
    Delete(u8),
    Restart,
    Tick,
}

fn step() -> impl Strategy<Value = Step> {
    let file = || 0_u8..4;
    prop_oneof![
        6 => file().prop_map(Step::Append),
        2 => (file(), file()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => file().prop_map(Step::Truncate),
        1 => (file(), file()).prop_map(|(from, to)| Step::Copy(from, to)),
        2 => (file(), file()).prop_map(|(from, to)| Step::CopyAndCut(from, to)),
        1 => file().prop_map(Step::Symlink),
        1 => Just(Step::AppendBySymlink),
        1 => (file(), file()).prop_map(|(from, to)| Step::Link(from, to)),
        1 => file().prop_map(Step::Delete),
        2 => Just(Step::Restart),
        4 => Just(Step::Tick),
    ]
}

/// A file of the model.
#[derive(Default)]
struct Model {
    /// The names of the file; hard links share a file.
    names: Vec<u8>,
    unread: Vec<String>,
    /// True if the file was checked while it had a complete line.
    is_known: bool,
    /// True if it has the same beginning as a copied file: then the follower may read either first,
    /// from any position. So its unread lines may be missing without a report if it is cut or
    /// deleted.
    has_copy: bool,
}

/// The model's knowledge of all files.
#[derive(Default)]
struct Models {
    files: Vec<Model>,
    written: BTreeSet<String>,
    /// Lines that may be missing from files that were never checked.
    unseen: BTreeSet<String>,
    /// Lines that may be missing from known files, by file: each of these files must be reported.
    torn: Vec<Vec<String>>,
    /// The lines of copies that stayed: each may come once more for each copy.
    copied: BTreeMap<String, usize>,
}

impl Models {
    fn append(&mut self, name: u8, line: &str) {
        self.written.insert(line.to_owned());
        match self.files.iter_mut().find(|file| file.names.contains(&name)) {
            Some(file) => file.unread.push(line.to_owned()),
            None => {
                let unread = vec![line.to_owned()];
                self.files.push(Model { names: vec![name], unread, ..Model::default() });
            }
        }
    }

    /// Records that all existing lines are read.
    fn look(&mut self) {
        for file in self.files.iter_mut().filter(|file| !file.has_copy) {
            file.is_known |= !file.unread.is_empty();
            file.unread.clear();
        }
    }

    /// Handles a name that is overwritten or deleted.
    fn forget(&mut self, name: u8) {
        for at in (0..self.files.len()).rev() {
            self.files[at].names.retain(|other| *other != name);
            if self.files[at].names.is_empty() {
                self.cut(at);
                self.files.remove(at);
            }
        }
    }

    /// Handles a file whose content is gone.
    fn cut(&mut self, at: usize) {
        let file = &mut self.files[at];
        if file.has_copy {
            self.unseen.extend(file.unread.drain(..));
        }
        match std::mem::take(&mut file.is_known) {
            true if file.unread.is_empty() => {}
            true => self.torn.push(std::mem::take(&mut file.unread)),
            false => self.unseen.extend(file.unread.drain(..)),
        }
    }

    fn position(&self, name: u8) -> Option<usize> {
        self.files.iter().position(|file| file.names.contains(&name))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    /// Tests that every line comes once. Only lines that were deleted or cut before a check may be
    /// missing, and each of these files that was ever checked is reported.
    #[test]
    fn every_line_comes_once_whatever_happens_to_its_file(steps in prop::collection::vec(step(), 1..40)) {
        let mut played = Played::start("x*");
        let mut models = Models::default();
        let mut linked = None;
        for step in steps {
            let name = |file: u8| format!("x{file}.log");
            let is_there = |played: &Played, file: u8| played.path(&name(file)).exists();
            match step {
                Step::Append(file) => {
                    let line = format!("line {} of all that are written", models.written.len());
                    played.append(&name(file), &format!("{line}\n"));
                    models.append(file, &line);
                }
                Step::Symlink(file) => {
                    let link = played.path("x-link.log");
                    // The link may not exist yet.
                    let _ = fs::remove_file(&link);
                    std::os::unix::fs::symlink(name(file), link).unwrap();
                    linked = Some(file);
                }
                Step::AppendBySymlink => {
                    let Some(file) = linked else { continue };
                    let line = format!("line {} of all that are written", models.written.len());
                    played.append("x-link.log", &format!("{line}\n"));
                    models.append(file, &line);
                }
                Step::Copy(from, to)
                    if from != to && is_there(&played, from) && !is_there(&played, to) =>
                {
                    fs::copy(played.path(&name(from)), played.path(&name(to))).unwrap();
                    let content = fs::read_to_string(played.path(&name(to))).unwrap();
                    for line in content.lines() {
                        *models.copied.entry(line.to_owned()).or_default() += 1;
                    }
                    let unread: Vec<String> = content.lines().map(str::to_owned).collect();
                    if let Some(at) = models.position(from) {
                        models.files[at].has_copy = true;
                        models.files[at].unread.clone_from(&unread);
                    }
                    models.files.push(Model { names: vec![to], unread, has_copy: true, ..Model::default() });
                }
                Step::Rename(from, to) if from != to && is_there(&played, from) => {
                    let same = fs::metadata(played.path(&name(from))).unwrap();
                    let other = fs::metadata(played.path(&name(to))).ok();
                    if other.is_some_and(|other| scan::id(&other) == scan::id(&same)) {
                        continue;
                    }
                    models.forget(to);
                    played.rename(&name(from), &name(to));
                    let names = models.files.iter_mut().flat_map(|file| &mut file.names);
                    names.filter(|other| **other == from).for_each(|other| *other = to);
                }
                Step::Truncate(file) if is_there(&played, file) => {
                    fs::write(played.path(&name(file)), "").unwrap();
                    if let Some(at) = models.position(file) {
                        models.cut(at);
                    }
                    // If the file grew beyond its old size before a check, only its beginning would
                    // show the change. That is no loss, but a check at this point is simpler.
                    played.tick(2);
                    models.look();
                }
                Step::CopyAndCut(from, to) if from != to && is_there(&played, from) && !is_there(&played, to) => {
                    fs::copy(played.path(&name(from)), played.path(&name(to))).unwrap();
                    fs::write(played.path(&name(from)), "").unwrap();
                    played.tick(2);
                    models.look();
                    if let Some(at) = models.position(from) {
                        let file = &mut models.files[at];
                        let copy = Model {
                            names: vec![to],
                            unread: std::mem::take(&mut file.unread),
                            is_known: std::mem::take(&mut file.is_known),
                            has_copy: file.has_copy,
                        };
                        models.files.push(copy);
                    }
                }
                Step::Link(from, to) if from != to && is_there(&played, from) && !is_there(&played, to) => {
                    fs::hard_link(played.path(&name(from)), played.path(&name(to))).unwrap();
                    match models.position(from) {
                        Some(at) => models.files[at].names.push(to),
                        None => models.files.push(Model { names: vec![from, to], ..Model::default() }),
                    }
                }
                Step::Delete(file) if is_there(&played, file) => {
                    models.forget(file);
                    fs::remove_file(played.path(&name(file))).unwrap();
                }
                Step::Restart => played.restart(),
                Step::Tick => {
                    played.tick(2);
                    models.look();
                }
                _ => {}
            }
        }
        played.tick(20);
        let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
        for line in &played.lines {
            *counts.entry(line).or_default() += 1;
        }
        for (line, count) in &counts {
            let most = 1 + models.copied.get(*line).copied().unwrap_or(0);
            prop_assert!(*count <= most, "{} came {} times: {:?}", line, count, played.lines);
        }
        let read: BTreeSet<String> = played.lines.iter().cloned().collect();
        let torn: BTreeSet<&String> = models.torn.iter().flatten().collect();
        let excused = |line: &&String| models.unseen.contains(*line) || torn.contains(line);
        let missing: Vec<_> = models.written.difference(&read).filter(|line| !excused(line)).collect();
        prop_assert!(missing.is_empty(), "missing {:?}, said {:?}", missing, played.said);
        let untold = models.torn.iter().filter(|lines| lines.iter().any(|line| !read.contains(line))).count();
        prop_assert!(untold <= played.lost, "{} files lost lines, told of {}: {:?}", untold, played.lost, played.said);
    }
}
