//! The lines that a tuple becomes.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bolt::jq::LineFilter;
use crate::component::Problem;
use crate::error::{Error, Result};
use crate::sink::lines::LineWriter;
use crate::tuple::{Fields, Tuple, value_to_json};
use crate::value::Value;

/// The format of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SocketFormat {
    /// A post alone, or an object of the tuple's fields.
    #[default]
    Ndjson,
    /// The value of one field, unchanged. If an input has no such field but has `post`, the line is
    /// the text of the post as people read it. A line break in the value becomes a space; a tuple
    /// without a value gives an empty line. A value that isn't text is written as JSON.
    Text(String),
}

/// Converts tuples to lines.
pub(super) enum LineMaker {
    Ndjson(LineWriter),
    /// For each input, where the text is.
    Text(Vec<TextPlace>),
    Jq(LineFilter),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum TextPlace {
    Field(usize),
    InPost(usize),
}

impl TextPlace {
    fn of(field: &str, input: &Fields) -> Option<Self> {
        let in_post = || input.position("post").map(Self::InPost);
        input.position(field).map(Self::Field).or_else(in_post)
    }
}

/// Returns the problems of the two options.
pub(super) fn problems(
    format: &SocketFormat,
    jq: Option<&str>,
    max_steps: NonZeroU32,
    inputs: &[Fields],
) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(code) = jq {
        problems.extend(LineFilter::problem(code, max_steps, "jq"));
        if *format != SocketFormat::Ndjson {
            let what = "expected no `format` beside `jq`, whose values are the lines";
            problems.push(Problem { field: "format", what: what.into(), candidates: None });
        }
    }
    if let SocketFormat::Text(field) = format
        && let Some(input) = inputs.iter().find(|input| TextPlace::of(field, input).is_none())
    {
        problems.push(Problem {
            field: "format",
            what: format!(
                "expected a field \"{field}\" or \"post\", but an input declares {input}"
            ),
            candidates: Some((field.clone(), input.names().to_vec())),
        });
    }
    problems
}

impl LineMaker {
    /// # Errors
    /// If the options have problems.
    pub(crate) fn new(
        format: &SocketFormat,
        jq: Option<&str>,
        max_steps: NonZeroU32,
        inputs: &[Fields],
    ) -> Result<Self> {
        if let Some(code) = jq {
            return Ok(Self::Jq(LineFilter::new(code, max_steps, inputs)?));
        }
        Ok(match format {
            SocketFormat::Ndjson => Self::Ndjson(LineWriter::new(inputs.to_vec())),
            SocketFormat::Text(field) => {
                let lacks = || Error::fatal(format!("no input has a field \"{field}\""));
                let place = |input| TextPlace::of(field, input).ok_or_else(lacks);
                Self::Text(inputs.iter().map(place).collect::<Result<_>>()?)
            }
        })
    }

    /// Appends the lines of a tuple, each with its line break.
    ///
    /// # Errors
    /// If the jq expression fails on the tuple; then nothing is appended.
    pub(crate) fn append(&self, tuple: Tuple<'_>, into: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Ndjson(lines) => lines.append(tuple, into),
            Self::Text(places) => append_text(places[tuple.input], tuple, into),
            Self::Jq(filter) => filter.append(tuple, into)?,
        }
        Ok(())
    }

    /// Returns the post, if the post is the whole line of the tuple.
    pub(crate) fn whole_post<'a>(&self, tuple: Tuple<'a>) -> Option<&'a Value> {
        match (self, tuple.values.first()) {
            (Self::Ndjson(lines), Some(post @ Value::Post(_)))
                if lines.is_of_posts(tuple.input) =>
            {
                Some(post)
            }
            _ => None,
        }
    }
}

fn append_text(place: TextPlace, tuple: Tuple<'_>, into: &mut Vec<u8>) {
    let start = into.len();
    match place {
        TextPlace::Field(position) => match tuple.value(position) {
            Value::Null => {}
            Value::Text(text) => into.extend_from_slice(text.as_bytes()),
            other => value_to_json(other, into),
        },
        TextPlace::InPost(position) => {
            if let Value::Post(post) = tuple.value(position) {
                into.extend_from_slice(post.text().unwrap_or_default().as_bytes());
            }
        }
    }
    for byte in &mut into[start..] {
        if matches!(*byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    into.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::post::Post;

    fn steps() -> NonZeroU32 {
        NonZeroU32::new(10_000).unwrap()
    }

    fn lines(format: &SocketFormat, jq: Option<&str>, fields: Fields, values: &[Value]) -> String {
        let inputs = [fields];
        assert_eq!(problems(format, jq, steps(), &inputs), []);
        let maker = LineMaker::new(format, jq, steps(), &inputs).unwrap();
        let mut lines = Vec::new();
        maker.append(Tuple::new(values, 0), &mut lines).unwrap();
        String::from_utf8(lines).unwrap()
    }

    fn post() -> [Value; 3] {
        let post = Post::check(r#"{"tweet": {"text":"a\nb\r\u2028c", "n":[1,2]}}"#.into()).unwrap();
        [post.into(), "tweet".into(), Value::List([].into())]
    }

    #[test]
    fn a_tuple_is_one_line_in_each_form() {
        let text = |field: &str| SocketFormat::Text(field.into());
        let of_post = |format: &SocketFormat| lines(format, None, Fields::of_posts(), &post());
        assert_eq!(
            of_post(&SocketFormat::Ndjson),
            "{\"tweet\": {\"text\":\"a\\nb\\r\\u2028c\", \"n\":[1,2]}}\n"
        );
        assert_eq!(of_post(&text("text")), "a b \u{2028}c\n");
        assert_eq!(of_post(&text("kind")), "tweet\n");
        assert_eq!(of_post(&text("topics")), "[]\n");
        let word = |value: Value| lines(&text("word"), None, Fields::new(["word"]), &[value]);
        assert_eq!(word(Value::Null), "\n");
        assert_eq!(word(Value::Int(7)), "7\n");
        assert_eq!(word("x\r\ny".into()), "x  y\n");
    }

    #[test]
    fn a_projection_gives_any_number_of_lines() {
        let of_post = |jq| lines(&SocketFormat::Ndjson, Some(jq), Fields::of_posts(), &post());
        assert_eq!(of_post(".tweet | {n}"), "{\"n\":[1,2]}\n");
        assert_eq!(of_post(".tweet.n[], $tuple.kind"), "1\n2\n\"tweet\"\n");
        assert_eq!(of_post("empty"), "");
    }

    #[test]
    fn problems_name_the_option() {
        let found = problems(
            &SocketFormat::Text("txet".into()),
            Some(".a |"),
            steps(),
            &[Fields::new(["text"])],
        );
        let fields: Vec<_> = found.iter().map(|problem| problem.field).collect();
        assert_eq!(fields, ["jq", "format", "format"]);
        assert_eq!(found[2].candidates, Some(("txet".into(), vec!["text".into()])));
    }
}
