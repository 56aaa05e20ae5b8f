//! Facebook: a post of a page, as the Graph API gives it.

use std::borrow::Cow;

use time::OffsetDateTime;

use super::{Author, Labels, PostKind, dated};
use crate::post::fields::{date, get, id_text, members, pick, string, text_at, texts_in};
use crate::post::stream::{PostStream, REFRESHED};

pub(super) struct FacebookPost;

impl PostKind for FacebookPost {
    fn time_in(&self, key: &[u8], json: &[u8]) -> Option<OffsetDateTime> {
        if key == b"created_time" { dated(json) } else { None }
    }

    fn id<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        get(body, "id").and_then(id_text)
    }

    /// What somebody wrote, or what Facebook says of a post without words.
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

    /// An author has a name that is shown, and none by which others mention it.
    fn author<'a>(&self, body: &'a [u8]) -> Author<'a> {
        let from = get(body, "from").unwrap_or_default();
        let [id, name] = pick(from, ["id", "name"]);
        Author { id: id.and_then(id_text), handle: None, name: name.and_then(string) }
    }

    /// `message_tags` has pages and people, and hashtags as well.
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

    /// Facebook doesn't say that a post was edited: its source has added `edited_at` to one whose
    /// text has changed.
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
