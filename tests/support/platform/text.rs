//! Texts of many scripts, in which topics occur or nearly occur.

use super::super::random::Random;

/// Sentences and their languages. They were written for these tests, and are of no real person.
const SENTENCES: [(&str, &str); 14] = [
    ("The harbour was quiet & the boats stayed in, wind < 4 knots", "en"),
    ("Nobody expected that the old bridge would hold for so long", "en"),
    ("今日は港がとても静かで、船は一隻も出なかった", "ja"),
    ("Der Zug hält heute nicht in Köln – schöne Grüße aus Düsseldorf", "de"),
    ("Сегодня мост закрыт, идите пешком вдоль реки", "ru"),
    ("الجسر القديم ما زال صامدا رغم الريح", "ar"),
    ("आज पुल बंद है, नदी के किनारे पैदल चलें", "hi"),
    ("오늘은 다리가 막혀서 강을 따라 걸었다", "ko"),
    ("วันนี้สะพานปิด เดินเลียบแม่น้ำแทน", "th"),
    ("Η παλιά γέφυρα κρατάει ακόμα, ποιος θα το έλεγε;", "el"),
    ("L'été où l'on a repeint le phare, à côté de l'île", "fr"),
    ("גשר ישן עומד עדיין מול הרוח", "he"),
    ("El puente sigue ahí, ¿quién lo diría? ¡Mañana más!", "es"),
    ("Mosty stoją, a rzeka płynie \u{2014} \"jak zawsze\" <3", "pl"),
];

/// Marks behind sentences: a family, a flag, a skin tone, a combining mark, a letter beyond the
/// first plane.
const MARKS: [&str; 8] =
    ["", "👨\u{200d}👩\u{200d}👧", "🇯🇵", "👍🏽", "e\u{301}", "𝔘", "\n\n", "🌊🌊"];

/// Hashtags that no topic asks for.
const TAGS: [&str; 6] = ["#harbour", "#мост", "#港", "#photo_of_the_day", "#été", "#2026"];

/// A text, and the facts about it.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub text: String,
    /// The hashtags as they are written in the text, without `#`.
    pub tags: Vec<String>,
    pub lang: &'static str,
    /// The number of the author, page or channel.
    pub author: usize,
    /// The topics of the world that the text matches.
    pub topics: Vec<String>,
}

/// The number of authors on each platform, before those that topics name.
pub(crate) const AUTHORS: usize = 40;

/// Makes a text that matches some of the topics, or none.
pub(crate) fn draft(random: &mut Random, topics: &[String], named: &[String]) -> Draft {
    let (sentence, lang) = pick(random, &SENTENCES);
    let mut text = (*sentence).to_owned();
    let mark = pick(random, &MARKS);
    text += if mark.starts_with('\n') { mark } else { " " };
    text += mark.trim_start();
    let mut author = random.below(AUTHORS as u64) as usize;
    let count = [0, 1, 1, 1, 1, 2, 0, 1][random.below(8) as usize];
    for _ in 0..count.min(topics.len()) {
        let topic = pick(random, topics);
        match topic.strip_prefix("from:") {
            Some(name) => {
                author = AUTHORS + named.iter().position(|n| n == name).expect("it is among them")
            }
            None => text += &format!(" {}", written(random, topic)),
        }
    }
    if count == 0 && !topics.is_empty() {
        let topic: &String = pick(random, topics);
        text += &format!(" {}", nearly(topic));
    }
    if random.below(3) == 0 {
        text += &format!(" {}", pick(random, &TAGS));
    }
    let tags = hashtags(&text);
    let mut draft = Draft { text, tags, lang, author, topics: Vec::new() };
    let name = draft.author.checked_sub(AUTHORS).map(|at| named[at].as_str());
    draft.topics = topics
        .iter()
        .filter(|topic| matches(topic, &draft.text, &draft.tags, name))
        .cloned()
        .collect();
    draft
}

fn pick<'a, T>(random: &mut Random, from: &'a [T]) -> &'a T {
    &from[random.below(from.len() as u64) as usize]
}

/// Returns a topic as people may write it.
fn written(random: &mut Random, topic: &str) -> String {
    let topic = bare(topic);
    match random.below(3) {
        0 => topic.to_uppercase(),
        1 => format!("{topic}!"),
        _ => topic.to_owned(),
    }
}

/// Returns words that look like a topic but don't match it: the hashtag's word without `#`, and a
/// longer word.
fn nearly(topic: &str) -> String {
    let topic = bare(topic);
    match topic.strip_prefix('#') {
        Some(word) => format!("{word} #{word}xyz"),
        None => format!("{}ing", topic.split(' ').next().unwrap_or(topic)),
    }
}

/// Returns a topic without quotes.
fn bare(topic: &str) -> &str {
    topic.trim_matches('"')
}

/// Returns true if a text matches a topic. The truth is based on this function, which uses nothing
/// of the crate.
pub(crate) fn matches(topic: &str, text: &str, tags: &[String], author: Option<&str>) -> bool {
    if let Some(name) = topic.strip_prefix("from:") {
        return author.is_some_and(|author| author.eq_ignore_ascii_case(name));
    }
    if let Some(tag) = topic.strip_prefix('#') {
        return tags.iter().any(|t| t.to_lowercase() == tag.to_lowercase());
    }
    has_words(text, bare(topic))
}

/// Returns true if a text has these words, as whole words and in any case.
pub(crate) fn has_words(text: &str, words: &str) -> bool {
    let (text, words) = (text.to_lowercase(), words.to_lowercase());
    let inside = |c: char| c.is_alphanumeric() && !is_unspaced(c);
    text.match_indices(&words).any(|(at, _)| {
        let before =
            text[..at].chars().next_back().is_some_and(inside) && words.starts_with(inside);
        let after =
            text[at + words.len()..].chars().next().is_some_and(inside) && words.ends_with(inside);
        !before && !after
    })
}

/// Returns true for scripts that put no spaces between words.
fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{0e00}'..='\u{0e7f}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}')
}

/// Returns the hashtags of a text, without `#`.
pub(crate) fn hashtags(text: &str) -> Vec<String> {
    spans(text).map(|(at, len)| text[at + 1..at + len].to_owned()).collect()
}

/// Returns the position and the length in bytes of each hashtag of a text, with `#`.
pub(crate) fn spans(text: &str) -> impl Iterator<Item = (usize, usize)> + '_ {
    text.match_indices('#').filter_map(|(at, _)| {
        let rest = &text[at + 1..];
        let len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        (len > 0).then_some((at, len + 1))
    })
}

/// Escapes a text for HTML, and for X.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Writes JSON as servers do that escape slashes and everything beyond ASCII.
pub(crate) fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '/' => out.push_str("\\/"),
            c if c.is_ascii() => out.push(c),
            c => {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out += &format!("\\u{unit:04x}"))
            }
        }
    }
    out
}
