//! Extracts all features of a post.

use std::borrow::Cow;

use super::entities::{Entity, EntityKind, find_entities};
use super::language::{GivenLanguage, LanguageCode, detect_language, given_language};
use super::links::registrable_domain;
use super::sentiment::Sentiment;
use super::stop_words::stop_words;
use super::terms::Terms;
use super::text::{fold_case, normalised};
use crate::post::{Post, PostFacts};
use crate::value::Text;

/// The language of the texts that can be rated.
const RATED_LANGUAGE: &str = "en";

/// The features of a post, together with the facts that it states itself.
pub(crate) struct PostFeatures<'p> {
    /// The facts that the post states.
    pub facts: PostFacts<'p>,
    /// Its text in normal form.
    pub text: Option<Cow<'p, str>>,
    /// The language of the text.
    pub language: Option<LanguageCode>,
    /// True if the language was detected, and isn't given by the platform.
    pub is_language_detected: bool,
}

impl PostFeatures<'_> {
    /// Returns the text, unless it only has white space.
    fn words(&self) -> Option<&str> {
        self.text.as_deref().filter(|text| !text.trim_start().is_empty())
    }

    fn language_code(&self) -> Option<&str> {
        self.language.as_ref().map(LanguageCode::as_str)
    }
}

/// The features of a post that are lists.
#[derive(Default)]
pub(crate) struct FeatureLists {
    pub hashtags: Vec<Text>,
    pub cashtags: Vec<Text>,
    pub mentions: Vec<Text>,
    pub urls: Vec<Text>,
    pub domains: Vec<Text>,
    pub terms: Vec<Text>,
}

/// The features that somebody reads; the others may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NeededFeatures {
    pub text: bool,
    pub hashtags: bool,
    pub mentions: bool,
    pub domains: bool,
    pub terms: bool,
    /// Cashtags and addresses.
    pub others: bool,
}

impl NeededFeatures {
    pub(crate) const ALL: Self = Self {
        text: true,
        hashtags: true,
        mentions: true,
        domains: true,
        terms: true,
        others: true,
    };
    pub(crate) const NONE: Self = Self {
        text: false,
        hashtags: false,
        mentions: false,
        domains: false,
        terms: false,
        others: false,
    };
}

impl FeatureLists {
    fn clear(&mut self) {
        let Self { hashtags, cashtags, mentions, urls, domains, terms } = self;
        for list in [hashtags, cashtags, mentions, urls, domains, terms] {
            list.clear();
        }
    }
}

/// An extractor of the features of posts, which reuses its buffers.
#[derive(Default)]
pub(crate) struct Extractor {
    detects_language: bool,
    rates_sentiment: bool,
    /// The lists of the last post.
    pub lists: FeatureLists,
    entities: Vec<Entity>,
    sentiment: Sentiment,
    terms: Terms,
    words: String,
}

impl Extractor {
    /// Creates an extractor. It detects languages that a platform doesn't give if
    /// `detects_language` is true, and rates English texts if `rates_sentiment` is true.
    pub(crate) fn new(detects_language: bool, rates_sentiment: bool) -> Self {
        Self { detects_language, rates_sentiment, ..Self::default() }
    }

    /// Returns the features of a post; its lists, as far as they are needed, are in `lists` until
    /// the next call.
    pub(crate) fn extract<'p>(
        &mut self,
        post: &'p Post,
        needed: NeededFeatures,
    ) -> PostFeatures<'p> {
        let mut facts = post.facts();
        self.lists.clear();
        self.entities.clear();
        let tag = facts.content.labels.langs.first();
        let given = given_language(tag.map(|tag| &**tag));
        let detects = self.detects_language && matches!(given, GivenLanguage::Unknown);
        let reads_entities = detects || needed.terms || reads_entities(&facts, needed);
        let mut text = None;
        if needed.text || self.rates_sentiment || reads_entities {
            text = facts.content.text.take().map(normalised);
        }
        let mut features =
            PostFeatures { facts, text, language: None, is_language_detected: false };
        if reads_entities {
            find_entities(features.words().unwrap_or_default(), &mut self.entities);
        }
        match (given, features.words()) {
            (GivenLanguage::Named(language), _) => features.language = Some(language),
            (GivenLanguage::Unknown, Some(words)) if detects => {
                let detected = detect_language(words, &self.entities, &mut self.words);
                features.language = detected;
                features.is_language_detected = detected.is_some();
            }
            _ => {}
        }
        self.fill_lists(&features, needed);
        features
    }

    /// Returns the rating of the text, -1 to 1, if it is in English and ratings are wanted.
    pub(crate) fn rate(&mut self, features: &PostFeatures<'_>) -> Option<f64> {
        let is_rated = self.rates_sentiment && features.language_code() == Some(RATED_LANGUAGE);
        features.words().filter(|_| is_rated).map(|words| self.sentiment.compound(words))
    }

    /// Takes the entities that the platform found, or else those in the text, and finds the terms.
    fn fill_lists(&mut self, features: &PostFeatures<'_>, needed: NeededFeatures) {
        let text = features.words().unwrap_or_default();
        let marked = &features.facts.entities;
        let entities = &self.entities;
        let in_text = |kind: EntityKind| {
            let entities = entities.iter().filter(move |entity| entity.kind == kind);
            entities.map(|entity| entity.name(text))
        };
        let lists = &mut self.lists;
        if needed.hashtags {
            match &marked.hashtags {
                Some(hashtags) => add_each(hashtags, fold_hashtag, &mut lists.hashtags),
                None => add_each(in_text(EntityKind::Hashtag), fold_hashtag, &mut lists.hashtags),
            }
            add_each(&marked.more_hashtags, fold_hashtag, &mut lists.hashtags);
        }
        if needed.others {
            match &marked.cashtags {
                Some(cashtags) => add_each(cashtags, fold_cashtag, &mut lists.cashtags),
                None => add_each(in_text(EntityKind::Cashtag), fold_cashtag, &mut lists.cashtags),
            }
        }
        if needed.mentions {
            match &marked.mentions {
                Some(mentions) => add_each(mentions, fold_mention, &mut lists.mentions),
                None => add_each(in_text(EntityKind::Mention), fold_mention, &mut lists.mentions),
            }
        }
        if needed.others || needed.domains {
            match &marked.urls {
                Some(urls) => add_each(urls, as_written, &mut lists.urls),
                None => add_each(in_text(EntityKind::Address), as_written, &mut lists.urls),
            }
            add_each(&marked.more_urls, as_written, &mut lists.urls);
        }
        if needed.domains {
            for url in &lists.urls {
                if let Some(domain) = registrable_domain(url) {
                    add_once(Text::new(&domain), &mut lists.domains);
                }
            }
        }
        if needed.terms {
            let stop_words = stop_words(features.language_code());
            self.terms.find(text, &self.entities, stop_words, &mut lists.terms);
        }
    }
}

/// Returns true if a needed list has to be found in the text, since the platform doesn't say.
fn reads_entities(facts: &PostFacts<'_>, needed: NeededFeatures) -> bool {
    let marked = &facts.entities;
    needed.hashtags && marked.hashtags.is_none()
        || needed.mentions && marked.mentions.is_none()
        || needed.others && marked.cashtags.is_none()
        || (needed.others || needed.domains) && marked.urls.is_none()
}

/// Adds the result of `fold` for each name, unless it is already in the list.
fn add_each<'n, N: AsRef<str> + 'n>(
    names: impl IntoIterator<Item = N>,
    fold: fn(&str) -> Text,
    list: &mut Vec<Text>,
) {
    for name in names {
        let folded = fold(name.as_ref());
        if !folded.is_empty() {
            add_once(folded, list);
        }
    }
}

fn add_once(text: Text, list: &mut Vec<Text>) {
    if !list.contains(&text) {
        list.push(text);
    }
}

fn fold_hashtag(hashtag: &str) -> Text {
    fold_text(hashtag.trim_start_matches(['#', '＃']))
}

fn fold_mention(mention: &str) -> Text {
    let handle = mention.trim_start_matches(['@', '＠']);
    if handle.is_ascii() { fold_text(handle) } else { Text::from(handle.to_lowercase()) }
}

fn fold_cashtag(cashtag: &str) -> Text {
    Text::from(cashtag.trim_start_matches('$').to_uppercase())
}

fn as_written(address: &str) -> Text {
    if address.contains('\0') { Text::from(address.replace('\0', "")) } else { Text::new(address) }
}

fn fold_text(text: &str) -> Text {
    if text.contains('\0') {
        return Text::from(fold_case(&text.replace('\0', "")));
    }
    if text.is_ascii() {
        let mut folded = Text::new(text);
        folded.make_ascii_lowercase();
        return folded;
    }
    Text::from(fold_case(text))
}
