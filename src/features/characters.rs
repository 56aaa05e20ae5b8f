//! Classes of characters that the rules of entities and terms need, and the standard library
//! doesn't have.

use std::sync::LazyLock;

use caseless::Caseless;
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};
use unicode_normalization::{IsNormalized, is_nfc_quick};

const ALPHABETIC: u8 = 1;
const NUMERIC: u8 = 2;
const MARK: u8 = 4;
/// The character has a canonical combining class, by which Unicode's normal forms order it.
const ORDERED: u8 = 8;
/// The character is the same in form C, behind any other.
const NORMAL: u8 = 16;

/// The classes of the characters up to U+FFFF, which are nearly all characters of posts. The
/// standard library and `unicode_normalization` search for each character; a lookup in this table
/// costs a tenth of that, and the table 64 KiB.
static CLASSES: LazyLock<Box<[u8]>> = LazyLock::new(|| {
    let class = |code: u32| char::from_u32(code).map_or(0, search_class);
    (0..=0xffff).map(class).collect()
});

fn search_class(char: char) -> u8 {
    let bit = |is: bool, class: u8| if is { class } else { 0 };
    bit(char.is_alphabetic(), ALPHABETIC)
        | bit(char.is_numeric(), NUMERIC)
        | bit(is_combining_mark(char), MARK)
        | bit(canonical_combining_class(char) != 0, ORDERED)
        | bit(is_nfc_quick([char].into_iter()) == IsNormalized::Yes, NORMAL)
}

#[inline]
fn class(char: char) -> u8 {
    let known = CLASSES.get(u32::from(char) as usize);
    known.copied().unwrap_or_else(|| search_class(char))
}

/// Returns true for a letter, with the same result as [`char::is_alphabetic`].
pub(super) fn is_alphabetic(char: char) -> bool {
    class(char) & ALPHABETIC != 0
}

/// Returns true for a letter or a number, with the same result as [`char::is_alphanumeric`].
pub(super) fn is_alphanumeric(char: char) -> bool {
    class(char) & (ALPHABETIC | NUMERIC) != 0
}

/// Returns true for a letter or a number, and for a mark that isn't ASCII.
pub(super) fn is_in_word(char: char) -> bool {
    if char.is_ascii() {
        return char.is_ascii_alphanumeric();
    }
    class(char) & (ALPHABETIC | NUMERIC | MARK) != 0
}

/// Returns true if a text is certain to be in form C, by one lookup for each character.
pub(super) fn is_normal(text: &str) -> bool {
    let mut is_behind_ordered = false;
    for char in text.chars() {
        let class = class(char);
        let is_ordered = class & ORDERED != 0;
        // Two ordered marks may have to change places.
        if class & NORMAL == 0 || is_ordered && is_behind_ordered {
            return false;
        }
        is_behind_ordered = is_ordered;
    }
    true
}

/// The case-folded form of each character up to U+FFFF; 0 for one whose form has several characters
/// or isn't certain to be in form C after any other character. 128 KiB.
static FOLDS: LazyLock<Box<[u16]>> = LazyLock::new(|| {
    let fold = |code: u32| char::from_u32(code).and_then(search_fold).unwrap_or_default();
    (0..=0xffff).map(fold).collect()
});

fn search_fold(char: char) -> Option<u16> {
    let mut folded = std::iter::once(char).default_case_fold();
    let (first, second) = (folded.next()?, folded.next());
    let is_stable = is_nfc_quick([first].into_iter()) == IsNormalized::Yes
        && canonical_combining_class(first) == canonical_combining_class(char);
    if second.is_none() && is_stable { u16::try_from(u32::from(first)).ok() } else { None }
}

/// Appends a text, case-folded and in form C, by one lookup for each character. Returns false, with
/// a part of the text appended, if the text has a character that needs more.
pub(super) fn fold_simple_into(text: &str, folded: &mut String) -> bool {
    let mut is_behind_ordered = false;
    for char in text.chars() {
        let fold = FOLDS.get(u32::from(char) as usize).copied().unwrap_or_default();
        let is_ordered = class(char) & ORDERED != 0;
        // Two ordered marks may have to change places.
        if fold == 0 || is_ordered && is_behind_ordered {
            return false;
        }
        is_behind_ordered = is_ordered;
        folded.push(char::from_u32(fold.into()).unwrap_or(char));
    }
    true
}

/// Returns true for a letter that forms one word with each of its neighbours of this sort, by
/// Unicode's rules: the letters of the scripts in which most posts are written, out of those that
/// have spaces between words.
pub(super) fn is_word_letter(char: char) -> bool {
    let is_in_scripts = matches!(
        char,
        'A'..='Z' | 'a'..='z' | '\u{c0}'..='\u{24f}' | '\u{386}'..='\u{52f}'
            | '\u{620}'..='\u{64a}' | '\u{671}'..='\u{6d3}'
            | '\u{904}'..='\u{939}' | '\u{1e00}'..='\u{1fff}' | '\u{ac00}'..='\u{d7a3}'
    );
    is_in_scripts && is_alphabetic(char)
}

/// Returns true for a mark that belongs to the letter before it, by Unicode's rules of words.
pub(super) fn is_word_mark(char: char) -> bool {
    matches!(
        char,
        '\u{300}'..='\u{34e}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}'
            | '\u{900}'..='\u{903}' | '\u{93a}'..='\u{93c}' | '\u{93e}'..='\u{94f}'
    )
}

/// The zeros of all scripts (Unicode's `Nd`); each is followed by nine digits.
const ZEROS: [u32; 66] = [
    0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66,
    0xde6, 0xe50, 0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90,
    0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10,
    0x104a0, 0x10d30, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650,
    0x116c0, 0x11730, 0x118e0, 0x11950, 0x11c50, 0x11d50, 0x11da0, 0x16a60, 0x16ac0, 0x16b50,
    0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e950, 0x1fbf0,
];

/// Returns true for a decimal digit of any script, and false for a number such as `½` or `Ⅷ`.
pub(super) fn is_digit(char: char) -> bool {
    if char.is_ascii() {
        return char.is_ascii_digit();
    }
    let code = u32::from(char);
    let behind = ZEROS.partition_point(|zero| *zero <= code);
    behind > 0 && code - ZEROS[behind - 1] < 10
}

/// Returns true for a letter or a mark that belongs to one, and false for a letter in a circle.
pub(super) fn is_letter_or_mark(char: char) -> bool {
    if char.is_ascii() {
        return char.is_ascii_alphabetic();
    }
    let class = class(char);
    let is_letter = class & (ALPHABETIC | NUMERIC) == ALPHABETIC;
    let is_sign = matches!(char, '\u{24b6}'..='\u{24e9}' | '\u{1f130}'..='\u{1f189}');
    is_letter && !is_sign || class & MARK != 0
}

/// Returns true for a character that may be in a hashtag and isn't a letter, mark or digit.
pub(super) fn is_hashtag_special(char: char) -> bool {
    matches!(
        char,
        '_' | '\u{200c}'
            | '\u{200d}'
            | '\u{a67e}'
            | '\u{5be}'
            | '\u{5f3}'
            | '\u{5f4}'
            | '\u{ff5e}'
            | '\u{301c}'
            | '\u{309b}'
            | '\u{309c}'
            | '\u{30a0}'
            | '\u{30fb}'
            | '\u{3003}'
            | '\u{f0b}'
            | '\u{f0c}'
            | '\u{b7}'
    )
}

/// Returns true for a Latin letter with an accent, or an accent.
pub(super) fn is_latin_accent(char: char) -> bool {
    matches!(
        char,
        '\u{c0}'..='\u{d6}'
            | '\u{d8}'..='\u{f6}'
            | '\u{f8}'..='\u{24f}'
            | '\u{253}'
            | '\u{254}'
            | '\u{256}'
            | '\u{257}'
            | '\u{259}'
            | '\u{25b}'
            | '\u{263}'
            | '\u{268}'
            | '\u{26f}'
            | '\u{272}'
            | '\u{289}'
            | '\u{28b}'
            | '\u{2bb}'
            | '\u{300}'..='\u{36f}'
            | '\u{1e00}'..='\u{1eff}'
    )
}

/// Returns true for a Chinese character.
pub(super) fn is_han(char: char) -> bool {
    matches!(
        char,
        '\u{3005}' | '\u{3007}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}'
    )
}

/// Returns true for a character of the Japanese syllabary in which grammatical forms are written.
pub(super) fn is_hiragana(char: char) -> bool {
    matches!(char, '\u{3041}'..='\u{309f}')
}

/// Returns true for a script in which words can only be separated with a dictionary: Thai, Lao,
/// Burmese, Khmer.
pub(super) fn needs_dictionary(char: char) -> bool {
    matches!(
        char,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
            | '\u{19e0}'..='\u{19ff}' | '\u{a9e0}'..='\u{a9ff}' | '\u{aa60}'..='\u{aa7f}'
    )
}

#[cfg(test)]
mod tests {
    use unicode_segmentation::UnicodeSegmentation;

    use super::*;

    #[test]
    fn the_table_tells_what_a_search_tells() {
        for char in (0..=0x2_ffff).filter_map(char::from_u32) {
            assert_eq!(class(char), search_class(char), "{char:?}");
            assert_eq!(is_alphanumeric(char), char.is_alphanumeric(), "{char:?}");
        }
    }

    #[test]
    fn word_letters_and_marks_are_those_of_unicode() {
        let is_one = |text: String| text.split_word_bounds().count() == 1;
        for char in (0..=0xffff).filter_map(char::from_u32) {
            if is_word_letter(char) {
                let is_joined = is_one(format!("a{char}")) && is_one(format!("{char}{char}a"));
                assert!(is_joined && char.is_alphanumeric(), "{char:?}");
            }
            if is_word_mark(char) {
                assert!(
                    is_one(format!("a{char}a")) && is_one(format!("a{char}{char}")),
                    "{char:?}"
                );
            }
        }
    }
}
