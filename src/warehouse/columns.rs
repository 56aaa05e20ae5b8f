//! The columns of the table `posts` that hold a field of `Features` by the same name.

use super::copy::CopyBuffer;
use crate::value::Value;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColumnForm {
    Text,
    Texts,
    Int,
    Float,
}

/// The rule for a column when its post changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColumnFate {
    /// The newest version sets the column.
    Version,
    /// The newest version sets the column, and a deletion clears it.
    Content,
    /// The newest reading of the counts sets the column.
    Count,
}

/// One column.
pub(super) struct Column {
    pub name: &'static str,
    pub form: ColumnForm,
    pub fate: ColumnFate,
}

pub(super) const fn column(name: &'static str, form: ColumnForm, fate: ColumnFate) -> Column {
    Column { name, form, fate }
}

/// The list of these columns. To add one, add a line here and a line in the schema's next version.
pub(super) const COLUMNS: [Column; 25] = [
    column("kind", ColumnForm::Text, ColumnFate::Version),
    column("author_id", ColumnForm::Text, ColumnFate::Version),
    column("author_handle", ColumnForm::Text, ColumnFate::Version),
    column("lang", ColumnForm::Text, ColumnFate::Version),
    column("lang_source", ColumnForm::Text, ColumnFate::Version),
    column("text", ColumnForm::Text, ColumnFate::Content),
    column("hashtags", ColumnForm::Texts, ColumnFate::Content),
    column("cashtags", ColumnForm::Texts, ColumnFate::Content),
    column("mentions", ColumnForm::Texts, ColumnFate::Content),
    column("urls", ColumnForm::Texts, ColumnFate::Content),
    column("domains", ColumnForm::Texts, ColumnFate::Content),
    column("media", ColumnForm::Texts, ColumnFate::Content),
    column("relation", ColumnForm::Text, ColumnFate::Version),
    column("reply_to", ColumnForm::Text, ColumnFate::Version),
    column("repost_of", ColumnForm::Text, ColumnFate::Version),
    column("quote_of", ColumnForm::Text, ColumnFate::Version),
    column("conversation_id", ColumnForm::Text, ColumnFate::Version),
    column("likes", ColumnForm::Int, ColumnFate::Count),
    column("reposts", ColumnForm::Int, ColumnFate::Count),
    column("replies", ColumnForm::Int, ColumnFate::Count),
    column("quotes", ColumnForm::Int, ColumnFate::Count),
    column("views", ColumnForm::Int, ColumnFate::Count),
    column("bookmarks", ColumnForm::Int, ColumnFate::Count),
    column("sentiment", ColumnForm::Float, ColumnFate::Version),
    column("topics", ColumnForm::Texts, ColumnFate::Version),
];

/// The position of a column in the list.
pub(super) const fn position(name: &str) -> usize {
    let mut at = 0;
    while at < COLUMNS.len() {
        if is_same(COLUMNS[at].name, name) {
            return at;
        }
        at += 1;
    }
    panic!("no such column")
}

/// Compares texts in a constant context, in which `==` isn't available.
const fn is_same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

impl Column {
    /// Checks that the column can hold a value.
    ///
    /// # Errors
    /// If the type is wrong; the error says what was expected.
    pub(crate) fn check(&self, value: &Value) -> Result<(), String> {
        let fits = match (self.form, value) {
            (_, Value::Null)
            | (ColumnForm::Text, Value::Text(_))
            | (ColumnForm::Int, Value::Int(_))
            | (ColumnForm::Float, Value::Float(_) | Value::Int(_)) => true,
            (ColumnForm::Texts, Value::List(values)) => {
                values.iter().all(|value| value.as_text().is_some())
            }
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let expected = match self.form {
            ColumnForm::Text => "text",
            ColumnForm::Texts => "a list of texts",
            ColumnForm::Int => "a whole number",
            ColumnForm::Float => "a number",
        };
        Err(format!("field \"{}\": expected {expected}, found {value:?}", self.name))
    }

    /// Writes a checked value.
    pub(crate) fn write(&self, value: &Value, buffer: &mut CopyBuffer) {
        match (self.form, value) {
            (ColumnForm::Text, value) => buffer.text(value.as_text()),
            (ColumnForm::Texts, Value::List(values)) => {
                buffer.texts(values.iter().map(|value| value.as_text().unwrap_or_default()));
            }
            (ColumnForm::Int, value) => buffer.int(value.as_int()),
            (ColumnForm::Float, Value::Float(number)) => buffer.float(Some(*number)),
            // A column of floats takes whole numbers, rounded as everywhere.
            (ColumnForm::Float, Value::Int(number)) => buffer.float(Some(*number as f64)),
            _ => buffer.null(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_stands_in_the_schema_once() {
        let schema = include_str!("schema/0001.sql");
        let posts = schema.split("create table posts (").nth(1).unwrap();
        let posts = posts.split("primary key").next().unwrap();
        for (at, column) in COLUMNS.iter().enumerate() {
            let lines =
                posts.lines().filter(|line| line.trim().starts_with(&format!("{} ", column.name)));
            let types: Vec<_> = lines.map(|line| line.split_whitespace().nth(1).unwrap()).collect();
            let wanted = match column.form {
                ColumnForm::Text => "text,",
                ColumnForm::Texts => "text[],",
                ColumnForm::Int => "bigint,",
                ColumnForm::Float => "double",
            };
            assert_eq!(types, [wanted], "{}", column.name);
            assert_eq!(position(column.name), at);
        }
    }

    #[test]
    fn a_value_of_another_type_is_named() {
        let likes = &COLUMNS[position("likes")];
        assert!(likes.check(&"many".into()).unwrap_err().contains("\"likes\": expected a whole"));
        likes.check(&Value::Null).unwrap();
    }
}
