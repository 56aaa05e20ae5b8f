//! Topics of interest, in one form for all platforms. Each platform filters what it can; the rest
//! is filtered here.

use std::fmt;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::post::Post;
use crate::value::Value;

use super::facts::{Facts, facts};

/// A topic of interest: terms, all of which a post has to fulfil, or a place to read.
///
/// | written | means |
/// |---|---|
/// | `"rust lang"` | both words, anywhere in the text, in any case |
/// | `"\"rust lang\""` | this phrase |
/// | `"#storm"`, `"@user"`, `"$TSLA"` | a hashtag, a mention, a cashtag |
/// | `"from:user"` | an author: a user name, an account `user@host`, a DID, a page's or channel's id |
/// | `"lang:en"` | a language, as the platform says it |
/// | `"storm -rust"` | `-` before a term: posts that don't fulfil the term |
/// | `Page("id")`, `Channel("id")` | all of a Facebook page, all of a YouTube channel |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Written", into = "Written")]
#[schemars(with = "Written")]
pub struct Topic {
    written: Written,
    terms: Vec<Term>,
}

/// A topic as it is written in a topology file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Written {
    Text(String),
    Place(Place),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
enum Place {
    Page(String),
    Channel(String),
}

/// The schema of topics where Facebook pages count.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "it is a schema only")]
pub(crate) enum TopicOrPage {
    Text(String),
    Place(FacebookPage),
}

#[derive(JsonSchema)]
#[allow(dead_code, reason = "it is a schema only")]
pub(crate) enum FacebookPage {
    Page(String),
}

/// The schema of topics where YouTube channels count.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "it is a schema only")]
pub(crate) enum TopicOrChannel {
    Text(String),
    Place(YouTubeChannel),
}

#[derive(JsonSchema)]
#[allow(dead_code, reason = "it is a schema only")]
pub(crate) enum YouTubeChannel {
    Channel(String),
}

/// One condition of a topic. Words are in lower case, without their sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    /// The text has this word.
    Word(String),
    /// The text has these words in a row.
    Phrase(String),
    /// The post has this hashtag.
    Hashtag(String),
    /// The post has this cashtag.
    Cashtag(String),
    /// The post mentions this user.
    Mention(String),
    /// The post is by this author (as written: ids are case-sensitive on some platforms).
    From(String),
    /// The post is in this language.
    Lang(String),
    /// The post comes from this Facebook page.
    Page(String),
    /// The post comes from this YouTube channel.
    Channel(String),
    /// The post doesn't fulfil this term.
    Not(Box<Term>),
}

impl Topic {
    /// Returns the conditions, all of which have to hold.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Returns the topic's name, which stands in the field `topics` of a tuple.
    pub fn name(&self) -> String {
        self.to_string()
    }

    /// Returns the Facebook page's id, if the topic is a page.
    pub fn page(&self) -> Option<&str> {
        match &self.written {
            Written::Place(Place::Page(id)) => Some(id),
            _ => None,
        }
    }

    /// Returns the YouTube channel's id, if the topic is a channel.
    pub fn channel(&self) -> Option<&str> {
        match &self.written {
            Written::Place(Place::Channel(id)) => Some(id),
            _ => None,
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.written {
            Written::Text(text) => f.write_str(text),
            Written::Place(Place::Page(id)) => write!(f, "Page({id})"),
            Written::Place(Place::Channel(id)) => write!(f, "Channel({id})"),
        }
    }
}

impl From<Topic> for Written {
    fn from(topic: Topic) -> Self {
        topic.written
    }
}

impl TryFrom<Written> for Topic {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let terms = match &written {
            Written::Text(text) => terms(text)?,
            Written::Place(Place::Page(id)) => vec![Term::Page(place("Page", id)?)],
            Written::Place(Place::Channel(id)) => vec![Term::Channel(place("Channel", id)?)],
        };
        Ok(Self { written, terms })
    }
}

impl std::str::FromStr for Topic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Written::Text(text.into()).try_into()
    }
}

fn place(what: &str, id: &str) -> Result<String, String> {
    let good = !id.is_empty()
        && id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let example = if what == "Channel" { "UC_x5XG1OV2P6uZZ5FSM9Ttw" } else { "20531316728" };
    if good {
        return Ok(id.into());
    }
    Err(format!(
        "bad topic `{what}(\"{id}\")`: expected an id such as {what}(\"{example}\"), and no address or handle"
    ))
}

/// Parses the terms of a text, in its order.
fn terms(text: &str) -> Result<Vec<Term>, String> {
    let mut terms = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (negated, term) = match rest.strip_prefix('-') {
            Some(term) => (true, term),
            None => (false, rest),
        };
        let (term, behind) = match term.strip_prefix('"') {
            Some(phrase) => {
                let (phrase, behind) = phrase.split_once('"').ok_or_else(|| {
                    format!("bad topic \"{text}\": expected a second quote behind {rest}")
                })?;
                (one_phrase(phrase), behind)
            }
            None => {
                let end = term.find(char::is_whitespace).unwrap_or(term.len());
                (one_term(&term[..end]), &term[end..])
            }
        };
        let term =
            term.ok_or_else(|| format!("bad topic \"{text}\": expected a word at \"{rest}\""))?;
        terms.push(if negated { Term::Not(Box::new(term)) } else { term });
        rest = behind.trim_start();
    }
    if terms.iter().all(|term| matches!(term, Term::Not(_))) {
        return Err(format!(
            "bad topic \"{text}\": expected something to look for, such as \"rust lang\" or \"#storm\""
        ));
    }
    Ok(terms)
}

fn one_phrase(text: &str) -> Option<Term> {
    let phrase = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    (!phrase.is_empty()).then_some(Term::Phrase(phrase))
}

fn one_term(text: &str) -> Option<Term> {
    let named = |prefix: &str| text.strip_prefix(prefix).filter(|rest| !rest.is_empty());
    let lower = |rest: &str| rest.to_lowercase();
    if let Some(author) = named("from:") {
        return Some(Term::From(author.trim_start_matches('@').into()));
    }
    if let Some(lang) = named("lang:") {
        return Some(Term::Lang(lower(lang)));
    }
    match text.chars().next()? {
        '#' | '＃' => {
            text.chars().nth(1).map(|_| Term::Hashtag(lower(text.trim_start_matches(['#', '＃']))))
        }
        '@' => named("@").map(|user| Term::Mention(lower(user))),
        '$' => named("$").map(|symbol| Term::Cashtag(lower(symbol))),
        _ if matches!(text, "from:" | "lang:") => None,
        _ => Some(Term::Word(lower(text))),
    }
}

/// All topics of a source, ready for comparison with posts.
#[derive(Clone, Debug)]
pub struct Topics {
    topics: Arc<[Topic]>,
    names: Arc<[Value]>,
    needles: Needles,
}

/// All words and phrases of all topics, found in one pass over a text.
#[derive(Clone, Debug)]
struct Needles {
    texts: Arc<[String]>,
    automaton: AhoCorasick,
}

impl Needles {
    fn of(topics: &[Topic]) -> Self {
        fn gather<'t>(term: &'t Term, texts: &mut Vec<&'t str>) {
            match term {
                Term::Word(text) | Term::Phrase(text) => texts.push(text),
                Term::Not(term) => gather(term, texts),
                _ => {}
            }
        }
        let mut texts = Vec::new();
        topics.iter().flat_map(|topic| &topic.terms).for_each(|term| gather(term, &mut texts));
        texts.sort_unstable();
        texts.dedup();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(&texts)
            .expect("the words of a topology file are few enough for an automaton");
        Self { texts: texts.into_iter().map(str::to_owned).collect(), automaton }
    }

    /// Returns which of the texts occur in `text` as whole words.
    fn found(&self, text: &str) -> Vec<bool> {
        let mut found = vec![false; self.texts.len()];
        for hit in self.automaton.find_overlapping_iter(text) {
            found[hit.pattern().as_usize()] |= is_whole(text, hit.start(), hit.end());
        }
        found
    }

    fn position(&self, text: &str) -> Option<usize> {
        self.texts.binary_search_by(|known| known.as_str().cmp(text)).ok()
    }
}

/// Returns true if the text between two byte offsets isn't part of a longer word. Scripts that
/// write words without spaces (Han, kana, Thai and others) have no such bounds.
fn is_whole(text: &str, start: usize, end: usize) -> bool {
    let inside =
        |c: Option<char>| c.is_some_and(|c| (c.is_alphanumeric() || c == '_') && !is_unspaced(c));
    let (first, last) = (text[start..end].chars().next(), text[start..end].chars().next_back());
    let goes_on_before = inside(first) && inside(text[..start].chars().next_back());
    let goes_on_behind = inside(last) && inside(text[end..].chars().next());
    !goes_on_before && !goes_on_behind
}

fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

impl Topics {
    /// Prepares these topics, in their order.
    pub fn new(topics: &[Topic]) -> Self {
        let names = topics.iter().map(|topic| Value::Text(topic.name().into())).collect();
        Self { topics: topics.into(), names, needles: Needles::of(topics) }
    }

    /// Returns the topics.
    pub fn all(&self) -> &[Topic] {
        &self.topics
    }

    /// Returns true if there are no topics: then every post is wanted.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Returns the names of the topics that a post matches: by its own content, and by the
    /// platform's `matching_rules`, whose tags are the topics' names.
    pub fn of(&self, post: &Post) -> Value {
        if self.topics.is_empty() {
            return Value::List([].into());
        }
        let matched = self.matched(post);
        Value::List(
            self.names
                .iter()
                .zip(matched)
                .filter(|(_, matched)| *matched)
                .map(|(name, _)| name.clone())
                .collect(),
        )
    }

    /// Returns true if a post is wanted: if it matches a topic, or if there are no topics.
    pub fn want(&self, post: &Post) -> bool {
        self.topics.is_empty() || self.matched(post).contains(&true)
    }

    fn matched(&self, post: &Post) -> Vec<bool> {
        let facts = facts(post);
        let text = facts.text.to_lowercase();
        let found = self.needles.found(&text);
        let holds = |topic: &Topic| {
            facts.rules.iter().any(|rule| *rule == topic.name())
                || topic.terms.iter().all(|term| self.holds(term, &facts, &found))
        };
        self.topics.iter().map(holds).collect()
    }

    fn holds(&self, term: &Term, facts: &Facts<'_>, found: &[bool]) -> bool {
        let is = |known: &str, wanted: &str| known.to_lowercase() == *wanted;
        match term {
            Term::Word(text) | Term::Phrase(text) => {
                self.needles.position(text).is_some_and(|at| found[at])
            }
            Term::Hashtag(tag) => facts.labels.hashtags.iter().any(|known| is(known, tag)),
            Term::Cashtag(tag) => facts.labels.cashtags.iter().any(|known| is(known, tag)),
            Term::Mention(user) => facts.labels.mentions.iter().any(|known| is(known, user)),
            Term::From(author) => {
                facts.authors.iter().any(|known| known.eq_ignore_ascii_case(author))
            }
            Term::Lang(lang) => facts.labels.langs.iter().any(|known| speaks(known, lang)),
            Term::Page(id) | Term::Channel(id) => facts.labels.place.as_deref() == Some(id),
            Term::Not(term) => !self.holds(term, facts, found),
        }
    }
}

/// Returns true if a language tag belongs to a language: `en-GB` belongs to `en`.
fn speaks(tag: &str, lang: &str) -> bool {
    let tag = tag.to_lowercase();
    tag == *lang || tag.strip_prefix(lang).is_some_and(|rest| rest.starts_with('-'))
}

#[cfg(test)]
mod tests;
