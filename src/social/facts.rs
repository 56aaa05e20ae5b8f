//! What topics ask of a post.

use std::borrow::Cow;

use crate::post::fields::{get, texts_in};
use crate::post::{Author, Content, Labels, Post};

/// What stands before a topic's name in the tag of a rule that this program made and that means the
/// topic exactly.
pub const RULES_BY_US: &str = "waterspout:";

/// What a post says, as far as topics can ask for it. What it doesn't say is empty.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    /// The text as people read it.
    pub text: Cow<'a, str>,
    /// What the platform marks, and what has a sign in the text.
    pub labels: Labels<'a>,
    /// All names and ids of its author.
    pub authors: Vec<Cow<'a, str>>,
    /// The tags of the rules that its platform matched it by.
    pub rules: Vec<Cow<'a, str>>,
}

/// Reads what there is.
pub(super) fn facts(post: &Post) -> Facts<'_> {
    let Content { text, author, mut labels } = post.content();
    let text = text.unwrap_or_default();
    labels.hashtags.extend(signed(&text, ('#', '＃')));
    labels.mentions.extend(signed(&text, ('@', '＠')));
    labels.cashtags.extend(signed(&text, ('$', '$')));
    let rules = texts_in(get(post.body(), "matching_rules"), "tag");
    let rules = rules.into_iter().map(topic_of_tag).collect();
    Facts { text, labels, authors: names_of(author), rules }
}

/// All that an author may be asked for by. `user@host` is also known as `user`. A name that is only
/// shown counts where the platform has no other: anybody may show the name of somebody else.
fn names_of(author: Author<'_>) -> Vec<Cow<'_, str>> {
    let user =
        author.handle.as_ref().and_then(|handle| Some(handle.split_once('@')?.0.to_owned().into()));
    let name = if author.handle.is_none() { author.name } else { None };
    [author.id, author.handle, user, name].into_iter().flatten().collect()
}

/// Words of a text that begin with a sign, without it. They become texts of their own: what they
/// are taken from may have been decoded.
fn signed(text: &str, (sign, wide): (char, char)) -> Vec<Cow<'static, str>> {
    let word = |at: usize, sign: char| {
        let behind = &text[at + sign.len_utf8()..];
        let inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '@');
        let word = &behind[..behind.find(|c| !inside(c)).unwrap_or(behind.len())];
        let word = if sign == '@' || sign == '＠' {
            word
        } else {
            word.split(['.', '-', '@']).next().unwrap_or_default()
        };
        let word = word.trim_end_matches(['.', '-']);
        let begins = !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '&');
        (begins && !word.is_empty()).then(|| Cow::Owned(word.to_owned()))
    };
    text.char_indices()
        .filter(|(_, c)| *c == sign || *c == wide)
        .filter_map(|(at, c)| word(at, c))
        .collect()
}

/// The tag of a rule of this program is the topic's name behind a sign; of others it is all of it.
fn topic_of_tag(tag: Cow<'_, str>) -> Cow<'_, str> {
    match tag {
        Cow::Borrowed(tag) => tag.strip_prefix(RULES_BY_US).unwrap_or(tag).into(),
        Cow::Owned(tag) => tag.strip_prefix(RULES_BY_US).map(str::to_owned).unwrap_or(tag).into(),
    }
}
