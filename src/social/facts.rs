//! What topics ask of a post, read from its raw bytes by the rules of each platform.

use std::borrow::Cow;

use crate::post::Post;
use crate::post::fields::{elements, get, id_text, pick, record_account, string};
use crate::post::html::without_html;

/// What stands before a topic's name in the tag of a rule that this program made and that means the topic exactly.
pub const RULES_BY_US: &str = "waterspout:";

/// What a post says, as far as topics can ask for it. What it doesn't say is empty.
#[derive(Debug, Default)]
pub(super) struct Facts<'a> {
    /// All its text, without HTML.
    pub text: Cow<'a, str>,
    /// Without the sign.
    pub hashtags: Vec<Cow<'a, str>>,
    pub cashtags: Vec<Cow<'a, str>>,
    /// Who is mentioned, without the sign.
    pub mentions: Vec<Cow<'a, str>>,
    /// All names and ids of its author.
    pub authors: Vec<Cow<'a, str>>,
    pub langs: Vec<Cow<'a, str>>,
    /// The Facebook page that it stands on.
    pub page: Option<Cow<'a, str>>,
    /// The YouTube channel that it is of.
    pub channel: Option<Cow<'a, str>>,
    /// The tags of the rules that its platform matched it by.
    pub rules: Vec<Cow<'a, str>>,
}

/// Reads what there is.
pub(super) fn facts(post: &Post) -> Facts<'_> {
    let body = post.body();
    let mut facts = match post.kind() {
        "tweet" => tweet(body),
        "post" => facebook(body),
        "video" => video(body),
        "bsky" => bluesky(body),
        "toot" => toot(body),
        _ => Facts::default(),
    };
    facts.text = match post.kind() {
        "toot" => toot_text(body),
        "tweet" => unescaped(post.text().unwrap_or_default()),
        _ => post.text().unwrap_or_default(),
    };
    facts.rules = each(body, &["matching_rules"], "tag").into_iter().map(topic_of_tag).collect();
    let signs = [('#', '＃'), ('@', '＠'), ('$', '$')].map(|signs| signed(&facts.text, signs));
    let [tags, mentions, symbols] = signs;
    facts.hashtags.extend(tags);
    facts.mentions.extend(mentions);
    facts.cashtags.extend(symbols);
    facts
}

/// The value at a path of keys.
fn at<'a>(object: &'a [u8], path: &[&str]) -> Option<&'a [u8]> {
    path.iter().try_fold(object, |object, key| get(object, key))
}

fn text<'a>(object: &'a [u8], path: &[&str]) -> Option<Cow<'a, str>> {
    at(object, path).and_then(string)
}

/// The texts under a key of each object in a list.
fn each<'a>(object: &'a [u8], path: &[&str], key: &str) -> Vec<Cow<'a, str>> {
    let list = at(object, path).unwrap_or_default();
    elements(list).filter_map(|element| get(element, key).and_then(string)).collect()
}

/// Words of a text that begin with a sign, without it. They become texts of their own: what they are taken from
/// may have been decoded.
fn signed(text: &str, (sign, wide): (char, char)) -> Vec<Cow<'static, str>> {
    let word = |at: usize, sign: char| {
        let behind = &text[at + sign.len_utf8()..];
        let inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '@');
        let word = &behind[..behind.find(|c| !inside(c)).unwrap_or(behind.len())];
        let word =
            if sign == '@' || sign == '＠' { word } else { word.split(['.', '-', '@']).next().unwrap_or_default() };
        let word = word.trim_end_matches(['.', '-']);
        let begins = !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '&');
        (begins && !word.is_empty()).then(|| Cow::Owned(word.to_owned()))
    };
    text.char_indices().filter(|(_, c)| *c == sign || *c == wide).filter_map(|(at, c)| word(at, c)).collect()
}

/// Twitter escapes three characters of its texts as HTML does.
fn unescaped(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains('&') {
        return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").into();
    }
    text
}

fn tweet<'a>(body: &'a [u8]) -> Facts<'a> {
    let [author, entities, includes, user, lang] = pick(body, ["author_id", "entities", "includes", "user", "lang"]);
    let entities = entities.unwrap_or_default();
    let author = author.and_then(id_text);
    let name = author.as_ref().and_then(|author| {
        let users = elements(at(includes?, &["users"])?);
        users.into_iter().find(|user| get(user, "id").and_then(id_text).as_ref() == Some(author))
    });
    let named = |user: Option<&'a [u8]>, key: &str| user.and_then(|user| get(user, key)).and_then(id_text);
    Facts {
        hashtags: [each(entities, &["hashtags"], "tag"), each(entities, &["hashtags"], "text")].concat(),
        cashtags: [each(entities, &["cashtags"], "tag"), each(entities, &["symbols"], "text")].concat(),
        mentions: [each(entities, &["mentions"], "username"), each(entities, &["user_mentions"], "screen_name")]
            .concat(),
        authors: [named(name, "username"), named(user, "screen_name"), named(user, "id_str"), author]
            .into_iter()
            .flatten()
            .collect(),
        langs: lang.and_then(string).into_iter().collect(),
        ..Facts::default()
    }
}

/// The tag of a rule of this program is the topic's name behind a sign; of others it is all of it.
fn topic_of_tag(tag: Cow<'_, str>) -> Cow<'_, str> {
    match tag {
        Cow::Borrowed(tag) => tag.strip_prefix(RULES_BY_US).unwrap_or(tag).into(),
        Cow::Owned(tag) => tag.strip_prefix(RULES_BY_US).map(str::to_owned).unwrap_or(tag).into(),
    }
}

fn facebook(body: &[u8]) -> Facts<'_> {
    let [id, from, tags] = pick(body, ["id", "from", "message_tags"]);
    let from = from.unwrap_or_default();
    let page = id.and_then(string).and_then(|id| id.split_once('_').map(|(page, _)| Cow::Owned(page.to_owned())));
    let tags: Vec<_> = elements(tags.unwrap_or_default()).filter_map(|tag| get(tag, "name").and_then(string)).collect();
    Facts {
        mentions: tags.into_iter().map(|name| Cow::Owned(name.trim_start_matches(['@', '#']).to_owned())).collect(),
        authors: [get(from, "id").and_then(id_text), text(from, &["name"])].into_iter().flatten().collect(),
        page,
        ..Facts::default()
    }
}

fn video(body: &[u8]) -> Facts<'_> {
    let snippet = get(body, "snippet").unwrap_or_default();
    let channel = text(snippet, &["channelId"]);
    let langs = ["defaultLanguage", "defaultAudioLanguage"].map(|key| text(snippet, &[key]));
    Facts {
        hashtags: elements(get(snippet, "tags").unwrap_or_default()).filter_map(string).collect(),
        authors: channel.clone().into_iter().chain(text(snippet, &["channelTitle"])).collect(),
        langs: langs.into_iter().flatten().collect(),
        channel,
        ..Facts::default()
    }
}

fn bluesky(body: &[u8]) -> Facts<'_> {
    let record = at(body, &["commit", "record"]).or_else(|| get(body, "record")).unwrap_or_default();
    let [facets, tags, langs] = pick(record, ["facets", "tags", "langs"]);
    let features: Vec<_> = elements(facets.unwrap_or_default())
        .filter_map(|facet| get(facet, "features"))
        .flat_map(|features| elements(features).collect::<Vec<_>>())
        .collect();
    let of = |key: &str| features.iter().filter_map(|feature| text(feature, &[key])).collect::<Vec<_>>();
    Facts {
        hashtags: of("tag").into_iter().chain(elements(tags.unwrap_or_default()).filter_map(string)).collect(),
        mentions: of("did"),
        authors: record_account(body).into_iter().chain(text(body, &["author", "handle"])).collect(),
        langs: elements(langs.unwrap_or_default()).filter_map(string).collect(),
        ..Facts::default()
    }
}

fn toot(body: &[u8]) -> Facts<'_> {
    let [account, language] = pick(body, ["account", "language"]);
    let account = account.unwrap_or_default();
    Facts {
        hashtags: each(body, &["tags"], "name"),
        mentions: [each(body, &["mentions"], "acct"), each(body, &["mentions"], "username")].concat(),
        authors: [text(account, &["acct"]), text(account, &["username"])].into_iter().flatten().collect(),
        langs: language.and_then(string).into_iter().collect(),
        ..Facts::default()
    }
}

/// What a toot says: its warning, and its content without HTML.
fn toot_text(body: &[u8]) -> Cow<'_, str> {
    let [warning, content] = pick(body, ["spoiler_text", "content"]);
    let content = content.and_then(string).map(|html| without_html(&html)).unwrap_or_default();
    match warning.and_then(string).filter(|warning| !warning.is_empty()) {
        Some(warning) => format!("{warning}\n{content}").into(),
        None => content.into(),
    }
}
