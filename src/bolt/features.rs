//! `Features`: converts the posts of all platforms to one normal form.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, UtcOffset};

use crate::bolt::{Bolt, BoltConfig, BoltContext, Output};
use crate::component::{Component, Problem};
use crate::error::{Error, Result};
use crate::features::{Extractor, FeatureLists, NeededFeatures, PostFeatures};
use crate::post::{Post, PostStream};
use crate::tuple::{Fields, StreamId, Streams, Tuple};
use crate::value::{Text, Value};

/// Reads the facts of a post into one normal form for all platforms, and adds features of its text:
/// language, sentiment, hashtags, mentions, addresses, terms. The post is passed on unchanged
/// beside its features. A post of an unknown kind, or one without some of its usual fields, is
/// passed on as well, with the known facts; such posts are counted as `drifted`.
///
/// The stream `default` has one tuple for each post, including deletions and gaps. An unknown field
/// is null; a list may be empty. Times are texts such as `2015-12-18T00:00:00.123000Z`.
///
/// - `post`, `kind`, `topics`: unchanged.
/// - `stream`: the stream of a social source to which the post belongs: `default`, `counts`,
///   `deletes`, `edits`, `gaps`.
/// - `platform`: `x`, `facebook`, `youtube`, `bluesky`, `mastodon`; otherwise the kind. For a
///   deletion or a gap, the platform of the posts that it is about.
/// - `post_id`: the platform's id; for a deletion, the id of the deleted post.
/// - `created_at`: the post's own time; for a tweet the time in its id. `received_at`, `edited_at`.
/// - `author_id`, `author_handle`, `author_name`, `author_followers`, `author_following`,
///   `author_posts`, `author_verified`, `author_bot`, `author_created_at`.
/// - `lang`: the language, such as `en`; `lang_source`: `given` or `detected`.
/// - `text`: the text as people read it, in Unicode's form C.
/// - `hashtags` (case-folded), `cashtags` (upper case), `mentions` (lower case): without their
///   signs, as the platform marks them; if it doesn't, found by the rules of twitter-text.
/// - `urls`: addresses, expanded if the platform does so; `domains`: their registrable domains.
/// - `media`: the types of the attachments: `photo`, `video`, `gif`, `audio`, `link-card`, `poll`,
///   `other`.
/// - `reply_to`, `repost_of`, `quote_of`, `conversation_id`: ids of other posts; `relation`:
///   `repost`, `quote`, `reply` or `original`.
/// - `likes`, `reposts`, `replies`, `quotes`, `views`, `bookmarks`.
/// - `sentiment`: VADER's compound rating of an English text, -1 to 1.
/// - `terms`: the words of the text, case-folded, each once; without stop words, numbers, single
///   letters, addresses, mentions and hashtags. Chinese and Japanese give pairs of characters;
///   Thai, Lao, Khmer and Burmese give none.
///
/// The stream `keys` has one tuple for each hashtag, term, domain and mention of a post, and no
/// tuple for deletions, gaps, and posts that were read again for their counts: `key_type`
/// (`hashtag`, `term`, `domain`, `mention`), `key` (`#rust`, `storm`, `example.org`, `@ann`), and
/// `platform`, `post_id`, `author_id`, `created_at`, `lang`, `sentiment`, `is_repost`, `topics` of
/// the post.
///
/// Only what a component of the topology takes is computed: where nothing takes `default`, and
/// `keys` only names hashtags, three times as many posts per second are read.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Features {
    /// The source of the language. If the platform doesn't give it, `Detect` detects it in the
    /// text, and `Given` leaves it unknown.
    #[serde(default)]
    pub language: LanguageSource,
    /// True to rate the sentiment, which takes about a third of the time.
    #[serde(default = "on")]
    pub sentiment: bool,
    /// The types of keys on the stream `keys`.
    #[serde(default = "all_key_types")]
    pub keys: Vec<KeyType>,
}

fn on() -> bool {
    true
}

fn all_key_types() -> Vec<KeyType> {
    vec![KeyType::Hashtag, KeyType::Term, KeyType::Domain, KeyType::Mention]
}

impl Default for Features {
    fn default() -> Self {
        Self { language: LanguageSource::default(), sentiment: on(), keys: all_key_types() }
    }
}

/// A type of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyType {
    /// `#rust`
    Hashtag,
    /// `storm`
    Term,
    /// `example.org`
    Domain,
    /// `@ann`
    Mention,
}

/// The source of a post's language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LanguageSource {
    /// The platform, or else the text.
    #[default]
    Detect,
    /// Only the platform.
    Given,
}

impl Component for Features {
    const NAME: &'static str = "Features";
    const GUARANTEE: &'static str =
        "keeps no state: features are delivered as reliably as the posts they came from";
}

/// The name of the stream of keys, from which trends can be made.
const KEYS: &str = "keys";

/// The position of `keys` among the streams, after `default`.
const KEYS_STREAM: StreamId = StreamId(1);

/// The fields of the stream `default`.
pub(crate) const FEATURES: [&str; 40] = [
    "post",
    "kind",
    "topics",
    "stream",
    "platform",
    "post_id",
    "created_at",
    "received_at",
    "edited_at",
    "author_id",
    "author_handle",
    "author_name",
    "author_followers",
    "author_following",
    "author_posts",
    "author_verified",
    "author_bot",
    "author_created_at",
    "lang",
    "lang_source",
    "text",
    "hashtags",
    "cashtags",
    "mentions",
    "urls",
    "domains",
    "media",
    "reply_to",
    "repost_of",
    "quote_of",
    "conversation_id",
    "relation",
    "likes",
    "reposts",
    "replies",
    "quotes",
    "views",
    "bookmarks",
    "sentiment",
    "terms",
];

/// The fields of the stream `keys`.
pub(crate) const KEY_FIELDS: [&str; 10] = [
    "key_type",
    "key",
    "platform",
    "post_id",
    "author_id",
    "created_at",
    "lang",
    "sentiment",
    "is_repost",
    "topics",
];

impl BoltConfig for Features {
    fn streams(&self, inputs: &[Fields]) -> Result<Streams, Vec<Problem>> {
        let mut problems = Vec::new();
        for input in inputs {
            if input.position("post").is_none() {
                problems.push(Problem {
                    field: "inputs",
                    what: lacks_post(input),
                    candidates: Some(("post".into(), input.names().to_vec())),
                });
            }
        }
        if self.keys.is_empty() {
            problems.push(Problem {
                field: "keys",
                what: "expected at least one type of keys".into(),
                candidates: None,
            });
        }
        if problems.is_empty() {
            let default = Streams::default_with(Fields::new(FEATURES));
            Ok(default.and(KEYS, Fields::new(KEY_FIELDS)))
        } else {
            Err(problems)
        }
    }

    fn build(&self, context: &BoltContext) -> Result<Box<dyn Bolt>> {
        Ok(Box::new(FeaturesBolt::new(self, &context.inputs)?))
    }
}

fn lacks_post(input: &Fields) -> String {
    format!("expected a field \"post\", but an input declares {input}")
}

/// The positions of the needed fields of an input.
struct InputFields {
    post: usize,
    topics: Option<usize>,
}

struct FeaturesBolt {
    inputs: Vec<InputFields>,
    extractor: Extractor,
    /// The features from which the stream `keys` is made.
    needed_for_keys: NeededFeatures,
    drifted: u64,
    /// An empty list, which most lists are.
    empty: Value,
}

impl FeaturesBolt {
    fn new(config: &Features, inputs: &[Fields]) -> Result<Self> {
        let mut positions = Vec::new();
        for input in inputs {
            let post = input.position("post");
            let post = post.ok_or_else(|| Error::fatal(lacks_post(input)))?;
            positions.push(InputFields { post, topics: input.position("topics") });
        }
        let detects_language = config.language == LanguageSource::Detect;
        let extractor = Extractor::new(detects_language, config.sentiment);
        let has = |key_type: KeyType| config.keys.contains(&key_type);
        let needed_for_keys = NeededFeatures {
            text: false,
            hashtags: has(KeyType::Hashtag),
            mentions: has(KeyType::Mention),
            domains: has(KeyType::Domain),
            terms: has(KeyType::Term),
            others: false,
        };
        let empty = Value::List(Arc::new([]));
        Ok(Self { inputs: positions, extractor, needed_for_keys, drifted: 0, empty })
    }

    /// Returns a list of texts.
    fn list(&self, texts: &[Text]) -> Value {
        if texts.is_empty() {
            return self.empty.clone();
        }
        Value::List(texts.iter().map(|text| Value::Text(text.clone())).collect())
    }

    /// Returns the values of the stream `default`, in the order of [`FEATURES`].
    fn values(
        &self,
        post: &Post,
        topics: Value,
        common: CommonValues,
        features: &PostFeatures<'_>,
    ) -> [Value; FEATURES.len()] {
        let PostFeatures { facts, text, .. } = features;
        let (author, profile) = (&facts.content.author, &facts.profile);
        let (relation, counts) = (&facts.relation, &facts.counts);
        let lists: &FeatureLists = &self.extractor.lists;
        let media = facts.media.iter().map(|media| Text::const_new(media.word()));
        let media: Vec<Text> = media.collect();
        let lang_source = match (features.language, features.is_language_detected) {
            (None, _) => Value::Null,
            (Some(_), true) => word("detected"),
            (Some(_), false) => word("given"),
        };
        [
            Value::Post(post.clone()),
            Value::Text(Text::new(facts.kind)),
            topics,
            word(facts.stream.name()),
            common.platform,
            common.post_id,
            common.created_at,
            time(facts.received_at),
            time(facts.edited_at),
            common.author_id,
            text_or_null(author.handle.as_deref()),
            text_or_null(author.name.as_deref()),
            integer(profile.followers),
            integer(profile.following),
            integer(profile.posts),
            boolean(profile.verified),
            boolean(profile.bot),
            time(profile.created_at),
            common.lang,
            lang_source,
            text_or_null(text.as_deref()),
            self.list(&lists.hashtags),
            self.list(&lists.cashtags),
            self.list(&lists.mentions),
            self.list(&lists.urls),
            self.list(&lists.domains),
            self.list(&media),
            text_or_null(relation.reply_to.as_deref()),
            text_or_null(relation.repost_of.as_deref()),
            text_or_null(relation.quote_of.as_deref()),
            text_or_null(relation.conversation_id.as_deref()),
            word(relation.word()),
            integer(counts.likes),
            integer(counts.reposts),
            integer(counts.replies),
            integer(counts.quotes),
            integer(counts.views),
            integer(counts.bookmarks),
            common.sentiment,
            self.list(&lists.terms),
        ]
    }

    /// Returns each type of keys on the stream `keys`, with the sign before each key and the names
    /// in the post.
    fn key_names(&self) -> impl Iterator<Item = (&'static str, &'static str, &[Text])> {
        let (lists, needed) = (&self.extractor.lists, &self.needed_for_keys);
        let types = [
            (needed.hashtags, "hashtag", "#", &lists.hashtags),
            (needed.terms, "term", "", &lists.terms),
            (needed.domains, "domain", "", &lists.domains),
            (needed.mentions, "mention", "@", &lists.mentions),
        ];
        let needed = types.into_iter().filter(|(is_needed, ..)| *is_needed);
        needed.map(|(_, key_type, sign, names)| (key_type, sign, names.as_slice()))
    }

    /// Calls `take` with the values of the stream `keys` for each key of the post.
    fn each_key(
        &self,
        topics: &Value,
        common: &CommonValues,
        is_repost: bool,
        mut take: impl FnMut([Value; KEY_FIELDS.len()]),
    ) {
        for (key_type, sign, names) in self.key_names() {
            for name in names {
                let mut key = Text::const_new(sign);
                key.push_str(name);
                take([
                    word(key_type),
                    Value::Text(key),
                    common.platform.clone(),
                    common.post_id.clone(),
                    common.author_id.clone(),
                    common.created_at.clone(),
                    common.lang.clone(),
                    common.sentiment.clone(),
                    Value::Bool(is_repost),
                    topics.clone(),
                ]);
            }
        }
    }
}

/// The values that tuples of both streams have.
struct CommonValues {
    platform: Value,
    post_id: Value,
    author_id: Value,
    created_at: Value,
    lang: Value,
    sentiment: Value,
}

impl CommonValues {
    fn of(features: &PostFeatures<'_>, sentiment: Option<f64>) -> Self {
        let facts = &features.facts;
        Self {
            platform: Value::Text(without_nul(&facts.platform)),
            post_id: text_or_null(facts.id.as_deref()),
            author_id: text_or_null(facts.content.author.id.as_deref()),
            created_at: time(facts.created_at),
            lang: text_or_null(features.language.as_ref().map(|language| language.as_str())),
            sentiment: sentiment.map_or(Value::Null, Value::Float),
        }
    }
}

/// A reader of the features of posts without a topology.
pub(crate) struct FeaturesReader(FeaturesBolt);

impl FeaturesReader {
    /// Creates a reader with the defaults of `Features()`.
    ///
    /// # Errors
    /// Never with these fields.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(FeaturesBolt::new(&Features::default(), &[Fields::new(["post"])])?))
    }

    /// Returns the values of the stream `default`, in the order of [`FEATURES`].
    pub(crate) fn values(&mut self, post: &Post) -> [Value; FEATURES.len()] {
        let topics = self.0.empty.clone();
        let features = self.0.extractor.extract(post, NeededFeatures::ALL);
        let common = CommonValues::of(&features, self.0.extractor.rate(&features));
        self.0.values(post, topics, common, &features)
    }
}

impl Bolt for FeaturesBolt {
    fn execute(&mut self, tuple: Tuple<'_>, out: &mut Output) -> Result<()> {
        let input = &self.inputs[tuple.input];
        let Value::Post(post) = tuple.value(input.post) else {
            return Err(Error::rejected("expected a post in the field \"post\""));
        };
        let topics = match input.topics.map(|position| tuple.value(position)) {
            Some(topics @ Value::List(_)) => topics.clone(),
            _ => self.empty.clone(),
        };
        let (takes_posts, takes_keys) =
            (out.is_taken(StreamId::DEFAULT), out.is_taken(KEYS_STREAM));
        let needed = match (takes_posts, takes_keys) {
            (true, _) => NeededFeatures::ALL,
            (false, true) => self.needed_for_keys,
            (false, false) => NeededFeatures::NONE,
        };
        let features = self.extractor.extract(post, needed);
        self.drifted += u64::from(!features.facts.is_as_expected);
        let has_keys = takes_keys
            && may_have_keys(&features)
            && self.key_names().any(|(_, _, names)| !names.is_empty());
        if !takes_posts && !has_keys {
            return Ok(());
        }
        let common = CommonValues::of(&features, self.extractor.rate(&features));
        if has_keys {
            let is_repost = features.facts.relation.repost_of.is_some();
            self.each_key(&topics, &common, is_repost, |key| out.emit_to(KEYS_STREAM, key));
        }
        if takes_posts {
            out.emit(self.values(post, topics, common, &features));
        }
        Ok(())
    }

    fn drifted(&self) -> u64 {
        self.drifted
    }
}

/// Returns true for a post with new or edited content.
fn may_have_keys(features: &PostFeatures<'_>) -> bool {
    matches!(features.facts.stream, PostStream::Default | PostStream::Edits)
}

fn word(word: &'static str) -> Value {
    Value::Text(Text::const_new(word))
}

fn text_or_null(text: Option<&str>) -> Value {
    text.map_or(Value::Null, |text| Value::Text(without_nul(text)))
}

/// Returns the text without NUL, which no text column can hold.
fn without_nul(text: &str) -> Text {
    if memchr::memchr(0, text.as_bytes()).is_some() {
        Text::from(text.replace('\0', ""))
    } else {
        Text::new(text)
    }
}

fn integer(number: Option<i64>) -> Value {
    number.map_or(Value::Null, Value::Int)
}

fn boolean(value: Option<bool>) -> Value {
    value.map_or(Value::Null, Value::Bool)
}

/// Formats a time as `2015-12-18T00:00:00.123000Z`.
fn time(time: Option<OffsetDateTime>) -> Value {
    let Some(time) = time.and_then(|time| time.checked_to_offset(UtcOffset::UTC)) else {
        return Value::Null;
    };
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let Ok(year) = u32::try_from(time.year()) else { return Value::Null };
    let parts = [
        (0, 4, year),
        (5, 2, u32::from(u8::from(time.month()))),
        (8, 2, u32::from(time.day())),
        (11, 2, u32::from(time.hour())),
        (14, 2, u32::from(time.minute())),
        (17, 2, u32::from(time.second())),
        (20, 6, time.microsecond()),
    ];
    for (from, digits, mut number) in parts {
        for place in text[from..from + digits].iter_mut().rev() {
            *place = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }
    std::str::from_utf8(&text).map_or(Value::Null, |text| Value::Text(Text::new(text)))
}

#[cfg(test)]
pub(crate) mod tests;
