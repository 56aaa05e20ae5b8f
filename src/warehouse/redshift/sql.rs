//! Words of SQL that both Redshift and PostgreSQL read in the same way.

use time::OffsetDateTime;

use super::super::months::{Micros, time_of};
use super::super::storable::storable_text;

/// A text as a literal. Redshift takes a backslash for an escape and PostgreSQL doesn't, so that
/// none is written.
pub(super) fn literal(text: &str) -> String {
    let text = storable_text(text).replace('\'', "''");
    let parts: Vec<String> = text.split('\\').map(|part| format!("'{part}'")).collect();
    parts.join(" || chr(92) || ")
}

/// Texts as a list of literals.
pub(super) fn literals(texts: &[String]) -> String {
    let literals: Vec<String> = texts.iter().map(|text| literal(text)).collect();
    literals.join(", ")
}

/// A time as both servers read it, from literals and from files.
pub(super) fn time_text(time: Micros) -> String {
    let time: OffsetDateTime = time_of(time);
    let (date, micros) = (time.date(), time.microsecond());
    let (hour, minute, second) = time.time().as_hms();
    format!("{date} {hour:02}:{minute:02}:{second:02}.{micros:06}+00")
}

/// A time as a value.
pub(super) fn time_literal(time: Micros) -> String {
    format!("cast('{}' as timestamptz)", time_text(time))
}

/// Columns as a list. Some of their names are words of Redshift's, such as `raw`.
pub(super) fn columns(names: &[&str]) -> String {
    prefixed("", names)
}

/// The same, each behind a prefix.
pub(super) fn prefixed(prefix: &str, names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("{prefix}\"{name}\"")).collect();
    names.join(", ")
}

/// The condition that two tables agree in columns.
pub(super) fn same(a: &str, b: &str, names: &[&str]) -> String {
    let equal: Vec<String> =
        names.iter().map(|name| format!("{a}.\"{name}\" = {b}.\"{name}\"")).collect();
    equal.join(" and ")
}

/// Assignments of columns from a table.
pub(super) fn taken_from(table: &str, names: &[&str]) -> String {
    let taken: Vec<String> =
        names.iter().map(|name| format!("\"{name}\" = {table}.\"{name}\"")).collect();
    taken.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_reads_the_same_with_and_without_escapes() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\b\\"), "'a' || chr(92) || 'b' || chr(92) || ''");
        assert_eq!(literal("\\' or 1=1"), "'' || chr(92) || ''' or 1=1'");
        assert_eq!(literals(&["a".into(), "b".into()]), "'a', 'b'");
    }

    #[test]
    fn a_time_has_microseconds_and_its_zone() {
        assert_eq!(time_text(1_450_396_800_123_000), "2015-12-18 00:00:00.123000+00");
        assert_eq!(time_text(-1), "1969-12-31 23:59:59.999999+00");
    }
}
