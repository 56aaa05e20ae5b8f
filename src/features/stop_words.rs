//! Words that say nothing about the subject of a text, by language.

use std::sync::LazyLock;

use hashbrown::{HashMap, HashSet};

use super::characters::is_in_word;
use super::text::{fold_case, fold_case_into};

/// The words of each language, in any order.
const LISTS: [(&str, &str); 13] = [
    ("ar", include_str!("stop_words/ar.txt")),
    ("de", include_str!("stop_words/de.txt")),
    ("en", include_str!("stop_words/en.txt")),
    ("es", include_str!("stop_words/es.txt")),
    ("fr", include_str!("stop_words/fr.txt")),
    ("hi", include_str!("stop_words/hi.txt")),
    ("id", include_str!("stop_words/id.txt")),
    ("it", include_str!("stop_words/it.txt")),
    ("ko", include_str!("stop_words/ko.txt")),
    ("nl", include_str!("stop_words/nl.txt")),
    ("pt", include_str!("stop_words/pt.txt")),
    ("ru", include_str!("stop_words/ru.txt")),
    ("tr", include_str!("stop_words/tr.txt")),
];

/// The list for texts in an unknown language: most of them are in English.
const FALLBACK: &str = "en";

/// The minimum number of stop words of one language in a text that counts as written in it.
const VOTES_MIN: usize = 2;

/// The stop words of one language.
#[derive(Default)]
pub(crate) struct StopWords(HashSet<String>);

impl StopWords {
    /// Returns true if a case-folded word is a stop word.
    pub(crate) fn contains(&self, word: &str) -> bool {
        self.0.contains(word)
    }
}

static STOP_WORDS: LazyLock<HashMap<&str, StopWords>> = LazyLock::new(|| {
    let words = |list: &str| StopWords(list.split_whitespace().map(fold_case).collect());
    LISTS.into_iter().map(|(language, list)| (language, words(list))).collect()
});

static NONE: LazyLock<StopWords> = LazyLock::new(StopWords::default);

/// Returns the stop words of a language; empty for a language without a list.
pub(crate) fn stop_words(language: Option<&str>) -> &'static StopWords {
    STOP_WORDS.get(language.unwrap_or(FALLBACK)).unwrap_or(&NONE)
}

/// The lists that contain a word, one bit for each, in the order of [`LISTS`].
static LISTS_OF_WORDS: LazyLock<HashMap<String, u16>> = LazyLock::new(|| {
    let mut lists_of_words = HashMap::new();
    for (number, (_, list)) in LISTS.iter().enumerate() {
        for word in list.split_whitespace() {
            *lists_of_words.entry(fold_case(word)).or_default() |= 1 << number;
        }
    }
    lists_of_words
});

/// Returns the language of which a text has the most stop words; `None` if two languages have
/// equally many.
pub(super) fn most_stop_words(text: &str) -> Option<&'static str> {
    let mut votes = [0_usize; LISTS.len()];
    let mut folded = String::new();
    for word in
        text.split(|char: char| char != '\'' && !is_in_word(char)).filter(|word| !word.is_empty())
    {
        folded.clear();
        fold_case_into(word, &mut folded);
        let mut lists = LISTS_OF_WORDS.get(&folded).copied().unwrap_or_default();
        while lists != 0 {
            votes[lists.trailing_zeros() as usize] += 1;
            lists &= lists - 1;
        }
    }
    let most = *votes.iter().max()?;
    let mut first = (0..LISTS.len()).filter(|number| votes[*number] == most);
    let (winner, second) = (first.next()?, first.next());
    (most >= VOTES_MIN && second.is_none()).then_some(LISTS[winner].0)
}
