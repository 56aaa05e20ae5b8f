//! Reads `input:` of a test: the steps of each spout.

use std::path::Path;

use bytes::Bytes;
use time::OffsetDateTime;

use super::read::{Reader, Target};
use super::values::{tuple_of_json, write_json};
use super::{TestInput, TestStep};
use crate::clock::later;
use crate::post::Post;
use crate::registry::Config;
use crate::topology::problem::quoted;
use crate::topology::record::Record;
use crate::topology::syntax::{Kind, Node};
use crate::tuple::{Fields, StreamId};
use crate::units::Interval;
use crate::value::Value;

impl Reader<'_, '_> {
    /// Reads the steps of each spout, in order.
    pub(crate) fn inputs(
        &mut self,
        node: &Node,
        clock: OffsetDateTime,
        has_clock: bool,
    ) -> Vec<TestInput> {
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

    /// Returns the fields that a target takes, if it doesn't take posts.
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
        // A source may emit posts of other kinds on a stream of its own, such as "gaps".
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
}
