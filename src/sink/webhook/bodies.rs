//! The body that is sent for a tuple: its fields as JSON, or the output of a template.

use super::Webhook;
use crate::bolt::jq::{Body, BodyTemplate};
use crate::error::{Error, Result};
use crate::tuple::{Fields, Tuple, to_json};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Converts tuples to bodies.
pub(crate) struct Bodies {
    inputs: Vec<Fields>,
    template: Option<BodyTemplate>,
}

/// A body and its content type.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TypedBody {
    pub bytes: Vec<u8>,
    pub content_type: &'static str,
}

impl Bodies {
    /// Creates the converter for tuples with these fields.
    ///
    /// # Errors
    /// If the template is invalid; fatal.
    pub(crate) fn new(config: &Webhook, inputs: &[Fields]) -> Result<Self> {
        let template = config
            .template
            .as_ref()
            .map(|code| BodyTemplate::compile(code, config.max_steps, inputs))
            .transpose()
            .map_err(in_its_words)?;
        Ok(Self { inputs: inputs.to_vec(), template })
    }

    /// Returns true if some tuples may have no body.
    pub(crate) fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// Returns the body of a tuple; `None` if the template gives none.
    ///
    /// # Errors
    /// If the template fails on the tuple, or the topology no longer has the tuple's input.
    pub(crate) fn of(&self, tuple: Tuple<'_>) -> Result<Option<TypedBody>> {
        let fields =
            self.inputs.get(tuple.input).filter(|fields| fields.len() == tuple.values.len());
        let Some(fields) = fields else {
            return Err(Error::rejected("its input isn't in the topology any more"));
        };
        let Some(template) = &self.template else {
            let mut bytes = Vec::new();
            to_json(fields, tuple.values, &mut bytes);
            return Ok(Some(TypedBody { bytes, content_type: JSON }));
        };
        Ok(template.body(tuple).map_err(in_its_words)?.map(|body| match body {
            Body::Json(bytes) => TypedBody { bytes, content_type: JSON },
            Body::Text(bytes) => TypedBody { bytes, content_type: TEXT },
        }))
    }
}

fn in_its_words(error: Error) -> Error {
    error.with_text(|text| text.replace("the jq filter", "the template"))
}
