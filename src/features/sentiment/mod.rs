//! Rates the sentiment of an English text, by VADER's rules and lexicon: Hutto, C.J. and Gilbert,
//! E.E. (2014), "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media
//! Text". The result equals `polarity_scores(text)["compound"]` of the package vaderSentiment
//! 3.3.2, even if it is surprising: the order of its rules is kept.

mod lexicon;

use self::lexicon::{
    Meaning, Name, SPECIAL_CASES, WEAKER_PAIRS, WORD_BYTES_MAX, description, meaning, name,
};

/// The gain of a word in capitals in a text with other words.
const CAPITALS: f64 = 0.733;

/// The factor of a negation.
const NEGATION: f64 = -0.74;

/// The factor of a boost, by its distance from the word.
const BOOST_BY_DISTANCE: [f64; 3] = [1.0, 0.95, 0.9];

/// The constant of the normalisation of the sum of all ratings to -1 to 1: VADER's approximation of
/// the largest sum, squared.
const NORMAL_SUM_SQUARED: f64 = 15.0;

/// A word of a text.
#[derive(Clone, Copy, Debug)]
struct Token {
    meaning: Meaning,
    is_in_capitals: bool,
}

impl Token {
    fn is(&self, word: Name) -> bool {
        self.meaning.name == word
    }

    fn is_one_of(&self, words: [Name; 2]) -> bool {
        words.contains(&self.meaning.name)
    }
}

/// A rater of texts, which reuses its buffers.
#[derive(Default)]
pub(crate) struct Sentiment {
    tokens: Vec<Token>,
    ratings: Vec<f64>,
    described: String,
}

impl Sentiment {
    /// Returns the compound rating of a text, -1 to 1, rounded to four decimals.
    pub(crate) fn compound(&mut self, text: &str) -> f64 {
        let mut described = std::mem::take(&mut self.described);
        let text = describe_emoji(text, &mut described);
        self.read(text);
        let compound = self.rate(text);
        self.described = described;
        compound
    }

    fn read(&mut self, text: &str) {
        self.tokens.clear();
        if text.is_ascii() {
            let parts = text.as_bytes().split(|byte| is_ascii_white_space(*byte));
            for part in parts.filter(|part| !part.is_empty()) {
                self.tokens.push(token_of_ascii(part));
            }
            return;
        }
        for token in text.split(is_white_space).filter(|token| !token.is_empty()) {
            self.tokens.push(token_of(without_punctuation(token)));
        }
    }

    fn rate(&mut self, text: &str) -> f64 {
        let in_capitals = self.tokens.iter().filter(|token| token.is_in_capitals).count();
        let some_in_capitals = 0 < in_capitals && in_capitals < self.tokens.len();
        self.ratings.clear();
        for at in 0..self.tokens.len() {
            self.ratings.push(rating(&self.tokens, at, some_in_capitals));
        }
        weigh_around_but(&self.tokens, &mut self.ratings);
        let mut sum = self.ratings.iter().fold(0.0, |sum, rating| sum + rating);
        if sum > 0.0 {
            sum += emphasis(text);
        } else if sum < 0.0 {
            sum -= emphasis(text);
        }
        let compound = sum / (sum * sum + NORMAL_SUM_SQUARED).sqrt();
        (compound.clamp(-1.0, 1.0) * 10_000.0).round_ties_even() / 10_000.0
    }
}

/// Returns a text with each emoji replaced by its description.
fn describe_emoji<'t>(text: &'t str, described: &'t mut String) -> &'t str {
    if text.is_ascii() {
        return text;
    }
    described.clear();
    let mut is_behind_space = true;
    for char in text.chars() {
        let description = if char.is_ascii() { None } else { description(char) };
        if let Some(description) = description {
            if !is_behind_space {
                described.push(' ');
            }
            described.push_str(description);
        } else {
            described.push(char);
        }
        is_behind_space = description.is_none() && char == ' ';
    }
    described
}

/// Returns true for the characters that Python counts as white space.
fn is_white_space(char: char) -> bool {
    char.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&char)
}

/// Returns true for the same characters in ASCII text.
fn is_ascii_white_space(byte: u8) -> bool {
    byte == b' ' || (b'\t'..=b'\r').contains(&byte) || (0x1c..=0x1f).contains(&byte)
}

/// Returns a word without the punctuation around it. A word that would have two characters or fewer
/// may be an emoticon, and isn't changed.
fn without_punctuation(token: &str) -> &str {
    let stripped = token.trim_matches(|char: char| char.is_ascii_punctuation());
    let has_three = stripped.len() > 2 && stripped.chars().nth(2).is_some();
    if has_three { stripped } else { token }
}

/// Returns the result of [`without_punctuation`] and [`token_of`] for an ASCII word, without
/// decoding characters.
fn token_of_ascii(token: &[u8]) -> Token {
    let mut word = token;
    while let [b, rest @ ..] = word
        && b.is_ascii_punctuation()
    {
        word = rest;
    }
    while let [rest @ .., b] = word
        && b.is_ascii_punctuation()
    {
        word = rest;
    }
    if word.len() <= 2 {
        word = token;
    }
    let mut buffer = [0; WORD_BYTES_MAX];
    let mut found = Meaning::default();
    let (mut has_capital, mut has_small, mut has_apostrophe) = (false, false, false);
    for byte in word {
        has_capital |= byte.is_ascii_uppercase();
        has_small |= byte.is_ascii_lowercase();
        has_apostrophe |= *byte == b'\'';
    }
    if let Some(lower) = buffer.get_mut(..word.len()) {
        lower.copy_from_slice(word);
        lower.make_ascii_lowercase();
        found = meaning(lower);
    }
    found.negates = found.negates || has_apostrophe && has_nt(word);
    Token { meaning: found, is_in_capitals: has_capital && !has_small }
}

fn token_of(word: &str) -> Token {
    let mut buffer = [0; WORD_BYTES_MAX];
    let mut meaning = match lower_case(word, &mut buffer) {
        Some(lower) => meaning(lower),
        None => Meaning::default(),
    };
    meaning.negates = meaning.negates || has_nt(word.as_bytes());
    Token { meaning, is_in_capitals: is_in_capitals(word) }
}

/// Returns the word in lower case, unless it is longer than all words in the lists.
fn lower_case<'b>(word: &str, buffer: &'b mut [u8; WORD_BYTES_MAX]) -> Option<&'b [u8]> {
    if word.is_ascii() {
        let lower = buffer.get_mut(..word.len())?;
        lower.copy_from_slice(word.as_bytes());
        lower.make_ascii_lowercase();
        return Some(lower);
    }
    let mut length = 0;
    for char in word.chars().flat_map(char::to_lowercase) {
        let place = buffer.get_mut(length..length + char.len_utf8())?;
        length += char.encode_utf8(place).len();
    }
    Some(&buffer[..length])
}

/// Returns true if a word contains `n't`, in any case.
fn has_nt(word: &[u8]) -> bool {
    word.windows(3).any(|part| part[1] == b'\'' && part.eq_ignore_ascii_case(b"n't"))
}

/// Returns true if all letters are capitals, and there is at least one.
fn is_in_capitals(word: &str) -> bool {
    if word.is_ascii() {
        let bytes = word.as_bytes();
        return bytes.iter().any(u8::is_ascii_uppercase)
            && !bytes.iter().any(u8::is_ascii_lowercase);
    }
    let mut has_capital = false;
    for char in word.chars() {
        if char.is_lowercase() || is_title_case(char) {
            return false;
        }
        has_capital |= char.is_uppercase();
    }
    has_capital
}

/// Returns true for a character that is a capital and a small letter in one, such as `ǅ`.
fn is_title_case(char: char) -> bool {
    matches!(char, '\u{1c5}' | '\u{1c8}' | '\u{1cb}' | '\u{1f2}' | '\u{1f88}'..='\u{1f8f}'
        | '\u{1f98}'..='\u{1f9f}' | '\u{1fa8}'..='\u{1faf}' | '\u{1fbc}' | '\u{1fcc}' | '\u{1ffc}')
}

/// Returns the rating of one word, which depends on the words before it.
fn rating(tokens: &[Token], at: usize, some_in_capitals: bool) -> f64 {
    let token = &tokens[at];
    let next = tokens.get(at + 1);
    let is_kind_of = token.is(name("kind")) && next.is_some_and(|next| next.is(name("of")));
    if token.meaning.boost != 0.0 || is_kind_of {
        return 0.0;
    }
    let Some(own) = token.meaning.rating else { return 0.0 };
    let mut rating = own;
    if token.is(name("no")) && next.is_some_and(|next| next.meaning.rating.is_some()) {
        rating = 0.0;
    }
    if is_behind_no(tokens, at) {
        rating = own * NEGATION;
    }
    if token.is_in_capitals && some_in_capitals {
        rating += if rating > 0.0 { CAPITALS } else { -CAPITALS };
    }
    for distance in 1..=at.min(3) {
        let before = &tokens[at - distance];
        if before.meaning.rating.is_some() {
            continue;
        }
        rating += boost(before, rating, some_in_capitals) * BOOST_BY_DISTANCE[distance - 1];
        rating = negate(tokens, at, distance, rating);
        if distance == 3 {
            rating = in_idiom(tokens, at, rating);
        }
    }
    if is_behind_least(tokens, at) { rating * NEGATION } else { rating }
}

/// Returns true if a `no` before the word negates it.
fn is_behind_no(tokens: &[Token], at: usize) -> bool {
    let is_no = |distance: usize| at >= distance && tokens[at - distance].is(name("no"));
    is_no(1) || is_no(2) || is_no(3) && tokens[at - 1].is_one_of([name("or"), name("nor")])
}

/// Returns the change of a rating because of a word before it.
fn boost(before: &Token, rating: f64, some_in_capitals: bool) -> f64 {
    let boost = before.meaning.boost;
    if boost == 0.0 {
        return 0.0;
    }
    let boost = if rating < 0.0 { -boost } else { boost };
    if !(before.is_in_capitals && some_in_capitals) {
        boost
    } else if rating > 0.0 {
        boost + CAPITALS
    } else {
        boost - CAPITALS
    }
}

/// Returns the rating after a negation at this distance before the word.
fn negate(tokens: &[Token], at: usize, distance: usize, rating: f64) -> f64 {
    let before = |distance: usize| &tokens[at - distance];
    let so_or_this = [name("so"), name("this")];
    let is_never = before(distance).is(name("never"));
    let is_strengthened = match distance {
        2 => is_never && before(1).is_one_of(so_or_this),
        3 => is_never && before(2).is_one_of(so_or_this) || before(1).is_one_of(so_or_this),
        _ => false,
    };
    let mut is_doubt = (1..distance).map(|nearer| before(nearer).is(name("doubt")));
    if is_strengthened {
        rating * 1.25
    } else if before(distance).is(name("without")) && is_doubt.any(|is_doubt| is_doubt) {
        rating
    } else if before(distance).meaning.negates {
        rating * NEGATION
    } else {
        rating
    }
}

/// Returns the rating of a word as a part of an idiom; at least three words precede it.
fn in_idiom(tokens: &[Token], at: usize, mut rating: f64) -> f64 {
    let names = |from: usize, to: usize| tokens.get(from..to).unwrap_or_default();
    let before = [
        names(at - 1, at + 1),
        names(at - 2, at + 1),
        names(at - 2, at),
        names(at - 3, at),
        names(at - 3, at - 1),
    ];
    if let Some(special) = before.into_iter().find_map(special_case) {
        rating = special;
    }
    for behind in [names(at, at + 2), names(at, at + 3)] {
        rating = special_case(behind).unwrap_or(rating);
    }
    for pair in [names(at - 3, at - 1), names(at - 2, at)] {
        let weaker = WEAKER_PAIRS.iter().find(|(words, _)| are(pair, words));
        rating += weaker.map_or(0.0, |(_, boost)| *boost);
    }
    rating
}

fn special_case(tokens: &[Token]) -> Option<f64> {
    SPECIAL_CASES.iter().find(|(words, _)| are(tokens, words)).map(|(_, rating)| *rating)
}

/// Returns true if the tokens are these words.
fn are(tokens: &[Token], words: &[Name]) -> bool {
    tokens.len() == words.len() && tokens.iter().zip(words).all(|(token, word)| token.is(*word))
}

/// Returns true if a `least` before the word negates it: `at least` and `very least` don't.
fn is_behind_least(tokens: &[Token], at: usize) -> bool {
    let Some(least) = at.checked_sub(1) else { return false };
    if !tokens[least].is(name("least")) || tokens[least].meaning.rating.is_some() {
        return false;
    }
    least == 0 || !tokens[least - 1].is_one_of([name("at"), name("very")])
}

/// Multiplies the ratings before the first `but` by 0.5, and those after it by 1.5. VADER finds the
/// position of each rating by its value, so of several equal ratings the first one is changed each
/// time, and a changed rating that equals another one is changed again.
fn weigh_around_but(tokens: &[Token], ratings: &mut [f64]) {
    let Some(but) = tokens.iter().position(|token| token.is(name("but"))) else { return };
    for i in 0..ratings.len() {
        let rating = ratings[i];
        let first = ratings[..i].iter().position(|other| *other == rating).unwrap_or(i);
        if first < but {
            ratings[first] = rating * 0.5;
        } else if first > but {
            ratings[first] = rating * 1.5;
        }
    }
}

/// Returns the emphasis of exclamation and question marks.
fn emphasis(text: &str) -> f64 {
    let exclamations = memchr::memchr_iter(b'!', text.as_bytes()).count().min(4);
    let questions = memchr::memchr_iter(b'?', text.as_bytes()).count();
    let of_questions = match questions {
        0 | 1 => 0.0,
        2 | 3 => questions as f64 * 0.18,
        _ => 0.96,
    };
    exclamations as f64 * 0.292 + of_questions
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `tests/cli/features.rs` compares these texts with VADER itself.
    #[test]
    fn ratings_are_those_of_vader() {
        for (text, expected) in [
            ("VADER is smart, handsome, and funny.", 0.8316),
            ("VADER is VERY SMART, handsome, and FUNNY!!!", 0.9342),
            ("VADER is not smart, handsome, nor funny.", -0.7424),
            ("At least it isn't a horrible book.", 0.431),
            ("Today only kinda sux! But I'll get by, lol", 0.5249),
            ("", 0.0),
            ("table", 0.0),
        ] {
            assert_eq!(Sentiment::default().compound(text), expected, "{text}");
        }
    }

    #[test]
    fn no_rating_is_minus_zero() {
        assert!(Sentiment::default().compound("").is_sign_positive());
    }

    proptest! {
        #[test]
        fn ascii_text_is_read_as_any_other(text in "[ \t\n\u{1c}a-cNnTtA-B'!.()]{0,30}") {
            let mut ascii = Sentiment::default();
            ascii.read(&text);
            let tokens = text.split(is_white_space).filter(|token| !token.is_empty());
            let others: Vec<Token> = tokens.map(|token| token_of(without_punctuation(token))).collect();
            let shown = |tokens: &[Token]| format!("{:?}", tokens);
            prop_assert_eq!(shown(&ascii.tokens), shown(&others));
        }

        #[test]
        fn any_text_has_a_rating(text: String) {
            prop_assert!(Sentiment::default().compound(&text).abs() <= 1.0);
        }
    }
}
