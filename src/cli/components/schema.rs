//! A component's JSON schema in the words of a topology file.

use serde_json::{Map, Value};

/// One field of a component's configuration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// Its name in RON.
    pub name: String,
    /// Its type: `text`, `integer`, `duration`, `list of text`, `Partition | Time`.
    pub kind: String,
    /// `default 16MiB`, `optional`, or `required`.
    pub default: String,
    /// The meaning of the field.
    pub meaning: String,
}

/// What a schema says about itself, each paragraph on a line of its own.
pub(crate) fn description(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.split("\n\n")
        .map(|paragraph| paragraph.replace('\n', " "))
        .collect::<Vec<_>>()
        .join("\n\n")
}

/// The fields of a configuration, those that are required first, and otherwise by name.
pub(crate) fn fields(schema: &Value) -> Vec<Field> {
    let root = Root(schema);
    let required = |name: &str| {
        schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name))
    };
    let properties = schema["properties"].as_object().into_iter().flatten();
    let mut fields: Vec<(bool, Field)> = properties
        .map(|(name, field)| {
            let needed = required(name);
            (!needed, root.field(name, field, needed))
        })
        .collect();
    fields.sort_by_key(|(optional, _)| *optional);
    fields.into_iter().map(|(_, field)| field).collect()
}

/// The schema that holds the definitions which others refer to.
struct Root<'a>(&'a Value);

impl Root<'_> {
    fn field(&self, name: &str, field: &Value, required: bool) -> Field {
        let default = match field.get("default") {
            _ if required => "required".to_owned(),
            None | Some(Value::Null) => "optional".to_owned(),
            Some(default) => format!("default {}", self.ron(default, field)),
        };
        let own = description(field);
        let meaning = if own.is_empty() { description(self.resolve(field)) } else { own };
        Field { name: name.to_owned(), kind: self.kind(field), default, meaning }
    }

    /// Follows a reference to its definition.
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let Some(name) = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/"))
        else {
            return schema;
        };
        &self.0["$defs"][name]
    }

    fn kind(&self, schema: &Value) -> String {
        let schema = self.resolve(schema);
        if let Some(options) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
            return self.one_of(options.iter());
        }
        if let Some(values) = schema["enum"].as_array() {
            return values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" | ");
        }
        if let Some(name) = schema["const"].as_str() {
            return name.to_owned();
        }
        // A type that may be left out is a list with "null" in it.
        let alternatives = schema["type"].as_array().into_iter().flatten();
        let mut names = alternatives.chain([&schema["type"]]).filter_map(Value::as_str);
        match names.find(|name| *name != "null") {
            Some("string") => schema["format"].as_str().unwrap_or("text").to_owned(),
            Some("array") => format!("list of {}", self.kind(&schema["items"])),
            Some("object") => self.object(schema),
            Some("boolean") => "true or false".to_owned(),
            Some(other) => other.to_owned(),
            None => "any value".to_owned(),
        }
    }

    /// The variants of an enum, or a type that may be left out.
    fn one_of<'a>(&self, options: impl Iterator<Item = &'a Value>) -> String {
        let present = options.filter(|option| option["type"] != "null");
        present.map(|option| self.kind(option)).collect::<Vec<_>>().join(" | ")
    }

    /// A variant with something in it, a struct, or a map.
    fn object(&self, schema: &Value) -> String {
        if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object())
        {
            return format!("map of text to {}", self.kind(values));
        }
        let Some(properties) = schema["properties"].as_object() else { return "map".to_owned() };
        if properties.len() == 1 && schema["additionalProperties"] == false {
            return properties.iter().map(|(name, inner)| self.variant(name, inner)).collect();
        }
        self.parentheses(properties)
    }

    fn variant(&self, name: &str, inner: &Value) -> String {
        let inner = self.resolve(inner);
        match inner["properties"].as_object() {
            Some(properties) => format!("{name}{}", self.parentheses(properties)),
            None => format!("{name}({})", self.kind(inner)),
        }
    }

    fn parentheses(&self, properties: &Map<String, Value>) -> String {
        let fields: Vec<String> = properties
            .iter()
            .map(|(name, inner)| format!("{name}: {}", self.kind(inner)))
            .collect();
        format!("({})", fields.join(", "))
    }

    /// A default as a topology file would write it.
    fn ron(&self, value: &Value, schema: &Value) -> String {
        match value {
            Value::String(text) if self.names(schema, text) => text.clone(),
            Value::Array(values) => {
                let items = &self.resolve(schema)["items"];
                let values: Vec<String> =
                    values.iter().map(|value| self.ron(value, items)).collect();
                format!("[{}]", values.join(", "))
            }
            Value::Object(fields) if fields.is_empty() => "{}".to_owned(),
            other => other.to_string(),
        }
    }

    /// Returns true if a text is the name of a variant, which RON writes without quotes.
    fn names(&self, schema: &Value, text: &str) -> bool {
        let schema = self.resolve(schema);
        let lists = [&schema["oneOf"], &schema["anyOf"], &schema["enum"]];
        let mut options = lists.into_iter().filter_map(Value::as_array).flatten();
        options.any(|option| option == text || option["const"] == text || self.names(option, text))
    }
}
