//! Classes of characters that the rules of entities and terms need, and the standard library
//! doesn't have.

use std::sync::LazyLock;

use unicode_normalization::char::is_combining_mark;

const ALPHABETIC: u8 = 1;
const NUMERIC: u8 = 2;
const MARK: u8 = 4;

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

/// Returns true for a letter or a number, and for a mark that isn't ASCII.
pub(super) fn is_in_word(char: char) -> bool {
    if char.is_ascii() { char.is_ascii_alphanumeric() } else { class(char) != 0 }
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
    use super::*;

    #[test]
    fn the_table_tells_what_a_search_tells() {
        for char in (0..=0x2_ffff).filter_map(char::from_u32) {
            assert_eq!(class(char), search_class(char), "{char:?}");
        }
    }
}
