//! Parts of SQL that Redshift and PostgreSQL read in the same way.

use time::OffsetDateTime;

use super::super::months::{Micros, time_of};
use super::super::storable::storable_text;

/// Quotes a text as a literal. A backslash is never written, since it is an escape in Redshift but
/// not in PostgreSQL.
pub(super) fn literal(text: &str) -> String {
    let text = storable_text(text).replace('\'', "''");
    let parts: Vec<String> = text.split('\\').map(|part| format!("'{part}'")).collect();
    parts.join(" || chr(92) || ")
}

/// Returns texts as a list of literals.
pub(super) fn literals(texts: &[String]) -> String {
    let literals: Vec<String> = texts.iter().map(|text| literal(text)).collect();
    literals.join(", ")
}

/// Formats a time for literals and files, in a form that both servers read.
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

/// Returns columns as a quoted list, since some names, such as `raw`, are keywords of Redshift.
pub(super) fn columns(names: &[&str]) -> String {
    prefixed("", names)
}

/// Returns columns as a quoted list, each after a prefix.
pub(super) fn prefixed(prefix: &str, names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("{prefix}\"{name}\"")).collect();
    names.join(", ")
}

/// Returns the condition that two tables agree in columns.
pub(super) fn same(a: &str, b: &str, names: &[&str]) -> String {
    let equal: Vec<String> =
        names.iter().map(|name| format!("{a}.\"{name}\" = {b}.\"{name}\"")).collect();
    equal.join(" and ")
}

/// Returns assignments of columns from a table.
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
