//! The files, variables and components that a submitted topology may name, because submitting a
//! topology means running what it names.

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};
use crate::globs::{Glob, is_glob};
use crate::topology::{Guard, PathVerdict};

/// The maximum number of files that a pattern may match while it is checked. More would delay a
/// request.
const MATCHES_MAX: usize = 10_000;

/// The components that run programs.
const SHELL: &str = "Shell";

/// The files, variables and components that submitted topologies may name.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// Folders, with links resolved, below which files may lie.
    roots: Vec<PathBuf>,
    /// Patterns for the names of variables that `Env` may read.
    variables: Vec<Glob>,
    /// Files, or folders above them, that `File` may read, with links resolved.
    files: Vec<PathBuf>,
    /// True if components that run programs are allowed.
    shell: bool,
    /// The server's own folder, which no topology may name.
    own: PathBuf,
}

impl Allowed {
    /// Creates the rules of the command line. `own` is the server's own folder.
    ///
    /// # Errors
    /// If a root or a file doesn't exist, or a pattern for variables is malformed.
    pub fn new(
        roots: &[PathBuf],
        variables: &[String],
        files: &[PathBuf],
        shell: bool,
        own: &Path,
    ) -> Result<Self> {
        let real = |option: &str, path: &PathBuf| {
            path.canonicalize().map_err(|error| {
                Error::fatal(format!("{option}: can't find \"{}\"", path.display())).because(error)
            })
        };
        Ok(Self {
            roots: roots.iter().map(|root| real("--allow-path", root)).collect::<Result<_>>()?,
            variables: variables.iter().map(|name| Glob::new(name)).collect::<Result<_>>()?,
            files: files.iter().map(|file| real("--allow-file", file)).collect::<Result<_>>()?,
            shell,
            own: own.canonicalize().unwrap_or_else(|_| own.to_path_buf()),
        })
    }

    /// Returns the reason for which a path is refused.
    fn refuses(&self, text: &str, is_read: bool) -> Option<String> {
        let path = Path::new(text);
        if text == "-" {
            return Some("a topology on a server has no standard input".into());
        }
        if !path.is_absolute() {
            return Some(format!(
                "expected an absolute path, found \"{text}\": `waterspout submit` makes paths absolute"
            ));
        }
        if path.components().any(|part| part == Component::ParentDir) {
            return Some(format!("expected a path without \"..\", found \"{text}\""));
        }
        let (roots, option) =
            if is_read { (&self.files, "--allow-file") } else { (&self.roots, "--allow-path") };
        let outside = || {
            let why = match roots.len() {
                0 => "this server allows none".to_owned(),
                _ => format!("this server allows {}", listed(roots)),
            };
            Some(format!("\"{text}\" is outside of what may be named: {why} ({option} of `serve`)"))
        };
        let is_pattern = !is_read && is_glob(text);
        let fixed = if is_pattern { before_pattern(path) } else { path.to_path_buf() };
        match real(&fixed) {
            Some(real) if self.is_inside(&real, roots) => {}
            _ => return outside(),
        }
        if is_pattern && !self.matches_inside(text, roots) {
            return outside();
        }
        None
    }

    fn is_inside(&self, real: &Path, roots: &[PathBuf]) -> bool {
        // A folder above the server's own may be named for its other files, but not as a whole.
        let is_own = real.starts_with(&self.own) || self.own.starts_with(real);
        !is_own && roots.iter().any(|root| real.starts_with(root))
    }

    /// Returns true if all that a pattern matches now lies inside, links resolved.
    fn matches_inside(&self, pattern: &str, roots: &[PathBuf]) -> bool {
        let Ok(matches) = glob::glob(pattern) else { return true };
        for (number, path) in matches.flatten().enumerate() {
            let inside = real(&path).is_some_and(|real| self.is_inside(&real, roots));
            if !inside || number == MATCHES_MAX {
                return false;
            }
        }
        true
    }
}

impl Guard for Allowed {
    fn path(&self, path: &str, is_read: bool) -> PathVerdict {
        self.refuses(path, is_read).map_or(PathVerdict::Keep, PathVerdict::Refuse)
    }

    fn refuses_variable(&self, name: &str) -> Option<String> {
        let is_allowed = self.variables.iter().any(|pattern| pattern.matches(name));
        (!is_allowed).then(|| {
            format!(
                "this server doesn't let topologies read it (--allow-env {name} of `serve` does)"
            )
        })
    }

    fn refuses_component(&self, type_name: &str) -> Option<String> {
        (type_name == SHELL && !self.shell)
            .then(|| "this server runs no programs (--allow-shell of `serve` does)".to_owned())
    }

    fn refuses_includes(&self) -> Option<String> {
        Some("a server has no files beside a topology: `waterspout submit` unites them".to_owned())
    }
}

fn listed(roots: &[PathBuf]) -> String {
    roots.iter().map(|root| format!("\"{}\"", root.display())).collect::<Vec<_>>().join(", ")
}

/// The folders of a pattern before its first part that is one.
fn before_pattern(path: &Path) -> PathBuf {
    let is_fixed = |part: &Component<'_>| !part.as_os_str().to_str().is_none_or(is_glob);
    path.components().take_while(is_fixed).collect()
}

/// A path without links, as far as it exists. `None` if it can't be told: a link that leads nowhere
/// would be followed once somebody makes its target.
fn real(path: &Path) -> Option<PathBuf> {
    for ancestor in path.ancestors() {
        match ancestor.canonicalize() {
            Ok(real) => return Some(real.join(path.strip_prefix(ancestor).ok()?)),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                if ancestor.symlink_metadata().is_ok() {
                    return None;
                }
            }
            Err(_) => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct World {
        root: tempfile::TempDir,
        allowed: Allowed,
    }

    fn world() -> World {
        let root = tempfile::tempdir().unwrap();
        for folder in ["in/lake", "out", "own"] {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        symlink(root.path().join("out"), root.path().join("in/link")).unwrap();
        symlink(root.path().join("nowhere"), root.path().join("in/dangling")).unwrap();
        std::fs::write(root.path().join("secret"), "x").unwrap();
        std::fs::write(root.path().join("out/a.json"), "x").unwrap();
        let allowed = Allowed::new(
            &[root.path().join("in")],
            &["X_*".into(), "HOME".into()],
            &[root.path().join("secret")],
            false,
            &root.path().join("own"),
        )
        .unwrap();
        World { root, allowed }
    }

    #[test]
    fn paths_stay_inside_whatever_links_there_are() {
        let world = world();
        let check = |path: &str, is_read: bool, is_allowed: bool| {
            let path = path.replace("ROOT", world.root.path().to_str().unwrap());
            let why = world.allowed.refuses(&path, is_read);
            assert_eq!(why.is_none(), is_allowed, "{path}: {why:?}");
        };
        check("ROOT/in/lake", false, true);
        check("ROOT/in/new/lake", false, true);
        check("ROOT/in/*.ndjson", false, true);
        check("ROOT/in", false, true);
        for path in [
            "lake",
            "-",
            "ROOT/out",
            "ROOT/in/../out",
            "ROOT/in/link",
            "ROOT/in/link/new",
            "ROOT/in/dangling",
            "ROOT/in/dangling/lake",
            "ROOT/in/*/*.json",
            "ROOT/*",
            "ROOT/inside",
            "ROOT/own",
            "ROOT",
            "/etc/passwd",
            "/",
            "",
        ] {
            check(path, false, false);
        }
        check("ROOT/secret", true, true);
        check("ROOT/in/lake", true, false);
        check("ROOT/secret", false, false);
    }

    #[test]
    fn variables_and_programs_are_refused_unless_they_are_allowed() {
        let Allowed { .. } = Allowed::default();
        let allowed = world().allowed;
        assert_eq!(allowed.refuses_variable("X_TOKEN"), None);
        assert_eq!(allowed.refuses_variable("HOME"), None);
        assert!(allowed.refuses_variable("AWS_SECRET").unwrap().contains("--allow-env AWS_SECRET"));
        assert!(allowed.refuses_component("Shell").unwrap().contains("--allow-shell"));
        assert_eq!(allowed.refuses_component("Lines"), None);
    }
}
