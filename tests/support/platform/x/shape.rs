//! The form of X's posts.

use serde_json::{Map, Value, json};

use super::super::super::random::Random;
use super::super::http::Request;
use super::super::query::Subject;
use super::super::text::{self, escape};
use super::super::world::{Item, Kind, World, iso};

/// The vocabulary of the answers.
#[derive(Clone, Copy)]
pub(super) struct Words {
    /// True for the words of v2.167.
    pub new: bool,
}

impl Words {
    /// Returns a name in this vocabulary.
    pub(super) fn name(self, old: &'static str) -> &'static str {
        match old {
            _ if !self.new => old,
            "retweet_count" => "repost_count",
            "edit_history_tweet_ids" => "edit_history_post_ids",
            "referenced_tweets" => "referenced_posts",
            "note_tweet" => "note_post",
            "tweets" => "posts",
            same => same,
        }
    }
}

/// The fields that a client requests of each post.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    fields: Vec<String>,
    expansions: Vec<String>,
    user_fields: Vec<String>,
    media_fields: Vec<String>,
}

impl Asked {
    /// Reads the fields from the parameter with this name, `tweet.fields` or `post.fields`.
    pub(super) fn of(request: &Request, fields: &str) -> Self {
        let list = |name: &str| {
            let text = request.query(name).unwrap_or_default();
            text.split(',')
                .map(|part| part.trim().to_owned())
                .filter(|part| !part.is_empty())
                .collect()
        };
        Self {
            fields: list(fields),
            expansions: list("expansions"),
            user_fields: list("user.fields"),
            media_fields: list("media.fields"),
        }
    }

    fn expands(&self, names: &[&str]) -> bool {
        self.expansions.iter().any(|name| names.contains(&name.as_str()))
    }

    /// Returns true if a field is requested, by its old or its new name.
    fn has(&self, old: &str) -> bool {
        let new = Words { new: true };
        let alias =
            |field: &String| field == old || OLD.iter().any(|o| *o == old && new.name(o) == field);
        // The field of an expansion comes with it.
        let by = old == "author_id" && self.expands(&["author_id"]);
        by || matches!(old, "id" | "text" | "edit_history_tweet_ids")
            || self.fields.iter().any(alias)
    }
}

const OLD: [&str; 3] = ["edit_history_tweet_ids", "referenced_tweets", "note_tweet"];

/// A post in its final form: `data`, and the post's own part of `includes`.
pub(super) struct Shaped {
    pub data: Value,
    pub includes: Map<String, Value>,
}

/// The beginning of a long text, so that the rest is in `note_tweet` only.
const LONG: &str = "This is a longer note about the harbour, about what the boats did on the first day, on the second \
                    day and on the third, and about who stood at the quay when they came back in the rain of the late \
                    evening, which took far more words than anybody had thought it would take when they began it.";

fn is_long(item: &Item) -> bool {
    item.number % 7 == 3
}

fn is_quote(item: &Item) -> bool {
    item.number % 5 == 2
}

fn has_media(item: &Item) -> bool {
    item.number % 3 == 1
}

/// Returns the whole text, without escapes.
pub(super) fn full_text(item: &Item) -> String {
    let text = &item.last().draft.text;
    if is_long(item) { format!("{LONG} {text}") } else { text.clone() }
}

/// Calls back with the facts of an item that a query can ask for.
pub(super) fn subject<T>(world: &World, item: &Item, ask: impl FnOnce(&Subject) -> T) -> T {
    let draft = &item.last().draft;
    let mut traits = Vec::new();
    traits.extend(is_quote(item).then_some("quote"));
    traits.extend(has_media(item).then_some("media"));
    let (text, author) = (full_text(item), world.name(item.author()));
    ask(&Subject {
        text: &text,
        tags: &draft.tags,
        author: &author,
        lang: draft.lang,
        traits: &traits,
    })
}

/// Returns the post with the requested fields.
pub(super) fn shape(world: &World, item: &Item, asked: &Asked, words: Words) -> Shaped {
    let mut random = Random(item.number.wrapping_mul(0x1234_5678_9abc_def1));
    let whole = whole(world, item, words, &mut random);
    let mut data = Map::new();
    for (old, value) in whole {
        if asked.has(old) {
            data.insert(words.name(old).into(), value);
        }
    }
    Shaped { data: Value::Object(data), includes: includes(world, item, asked, words) }
}

fn user_id(author: usize) -> String {
    (1_400_000_000_000_000_001 + author as u64 * 7919).to_string()
}

/// Returns all fields of a post, by their old names.
fn whole(
    world: &World,
    item: &Item,
    words: Words,
    random: &mut Random,
) -> Vec<(&'static str, Value)> {
    let (full, created) = (full_text(item), item.created_us());
    let short: String =
        if is_long(item) { full.chars().take(270).chain(['…']).collect() } else { full.clone() };
    let conversation = if is_quote(item) { quoted_id(item) } else { item.id.clone() };
    let mut whole = vec![
        ("id", json!(item.id)),
        ("text", json!(escape(&short))),
        ("edit_history_tweet_ids", json!(history(world, item))),
        ("created_at", json!(iso(created))),
        ("author_id", json!(user_id(item.author()))),
        ("lang", json!(item.last().draft.lang)),
        ("conversation_id", json!(conversation)),
        ("possibly_sensitive", json!(random.below(20) == 0)),
        ("reply_settings", json!("everyone")),
        ("display_text_range", json!([0, short.chars().count()])),
        (
            "edit_controls",
            json!({"edits_remaining": 5, "is_edit_eligible": true, "editable_until": iso(created + 3_600_000_000)}),
        ),
        ("public_metrics", metrics(item, words, random)),
        ("context_annotations", context(random)),
    ];
    if let Some(entities) = entities(&escape(&short)) {
        whole.push(("entities", entities));
    }
    if has_media(item) {
        whole.push(("attachments", json!({"media_keys": [media_key(item)]})));
    }
    if is_quote(item) {
        whole.push(("referenced_tweets", json!([{"type": "quoted", "id": quoted_id(item)}])));
    }
    if is_long(item) {
        let mut note = json!({"text": escape(&full)});
        if let Some(entities) = entities(&escape(&full)) {
            note["entities"] = entities;
        }
        whole.push(("note_tweet", note));
    }
    whole
}

/// Returns the ids of an item and of those that it edits, the oldest first.
fn history(world: &World, item: &Item) -> Vec<String> {
    let mut ids = vec![item.id.clone()];
    let mut of = item.edit_of;
    while let Some(at) = of {
        ids.insert(0, world.items[at].id.clone());
        of = world.items[at].edit_of;
    }
    ids
}

fn metrics(item: &Item, words: Words, random: &mut Random) -> Value {
    let mut metrics = Map::new();
    for (name, most) in [
        ("retweet_count", 40),
        ("reply_count", 20),
        ("like_count", 300),
        ("quote_count", 9),
        ("bookmark_count", 30),
        ("impression_count", 90_000),
    ] {
        metrics.insert(words.name(name).into(), (random.below(most) * item.heat).into());
    }
    metrics.into()
}

fn context(random: &mut Random) -> Value {
    let entity = |n: u64| {
        json!({
            "domain": {"id": (30 + n % 100).to_string(), "name": format!("Entities [Entity Service] {n}"),
                       "description": "Entity Service top level domain, every item that is in Entity Service should be in this domain"},
            "entity": {"id": (1_000_000_000_000_000_000 + n).to_string(), "name": format!("Weather & harbours {n}"), "description": "Everything on weather — and harbours"}
        })
    };
    (0..2 + random.below(3)).map(|_| entity(random.below(900))).collect()
}

/// Returns the entities of a text. Positions are counted in code points.
fn entities(text: &str) -> Option<Value> {
    let points = |at: usize| text[..at].chars().count();
    let tags: Vec<_> = text::spans(text)
        .map(|(at, len)| json!({"start": points(at), "end": points(at + len), "tag": &text[at + 1..at + len]}))
        .collect();
    (!tags.is_empty()).then(|| json!({"hashtags": tags}))
}

fn quoted_id(item: &Item) -> String {
    (1_500_000_000_000_000_000 + item.number * 4_194_304).to_string()
}

fn media_key(item: &Item) -> String {
    format!("3_{}", 1_600_000_000_000_000_000 + item.number)
}

fn includes(world: &World, item: &Item, asked: &Asked, words: Words) -> Map<String, Value> {
    let mut includes = Map::new();
    if asked.expands(&["author_id"]) {
        let mut users = vec![user(world, item.author(), asked)];
        if is_quote(item)
            && asked.expands(&["referenced_tweets.id.author_id", "referenced_posts.id.author_id"])
        {
            users.push(user(world, quoted_author(item), asked));
        }
        includes.insert("users".into(), users.into());
    }
    if is_quote(item) && asked.expands(&["referenced_tweets.id", "referenced_posts.id"]) {
        includes.insert(words.name("tweets").into(), json!([quoted(item, asked, words)]));
    }
    if has_media(item) && asked.expands(&["attachments.media_keys"]) {
        let mut media = json!({"media_key": media_key(item), "type": "photo"});
        for (field, value) in [
            ("url", json!("https://pbs.twimg.example/media/fake.jpg")),
            ("width", json!(1200)),
            ("height", json!(800)),
        ] {
            if asked.media_fields.iter().any(|asked| asked == field) {
                media[field] = value;
            }
        }
        includes.insert("media".into(), json!([media]));
    }
    includes
}

fn quoted_author(item: &Item) -> usize {
    (item.number % 31) as usize
}

fn quoted(item: &Item, asked: &Asked, words: Words) -> Value {
    let text = "An older note about the bridge &amp; the quay — seit Jahren dieselbe Brücke";
    let mut quoted = json!({"id": quoted_id(item), "text": text, words.name("edit_history_tweet_ids"): [quoted_id(item)]});
    for (field, value) in [
        ("created_at", json!("2022-03-05T07:08:09.000Z")),
        ("author_id", json!(user_id(quoted_author(item)))),
        ("lang", json!("en")),
    ] {
        if asked.has(field) {
            quoted[field] = value;
        }
    }
    quoted
}

fn user(world: &World, author: usize, asked: &Asked) -> Value {
    let name = world.name(author);
    let mut user = json!({"id": user_id(author), "name": format!("{name} 🌦"), "username": name});
    let number = author as u64;
    for (field, value) in [
        ("created_at", json!("2012-02-14T10:11:12.000Z")),
        ("description", json!("Watches the harbour &amp; writes it down. Любит мосты. 港と橋。")),
        ("verified", json!(number.is_multiple_of(9))),
        (
            "public_metrics",
            json!({"followers_count": number * 131 + 7, "following_count": number * 3, "tweet_count": number * 977, "listed_count": number}),
        ),
        ("location", json!("An der Mole")),
    ] {
        if asked.user_fields.iter().any(|asked| asked == field) {
            user[field] = value;
        }
    }
    user
}

/// Returns the post in the lake's form: the fields of `data`, with the rest beside them.
pub(super) fn laid(shaped: &Shaped, rules: Option<&Value>) -> Value {
    let mut tweet = shaped.data.clone();
    if !shaped.includes.is_empty() {
        tweet["includes"] = Value::Object(shaped.includes.clone());
    }
    if let Some(rules) = rules {
        tweet["matching_rules"] = rules.clone();
    }
    tweet
}

/// Returns true if an item is X's.
pub(super) fn is_x(item: &Item) -> bool {
    item.kind == Kind::Tweet
}
