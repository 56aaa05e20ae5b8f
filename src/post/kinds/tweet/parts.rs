//! The members of a tweet, gathered in one pass, and the facts that they give together.

use std::borrow::Cow;

use super::super::{Author, Labels};
use crate::post::fields::{at, elements, get, id_text, members, pick, string, texts_in};
use crate::post::html::{TWITTER_ENTITIES, decode_entities};

/// The names of a repost in both vocabularies.
pub(super) const REPOST_TYPES: [&[u8]; 2] = [br#""retweeted""#, br#""reposted""#];

/// The members of a tweet that are used for more than one fact, found in one pass. If a name occurs
/// several times, the first member counts.
#[derive(Clone, Copy, Default)]
pub(super) struct Parts<'a> {
    pub attachments: Option<&'a [u8]>,
    author: Option<&'a [u8]>,
    author_id: Option<&'a [u8]>,
    pub conversation_id: Option<&'a [u8]>,
    pub data: Option<&'a [u8]>,
    pub entities: Option<&'a [u8]>,
    /// v1.1, in a stream: the whole tweet if `text` is cut.
    pub extended: Option<&'a [u8]>,
    /// v1.1: the attachments.
    pub extended_entities: Option<&'a [u8]>,
    pub favorite_count: Option<&'a [u8]>,
    /// v1.1, if extended tweets were requested.
    full_text: Option<&'a [u8]>,
    /// v2: the ids of all versions.
    pub history: Option<&'a [u8]>,
    pub id: Option<&'a [u8]>,
    /// The id in quotes, by the first of its names.
    pub id_in_quotes: Option<&'a [u8]>,
    /// v2: the whole objects that the tweet refers to.
    pub includes: Option<&'a [u8]>,
    lang: Option<&'a [u8]>,
    /// v2: the whole tweet if `text` is cut.
    pub note: Option<&'a [u8]>,
    pub public_metrics: Option<&'a [u8]>,
    pub quote_count: Option<&'a [u8]>,
    /// v1.1: the tweet that this one quotes.
    pub quoted_id: Option<&'a [u8]>,
    pub quoted_id_number: Option<&'a [u8]>,
    pub received_at: Option<&'a [u8]>,
    pub referenced: Option<&'a [u8]>,
    pub refreshed: Option<&'a [u8]>,
    pub reply_count: Option<&'a [u8]>,
    /// v1.1: the tweet that this one answers.
    pub reply_to: Option<&'a [u8]>,
    pub reply_to_number: Option<&'a [u8]>,
    pub retweet_count: Option<&'a [u8]>,
    /// v1.1: the tweet that this one reposts.
    pub retweeted: Option<&'a [u8]>,
    text: Option<&'a [u8]>,
    user: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    /// Gathers the parts of a tweet, or of one with `data` around it.
    pub(crate) fn of(tweet: &'a [u8]) -> Self {
        let outer = Self::of_members(tweet);
        match outer.data {
            Some(data) if outer.text.is_none() && data.starts_with(b"{") => {
                let Self { includes, received_at, .. } = outer;
                Self { includes, received_at, data: Some(data), ..Self::of_members(data) }
            }
            _ => outer,
        }
    }

    fn of_members(object: &'a [u8]) -> Self {
        let mut parts = Self::default();
        for (key, value) in members(object) {
            if let Some(part) = parts.part(key, value)
                && part.is_none()
                && value != b"null"
            {
                *part = Some(value);
            }
        }
        parts
    }

    /// Returns the field for a member.
    #[inline]
    fn part(&mut self, key: &[u8], value: &[u8]) -> Option<&mut Option<&'a [u8]>> {
        Some(match key {
            b"id" | b"id_str" if value.starts_with(b"\"") => &mut self.id_in_quotes,
            b"id" => &mut self.id,
            b"text" => &mut self.text,
            b"user" => &mut self.user,
            b"lang" => &mut self.lang,
            b"data" => &mut self.data,
            b"author" => &mut self.author,
            b"author_id" => &mut self.author_id,
            b"entities" => &mut self.entities,
            b"includes" => &mut self.includes,
            b"full_text" => &mut self.full_text,
            b"refreshed" => &mut self.refreshed,
            b"received_at" => &mut self.received_at,
            b"attachments" => &mut self.attachments,
            b"conversation_id" => &mut self.conversation_id,
            b"public_metrics" => &mut self.public_metrics,
            b"extended_tweet" => &mut self.extended,
            b"extended_entities" => &mut self.extended_entities,
            b"note_tweet" | b"note_post" => &mut self.note,
            b"referenced_tweets" | b"referenced_posts" => &mut self.referenced,
            b"edit_history_tweet_ids" | b"edit_history_post_ids" => &mut self.history,
            b"retweeted_status" => &mut self.retweeted,
            b"in_reply_to_status_id_str" => &mut self.reply_to,
            b"in_reply_to_status_id" => &mut self.reply_to_number,
            b"quoted_status_id_str" => &mut self.quoted_id,
            b"quoted_status_id" => &mut self.quoted_id_number,
            b"favorite_count" => &mut self.favorite_count,
            b"retweet_count" => &mut self.retweet_count,
            b"reply_count" => &mut self.reply_count,
            b"quote_count" => &mut self.quote_count,
            _ => return None,
        })
    }

    /// Returns the text: for a repost that of the reposted tweet; otherwise the longest one, since
    /// `text` is cut if the tweet is long.
    pub(crate) fn text(&self, reposted: Option<&Self>) -> Option<Cow<'a, str>> {
        reposted.and_then(Self::own_text).or_else(|| self.own_text())
    }

    /// Returns the labels: for a repost also those of the reposted tweet, since its own are cut
    /// together with its text.
    pub(crate) fn labels(&self, reposted: Option<&Self>) -> Labels<'a> {
        self.labels_of(&self.all_marks(reposted), reposted.is_some())
    }

    /// Returns the marks of the reposted tweet, and those of the tweet itself.
    pub(crate) fn all_marks(&self, reposted: Option<&Self>) -> Vec<Marks<'a>> {
        let of_reposted = reposted.into_iter().flat_map(Self::marks);
        of_reposted.chain(self.marks()).collect()
    }

    /// Returns the labels of a tweet with these marks.
    pub(crate) fn labels_of(&self, marks: &[Marks<'a>], is_repost: bool) -> Labels<'a> {
        let mut labels =
            Labels { langs: self.lang.and_then(string).into_iter().collect(), ..Labels::default() };
        if is_repost {
            labels.mentions.extend(self.own_text().and_then(reposted_user));
        }
        for marks in marks {
            marks.add_to(&mut labels);
        }
        labels
    }

    /// Returns the longest text of the tweet itself, with the three characters decoded that X
    /// escapes as HTML does.
    fn own_text(&self) -> Option<Cow<'a, str>> {
        let note = self.note.and_then(|note| get(note, "text"));
        let extended = self.extended.and_then(|tweet| get(tweet, "full_text"));
        let texts = [note, extended, self.full_text, self.text];
        let text = texts.into_iter().flatten().find_map(string)?;
        Some(decode_entities(text, &TWITTER_ENTITIES))
    }

    /// Returns the tweet that this one reposts, if it is included.
    pub(crate) fn reposted(&self) -> Option<Self> {
        if let Some(retweeted) = self.retweeted {
            return Some(Self::of(retweeted));
        }
        let is_repost = |reference: &&[u8]| {
            get(reference, "type").is_some_and(|kind| REPOST_TYPES.contains(&kind))
        };
        let reference = elements(self.referenced?).find(is_repost)?;
        let id = get(reference, "id").and_then(id_text)?;
        let [tweets, posts] = pick(self.includes?, ["tweets", "posts"]);
        elements(tweets.or(posts)?)
            .find(|tweet| get(tweet, "id").and_then(id_text).as_ref() == Some(&id))
            .map(Self::of)
    }

    pub(crate) fn author(&self) -> Author<'a> {
        let names = ["id_str", "id", "username", "screen_name", "name"];
        self.author_of(pick(self.user_profile().unwrap_or_default(), names))
    }

    /// Returns the author from these members: `id_str`, `id`, `username`, `screen_name`, `name`.
    pub(crate) fn author_of(
        &self,
        [id_str, id, username, screen_name, name]: [Option<&'a [u8]>; 5],
    ) -> Author<'a> {
        let author_id = self.author_id.and_then(id_text);
        Author {
            id: author_id.or_else(|| id_str.or(id).and_then(id_text)),
            handle: username.or(screen_name).and_then(string),
            name: name.and_then(string),
        }
    }

    /// Returns the account of the author.
    pub(crate) fn user_profile(&self) -> Option<&'a [u8]> {
        if let Some(profile) = self.user.or(self.author) {
            return Some(profile);
        }
        let author_id = self.author_id.and_then(id_text)?;
        let users = at(self.includes?, &["users"])?;
        elements(users).find(|user| get(user, "id").and_then(id_text).as_ref() == Some(&author_id))
    }

    /// Returns the marks of X in the tweet. If its text is cut, its entities are cut, too, and the
    /// whole text comes with its own entities.
    pub(crate) fn marks(&self) -> impl Iterator<Item = Marks<'a>> {
        let of_whole = |whole: Option<&'a [u8]>| whole.and_then(|whole| get(whole, "entities"));
        let entities = [self.entities, of_whole(self.note), of_whole(self.extended)];
        entities.into_iter().flatten().map(Marks::of)
    }
}

/// The lists of entities that X marks, with the names of v1.1 and of v2.
#[derive(Clone, Copy)]
pub(super) struct Marks<'a> {
    hashtags: Option<&'a [u8]>,
    cashtags: Option<&'a [u8]>,
    symbols: Option<&'a [u8]>,
    mentions: Option<&'a [u8]>,
    user_mentions: Option<&'a [u8]>,
    pub urls: Option<&'a [u8]>,
    pub media: Option<&'a [u8]>,
}

impl<'a> Marks<'a> {
    fn of(entities: &'a [u8]) -> Self {
        let names =
            ["hashtags", "cashtags", "symbols", "mentions", "user_mentions", "urls", "media"];
        let [hashtags, cashtags, symbols, mentions, user_mentions, urls, media] =
            pick(entities, names);
        Self { hashtags, cashtags, symbols, mentions, user_mentions, urls, media }
    }

    fn add_to(&self, labels: &mut Labels<'a>) {
        labels.hashtags.extend(texts_in(self.hashtags, "tag"));
        labels.hashtags.extend(texts_in(self.hashtags, "text"));
        labels.cashtags.extend(texts_in(self.cashtags, "tag"));
        labels.cashtags.extend(texts_in(self.symbols, "text"));
        labels.mentions.extend(texts_in(self.mentions, "username"));
        labels.mentions.extend(texts_in(self.user_mentions, "screen_name"));
    }
}

/// Returns the user whose tweet was reposted, from the text of the repost: `RT @user: …`.
fn reposted_user(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let (user, _) = text.strip_prefix("RT @")?.split_once(':')?;
    Some(Cow::Owned(user.to_owned()))
}
