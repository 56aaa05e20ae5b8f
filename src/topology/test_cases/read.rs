//! From the tree of a file to its tests, held against the components that they name.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use bytes::Bytes;
use time::OffsetDateTime;

use super::values::{key_of, pattern, tuple_of_json, write_json};
use super::{
    EXPECTED_ROWS_MAX, ExpectedKind, ExpectedRow, ExpectedRows, ExpectedStream, Pattern,
    TEST_CLOCK_DEFAULT, TestCase, TestInput, TestPlace, TestStep,
};
use crate::clock::later;
use crate::component::Role;
use crate::moment::Moment;
use crate::post::Post;
use crate::registry::Config;
use crate::topology::ComponentSpec;
use crate::topology::problem::{Report, nearest, quoted};
use crate::topology::record::Record;
use crate::topology::source::Span;
use crate::topology::syntax::{Kind, Node};
use crate::tuple::{Fields, StreamId};
use crate::units::Interval;
use crate::value::Value;

const TEST_FIELDS: [&str; 6] = ["clock", "ends", "env", "input", "expect", "dead_letters"];

/// The members of a dead letter that a test may name.
const LETTER_FIELDS: [&str; 6] = ["component", "error", "time", "from", "tuple", "raw"];

/// The components that tests may name.
pub struct Known<'a> {
    /// The ids of all components of the file, also of those that are wrong themselves, and whether
    /// each is a spout.
    pub ids: &'a [(String, bool)],
    /// Those that aren't wrong.
    pub components: &'a [ComponentSpec],
}

/// Reads `tests:`. All that is wrong with it is reported.
pub fn read_all(report: &mut Report, node: Option<&Node>, known: &Known<'_>) -> Vec<TestCase> {
    let Some(node) = node else { return Vec::new() };
    let Kind::Map(entries) = &node.kind else {
        let found = node.describe();
        let what = format!("tests: expected `{{ \"name\": Test(input: …) }}`, found {found}");
        report.add(node.head(), what);
        return Vec::new();
    };
    let mut tests = Vec::new();
    let mut names: HashMap<&str, Span> = HashMap::new();
    for (key, value) in entries {
        let Some(name) = key_of(report, "tests", key) else { continue };
        if let Some(first) = names.insert(name, key.span) {
            report.add_again(key.span, format!("the test \"{name}\" is there twice"), first);
            continue;
        }
        if name.trim().is_empty() {
            report.add(key.span, "tests: expected the name of a test, found an empty one");
            continue;
        }
        let mut reader = Reader { report, known, what: format!("test \"{name}\"") };
        tests.extend(reader.test(name, key.span, value));
    }
    tests
}

/// The target of an input or an expectation: a component, and maybe one of its streams.
struct Target<'a> {
    component: &'a ComponentSpec,
    stream: Option<StreamId>,
    title: String,
}

struct Reader<'a, 'k> {
    report: &'a mut Report,
    known: &'a Known<'k>,
    /// The test, for messages.
    what: String,
}

impl<'k> Reader<'_, 'k> {
    fn test(&mut self, name: &str, place: Span, node: &Node) -> Option<TestCase> {
        let what = self.what.clone();
        let record = Record::open(self.report, node, &what, "Test", &TEST_FIELDS)?;
        let clock = record.get("clock").map(|node| (self.time("clock", node), node));
        let has_clock = clock.is_some();
        let clock = clock.and_then(|(time, _)| time).unwrap_or(TEST_CLOCK_DEFAULT);
        let inputs = match record.get("input") {
            Some(node) => self.inputs(node, clock, has_clock),
            None => Vec::new(),
        };
        if record.get("expect").is_none() && record.get("dead_letters").is_none() {
            let text = format!("{what} needs the field \"expect\": the rows that are to come out");
            self.report.add(record.head, text);
        }
        let expected = match record.get("expect") {
            Some(node) => self.expected(node),
            None => Vec::new(),
        };
        let letters = record.get("dead_letters").and_then(|node| self.letters(node));
        let ends = record.get("ends").and_then(|node| self.truth("ends", node)).unwrap_or(true);
        let env = record.get("env").map(|node| self.env(node)).unwrap_or_default();
        let place = self.place(place);
        let name = name.to_owned();
        Some(TestCase { name, place, clock, ends, env, inputs, expected, dead_letters: letters })
    }

    fn add(&mut self, span: Span, text: impl std::fmt::Display) {
        self.report.add(span, format!("{}: {text}", self.what));
    }

    fn place(&self, span: Span) -> TestPlace {
        let place = self.report.sources.place(span);
        TestPlace { file: place.file.into(), line: place.line, column: place.column }
    }

    fn truth(&mut self, field: &str, node: &Node) -> Option<bool> {
        if matches!(node.kind, Kind::Bool) {
            return Some(self.report.sources.text(node.span) == "true");
        }
        let found = node.describe();
        self.add(node.head(), format!("{field}: expected true or false, found {found}"));
        None
    }

    fn time(&mut self, field: &str, node: &Node) -> Option<OffsetDateTime> {
        let example = "a time such as \"2015-12-18T00:05:00Z\"";
        let Some(text) = node.as_text() else {
            let found = node.describe();
            self.add(node.head(), format!("{field}: expected {example}, found {found}"));
            return None;
        };
        match text.parse::<Moment>() {
            Ok(moment) => Some(moment.time()),
            Err(_) => {
                self.add(node.span, format!("{field}: expected {example}, found \"{text}\""));
                None
            }
        }
    }

    fn env(&mut self, node: &Node) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        let Kind::Map(entries) = &node.kind else {
            let found = node.describe();
            let text = format!("env: expected `{{ \"NAME\": \"value\" }}`, found {found}");
            self.add(node.head(), text);
            return env;
        };
        for (key, value) in entries {
            match (key.as_text(), value.as_text()) {
                (Some(name), Some(value)) => {
                    if env.insert(name.to_owned(), value.to_owned()).is_some() {
                        self.add(key.span, format!("env: \"{name}\" is there twice"));
                    }
                }
                _ => self.add(key.span, "env: expected `\"NAME\": \"value\"`"),
            }
        }
        env
    }

    /// The entries of a map whose keys are components or streams.
    fn entries<'t>(&mut self, field: &str, node: &'t Node) -> Vec<(&'t str, Span, &'t Node)> {
        let Kind::Map(entries) = &node.kind else {
            let found = node.describe();
            self.add(node.head(), format!("{field}: expected `{{ \"id\": […] }}`, found {found}"));
            return Vec::new();
        };
        let mut named: Vec<(&str, Span, &Node)> = Vec::new();
        let what = format!("{}: {field}", self.what);
        for (key, value) in entries {
            let Some(name) = key_of(self.report, &what, key) else { continue };
            if let Some((_, first, _)) = named.iter().find(|(known, ..)| *known == name) {
                self.report.add_again(
                    key.span,
                    format!("{what}: \"{name}\" is there twice"),
                    *first,
                );
                continue;
            }
            named.push((name, key.span, value));
        }
        named
    }

    /// The component that a name means. A component that is wrong itself has no answer, and no
    /// further problem.
    fn target(&mut self, field: &str, name: &str, span: Span) -> Option<Target<'k>> {
        let (id, stream) = match name.split_once(':') {
            Some((id, stream)) => (id, Some(stream)),
            None => (name, None),
        };
        let spouts_only = field == "input";
        let known = self.known;
        let component = known.components.iter().find(|component| component.id == id);
        let fits = component.filter(|found| !spouts_only || found.role == Role::Spout);
        let Some(component) = fits else {
            self.unknown_component(field, id, span, component);
            return None;
        };
        let role = if component.role == Role::Spout { "spout" } else { component.role.name() };
        let title = format!("{role} \"{id}\"");
        let is_sink = component.role == Role::Sink;
        let stream = match stream {
            None if spouts_only || is_sink => None,
            None => match component.streams.id(crate::tuple::DEFAULT_STREAM) {
                Some(stream) => Some(stream),
                None => return self.unknown_stream(field, component, "default", span),
            },
            Some(stream) if is_sink => {
                let text = format!(
                    "{field}: sink \"{id}\" has no streams: `\"{id}\"` stands for all that it \
                     gets, found the stream \"{stream}\""
                );
                self.add(span, text);
                return None;
            }
            Some(stream) => match component.streams.id(stream) {
                Some(stream) => Some(stream),
                None => return self.unknown_stream(field, component, stream, span),
            },
        };
        let title = match stream {
            Some(stream) if stream != StreamId::DEFAULT => {
                let name = component.streams.iter().nth(stream.0).map_or("", |(name, _)| name);
                format!("{title}, stream \"{name}\"")
            }
            _ => title,
        };
        Some(Target { component, stream, title })
    }

    fn unknown_component(
        &mut self,
        field: &str,
        id: &str,
        span: Span,
        found: Option<&ComponentSpec>,
    ) {
        let spouts_only = field == "input";
        let of_file = self.known.ids.iter();
        // A component that is wrong itself is reported where it stands.
        let is_wrong = found.is_none()
            && of_file.clone().any(|(known, is_spout)| known == id && (*is_spout || !spouts_only));
        if is_wrong || self.report.incomplete {
            return;
        }
        let fits = of_file.filter(|(_, is_spout)| *is_spout || !spouts_only);
        let known: Vec<_> = fits.map(|(known, _)| known.as_str()).collect();
        let kind = if spouts_only { "spout" } else { "component" };
        let but = match known.as_slice() {
            [] => String::new(),
            known => format!(", but {}", quoted(known.iter().copied())),
        };
        let why = match found {
            Some(found) => {
                format!("\"{id}\" is a {} and takes no posts of a test", found.role.name())
            }
            None => format!("there is no {kind} \"{id}\""),
        };
        let text = format!("{}: {field}: {why}{but}", self.what);
        self.report.add_unknown(span, text, id, known);
    }

    fn unknown_stream<T>(
        &mut self,
        field: &str,
        component: &ComponentSpec,
        stream: &str,
        span: Span,
    ) -> Option<T> {
        let names: Vec<_> = component.streams.iter().map(|(name, _)| name).collect();
        let declares = quoted(names.iter().copied());
        let text = format!(
            "{}: {field}: \"{}\" has no stream \"{stream}\", but {declares}",
            self.what, component.id
        );
        self.report.add_unknown(span, text, stream, names);
        None
    }

    fn inputs(&mut self, node: &Node, clock: OffsetDateTime, has_clock: bool) -> Vec<TestInput> {
        let mut inputs = Vec::new();
        for (name, span, value) in self.entries("input", node) {
            let Some(target) = self.target("input", name, span) else { continue };
            let Kind::List(items) = &value.kind else {
                let found = value.describe();
                let text = format!("input: \"{name}\": expected a list of posts, found {found}");
                self.add(value.head(), text);
                continue;
            };
            let mut now = clock;
            let mut steps = Vec::new();
            for item in items {
                let step = match item.name().map(|name| name.text.as_str()) {
                    Some("Clock") => self.clock_step(&target, item, &mut now, has_clock),
                    _ => self.step(&target, item),
                };
                steps.extend(step);
            }
            let spout = target.component.id.clone();
            inputs.push(TestInput { spout, stream: target.stream, steps });
        }
        inputs
    }

    /// The fields of what a target takes, where that isn't posts.
    fn tuple_fields(target: &Target<'_>) -> Option<Fields> {
        let streams = &target.component.streams;
        if streams.is_empty() {
            return None;
        }
        let fields = streams.fields(target.stream.unwrap_or(StreamId::DEFAULT));
        (*fields != Fields::of_posts()).then(|| fields.clone())
    }

    fn step(&mut self, target: &Target<'_>, item: &Node) -> Option<TestStep> {
        let fields = Self::tuple_fields(target);
        let what = format!("{}: input of \"{}\"", self.what, target.component.id);
        match &item.kind {
            Kind::Text(text) => self.post_or_tuple(target, item, fields.as_ref(), text.as_bytes()),
            Kind::Map(entries) => {
                let mut json = Vec::new();
                write_json(self.report, &what, item, &mut json)?;
                let place = match entries.as_slice() {
                    [(key, _)] if fields.is_none() => key,
                    _ => item,
                };
                self.post_or_tuple(target, place, fields.as_ref(), &json)
            }
            Kind::Tuple { name: Some(name), items } if name.text == "File" => {
                let Some(path) = items.first().filter(|_| items.len() == 1).and_then(Node::as_text)
                else {
                    self.report
                        .add(item.span, format!("{what}: expected `File(\"posts.ndjson\")`"));
                    return None;
                };
                let place = self.place(item.span);
                let folder = Path::new(&place.file).parent().unwrap_or(Path::new(""));
                Some(TestStep::File { path: folder.join(path), place, fields })
            }
            Kind::Struct { name: Some(name), .. } if name.text == "Post" && fields.is_none() => {
                self.post_with_topics(target, &what, item)
            }
            _ => {
                let example = match &fields {
                    None => "a post such as `{\"note\": {\"text\": \"storm\"}}`".to_owned(),
                    Some(fields) => format!("a tuple with the fields {fields}"),
                };
                let text = format!(
                    "{what}: expected {example}, its JSON in quotes, `File(\"posts.ndjson\")` or \
                     `Clock(\"2015-12-18T00:05:00Z\")`, found {}",
                    item.describe()
                );
                let name = item.name().map_or("", |name| name.text.as_str());
                self.report.add_unknown(item.head(), text, name, ["File", "Clock", "Post"]);
                None
            }
        }
    }

    fn post_with_topics(
        &mut self,
        target: &Target<'_>,
        what: &str,
        item: &Node,
    ) -> Option<TestStep> {
        let record = Record::open(self.report, item, what, "Post", &["post", "topics"])?;
        let node = record.required(self.report, "post")?;
        let mut topics = None;
        if let Some(list) = record.get("topics") {
            let texts = match &list.kind {
                Kind::List(items) => items.iter().map(Node::as_text).collect::<Option<Vec<_>>>(),
                _ => None,
            };
            let Some(texts) = texts else {
                self.report.add(list.span, format!("{what}: topics: expected a list of texts"));
                return None;
            };
            topics = Some(Value::List(texts.into_iter().map(Value::from).collect()));
        }
        match self.step(target, node)? {
            TestStep::Post { post, .. } => Some(TestStep::Post { post, topics }),
            _ => {
                self.report.add(node.span, format!("{what}: post: expected a post"));
                None
            }
        }
    }

    fn post_or_tuple(
        &mut self,
        target: &Target<'_>,
        place: &Node,
        fields: Option<&Fields>,
        json: &[u8],
    ) -> Option<TestStep> {
        let id = &target.component.id;
        let result = match fields {
            Some(fields) => {
                tuple_of_json(fields, &String::from_utf8_lossy(json)).map(TestStep::Tuple)
            }
            None => Post::check(Bytes::copy_from_slice(json))
                .map(|post| TestStep::Post { post, topics: None }),
        };
        let step = match result {
            Ok(step) => step,
            Err(error) => {
                self.add(place.span, format!("input of \"{id}\": {error}"));
                return None;
            }
        };
        let Config::Spout(spout) = &target.component.config else { return Some(step) };
        // On a stream of its own, such as "gaps", a source may have posts of other kinds.
        if let (TestStep::Post { post, .. }, Some(kinds)) = (&step, spout.kinds())
            && target.stream.is_none()
            && !kinds.iter().any(|kind| kind == post.kind())
        {
            let kind = post.kind();
            let known = quoted(kinds.iter().map(String::as_str));
            let text = format!(
                "{}: spout \"{id}\" makes no posts of the kind \"{kind}\", but {known}",
                self.what
            );
            self.report.add_unknown(place.span, text, kind, kinds.iter().map(String::as_str));
            return None;
        }
        Some(step)
    }

    fn clock_step(
        &mut self,
        target: &Target<'_>,
        item: &Node,
        now: &mut OffsetDateTime,
        has_clock: bool,
    ) -> Option<TestStep> {
        let form = "`Clock(\"2015-12-18T00:05:00Z\")` or `Clock(\"+5m\")`";
        let Kind::Tuple { items, .. } = &item.kind else {
            self.add(item.span, format!("expected {form}"));
            return None;
        };
        let Some(text) = items.first().filter(|_| items.len() == 1).and_then(Node::as_text) else {
            self.add(item.span, format!("expected {form}"));
            return None;
        };
        if let Config::Spout(spout) = &target.component.config
            && spout.event_time().is_none()
        {
            let id = &target.component.id;
            let text =
                format!("what spout \"{id}\" sends has no event time that a clock could move");
            self.add(item.span, text);
            return None;
        }
        let time = match text.strip_prefix('+') {
            Some(_) if !has_clock => {
                self.add(
                    items[0].span,
                    "expected `clock:` in the test, by which \"+…\" is counted",
                );
                return None;
            }
            Some(by) => match by.parse::<Interval>() {
                Ok(by) => later(*now, by.0),
                Err(error) => {
                    self.add(items[0].span, format!("Clock: {error}"));
                    return None;
                }
            },
            None => self.time("Clock", &items[0])?,
        };
        if time < *now && has_clock {
            self.add(items[0].span, "the clock of a test never goes back");
            return None;
        }
        *now = time;
        Some(TestStep::Clock(time))
    }

    fn expected(&mut self, node: &Node) -> Vec<ExpectedStream> {
        let mut expected = Vec::new();
        for (name, span, value) in self.entries("expect", node) {
            let Some(target) = self.target("expect", name, span) else { continue };
            let fields = self.fields_of(&target);
            let what = format!("{}: expect: {}", self.what, target.title);
            let Some(rows) = self.rows(&what, value, &fields) else { continue };
            let component = target.component.id.clone();
            let (stream, title) = (target.stream, target.title);
            expected.push(ExpectedStream { component, stream, title, rows });
        }
        expected
    }

    /// The fields of each stream that comes to a target.
    fn fields_of(&self, target: &Target<'_>) -> Vec<Fields> {
        if let Some(stream) = target.stream {
            return vec![target.component.streams.fields(stream).clone()];
        }
        let mut all = Vec::new();
        for input in &target.component.inputs {
            if let Some(from) = self.known.components.get(input.from)
                && input.stream.0 < from.streams.len()
            {
                all.push(from.streams.fields(input.stream).clone());
            }
        }
        all
    }

    fn letters(&mut self, node: &Node) -> Option<ExpectedRows> {
        let what = format!("{}: dead_letters", self.what);
        self.rows(&what, node, &[Fields::new(LETTER_FIELDS)])
    }

    fn rows(&mut self, what: &str, node: &Node, fields: &[Fields]) -> Option<ExpectedRows> {
        let place = self.place(node.span);
        let inner = match &node.kind {
            Kind::Tuple { items, .. } => items.first().filter(|_| items.len() == 1),
            _ => None,
        };
        let name = match &node.kind {
            Kind::List(_) => None,
            _ => node.name().map(|name| name.text.as_str()),
        };
        let (kind, list) = match (name, inner) {
            (None, _) => (ExpectedKind::Exactly, node),
            (Some("Ordered"), Some(list)) => (ExpectedKind::Ordered, list),
            (Some("AtLeast"), Some(list)) => (ExpectedKind::AtLeast, list),
            (Some("Count"), Some(count)) if matches!(count.kind, Kind::Number) => {
                let count = self.report.sources.text(count.span).parse().ok();
                if let Some(count) = count {
                    return Some(ExpectedRows {
                        place,
                        kind: ExpectedKind::Count(count),
                        rows: Vec::new(),
                    });
                }
                self.report.add(node.span, format!("{what}: expected `Count(3)`"));
                return None;
            }
            (Some(_), _) => (ExpectedKind::Exactly, node),
        };
        let Kind::List(items) = &list.kind else {
            let found = list.describe();
            let text = format!(
                "{what}: expected a list of rows, `Ordered([…])`, `AtLeast([…])` or `Count(3)`, \
                 found {found}"
            );
            let name = name.unwrap_or_default();
            self.report.add_unknown(list.head(), text, name, ["Ordered", "AtLeast", "Count"]);
            return None;
        };
        if items.len() > EXPECTED_ROWS_MAX {
            let text = format!(
                "{what}: expected {EXPECTED_ROWS_MAX} rows at most, found {}: `Count` takes any \
                 number, and `AtLeast` needs only those that matter",
                items.len()
            );
            self.report.add(list.span, text);
            return None;
        }
        let mut rows = Vec::new();
        for item in items {
            let Some(pattern) = self.row(what, item, fields) else { continue };
            rows.push(ExpectedRow { place: self.place(item.span), pattern });
        }
        Some(ExpectedRows { place, kind, rows })
    }

    /// One row: a map of fields, its JSON in quotes, or a post alone where posts come.
    fn row(&mut self, what: &str, item: &Node, fields: &[Fields]) -> Option<Pattern> {
        let row = match &item.kind {
            Kind::Text(json) => match serde_json::from_str::<serde_json::Value>(json) {
                Ok(json) => Pattern::of_json(&json),
                Err(error) => {
                    self.report.add(item.span, format!("{what}: this is no JSON: {error}"));
                    return None;
                }
            },
            _ => pattern(self.report, what, item)?,
        };
        let members = match row {
            Pattern::Object(members) => members,
            Pattern::Any => return Some(Pattern::Any),
            _ => {
                let found = item.describe();
                let text =
                    format!("{what}: expected a row such as `{{\"field\": 1}}`, found {found}");
                self.report.add(item.head(), text);
                return None;
            }
        };
        let is_field = |name: &str| fields.iter().any(|fields| fields.position(name).is_some());
        let Some(unknown) = members.iter().position(|(name, _)| !is_field(name)) else {
            return Some(Pattern::Object(members));
        };
        let name = &members[unknown].0;
        let names: Vec<_> =
            fields.iter().flat_map(|fields| fields.names().iter().map(String::as_str)).collect();
        let takes_posts = fields.contains(&Fields::of_posts());
        if takes_posts && members.len() == 1 && nearest(name, names.iter().copied()).is_none() {
            return Some(Pattern::Object(vec![("post".into(), Pattern::Object(members))]));
        }
        let key = match &item.kind {
            Kind::Map(entries) => entries.get(unknown).map_or(item.span, |(key, _)| key.span),
            _ => item.span,
        };
        let mut known = names.clone();
        known.sort_unstable();
        known.dedup();
        let text = match known.as_slice() {
            [] => format!("{what}: there is no field \"{name}\""),
            known => format!(
                "{what}: there is no field \"{name}\", but {}",
                quoted(known.iter().copied())
            ),
        };
        self.report.add_unknown(key, text, name, known.iter().copied());
        None
    }
}
