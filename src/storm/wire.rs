//! The texts in which tuples cross a pipe of Storm. The values stay exact, whatever Java makes of
//! JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::value::{Value, decode, encode};

/// Appends the text of tuples, whose values stand one after the other.
pub(super) fn push_text(values: &[Value], out: &mut String) {
    let mut bytes = Vec::new();
    encode(values, &mut bytes);
    STANDARD_NO_PAD.encode_string(bytes, out);
}

/// Reads the values in a text.
pub(super) fn values(text: &str) -> Option<Vec<Value>> {
    decode(&STANDARD_NO_PAD.decode(text).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::tests::any_value;

    proptest! {
        #[test]
        fn tuples_cross_as_they_are(tuple in prop::collection::vec(any_value(), 0..6)) {
            let mut text = String::new();
            push_text(&tuple, &mut text);
            prop_assert_eq!(values(&text), Some(tuple));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[ -~]{0,40}") {
            let _ = values(&text);
        }
    }
}
