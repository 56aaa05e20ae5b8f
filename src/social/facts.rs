//! The facts of a post that topics ask for.

use std::borrow::Cow;

use crate::post::fields::{get, texts_in};
use crate::post::{Author, Content, Labels, Post};

/// The prefix of a topic's name in the tag of a rule that this program made and that means exactly
/// the topic.
pub const RULES_BY_US: &str = "waterspout:";

/// The facts of a post that topics can ask for. A fact that the post doesn't tell is empty.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    /// The text as people read it.
    pub text: Cow<'a, str>,
    /// The labels that the platform marks, and those that have a sign in the text.
    pub labels: Labels<'a>,
    /// All names and ids of the post's author.
    pub authors: Vec<Cow<'a, str>>,
    /// The tags of the rules by which the platform matched the post.
    pub rules: Vec<Cow<'a, str>>,
}

/// Reads the facts of a post.
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

/// Returns all names that an author may be asked for by. `user@host` is also known as `user`. A
/// display name counts only on platforms without user names, since anybody may choose the display
/// name of somebody else.
fn names_of(author: Author<'_>) -> Vec<Cow<'_, str>> {
    let user =
        author.handle.as_ref().and_then(|handle| Some(handle.split_once('@')?.0.to_owned().into()));
    let name = if author.handle.is_none() { author.name } else { None };
    [author.id, author.handle, user, name].into_iter().flatten().collect()
}

/// Returns the words of a text that begin with a sign, without the sign. The words are copied,
/// since the text may be a decoded copy itself.
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

/// Returns the topic's name from the tag of a rule of this program, and all of any other tag.
fn topic_of_tag(tag: Cow<'_, str>) -> Cow<'_, str> {
    match tag {
        Cow::Borrowed(tag) => tag.strip_prefix(RULES_BY_US).unwrap_or(tag).into(),
        Cow::Owned(tag) => tag.strip_prefix(RULES_BY_US).map(str::to_owned).unwrap_or(tag).into(),
    }
}
