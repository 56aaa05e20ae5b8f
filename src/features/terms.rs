//! Finds the words of a text that can become trends.

use hashbrown::HashTable;
use unicode_segmentation::UnicodeSegmentation;
use xxhash_rust::xxh3::xxh3_64;

use super::characters::{
    is_alphabetic, is_alphanumeric, is_han, is_hiragana, is_word_letter, is_word_mark,
    needs_dictionary,
};
use super::entities::Entity;
use super::stop_words::StopWords;
use super::text::fold_case_into;
use crate::value::Text;

/// The maximum number of terms of one post. A long description of a video has many, and each is a
/// tuple of the stream `keys`.
const TERMS_MAX: usize = 500;

/// A finder of the terms of texts, which reuses its buffers.
#[derive(Default)]
pub(crate) struct Terms {
    /// The position of each term in the list, by its hash.
    places: HashTable<usize>,
    folded: String,
}

impl Terms {
    /// Finds the terms of a text, each once, in order: its words by Unicode's rules, case-folded,
    /// and without stop words, numbers and single letters. In Chinese and Japanese, which are
    /// written without spaces, two neighbouring characters are a term if at least one of them is
    /// Chinese.
    pub(crate) fn find(
        &mut self,
        text: &str,
        entities: &[Entity],
        stop_words: &StopWords,
        found: &mut Vec<Text>,
    ) {
        self.places.clear();
        found.clear();
        let mut from = 0;
        for entity in entities {
            self.find_in(&text[from..entity.range.start], stop_words, found);
            from = entity.range.end;
        }
        self.find_in(&text[from..], stop_words, found);
    }

    fn find_in(&mut self, text: &str, stop_words: &StopWords, found: &mut Vec<Text>) {
        for part in text.split_ascii_whitespace() {
            if found.len() >= TERMS_MAX {
                return;
            }
            if part.is_ascii() {
                each_ascii_word(part, |word| self.add(word, stop_words, found));
            } else if let Some(word) = only_word(part) {
                self.add(word, stop_words, found);
            } else {
                self.find_in_other_scripts(part, stop_words, found);
            }
        }
    }

    fn find_in_other_scripts(&mut self, text: &str, stop_words: &StopWords, found: &mut Vec<Text>) {
        let mut run = Run::default();
        for (at, word) in text.split_word_bound_indices() {
            let Some(first) = word.chars().next() else { continue };
            if !word.chars().any(is_alphanumeric) {
                continue;
            }
            if is_han(first) || is_hiragana(first) {
                if run.end != at {
                    self.end_run(&run, text, found);
                    run = Run::default();
                }
                if let Some(before) = run.last
                    && (is_han(before) || is_han(first))
                {
                    self.add_once(&text[run.last_at..at + word.len()], found);
                }
                let end = at + word.len();
                run = Run { last: Some(first), last_at: at, end, length: run.length + 1 };
                continue;
            }
            self.end_run(&run, text, found);
            run = Run::default();
            if !needs_dictionary(first) {
                self.add(word, stop_words, found);
            }
        }
        self.end_run(&run, text, found);
    }

    /// Ends a run of characters. A single Chinese character is a term, too.
    fn end_run(&mut self, run: &Run, text: &str, found: &mut Vec<Text>) {
        if let Some(last) = run.last
            && run.length == 1
            && is_han(last)
        {
            self.add_once(&text[run.last_at..run.end], found);
        }
    }

    /// Adds a word if it is a term.
    fn add(&mut self, word: &str, stop_words: &StopWords, found: &mut Vec<Text>) {
        let mut folded = std::mem::take(&mut self.folded);
        folded.clear();
        fold_case_into(word, &mut folded);
        let is_ascii = folded.is_ascii();
        if !is_ascii && folded.contains('\u{2019}') {
            folded = folded.replace('\u{2019}', "'");
        }
        let word = folded.strip_suffix("'s").unwrap_or(&folded);
        let is_candidate = if is_ascii {
            word.len() > 1 && word.bytes().any(|byte| byte.is_ascii_alphabetic())
        } else {
            word.chars().nth(1).is_some() && word.chars().any(is_alphabetic)
        };
        let is_whole = word.len() == folded.len();
        if is_candidate && !stop_words.contains(word) && (is_whole || !stop_words.contains(&folded))
        {
            self.add_once(word, found);
        }
        self.folded = folded;
    }

    fn add_once(&mut self, term: &str, found: &mut Vec<Text>) {
        let hash = xxh3_64(term.as_bytes());
        if found.len() >= TERMS_MAX || self.places.find(hash, |at| found[*at] == term).is_some() {
            return;
        }
        self.places.insert_unique(hash, found.len(), |at| xxh3_64(found[*at].as_bytes()));
        found.push(Text::new(term));
    }
}

/// Returns the word of a text without white space that is nothing but a word of letters with ASCII
/// punctuation around it: the word that Unicode's rules find, for a tenth of the time.
fn only_word(text: &str) -> Option<&str> {
    // An underscore belongs to the word.
    let word = text.trim_matches(|char: char| char != '_' && char.is_ascii_punctuation());
    let mut chars = word.chars();
    let is_word = chars.next().is_some_and(is_word_letter)
        && chars.all(|char| is_word_letter(char) || is_word_mark(char));
    is_word.then_some(word)
}

/// Neighbouring characters of Chinese and Japanese.
#[derive(Default)]
struct Run {
    last: Option<char>,
    /// The offset of the last character in the text; marks may follow the character.
    last_at: usize,
    /// The end of the last character in the text.
    end: usize,
    length: usize,
}

/// Calls `take` with each word of ASCII text. The words are those of Unicode's rules, for a tenth
/// of the time.
fn each_ascii_word(text: &str, mut take: impl FnMut(&str)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        while at < bytes.len() && goes_on(bytes, start, at) {
            at += 1;
        }
        if bytes[start..at].iter().any(u8::is_ascii_alphanumeric) {
            take(&text[start..at]);
        }
        at += usize::from(at == start);
    }
}

/// Returns true if the byte belongs to the word that begins at `start`.
fn goes_on(bytes: &[u8], start: usize, at: usize) -> bool {
    let byte = bytes[at];
    if byte.is_ascii_alphanumeric() || byte == b'_' {
        return true;
    }
    if at == start {
        return false;
    }
    let (before, behind) = (bytes[at - 1], bytes.get(at + 1).copied().unwrap_or_default());
    let joins_letters = matches!(byte, b'.' | b'\'' | b':');
    let joins_digits = matches!(byte, b'.' | b'\'' | b',' | b';');
    joins_letters && before.is_ascii_alphabetic() && behind.is_ascii_alphabetic()
        || joins_digits && before.is_ascii_digit() && behind.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::entities::find_entities;
    use super::super::stop_words::stop_words;
    use super::*;

    fn terms(text: &str, language: &str) -> String {
        let (mut entities, mut found) = (Vec::new(), Vec::new());
        find_entities(text, &mut entities);
        Terms::default().find(text, &entities, stop_words(Some(language)), &mut found);
        found.join(" ")
    }

    #[test]
    fn terms_are_words_without_case_and_stop_words() {
        assert_eq!(
            terms("The Storm, a STORM! wasn't COVID-19's end; U.S. re-run", "en"),
            "storm covid end u.s re run"
        );
        assert_eq!(terms("Der Sturm und die Straße, Größe", "de"), "sturm strasse grösse");
        assert_eq!(terms("don\u{2019}t Ann\u{2019}s a é 12 3.5 ½ x2", "en"), "ann x2");
        assert_eq!(terms("буря и МОРЕ в море", "ru"), "буря море");
        assert_eq!(terms("안녕 세계 수", "ko"), "안녕 세계");
    }

    #[test]
    fn entities_are_no_terms() {
        assert_eq!(
            terms("see https://example.org/storm @ann #rain $ABC a/storm example.com", "en"),
            "storm"
        );
    }

    #[test]
    fn scripts_without_spaces_give_pairs() {
        assert_eq!(terms("東京都は雨です", "ja"), "東京 京都 都は は雨 雨で");
        assert_eq!(terms("雨。カタカナの 風", "ja"), "雨 カタカナ 風");
        assert_eq!(terms("今日天气", "zh"), "今日 日天 天气");
        assert_eq!(terms("อากาศดี abc", "th"), "abc");
    }

    #[test]
    fn a_long_text_has_a_bounded_number_of_terms() {
        let words: Vec<String> = (0..2 * TERMS_MAX).map(|number| format!("word{number}")).collect();
        assert_eq!(terms(&words.join(" "), "en").split(' ').count(), TERMS_MAX);
    }

    proptest! {
        #[test]
        fn ascii_words_are_those_of_unicode(text in "[a-cA-C0-2_.,:;'\"@#$ /-]{0,30}") {
            let mut words = Vec::new();
            for part in text.split_ascii_whitespace() {
                each_ascii_word(part, |word| words.push(word.to_owned()));
            }
            prop_assert_eq!(words, text.unicode_words().collect::<Vec<_>>());
        }

        #[test]
        fn an_only_word_is_that_of_unicode(
            text in "[\"'(#._:,]{0,2}[a-zA-Zà-ɏα-ωа-я\u{301}\u{620}-\u{652}\u{900}-\u{94f}가-힣ア日1_']{1,5}[\"').,:;!?_…]{0,2}",
        ) {
            if let Some(word) = only_word(&text) {
                prop_assert_eq!(vec![word], text.unicode_words().collect::<Vec<_>>());
            }
        }

        #[test]
        fn no_text_makes_the_search_panic(text: String) {
            let _ = terms(&text, "en");
        }
    }
}
