//! The meaning of Redshift's errors: nearly all of them have the code XX000, so that only their
//! texts differ.

use tokio_postgres::error::DbError;

use super::super::failure::Failure;
use crate::error::Error;

/// The server's tables to which the error of a refused COPY refers.
const LOAD_ERRORS: [&str; 2] = ["stl_load_errors", "sys_load_error_detail"];

/// The message of a serializable isolation violation.
const ISOLATION_VIOLATION: &str = "1023";

/// Classifies the failure of a statement.
pub(super) fn meaning(error: tokio_postgres::Error) -> Failure {
    let Some(answer) = error.as_db_error() else { return Failure::Server(error) };
    if is_load_error(answer.message()) {
        return Failure::Row { text: text_of(answer), line: None, post: None };
    }
    if answer.message().trim() == ISOLATION_VIOLATION || answer.code().code() == "40001" {
        let what = "another transaction came first: serializable isolation violation";
        return Failure::Own(Error::transient(what).because(text_of(answer)));
    }
    Failure::Server(error)
}

fn is_load_error(message: &str) -> bool {
    LOAD_ERRORS.iter().any(|table| message.contains(table))
}

fn text_of(answer: &DbError) -> String {
    let mut text = format!("{} ({})", answer.message(), answer.code().code());
    if let Some(detail) = answer.detail() {
        text = format!("{text}: {}", detail.trim());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_error_is_told_by_the_table_that_it_names() {
        let of_copy = "Load into table 'staged_posts' failed.  Check 'stl_load_errors' system \
                       table for details.";
        assert!(is_load_error(of_copy));
        assert!(is_load_error(&of_copy.replace("stl_load_errors", "sys_load_error_detail")));
        assert!(!is_load_error("S3ServiceException:Access Denied,Status 403"));
    }
}
