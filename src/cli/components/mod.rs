//! `components` and `components show NAME`: what a topology may name behind `run:`.

use clap::Subcommand;

use super::exit::{Code, Failure, Outcome};
use super::stdout;
use crate::registry::{Entry, Registry};

mod schema;

/// List the components that a topology may use
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show one component: its fields with type, default and meaning, and what it guarantees
    Show {
        /// Its name, or another name for it
        name: String,
    },
}

/// Prints the list, or one component, on standard output.
pub(crate) fn run(args: &Args, registry: &Registry) -> Outcome {
    match &args.what {
        None => stdout::print(&list(registry)),
        Some(What::Show { name }) => {
            // A spout and a bolt may share a name.
            let found = find(name, registry);
            if found.is_empty() {
                return Err(Failure::new(Code::Usage, unknown(name, registry)));
            }
            let shown: Vec<_> = found.into_iter().map(show).collect();
            stdout::print(&shown.join(
                "
",
            ))
        }
    }
}

/// The components with this name, in any case.
fn find<'a>(name: &str, registry: &'a Registry) -> Vec<&'a Entry> {
    let is_it = |entry: &&Entry| {
        let mut names = entry.aliases.iter().copied().chain([entry.name]);
        names.any(|known| known.eq_ignore_ascii_case(name))
    };
    registry.entries().iter().filter(is_it).collect()
}

/// A line for each component, by role: name, role, other names, and the first sentence on it.
fn list(registry: &Registry) -> String {
    let mut entries: Vec<&Entry> = registry.entries().iter().collect();
    entries.sort_by_key(|entry| entry.role);
    let names: Vec<String> = entries.iter().map(|entry| with_aliases(entry)).collect();
    let width = names.iter().map(String::len).max().unwrap_or(0);
    let mut text = String::new();
    for (entry, name) in entries.iter().zip(&names) {
        let about = schema::description(entry.schema().as_value());
        text.push_str(&format!("{:5}  {name:width$}  {}\n", entry.role.name(), gist(&about)));
    }
    text
}

fn with_aliases(entry: &Entry) -> String {
    if entry.aliases.is_empty() {
        return entry.name.to_owned();
    }
    format!("{} (also {})", entry.name, entry.aliases.join(", "))
}

/// The beginning of a description that can stand alone.
fn gist(about: &str) -> &str {
    let ends = [". ", ": ", "\n"].map(|end| about.find(end).unwrap_or(about.len()));
    about[..ends.into_iter().min().unwrap_or(about.len())].trim_end_matches('.')
}

/// Everything about one component.
fn show(entry: &Entry) -> String {
    let schema = entry.schema();
    let mut text = format!("{}, a {}\n", with_aliases(entry), entry.role.name());
    let about = schema::description(schema.as_value());
    if !about.is_empty() {
        text.push_str(&format!("\n{}", wrap(&about, "")));
    }
    text.push_str(&format!("\n{}", wrap(&format!("Guarantee: {}", entry.guarantee), "")));
    let fields = schema::fields(schema.as_value());
    text.push_str(if fields.is_empty() { "\nNo fields.\n" } else { "\nFields:\n" });
    let kinds: String = fields.iter().map(|field| format!("{} ", field.kind)).collect();
    for field in fields {
        text.push_str(&format!("  {}: {} ({})\n", field.name, field.kind, field.default));
        text.push_str(&wrap(&field.meaning, "      "));
    }
    for (kind, meaning) in KINDS {
        if kinds.split(|c: char| !c.is_alphabetic()).any(|word| word == kind) {
            text.push_str(&format!("\n{}", wrap(meaning, "")));
        }
    }
    text
}

/// Types of fields that need a word.
const KINDS: [(&str, &str); 3] = [
    (
        "duration",
        "A duration is a text with a whole number and its unit, ms, s, m, h or d: \"90s\".",
    ),
    ("size", "A size is a text with a whole number and its unit, such as B, MiB or GB: \"32MiB\"."),
    (
        "secret",
        "A secret never stands in the file: Env(\"NAME\") takes it from the environment, \
         File(\"path\") from a file.",
    ),
];

/// The widest line, as in `--help`.
const WIDTH: usize = 100;

/// Breaks each line of a text at spaces; every line that comes of it begins with `indent`.
fn wrap(text: &str, indent: &str) -> String {
    let mut wrapped = String::new();
    for line in text.lines() {
        let mut column = 0;
        for word in line.split(' ') {
            let width = word.chars().count();
            if column > 0 && column + 1 + width > WIDTH {
                wrapped.push('\n');
                column = 0;
            }
            let before = if column == 0 { indent } else { " " };
            wrapped.push_str(before);
            wrapped.push_str(word);
            column += before.len() + width;
        }
        wrapped.push('\n');
    }
    wrapped
}

fn unknown(name: &str, registry: &Registry) -> String {
    let names = registry
        .entries()
        .iter()
        .flat_map(|entry| entry.aliases.iter().copied().chain([entry.name]));
    match nearest(name, names) {
        Some(near) => format!("no component is called \"{name}\"; did you mean \"{near}\"?"),
        None => format!("no component is called \"{name}\"; `waterspout components` lists them"),
    }
}

/// The candidate that a person may have meant, if one is near enough.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Below this similarity (0 to 1) a guess misleads more than it helps.
    const SIMILARITY_MIN: f64 = 0.7;
    let similarity =
        |candidate: &str| strsim::jaro_winkler(&candidate.to_lowercase(), &name.to_lowercase());
    candidates
        .map(|candidate| (similarity(candidate), candidate))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use expect_test::{Expect, expect};
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::bolt::{Bolt, BoltConfig, BoltContext};
    use crate::component::{Component, Problem};
    use crate::error::Result;
    use crate::tuple::{Fields, Streams};
    use crate::units::{ByteSize, Interval};

    /// Shouts what it hears: loudly. It never whispers.
    ///
    /// On a second paragraph it says more.
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Shout {
        /// The field to shout.
        field: String,
        /// How loud, in decibels.
        #[serde(default = "loud")]
        volume: u8,
        /// How long to shout; for ever unless given.
        #[serde(default)]
        patience: Option<Interval>,
        /// The longest shout.
        #[serde(default = "longest")]
        longest: ByteSize,
        #[serde(default)]
        order: Order,
        /// What not to shout.
        #[serde(default)]
        except: Vec<String>,
        /// Other words for it.
        #[serde(default)]
        words: BTreeMap<String, f64>,
        /// What to do at night.
        #[serde(default)]
        night: Night,
    }

    fn loud() -> u8 {
        90
    }

    fn longest() -> ByteSize {
        ByteSize(1 << 20)
    }

    /// Which comes first.
    #[derive(Default, Serialize, Deserialize, JsonSchema)]
    enum Order {
        /// As it came.
        #[default]
        Partition,
        /// As it happened.
        Time,
    }

    /// What to do at night.
    #[derive(Default, Serialize, Deserialize, JsonSchema)]
    enum Night {
        #[default]
        Off,
        Softly(u8),
        Until {
            hour: u8,
        },
    }

    impl Component for Shout {
        const NAME: &'static str = "Shout";
        const ALIASES: &'static [&'static str] = &["Yell"];
        const GUARANTEE: &'static str = "each tuple is shouted once";
    }

    impl BoltConfig for Shout {
        fn streams(&self, _inputs: &[Fields]) -> Result<Streams, Vec<Problem>> {
            Ok(Streams::none())
        }

        fn build(&self, _: &BoltContext) -> Result<Box<dyn Bolt>> {
            unreachable!("nothing runs here")
        }
    }

    fn registry() -> Registry {
        crate::components::standard().bolt::<Shout>()
    }

    fn check(actual: &str, expected: Expect) {
        expected.assert_eq(actual);
    }

    #[test]
    fn show_has_every_field_with_type_default_and_meaning() {
        check(
            &show(registry().find("Yell").unwrap()),
            expect![[r#"
                Shout (also Yell), a bolt

                Shouts what it hears: loudly. It never whispers.

                On a second paragraph it says more.

                Guarantee: each tuple is shouted once

                Fields:
                  field: text (required)
                      The field to shout.
                  except: list of text (default [])
                      What not to shout.
                  longest: size (default "1MiB")
                      The longest shout.
                  night: Off | Softly(integer) | Until(hour: integer) (default Off)
                      What to do at night.
                  order: Partition | Time (default Partition)
                      Which comes first.
                  patience: duration (optional)
                      How long to shout; for ever unless given.
                  volume: integer (default 90)
                      How loud, in decibels.
                  words: map of text to number (default {})
                      Other words for it.

                A duration is a text with a whole number and its unit, ms, s, m, h or d: "90s".

                A size is a text with a whole number and its unit, such as B, MiB or GB: "32MiB".
            "#]],
        );
    }

    #[test]
    fn the_list_has_a_line_for_each_component() {
        let text = list(&registry());
        let line = text.lines().find(|line| line.contains("Shout")).unwrap();
        check(
            &line.split_whitespace().collect::<Vec<_>>().join(" "),
            expect!["bolt Shout (also Yell) Shouts what it hears"],
        );
    }

    #[test]
    fn long_lines_are_wrapped_and_none_is_lost() {
        let text = "a few words ".repeat(30);
        let wrapped = wrap(&text, "  ");
        assert!(wrapped.lines().all(|line| line.len() <= WIDTH && line.starts_with("  ")));
        assert_eq!(
            wrapped.split_whitespace().collect::<Vec<_>>(),
            text.split_whitespace().collect::<Vec<_>>()
        );
    }

    #[test]
    fn an_unknown_name_brings_the_nearest_one() {
        check(
            &unknown("Shuot", &registry()),
            expect![[r#"no component is called "Shuot"; did you mean "Shout"?"#]],
        );
        check(
            &unknown("Zzz", &registry()),
            expect![[r#"no component is called "Zzz"; `waterspout components` lists them"#]],
        );
    }
}
