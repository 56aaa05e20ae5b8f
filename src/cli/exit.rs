//! The end of the program: exit codes, and failures with their text.

use std::process::ExitCode;

use super::stderr;
use crate::error::Error;
use crate::printable::printable_line;

/// The exit codes, the same for every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Everything was done.
    Success = 0,
    /// Something failed while running: a file, a component, the engine; or a source never got
    /// anything.
    Runtime = 1,
    /// The arguments were wrong.
    Usage = 2,
    /// The topology file was wrong.
    InvalidTopology = 3,
    /// It ran to its end, but there are dead letters or findings.
    Findings = 4,
    /// It stopped without finishing what it had begun: the drain deadline, or a second signal.
    NotClean = 5,
    /// A topology that had finished was run again, and what was asked of it gave nothing new.
    NothingNew = 6,
}

impl Code {
    /// All codes, in order.
    pub const ALL: [Self; 7] = [
        Self::Success,
        Self::Runtime,
        Self::Usage,
        Self::InvalidTopology,
        Self::Findings,
        Self::NotClean,
        Self::NothingNew,
    ];

    /// Returns the meaning of the code, as `--help` prints it.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Success => "done",
            Self::Runtime => "failed while running",
            Self::Usage => "wrong arguments",
            Self::InvalidTopology => "invalid topology",
            Self::Findings => "finished, but with dead letters or findings",
            Self::NotClean => {
                "stopped, but not clean: the drain took too long, or a second signal came"
            }
            Self::NothingNew => "nothing new: an earlier run has captured what was asked for",
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// The part of `--help` that lists the codes.
pub(crate) fn help() -> String {
    let lines = Code::ALL.map(|code| format!("  {}  {}", code as u8, code.meaning()));
    format!("Exit codes:\n{}", lines.join("\n"))
}

/// The result of a command.
pub(crate) type Outcome = Result<Code, Failure>;

/// Why a command ended early.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    text: String,
}

impl Failure {
    /// A failure with a sentence for a person, which stays on one line; `error: ` is put in front
    /// of it.
    pub(crate) fn new(code: Code, what: impl std::fmt::Display) -> Self {
        Self::several(code, [what.to_string()])
    }

    /// A failure with several sentences, each on a line of its own.
    pub(crate) fn several(code: Code, sentences: impl IntoIterator<Item = String>) -> Self {
        let lines =
            sentences.into_iter().map(|sentence| format!("error: {}", printable_line(&sentence)));
        Self { code, text: lines.collect::<Vec<_>>().join("\n") }
    }

    /// An invalid topology, whose problems each begin with their own place.
    pub(crate) fn problems(problems: impl std::fmt::Display) -> Self {
        Self { code: Code::InvalidTopology, text: problems.to_string() }
    }

    /// Prints it on standard error, and gives the exit code.
    pub(crate) fn print(&self) -> Code {
        stderr::print(&self.text);
        self.code
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(Code::Runtime, error.chain())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn help_lists_every_code() {
        expect![[r#"
            Exit codes:
              0  done
              1  failed while running
              2  wrong arguments
              3  invalid topology
              4  finished, but with dead letters or findings
              5  stopped, but not clean: the drain took too long, or a second signal came
              6  nothing new: an earlier run has captured what was asked for"#]]
        .assert_eq(&help());
    }

    #[test]
    fn a_failure_prints_the_whole_chain() {
        let cause = std::io::Error::other("no such disk");
        let failure = Failure::from(Error::fatal("can't write \"lake\"").because(cause));
        assert_eq!(failure.text, "error: can't write \"lake\": no such disk");
        assert_eq!(failure.code, Code::Runtime);
    }
}
