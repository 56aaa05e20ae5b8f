//! The normal form of texts.

use std::borrow::Cow;

use caseless::Caseless;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::characters::{fold_simple_into, is_normal};

/// Returns the text in Unicode's form C, without NUL, which PostgreSQL can't hold.
pub(crate) fn normalised(text: Cow<'_, str>) -> Cow<'_, str> {
    let text = if memchr::memchr(0, text.as_bytes()).is_some() {
        Cow::Owned(text.replace('\0', ""))
    } else {
        text
    };
    if text.is_ascii() || is_normal(&text) || is_nfc_quick(text.chars()) == IsNormalized::Yes {
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
        return;
    }
    let before = folded.len();
    if !fold_simple_into(text, folded) {
        folded.truncate(before);
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
    use proptest::prelude::*;

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
    proptest! {
        #[test]
        fn every_text_is_brought_into_form_c(text in "(\\PC|[a-é\u{300}-\u{345}\u{3099}가-각\u{1100}-\u{11ff}]){0,12}") {
            let expected: String = text.nfc().collect();
            prop_assert_eq!(normalised(text.into()), expected);
        }

        #[test]
        fn the_short_way_of_folding_gives_the_same(
            text in "(\\PC|[A-Za-zÀ-ɏΑ-ωА-я\u{300}-\u{345}\u{5b0}-\u{5ea}\u{620}-\u{65f}\u{900}-\u{94f}가-힣]){0,12}",
        ) {
            let expected: String = text.chars().default_case_fold().nfc().collect();
            prop_assert_eq!(fold_case(&text), expected);
        }
    }
}
