//! Words that say nothing about what a text is about, by language.

use std::sync::LazyLock;

use hashbrown::{HashMap, HashSet};

use super::text::fold_case;

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

/// The stop words of one language.
#[derive(Default)]
pub(crate) struct StopWords(HashSet<String>);

impl StopWords {
    /// True if a word without case is a stop word.
    pub fn contains(&self, word: &str) -> bool {
        self.0.contains(word)
    }
}

static STOP_WORDS: LazyLock<HashMap<&str, StopWords>> = LazyLock::new(|| {
    let words = |list: &str| StopWords(list.split_whitespace().map(fold_case).collect());
    LISTS.into_iter().map(|(language, list)| (language, words(list))).collect()
});

static NONE: LazyLock<StopWords> = LazyLock::new(StopWords::default);

/// The stop words of a language; none of a language without a list.
pub(crate) fn stop_words(language: Option<&str>) -> &'static StopWords {
    STOP_WORDS.get(language.unwrap_or(FALLBACK)).unwrap_or(&NONE)
}
