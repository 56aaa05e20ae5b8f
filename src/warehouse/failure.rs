//! The meaning of the server's errors.

use tokio_postgres::error::SqlState;

use super::months::Month;
use super::row::PostKey;
use crate::error::Error;

/// The cause of a failed statement.
#[derive(Debug)]
pub enum Failure {
    /// A row that can never be written.
    Row {
        /// The server's message.
        text: String,
        /// The line of a COPY in the message, from 1.
        line: Option<usize>,
        /// The post of the row, if known.
        post: Option<PostKey>,
    },
    /// The partition of a month is missing: another writer has dropped it, or the month follows
    /// from the row's own, wrong time.
    PartitionGone(Option<Month>),
    /// Any other error, after which the statement may be repeated.
    Server(tokio_postgres::Error),
    /// The server has sent nothing for too long.
    Silent(String),
    /// An error of this program.
    Own(Error),
}

/// The result of a statement.
pub type Done<T> = Result<T, Failure>;

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(answer) = error.as_db_error() else { return Self::Server(error) };
        // A failed check without a name is that of a partition.
        if *answer.code() == SqlState::CHECK_VIOLATION && answer.constraint().is_none() {
            return Self::PartitionGone(None);
        }
        if !is_of_a_row(answer.code()) {
            return Self::Server(error);
        }
        let line = answer.where_().and_then(copy_line);
        let mut text = format!("{} ({})", answer.message(), answer.code().code());
        if let Some(detail) = answer.detail() {
            text = format!("{text}: {detail}");
        }
        Self::Row { text, line, post: None }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Own(error)
    }
}

impl Failure {
    /// Converts the failure to a transient error; `what` says what failed.
    pub fn transient(self, what: impl Into<String>) -> Error {
        match self {
            Self::Row { text, .. } => Error::transient(what).because(text),
            Self::PartitionGone(_) => {
                Error::transient(what).because("the partition of a month was dropped meanwhile")
            }
            Self::Server(error) => Error::transient(what).because(error_text(&error)),
            Self::Silent(text) => Error::transient(what).because(text),
            Self::Own(error) => error,
        }
    }

    /// Sets the post of the row from the line that the server named.
    pub fn of_post(mut self, post_of_line: impl FnOnce(usize) -> Option<PostKey>) -> Self {
        if let Self::Row { line, post, .. } = &mut self {
            *post = line.and_then(|line| line.checked_sub(1)).and_then(post_of_line);
        }
        self
    }

    /// Returns true if the session is unusable, or not known to be usable.
    pub fn ends_session(&self) -> bool {
        match self {
            Self::Server(error) => match error.as_db_error() {
                None => true,
                Some(answer) => !keeps_session(answer.code()),
            },
            Self::Silent(_) | Self::Own(_) => true,
            Self::Row { .. } | Self::PartitionGone(_) => false,
        }
    }
}

/// Returns true if the same row would fail again: bad data (22), a violated constraint (23), a
/// limit of the server (54), or an error raised by a trigger (P0).
fn is_of_a_row(code: &SqlState) -> bool {
    ["22", "23", "54", "P0"].iter().any(|class| code.code().starts_with(class))
}

/// Returns true if only one transaction is affected: it was rolled back in favour of another, or
/// waited too long for one.
fn keeps_session(code: &SqlState) -> bool {
    code.code().starts_with("40")
        || [SqlState::LOCK_NOT_AVAILABLE, SqlState::QUERY_CANCELED].contains(code)
}

/// Returns the line that a COPY names: `COPY posts, line 17, column raw: …`. Messages in other
/// languages than English have no such line, and the row is found without it.
fn copy_line(context: &str) -> Option<usize> {
    let behind = context.strip_prefix("COPY ")?.split_once(", line ")?.1;
    let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
    behind[..digits].parse().ok()
}

/// Returns the text of an error with its causes, since the client's own text omits the server's.
pub fn error_text(error: &tokio_postgres::Error) -> String {
    if let Some(answer) = error.as_db_error() {
        return format!("{} ({})", answer.message(), answer.code().code());
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_copy_is_read() {
        assert_eq!(copy_line("COPY posts, line 17, column raw"), Some(17));
        assert_eq!(copy_line("COPY posts, line 3"), Some(3));
        assert_eq!(copy_line("COPY posts, Zeile 3"), None);
        assert_eq!(copy_line("SQL statement \"…\""), None);
    }

    #[test]
    fn only_data_and_constraints_condemn_a_row() {
        for code in ["22P05", "22003", "23505", "23514", "54000", "P0001"] {
            assert!(is_of_a_row(&SqlState::from_code(code)), "{code}");
        }
        for code in ["40001", "40P01", "57P01", "53100", "42P01", "28P01", "08006", "25006"] {
            assert!(!is_of_a_row(&SqlState::from_code(code)), "{code}");
        }
        assert!(keeps_session(&SqlState::T_R_DEADLOCK_DETECTED));
        assert!(!keeps_session(&SqlState::ADMIN_SHUTDOWN));
    }
}
