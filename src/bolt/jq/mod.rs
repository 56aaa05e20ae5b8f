//! `Jq`: emits the outputs of a jq expression for each tuple. The module also has `Filter`, and the
//! expression of a sink.

mod body;
mod bounds;
mod convert;
mod filter;
mod input;
mod lines;
mod program;
mod tree;

use std::num::NonZeroU32;

use jaq_json::Val;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bolt::{Bolt, BoltConfig, BoltContext, Output};
use crate::component::{Component, Problem};
use crate::error::{Error, Result};
use crate::post::Post;
use crate::tuple::{Fields, Streams, Tuple};
use crate::value::Value;

use self::convert::{into_json, into_value};
use self::input::{InputPlaces, is_same, no_topics};
use self::program::Program;

pub(crate) use self::body::{Body, BodyTemplate};
pub(crate) use self::filter::Condition;
pub use self::filter::Filter;
pub(crate) use self::lines::LineFilter;

/// Emits the outputs of a jq expression for each tuple. The expression gets the post
/// (`{"tweet": {…}}`), or an object of all fields if the input has no field `post`; `$tuple` is an
/// object of the other fields, as in `$tuple.topics`. It may give any number of values; each
/// becomes a tuple.
///
/// Without `fields` each value has to be a post, an object with one key that names its kind:
/// `{tweet: (.tweet | {id_str, created_at, text})}`. It is emitted as sources do, in the fields
/// `post`, `kind` and `topics`, so that a lake can take it; the topics are those of the tuple. A
/// post that isn't changed keeps its bytes.
///
/// With `fields: ["minute", "tag"]` an object gives fields by their names (a missing one is null,
/// another name is an error), and a list gives them in order. With one field, any other value is
/// that field: `Jq(filter: ".tweet.entities.hashtags[].text", fields: ["tag"])`. An object within a
/// tuple is JSON. A tuple has the event time of the tuple from which it was made.
///
/// The expression is checked before anything starts. It only has access to its tuple: no files, no
/// environment (`env`, `$ENV`), no other input (`input`), no clock (`now`). If it fails on a tuple,
/// `on_error` decides what happens, and none of its outputs is emitted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jq {
    /// The jq expression.
    pub filter: String,
    /// The fields of the emitted tuples. `None` for posts.
    #[serde(default)]
    pub fields: Option<Vec<String>>,
    /// The maximum number of steps of the expression per tuple. Each call, each round of a loop,
    /// and each part of a value that is made takes about one step. An expression that needs more
    /// fails on this tuple, and so does one that gives more than 10,000 values. The default allows
    /// a fraction of a second and at most about 64 MiB; each further million allows about a second
    /// and 256 MiB.
    #[serde(default = "steps_usual")]
    pub max_steps: NonZeroU32,
}

/// Returns the default number of steps.
pub(crate) fn steps_usual() -> NonZeroU32 {
    NonZeroU32::new(bounds::STEPS_USUAL).unwrap_or(NonZeroU32::MIN)
}

/// Compiles an expression that was validated before.
fn compile_checked(code: &str, max_steps: NonZeroU32) -> Result<Program> {
    let compiled = Program::compile(code, max_steps.get());
    compiled.map_err(|flaw| Error::fatal(format!("bad jq filter: {}", flaw.what())))
}

impl Component for Jq {
    const NAME: &'static str = "Jq";
    const GUARANTEE: &'static str =
        "keeps no state: outputs are delivered as reliably as the tuples they came from";
}

impl Jq {
    fn problem_of_fields(what: String) -> Problem {
        Problem { field: "fields", what, candidates: None }
    }

    fn problems_of_fields(&self) -> Vec<Problem> {
        let Some(fields) = &self.fields else { return Vec::new() };
        let mut problems = Vec::new();
        if fields.is_empty() {
            problems.push(Self::problem_of_fields(
                "expected at least one field, found none: leave `fields` out for posts".into(),
            ));
        }
        for (i, field) in fields.iter().enumerate() {
            if field.is_empty() {
                problems.push(Self::problem_of_fields("expected a name, found \"\"".into()));
            } else if fields[..i].iter().filter(|earlier| *earlier == field).count() == 1 {
                let what = format!("expected each field once, found \"{field}\" again");
                problems.push(Self::problem_of_fields(what));
            }
        }
        problems
    }
}

impl BoltConfig for Jq {
    fn streams(&self, _inputs: &[Fields]) -> Result<Streams, Vec<Problem>> {
        let mut problems = self.problems_of_fields();
        if let Err(flaw) = Program::compile(&self.filter, self.max_steps.get()) {
            problems.push(flaw.problem("filter"));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Streams::default_with(match &self.fields {
            Some(fields) => Fields::new(fields),
            None => Fields::of_posts(),
        }))
    }

    fn build(&self, context: &BoltContext) -> Result<Box<dyn Bolt>> {
        Ok(Box::new(Mapper::of(self, &context.inputs)?))
    }
}

struct Mapper {
    program: Program,
    /// The positions of the fields of each input.
    places: Vec<InputPlaces>,
    fields: Option<Fields>,
}

impl Mapper {
    fn of(config: &Jq, inputs: &[Fields]) -> Result<Self> {
        Ok(Self {
            program: compile_checked(&config.filter, config.max_steps)?,
            places: inputs.iter().map(InputPlaces::of).collect(),
            fields: config.fields.as_ref().map(Fields::new),
        })
    }

    /// Calls `emit` with the values of each tuple that the expression gives.
    fn map(&self, tuple: Tuple<'_>, mut emit: impl FnMut(Vec<Value>)) -> Result<()> {
        let places = &self.places[tuple.input];
        let input = places.input(tuple)?;
        let rest = places.tuple(&self.program, tuple)?;
        self.program.run(input.clone(), rest, |output| {
            emit(match &self.fields {
                Some(fields) => in_fields(&output, fields)?,
                None => as_post(&output, &input, places, tuple)?,
            });
            Ok(true)
        })
    }
}

impl Bolt for Mapper {
    fn execute(&mut self, tuple: Tuple<'_>, out: &mut Output) -> Result<()> {
        self.map(tuple, |values| out.emit(values))
    }
}

/// Returns the values of the declared fields.
fn in_fields(output: &Val, fields: &Fields) -> Result<Vec<Value>> {
    match output {
        Val::Obj(members) => {
            let mut values = vec![Value::Null; fields.len()];
            for (key, value) in members.iter() {
                let Val::TStr(name) = key else {
                    return Err(Error::rejected("the jq filter gives a key that isn't text"));
                };
                let name = String::from_utf8_lossy(name);
                let Some(position) = fields.position(&name) else {
                    return Err(Error::rejected(format!(
                        "the jq filter gives a field \"{name}\", but `fields` declares {fields}"
                    )));
                };
                values[position] = into_value(value)?;
            }
            Ok(values)
        }
        Val::Arr(elements) if elements.len() == fields.len() => {
            elements.iter().map(into_value).collect()
        }
        Val::Arr(elements) => Err(Error::rejected(format!(
            "the jq filter gives a list of {}, but `fields` declares {fields}",
            elements.len()
        ))),
        value if fields.len() == 1 => Ok(vec![into_value(value)?]),
        value => Err(Error::rejected(format!(
            "the jq filter gives {}, but `fields` declares {fields}: expected an object or a list",
            name_of(value)
        ))),
    }
}

/// Returns a post, its kind and the topics of the tuple.
fn as_post(
    output: &Val,
    input: &Val,
    places: &InputPlaces,
    tuple: Tuple<'_>,
) -> Result<Vec<Value>> {
    let came = places.post().and_then(|post| tuple.value(post).as_post());
    let post = match came.filter(|_| is_same(output, input)) {
        Some(post) => post.clone(),
        None => post_of(output)?,
    };
    let kind = Value::from(post.kind());
    let topics = places.position("topics").map(|topics| tuple.value(topics).clone());
    Ok(vec![post.into(), kind, topics.unwrap_or_else(no_topics)])
}

fn post_of(output: &Val) -> Result<Post> {
    let expected = "expected a post, {\"kind\": {…}}, or a list of `fields` in the topology";
    let Val::Obj(_) = output else {
        let what = format!("the jq filter gives {}: {expected}", name_of(output));
        return Err(Error::rejected(what));
    };
    Post::check(into_json(output)?.into()).map_err(|flaw| {
        Error::rejected(format!("the jq filter gives no post ({flaw}): {expected}"))
    })
}

fn name_of(value: &Val) -> &'static str {
    match value {
        Val::Null => "null",
        Val::Bool(_) => "a boolean",
        Val::Num(_) => "a number",
        Val::TStr(_) | Val::BStr(_) => "a text",
        Val::Arr(_) => "a list",
        Val::Obj(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
