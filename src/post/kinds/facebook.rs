//! Facebook: a post of a page, as the Graph API returns it.

use std::borrow::Cow;

use time::OffsetDateTime;

use super::facts::{Counts, Entities, Media, Relation, id_of, integer, integers};
use super::{Author, Labels, PostKind, dated};
use crate::post::fields::{
    at, date, elements, get, id_text, members, pick, string, text_at, texts_in,
};
use crate::post::stream::{PostStream, REFRESHED};

pub(super) struct FacebookPost;

impl PostKind for FacebookPost {
    fn platform(&self) -> Option<&'static str> {
        Some("facebook")
    }

    fn time_in(&self, key: &[u8], json: &[u8]) -> Option<OffsetDateTime> {
        if key == b"created_time" { dated(json) } else { None }
    }

    fn id<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        get(body, "id").and_then(id_text)
    }

    /// Returns the author's text, or Facebook's description of a post without text.
    fn text<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        let mut story = None;
        let message = members(body).find_map(|(key, value)| match key {
            b"message" => string(value),
            b"story" => {
                story = string(value);
                None
            }
            _ => None,
        });
        message.or(story)
    }

    /// Returns the author, who has a displayed name, and no name for mentions.
    fn author<'a>(&self, body: &'a [u8]) -> Author<'a> {
        let from = get(body, "from").unwrap_or_default();
        let [id, name] = pick(from, ["id", "name"]);
        Author { id: id.and_then(id_text), handle: None, name: name.and_then(string) }
    }

    /// Returns the labels; `message_tags` has pages and people, and hashtags as well.
    fn labels<'a>(&self, body: &'a [u8]) -> Labels<'a> {
        let [id, tags] = pick(body, ["id", "message_tags"]);
        let mut labels = Labels::default();
        for name in texts_in(tags, "name") {
            match name.strip_prefix('#') {
                Some(hashtag) => labels.hashtags.push(Cow::Owned(hashtag.to_owned())),
                None => labels.mentions.push(Cow::Owned(name.trim_start_matches('@').to_owned())),
            }
        }
        let id = id.and_then(string);
        labels.place = id.and_then(|id| Some(Cow::Owned(id.split_once('_')?.0.to_owned())));
        labels
    }

    /// Returns the entities. Facebook marks pages and people in the text, but hashtags only if they
    /// have a page. Its links are those of the attachments, and those in the text.
    fn entities<'a>(&self, body: &'a [u8]) -> Entities<'a> {
        let labels = self.labels(body);
        let mut entities = Entities { mentions: Some(labels.mentions), ..Entities::default() };
        if !labels.hashtags.is_empty() {
            entities.hashtags = Some(labels.hashtags);
        }
        for attachment in attachments(body) {
            let [kind, url, unshimmed] = pick(attachment, ["media_type", "url", "unshimmed_url"]);
            if kind == Some(br#""link""#) {
                entities.more_urls.extend(unshimmed.or(url).and_then(string));
            }
        }
        entities
    }

    fn media(&self, body: &[u8]) -> Vec<Media> {
        let mut media = Vec::new();
        for attachment in attachments(body) {
            let parts = at(attachment, &["subattachments", "data"]).unwrap_or_default();
            let before = media.len();
            media.extend(elements(parts).map(media_of));
            if media.len() == before {
                media.push(media_of(attachment));
            }
        }
        media
    }

    /// Returns the relation: a post may share another one.
    fn relation<'a>(&self, body: &'a [u8]) -> Relation<'a> {
        Relation { repost_of: id_of(Some(body), "parent_id"), ..Relation::default() }
    }

    fn counts(&self, body: &[u8]) -> Counts {
        let names = ["reactions", "likes", "shares", "comments"];
        let [reactions, likes, shares, comments] = pick(body, names);
        let total = |list: Option<&[u8]>| at(list?, &["summary", "total_count"]).and_then(integer);
        let [shares] = integers(shares, ["count"]);
        Counts {
            likes: total(reactions).or_else(|| total(likes)),
            reposts: shares,
            replies: total(comments),
            ..Counts::default()
        }
    }

    /// Returns the stream. Facebook doesn't say that a post was edited: its source has added
    /// `edited_at` to a post whose text has changed.
    fn stream(&self, body: &[u8]) -> PostStream {
        let [refreshed, edited_at] = pick(body, [REFRESHED, "edited_at"]);
        PostStream::of_platform(refreshed.is_some(), edited_at.and_then(string).is_some())
    }

    fn edited_at(&self, body: &[u8]) -> Option<OffsetDateTime> {
        text_at(body, &["edited_at"]).and_then(|text| date(&text))
    }

    fn revision<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        text_at(body, &["edited_at"])
    }

    fn tells_edits(&self) -> bool {
        false
    }
}

fn attachments(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    elements(at(body, &["attachments", "data"]).unwrap_or_default())
}

fn media_of(attachment: &[u8]) -> Media {
    let [media_type, kind] = pick(attachment, ["media_type", "type"]);
    match media_type.or(kind) {
        Some(br#""photo""# | br#""album""#) => Media::Photo,
        Some(br#""video""# | br#""video_inline""#) => Media::Video,
        Some(br#""link""# | br#""share""#) => Media::LinkCard,
        Some(br#""animated_image_share""#) => Media::Gif,
        Some(br#""music""#) => Media::Audio,
        _ => Media::Other,
    }
}
