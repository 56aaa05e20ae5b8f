//! Mastodon, and servers with the same API: a status as the streaming API or a timeline returns it.

use std::borrow::Cow;

use html_escape::decode_html_entities;
use time::OffsetDateTime;

use super::facts::{
    AuthorProfile, Counts, Entities, Media, Relation, boolean, id_of, integer, integers,
};
use super::{Author, DeletionReach, Labels, PostKind, date_of, dated};
use crate::post::fields::{date, elements, get, id_text, pick, string, text_at, texts_in};
use crate::post::html::without_html;
use crate::post::stream::{PostStream, REFRESHED};

pub(super) struct Toot;

impl PostKind for Toot {
    fn platform(&self) -> Option<&'static str> {
        Some("mastodon")
    }

    fn time_in(&self, key: &[u8], json: &[u8]) -> Option<OffsetDateTime> {
        if key == b"created_at" { dated(json) } else { None }
    }

    /// Returns the `uri`, since its `id` differs between servers.
    fn id<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        let [uri, id] = pick(body, ["uri", "id"]);
        uri.and_then(string).or_else(|| id.and_then(id_text))
    }

    /// Returns the number on the server from which it was captured.
    fn other_id<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        get(body, "id").and_then(id_text)
    }

    fn reread_id<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        self.other_id(body)
    }

    /// Returns the warning, and on the next line the content without its HTML. A boost has the text
    /// of the boosted post.
    fn text<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        let [warning, content, boosted] = pick(body, ["spoiler_text", "content", "reblog"]);
        let own = || text_of(warning, content);
        let boosted = boosted.map(|boosted| pick(boosted, ["spoiler_text", "content"]));
        boosted.and_then(|[warning, content]| text_of(warning, content)).or_else(own)
    }

    /// Returns the author. The address of an account is the same on all servers; its number isn't.
    fn author<'a>(&self, body: &'a [u8]) -> Author<'a> {
        let account = get(body, "account").unwrap_or_default();
        let names = ["uri", "url", "id", "acct", "display_name"];
        let [uri, url, id, acct, name] = pick(account, names);
        let address = [uri, url].into_iter().flatten().find_map(string);
        Author {
            id: address.or_else(|| id.and_then(id_text)),
            handle: acct.and_then(string),
            name: name.and_then(string),
        }
    }

    fn labels<'a>(&self, body: &'a [u8]) -> Labels<'a> {
        let mut labels = Labels::default();
        let boosted = get(body, "reblog").unwrap_or_default();
        for status in [body, boosted] {
            let [tags, mentions, language] = pick(status, ["tags", "mentions", "language"]);
            labels.hashtags.extend(texts_in(tags, "name"));
            labels.mentions.extend(texts_in(mentions, "acct"));
            labels.mentions.extend(texts_in(mentions, "username"));
            labels.langs.extend(language.and_then(string));
        }
        labels
    }

    fn profile(&self, body: &[u8]) -> AuthorProfile {
        let account = get(body, "account").unwrap_or_default();
        let names = ["followers_count", "following_count", "statuses_count", "bot", "created_at"];
        let [followers, following, posts, bot, created_at] = pick(account, names);
        AuthorProfile {
            followers: followers.and_then(integer),
            following: following.and_then(integer),
            posts: posts.and_then(integer),
            verified: None,
            bot: bot.and_then(boolean),
            created_at: created_at.and_then(date_of),
        }
    }

    /// Returns the entities. Mastodon lists hashtags and mentions. Links are in the HTML, together
    /// with those of hashtags and mentions; the link of the card is the one that Mastodon itself
    /// chose.
    fn entities<'a>(&self, body: &'a [u8]) -> Entities<'a> {
        let boosted = get(body, "reblog").unwrap_or_default();
        let mut entities = Entities::default();
        for status in [body, boosted] {
            let [tags, mentions, content, card] =
                pick(status, ["tags", "mentions", "content", "card"]);
            if tags.is_some() {
                entities.add_hashtags(texts_in(tags, "name"));
            }
            if mentions.is_some() {
                entities.add_mentions(texts_in(mentions, "acct"));
            }
            if let Some(content) = content.and_then(string) {
                entities.add_urls(links(&content));
            }
            entities.more_urls.extend(card.and_then(|card| text_at(card, &["url"])));
        }
        entities
    }

    /// Returns the media; for a boost, those of the boosted post.
    fn media(&self, body: &[u8]) -> Vec<Media> {
        let mut media = Vec::new();
        for status in [body, get(body, "reblog").unwrap_or_default()] {
            let [attached, card, poll] = pick(status, ["media_attachments", "card", "poll"]);
            media.extend(elements(attached.unwrap_or_default()).map(media_of));
            media.extend(card.filter(|card| card.starts_with(b"{")).map(|_| Media::LinkCard));
            media.extend(poll.filter(|poll| poll.starts_with(b"{")).map(|_| Media::Poll));
        }
        media
    }

    fn relation<'a>(&self, body: &'a [u8]) -> Relation<'a> {
        let [reply_to, boosted, quote] = pick(body, ["in_reply_to_id", "reblog", "quote"]);
        let quoted = quote.map(|quote| get(quote, "quoted_status").unwrap_or(quote));
        let address =
            |status: Option<&'a [u8]>| id_of(status, "uri").or_else(|| id_of(status, "id"));
        Relation {
            reply_to: reply_to.and_then(id_text),
            repost_of: address(boosted),
            quote_of: address(quoted),
            conversation_id: None,
        }
    }

    fn counts(&self, body: &[u8]) -> Counts {
        let names = ["favourites_count", "reblogs_count", "replies_count", "quotes_count"];
        let [likes, reposts, replies, quotes] = integers(Some(body), names);
        Counts { likes, reposts, replies, quotes, ..Counts::default() }
    }

    fn stream(&self, body: &[u8]) -> PostStream {
        let [refreshed, edited_at] = pick(body, [REFRESHED, "edited_at"]);
        PostStream::of_platform(refreshed.is_some(), edited_at.and_then(string).is_some())
    }

    fn edited_at(&self, body: &[u8]) -> Option<OffsetDateTime> {
        self.revision(body).and_then(|text| date(&text))
    }

    fn revision<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        text_at(body, &["edited_at"])
    }

    /// Returns the selection of a deletion, which has the number of the toot on that server, and
    /// not its URI.
    fn deletion_reach(&self, id: &str) -> DeletionReach {
        if id.contains("://") { DeletionReach::AllOfId } else { DeletionReach::OfServer }
    }

    fn is_of_server(&self, body: &[u8], server: &str) -> Option<bool> {
        let [uri, url, account] = pick(body, ["uri", "url", "account"]);
        let account_url = account.and_then(|account| get(account, "url"));
        let is_there = |value: &[u8]| string(value).is_some_and(|text| is_at(&text, server));
        if [uri, url, account_url].into_iter().flatten().any(is_there) {
            return Some(true);
        }
        // A toot that came through another server has that server's number, and doesn't name that
        // server.
        let acct = account.and_then(|account| get(account, "acct")).and_then(string);
        if acct.is_none_or(|acct| acct.contains('@')) { None } else { Some(false) }
    }

    fn servers(&self, body: &[u8]) -> Vec<String> {
        let [uri, url, account] = pick(body, ["uri", "url", "account"]);
        let account_url = account.and_then(|account| get(account, "url"));
        let mut servers = Vec::new();
        for value in [uri, url, account_url].into_iter().flatten() {
            let address = string(value).unwrap_or_default();
            servers.extend(host(&address).map(str::to_ascii_lowercase));
        }
        servers.sort();
        servers.dedup();
        servers
    }
}

/// Returns the text of a status. Without content it has no text: a warning alone doesn't count.
fn text_of<'a>(warning: Option<&'a [u8]>, content: Option<&'a [u8]>) -> Option<Cow<'a, str>> {
    let content = without_html(&content.and_then(string)?);
    match warning.and_then(string).filter(|warning| !warning.is_empty()) {
        Some(warning) => Some(format!("{warning}\n{content}").into()),
        None => Some(content.into()),
    }
}

/// Returns true if an address belongs to this server.
fn is_at(address: &str, server: &str) -> bool {
    host(address).is_some_and(|host| host.eq_ignore_ascii_case(server))
}

/// Returns the host of an address.
fn host(address: &str) -> Option<&str> {
    address.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next())
}

fn media_of(attachment: &[u8]) -> Media {
    match get(attachment, "type") {
        Some(br#""image""#) => Media::Photo,
        Some(br#""video""#) => Media::Video,
        Some(br#""gifv""#) => Media::Gif,
        Some(br#""audio""#) => Media::Audio,
        _ => Media::Other,
    }
}

/// Returns the addresses that HTML links to, except those of mentions and hashtags, which have a
/// class.
fn links(html: &str) -> Vec<Cow<'static, str>> {
    let mut links = Vec::new();
    for tag in html.split("<a ").skip(1) {
        let tag = tag.split('>').next().unwrap_or_default();
        let class = attribute(tag, "class").unwrap_or_default();
        let is_marked = class.split_whitespace().any(|name| ["mention", "hashtag"].contains(&name));
        if let Some(address) = attribute(tag, "href")
            && !is_marked
        {
            links.push(decode_html_entities(address).into_owned().into());
        }
    }
    links
}

/// Returns the value of an attribute of a tag.
fn attribute<'t>(tag: &'t str, name: &str) -> Option<&'t str> {
    let mut rest = tag;
    loop {
        let (key, value) = rest.split_once('=')?;
        let quote = value.chars().next().filter(|quote| ['"', '\''].contains(quote))?;
        let (value, behind) = value[1..].split_once(quote)?;
        if key.trim() == name {
            return Some(value);
        }
        rest = behind;
    }
}
