//! The words of VADER: their ratings, and their effects on the words after them.
//!
//! `lexicon.txt` and `emoji.txt` are VADER's own data in a shorter form, which `make_lexicon.py`
//! writes. They are under the MIT licence in `LICENSE`.

use std::sync::LazyLock;

use hashbrown::HashMap;

/// The mean ratings, one word per line.
const LEXICON: &str = include_str!("lexicon.txt");

/// The description of each emoji, one per line.
const EMOJI: &str = include_str!("emoji.txt");

/// The number of bytes of the longest word in the lists; a longer one isn't looked up.
pub(super) const WORD_BYTES_MAX: usize = 24;

/// The amount by which a word makes a rating stronger or weaker.
const INCREASE: f64 = 0.293;

/// A word that occurs in the rules, by its number; 0 is any other word.
pub(super) type Name = u8;

/// All words that occur in the rules.
const NAMED: [&str; 33] = [
    "no", "or", "nor", "least", "at", "very", "never", "so", "this", "without", "doubt", "but",
    "kind", "of", "the", "shit", "bomb", "bad", "ass", "bus", "stop", "yeah", "right", "death",
    "to", "die", "for", "beating", "heart", "just", "enough", "sort", "kiss",
];

/// Returns the number of a word that occurs in the rules.
pub(super) const fn name(word: &str) -> Name {
    let mut i = 0;
    while i < NAMED.len() {
        if are_equal(NAMED[i].as_bytes(), word.as_bytes()) {
            return i as Name + 1;
        }
        i += 1;
    }
    panic!("a rule names a word that isn't listed");
}

const fn are_equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// The meaning of a word.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meaning {
    /// Its own rating, if it has one.
    pub rating: Option<f64>,
    /// The change of the rating of a word after it; 0 for most words.
    pub boost: f64,
    /// True if it negates the words after it.
    pub negates: bool,
    /// Its number, if it occurs in the rules.
    pub name: Name,
}

static MEANINGS: LazyLock<HashMap<&'static [u8], Meaning>> = LazyLock::new(|| {
    let mut meanings: HashMap<&'static [u8], Meaning> = HashMap::with_capacity(8_000);
    for line in LEXICON.lines() {
        let (word, rating) = line.split_once('\t').expect("make_lexicon.py parts them so");
        let rating = rating.parse().expect("make_lexicon.py writes a number");
        meanings.entry(word.as_bytes()).or_default().rating = Some(rating);
    }
    for (words, boost) in [(STRONGER, INCREASE), (WEAKER, -INCREASE)] {
        for word in words.split_ascii_whitespace() {
            meanings.entry(word.as_bytes()).or_default().boost = boost;
        }
    }
    for word in NEGATIONS.split_ascii_whitespace() {
        meanings.entry(word.as_bytes()).or_default().negates = true;
    }
    for word in NAMED {
        meanings.entry(word.as_bytes()).or_default().name = name(word);
    }
    meanings
});

static DESCRIPTIONS: LazyLock<HashMap<char, &'static str>> = LazyLock::new(|| {
    let mut descriptions = HashMap::with_capacity(1_300);
    for line in EMOJI.lines() {
        let (sign, description) = line.split_once('\t').expect("make_lexicon.py parts them so");
        let sign = sign.chars().next().expect("make_lexicon.py writes one character");
        descriptions.insert(sign, description);
    }
    descriptions
});

/// Returns the meaning of a word in lower case.
pub(super) fn meaning(word: &[u8]) -> Meaning {
    MEANINGS.get(word).copied().unwrap_or_default()
}

/// Returns the description of an emoji.
pub(super) fn description(sign: char) -> Option<&'static str> {
    DESCRIPTIONS.get(&sign).copied()
}

const NEGATIONS: &str = "aint arent cannot cant couldnt darent didnt doesnt ain't aren't can't \
    couldn't daren't didn't doesn't dont hadnt hasnt havent isnt mightnt mustnt neither don't \
    hadn't hasn't haven't isn't mightn't mustn't neednt needn't never none nope nor not nothing \
    nowhere oughtnt shant shouldnt uhuh wasnt werent oughtn't shan't shouldn't uh-uh wasn't \
    weren't without wont wouldnt won't wouldn't rarely seldom despite";

const STRONGER: &str = "absolutely amazingly awfully completely considerable considerably \
    decidedly deeply effing enormous enormously entirely especially exceptional exceptionally \
    extreme extremely fabulously flipping flippin frackin fracking fricking frickin frigging \
    friggin fully fuckin fucking fuggin fugging greatly hella highly hugely incredible incredibly \
    intensely major majorly more most particularly purely quite really remarkably so \
    substantially thoroughly total totally tremendous tremendously uber unbelievably unusually \
    utter utterly very";

const WEAKER: &str = "almost barely hardly kinda kindof kind-of less little marginal marginally \
    occasional occasionally partly scarce scarcely slight slightly somewhat sorta sortof sort-of";

/// Two or three words that have another rating together than separately. VADER also lists `badass`,
/// but never finds it, since it compares two and three words.
pub(super) const SPECIAL_CASES: [(&[Name], f64); 8] = [
    (&[name("the"), name("shit")], 3.0),
    (&[name("the"), name("bomb")], 3.0),
    (&[name("bad"), name("ass")], 1.5),
    (&[name("bus"), name("stop")], 0.0),
    (&[name("yeah"), name("right")], -2.0),
    (&[name("kiss"), name("of"), name("death")], -1.5),
    (&[name("to"), name("die"), name("for")], 3.0),
    (&[name("beating"), name("heart")], 3.5),
];

/// Two words that make the words after them weaker, as one word of [`WEAKER`] does.
pub(super) const WEAKER_PAIRS: [([Name; 2], f64); 3] = [
    ([name("just"), name("enough")], -INCREASE),
    ([name("kind"), name("of")], -INCREASE),
    ([name("sort"), name("of")], -INCREASE),
];
