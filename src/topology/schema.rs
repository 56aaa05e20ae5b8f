//! Checks a component's configuration against its schema: reports all unknown and missing fields at
//! once, and finds the places of text from outside.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::env::{CALLS, Call, Env};
use super::print::Changes;
use super::problem::{Report, nearest, quoted};
use super::record::{report_duplicates, words};
use super::source::Span;
use super::syntax::{Field, Kind, Node};
use crate::secret::{names_a_secret, secret_in_address};

/// `Env(…)` or `File(…)` in a configuration.
pub(super) struct Outside {
    pub call: Call,
    pub span: Span,
    /// True if the field is meant for a secret.
    pub is_secret: bool,
    /// The value to use while text from outside isn't read.
    pub placeholder: String,
}

/// The state and the results of a walk over a configuration, apart from problems.
pub(super) struct Walk<'a> {
    pub report: &'a mut Report,
    pub env: &'a Env,
    /// The whole schema, with its definitions.
    pub schema: &'a Value,
    pub outside: Vec<Outside>,
    /// The fields that are reported already, which `ron` need not see.
    pub changes: Changes,
}

impl<'a> Walk<'a> {
    /// Checks the fields of a component.
    pub(crate) fn component(&mut self, what: &str, head: Span, fields: &[Field]) {
        let schema = self.schema;
        self.fields(what, head, fields, Some(schema));
    }

    fn fields(&mut self, what: &str, head: Span, fields: &[Field], schema: Option<&'a Value>) {
        report_duplicates(self.report, what, fields);
        let known = schema.and_then(known_fields);
        let mut seen = HashMap::new();
        let mut meant = Vec::new();
        for Field { name, value } in fields {
            if seen.insert(name.text.as_str(), ()).is_some() {
                self.changes.left_out.insert(name.span);
            }
            if let Some(known) = known.as_ref().filter(|known| !known.contains(&name.text.as_str()))
            {
                let its = if known.is_empty() {
                    "it has none".into()
                } else {
                    format!("its fields are {}", quoted(known.iter().copied()))
                };
                let text = format!("{what} has no field \"{}\": {its}", name.text);
                self.report.add_unknown(name.span, text, &name.text, known.iter().copied());
                self.changes.left_out.insert(name.span);
                let near = nearest(&name.text, known.iter().copied());
                meant.extend(near);
                let of = near.and_then(|near| schema?["properties"].get(near));
                if of.is_some_and(|of| resolve(self.schema, of)["format"] == "secret")
                    && value.as_text().is_some()
                {
                    self.report.conceal(value.span);
                }
            }
            let of = schema.and_then(|schema| schema["properties"].get(&name.text));
            self.value(&format!("{what}: {}", name.text), value, of);
        }
        for required in schema.into_iter().flat_map(|schema| names(&schema["required"])) {
            // A misspelt field is a single mistake.
            if !seen.contains_key(required) && !meant.contains(&required) {
                self.report.add(head, format!("{what} needs the field \"{required}\""));
            }
        }
    }

    fn value(&mut self, what: &str, node: &Node, schema: Option<&'a Value>) {
        let schema = schema.map(|schema| resolve(self.schema, schema));
        let name = node.name().map(|name| name.text.as_str());
        let variant = name.and_then(|name| variant(self.schema, schema?, name));
        let is_path = schema.is_some_and(|schema| schema["format"] == "path");
        if name.is_some_and(|name| CALLS.contains(&name)) && variant.is_none() {
            if is_path && self.env.guard.is_some() {
                let text = "a path that comes from outside can't be checked: write it as text";
                self.report.add(node.head(), format!("{what}: {text}"));
            }
            return self.call(node, schema);
        }
        if is_path && let Some(other) = self.env.path(self.report, what, node) {
            self.changes.instead.insert(node.span, other);
        }
        if schema.is_some_and(|schema| schema["format"] == "secret")
            && !matches!(name, Some("None" | "Some"))
        {
            let text = format!(
                "{what}: expected `Env(\"NAME\")` or `File(\"path\")`: \
                 no secret stands in a topology file"
            );
            self.report.add(node.head(), text);
            return self.conceal(node);
        }
        if let Some(found) = node.as_text().and_then(secret_in_address) {
            let text = format!(
                "{what}: found an address with {found}: no secret stands in a topology file, \
                 and none is sent to an address; keys have fields of their own"
            );
            self.report.add(node.head(), text);
            return self.conceal(node);
        }
        if let Some((text, variants)) = node.as_text().zip(schema.and_then(Variants::of)) {
            let expected = words(&variants.names);
            let what = format!("{what}: expected {expected} without quotes, found \"{text}\"");
            self.report.add_unknown(node.span, what, text, variants.names);
            // The value is read as a valid variant, so that it isn't reported a second time.
            if let Some(unit) = variants.unit {
                self.changes.instead.insert(node.span, unit.into());
            }
            return;
        }
        match &node.kind {
            Kind::List(items) => {
                let of = schema.and_then(|schema| schema.get("items"));
                items.iter().for_each(|item| self.value(what, item, of));
            }
            Kind::Map(entries) => {
                self.duplicate_keys(what, entries);
                let of = schema.and_then(|schema| schema.get("additionalProperties"));
                for (key, value) in entries {
                    let of = if is_secret_header(key, of) { Some(secret()) } else { of };
                    self.value(what, value, of);
                }
            }
            Kind::Struct { fields, .. } => {
                let of = variant.or(schema.filter(|schema| schema.get("properties").is_some()));
                self.fields(what, node.head(), fields, of);
            }
            Kind::Tuple { items, .. }
                if items.is_empty()
                    && variant.is_some_and(|held| held.get("properties").is_some()) =>
            {
                self.fields(what, node.head(), &[], variant);
            }
            Kind::Tuple { items, .. } => {
                let of = if name == Some("Some") {
                    schema
                } else {
                    variant.filter(|_| items.len() == 1)
                };
                items.iter().for_each(|item| self.value(what, item, of));
            }
            _ => {}
        }
    }

    /// Hides a secret: no message shows it, and `ron` doesn't read it, because an error of `ron`
    /// would repeat it.
    fn conceal(&mut self, node: &Node) {
        self.report.conceal(node.span);
        self.changes.instead.insert(node.span, "\"\"".into());
    }

    fn call(&mut self, node: &Node, schema: Option<&Value>) {
        let Some(call) = self.env.call(self.report, node) else { return };
        let format = schema.and_then(|schema| schema["format"].as_str());
        let placeholder = match format {
            Some("duration") => "1s".into(),
            Some("size") => "1MiB".into(),
            _ => call.ron(),
        };
        let is_secret = format == Some("secret");
        self.outside.push(Outside { call, span: node.span, is_secret, placeholder });
    }

    fn duplicate_keys(&mut self, what: &str, entries: &[(Node, Node)]) {
        let mut seen = HashMap::new();
        for (key, _) in entries {
            let text =
                key.as_text().unwrap_or_else(|| self.report.sources.text(key.span)).to_owned();
            let what = format!("{what} has the key \"{text}\" twice");
            if let Some(first) = seen.insert(text, key.span) {
                self.report.add_again(key.span, what, first);
            }
        }
    }
}

/// Returns the schema of a secret.
fn secret() -> &'static Value {
    static SECRET: LazyLock<Value> =
        LazyLock::new(|| json!({ "type": "string", "format": "secret" }));
    &SECRET
}

/// Returns true if the name of a map's entry is that of a header that carries a secret.
fn is_secret_header(key: &Node, of: Option<&Value>) -> bool {
    let is_header = of.is_some_and(|of| of["format"] == "header");
    let is_secret = |name: &str| names_a_secret(name) || name.eq_ignore_ascii_case("cookie");
    is_header && key.as_text().is_some_and(is_secret)
}

/// Resolves references, and skips the wrappers of optional values.
fn resolve<'s>(root: &'s Value, mut schema: &'s Value) -> &'s Value {
    const STEPS_MAX: usize = 32;
    for _ in 0..STEPS_MAX {
        let reference = schema["$ref"].as_str().and_then(|path| path.strip_prefix('#'));
        let options =
            schema["anyOf"].as_array().map(|all| all.iter().filter(|one| one["type"] != "null"));
        schema = match (reference, options.map(Iterator::collect::<Vec<_>>)) {
            (Some(path), _) => root.pointer(path).unwrap_or(&Value::Null),
            (None, Some(only)) if only.len() == 1 => only[0],
            _ => return schema,
        };
    }
    schema
}

/// The names of an enum's variants.
struct Variants<'s> {
    names: Vec<&'s str>,
    /// A variant without content, if the enum has one.
    unit: Option<&'s str>,
}

impl<'s> Variants<'s> {
    /// Returns the variants of an enum, as serde tags them; `None` for any other schema, such as
    /// text.
    fn of(schema: &'s Value) -> Option<Self> {
        let mut found = Variants { names: Vec::new(), unit: None };
        let alternatives = match schema["oneOf"].as_array() {
            Some(alternatives) => alternatives.iter().collect(),
            None => vec![schema],
        };
        for alternative in alternatives {
            let constant = alternative["const"].as_str();
            let units: Vec<_> = names(&alternative["enum"]).chain(constant).collect();
            found.unit = found.unit.or(units.first().copied());
            let held = alternative["properties"].as_object().filter(|held| held.len() == 1);
            let held = held.filter(|_| schema["oneOf"].is_array());
            let held = held.and_then(|held| held.keys().next()).map(String::as_str);
            if units.is_empty() && held.is_none() {
                return None;
            }
            found.names.extend(units.into_iter().chain(held));
        }
        Some(found)
    }
}

/// Returns the schema of a variant's content, as serde tags it: `{"Name": …}`.
fn variant<'s>(root: &'s Value, schema: &'s Value, name: &str) -> Option<&'s Value> {
    let variants = schema["oneOf"].as_array()?;
    let held = variants.iter().find_map(|variant| variant["properties"].get(name))?;
    Some(resolve(root, held))
}

fn names(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Returns the names of all fields, if the schema is that of a struct.
fn known_fields(schema: &Value) -> Option<Vec<&str>> {
    let open = schema.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false));
    if open || schema["type"] != "object" {
        return None;
    }
    Some(
        schema["properties"]
            .as_object()
            .map(|fields| fields.keys().map(String::as_str).collect())
            .unwrap_or_default(),
    )
}
