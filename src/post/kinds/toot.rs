//! Mastodon, and the servers that speak as it does: a status as the streaming API or a timeline
//! gives it.

use std::borrow::Cow;

use time::OffsetDateTime;

use super::{Author, DeletionReach, Labels, PostKind, dated};
use crate::post::fields::{date, get, id_text, pick, string, text_at, texts_in};
use crate::post::html::without_html;
use crate::post::stream::{PostStream, REFRESHED};

pub(super) struct Toot;

impl PostKind for Toot {
    fn time_in(&self, key: &[u8], json: &[u8]) -> Option<OffsetDateTime> {
        if key == b"created_at" { dated(json) } else { None }
    }

    /// The `uri`: its `id` is another one on every server.
    fn id<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        let [uri, id] = pick(body, ["uri", "id"]);
        uri.and_then(string).or_else(|| id.and_then(id_text))
    }

    /// The number on the server that it was captured from.
    fn other_id<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        get(body, "id").and_then(id_text)
    }

    fn reread_id<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        self.other_id(body)
    }

    /// The warning, and the content without its HTML on a line of its own. A boost says what it
    /// boosts.
    fn text<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        let [warning, content, boosted] = pick(body, ["spoiler_text", "content", "reblog"]);
        let own = || text_of(warning, content);
        let boosted = boosted.map(|boosted| pick(boosted, ["spoiler_text", "content"]));
        boosted.and_then(|[warning, content]| text_of(warning, content)).or_else(own)
    }

    /// The address of the account is the same on all servers, and its number isn't.
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

    /// A deletion gives the number that the toot has on that server, and not its uri.
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
        // A toot that came through another server has that server's number: which one, it doesn't
        // say.
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

/// A status without its content has no text: a warning alone is none.
fn text_of<'a>(warning: Option<&'a [u8]>, content: Option<&'a [u8]>) -> Option<Cow<'a, str>> {
    let content = without_html(&content.and_then(string)?);
    match warning.and_then(string).filter(|warning| !warning.is_empty()) {
        Some(warning) => Some(format!("{warning}\n{content}").into()),
        None => Some(content.into()),
    }
}

/// Whether an address is one of this server.
fn is_at(address: &str, server: &str) -> bool {
    host(address).is_some_and(|host| host.eq_ignore_ascii_case(server))
}

/// The host of an address.
fn host(address: &str) -> Option<&str> {
    address.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next())
}
