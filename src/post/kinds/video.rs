//! YouTube: a video as `videos.list` returns it, or a result of a search or a playlist for which
//! YouTube returned no video.

use std::borrow::Cow;

use html_escape::decode_html_entities;
use time::OffsetDateTime;

use super::facts::{Counts, Entities, Media, integers};
use super::{Author, Labels, PostKind, dated};
use crate::post::fields::{at, elements, find_member, get, members, pick, string, text_at};

/// The `kind` of an item of a playlist: its `id` is that of the item, and not of the video.
const PLAYLIST_ITEM: &[u8] = br#""youtube#playlistItem""#;

/// The `kind` of a search result: only in these YouTube escapes titles as HTML does.
const SEARCH_RESULT: &[u8] = br#""youtube#searchResult""#;

pub(super) struct Video;

impl PostKind for Video {
    fn platform(&self) -> Option<&'static str> {
        Some("youtube")
    }

    fn time_in(&self, key: &[u8], json: &[u8]) -> Option<OffsetDateTime> {
        if key == b"snippet" { at(json, &["publishedAt"]).and_then(dated) } else { None }
    }

    fn id<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        let mut is_playlist_item = false;
        members(body).find_map(|(key, value)| match key {
            b"kind" => {
                is_playlist_item = value == PLAYLIST_ITEM;
                None
            }
            b"id" if value.starts_with(b"{") => text_at(value, &["videoId"]),
            b"id" if !is_playlist_item => string(value),
            b"contentDetails" if is_playlist_item => text_at(value, &["videoId"]),
            b"snippet" if is_playlist_item => text_at(value, &["resourceId", "videoId"]),
            _ => None,
        })
    }

    /// Returns the title, and on the next line the description.
    fn text<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        let mut is_escaped = false;
        let snippet = find_member(body, |key, json| {
            is_escaped |= key == b"kind" && json.starts_with(SEARCH_RESULT);
            (key == b"snippet").then_some(json)
        });
        let [title, description] = pick(snippet?, ["title", "description"]);
        let readable = |text: Cow<'a, str>| match decode_html_entities(&text) {
            Cow::Owned(decoded) if is_escaped => decoded.into(),
            _ => text,
        };
        match (title.and_then(string).map(readable), description.and_then(string).map(readable)) {
            (Some(title), Some(description)) => Some(format!("{title}\n{description}").into()),
            (title, description) => title.or(description),
        }
    }

    /// Returns the channel, which has a displayed name, and no name for mentions.
    fn author<'a>(&self, body: &'a [u8]) -> Author<'a> {
        let [id, name] =
            pick(get(body, "snippet").unwrap_or_default(), ["channelId", "channelTitle"]);
        Author { id: id.and_then(string), handle: None, name: name.and_then(string) }
    }

    fn labels<'a>(&self, body: &'a [u8]) -> Labels<'a> {
        let snippet = at(body, &["snippet"]).unwrap_or_default();
        let names = ["tags", "defaultLanguage", "defaultAudioLanguage", "channelId"];
        let [tags, language, audio, channel] = pick(snippet, names);
        Labels {
            hashtags: elements(tags.unwrap_or_default()).filter_map(string).collect(),
            langs: [language, audio].into_iter().flatten().filter_map(string).collect(),
            place: channel.and_then(string),
            ..Labels::default()
        }
    }

    /// Returns the entities. YouTube marks nothing in the text. A video has keywords, of which
    /// those of one word count as hashtags.
    fn entities<'a>(&self, body: &'a [u8]) -> Entities<'a> {
        let tags = at(body, &["snippet", "tags"]).unwrap_or_default();
        let words = elements(tags).filter_map(string).filter(|tag| !tag.contains(' '));
        Entities { more_hashtags: words.collect(), ..Entities::default() }
    }

    fn media(&self, _body: &[u8]) -> Vec<Media> {
        vec![Media::Video]
    }

    /// Returns the counts. YouTube writes its numbers in quotes, and leaves out those that the
    /// author hides.
    fn counts(&self, body: &[u8]) -> Counts {
        let names = ["likeCount", "commentCount", "viewCount"];
        let [likes, replies, views] = integers(get(body, "statistics"), names);
        Counts { likes, replies, views, ..Counts::default() }
    }
}
