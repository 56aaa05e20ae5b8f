//! The normal form of texts.

use std::borrow::Cow;

use caseless::Caseless;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Returns the text in Unicode's form C, without NUL, which PostgreSQL can't hold.
pub(crate) fn normalised(text: Cow<'_, str>) -> Cow<'_, str> {
    let text = if memchr::memchr(0, text.as_bytes()).is_some() {
        Cow::Owned(text.replace('\0', ""))
    } else {
        text
    };
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        return text;
    }
    text.nfc().collect::<String>().into()
}

/// Appends a case-folded text, by Unicode's full case folding, in form C.
pub(super) fn fold_case_into(text: &str, folded: &mut String) {
    if text.is_ascii() {
        let before = folded.len();
        folded.push_str(text);
        folded[before..].make_ascii_lowercase();
    } else {
        folded.extend(text.chars().default_case_fold().nfc());
    }
}

/// Returns a case-folded text; see [`fold_case_into`].
pub(crate) fn fold_case(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    fold_case_into(text, &mut folded);
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_brought_into_form_c_without_nul() {
        assert!(matches!(normalised("plain".into()), Cow::Borrowed("plain")));
        assert!(matches!(normalised("Ü 日本".into()), Cow::Borrowed("Ü 日本")));
        assert_eq!(normalised("u\u{308}\0 \u{212b}".into()), "ü \u{c5}");
    }

    #[test]
    fn case_is_folded_whole() {
        assert_eq!(fold_case("STRAßE Σίσυφος"), "strasse σίσυφοσ");
        assert_eq!(fold_case("A\u{308}"), "ä");
    }
}
