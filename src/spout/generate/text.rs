//! The text of a post: drawn once as pieces, then written in the format of each platform.

use std::ops::Range;

use super::draw::Draw;
use super::json::BASE64;
use super::languages::{EMOJI, Language};
use super::trend::Tag;
use super::user::User;

/// One piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Word(&'static str),
    Emoji(&'static str),
    /// A hashtag by its rank.
    Tag(u32),
    Mention(User),
    /// A link, by the number that its path is derived from.
    Link(u64),
    Break,
}

/// The position of a hashtag, a mention or a link in a text, without escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub piece: Piece,
    /// In Unicode code points.
    pub chars: Range<u64>,
    /// In bytes of UTF-8.
    pub bytes: Range<usize>,
}

/// A text as pieces.
#[derive(Default)]
pub(super) struct Text {
    pub pieces: Vec<Piece>,
    spaced: bool,
}

impl Text {
    /// Draws a new text in the author's language: words for up to `bytes_max` bytes or slightly
    /// more, and the `tags`, most of them at the end.
    pub(crate) fn draw(&mut self, draw: &mut Draw, author: User, tags: &[u32], bytes_max: u32) {
        let language = author.language();
        self.spaced = language.spaced;
        self.pieces.clear();
        if draw.one_in(4) {
            self.pieces.push(Piece::Mention(User::draw(draw, author.place())));
        }
        let bytes = bytes_max / 8 + draw.below(bytes_max);
        self.draw_words(draw, language, bytes);
        self.pieces.extend(tags.iter().map(|rank| Piece::Tag(*rank)));
        if draw.one_in(3) {
            self.pieces.push(Piece::Link(draw.long()));
        }
    }

    fn draw_words(&mut self, draw: &mut Draw, language: &Language, bytes: u32) {
        let mut left = bytes as usize;
        while left > 0 {
            let bits = draw.bits();
            // Ten bits for each of two words, and the others for the pieces between them.
            for word in [language.word(bits), language.word(bits >> 10)] {
                left = left.saturating_sub(word.len() + 1);
                self.pieces.push(Piece::Word(word));
            }
            match bits >> 26 {
                0 => self.pieces.push(Piece::Break),
                1..=3 => self.pieces.push(Piece::Emoji(EMOJI[(bits >> 20 & 15) as usize])),
                _ => {}
            }
        }
    }

    /// Returns true if a space (and not nothing) separates two pieces.
    fn space_between(&self, before: Piece, piece: Piece) -> bool {
        let word = |piece| matches!(piece, Piece::Word(_) | Piece::Emoji(_));
        before != Piece::Break
            && piece != Piece::Break
            && (self.spaced || !word(before) || !word(piece))
    }

    /// Writes the text without any markup, and records the positions of its hashtags, mentions and
    /// links.
    pub(crate) fn plain(&self, into: &mut String, spans: &mut Vec<Span>) {
        into.clear();
        spans.clear();
        let (mut chars, mut counted) = (0, 0);
        for (i, piece) in self.pieces.iter().enumerate() {
            if i > 0 && self.space_between(self.pieces[i - 1], *piece) {
                into.push(' ');
            }
            let start = into.len();
            match piece {
                Piece::Word(word) | Piece::Emoji(word) => into.push_str(word),
                Piece::Break => into.push('\n'),
                Piece::Tag(rank) => {
                    into.push('#');
                    into.push_str(&Tag::at(*rank).text);
                }
                Piece::Mention(user) => {
                    into.push('@');
                    user.username(into);
                }
                Piece::Link(number) => link(*number, into),
            }
            if matches!(piece, Piece::Tag(_) | Piece::Mention(_) | Piece::Link(_)) {
                let before = chars + chars_of(&into[counted..start]);
                chars = before + chars_of(&into[start..]);
                counted = into.len();
                spans.push(Span { piece: *piece, chars: before..chars, bytes: start..counted });
            }
        }
    }

    /// Writes the text as Mastodon's HTML.
    pub(crate) fn html(&self, into: &mut String) {
        into.clear();
        into.push_str("<p>");
        for (i, piece) in self.pieces.iter().enumerate() {
            if i > 0 && self.space_between(self.pieces[i - 1], *piece) {
                into.push(' ');
            }
            match piece {
                Piece::Word(word) | Piece::Emoji(word) => into.push_str(word),
                Piece::Break => into.push_str("<br />"),
                Piece::Tag(rank) => {
                    let Tag { text, in_url } = Tag::at(*rank);
                    into.extend(["<a href=\"https://social.example/tags/", in_url]);
                    into.extend([
                        "\" class=\"mention hashtag\" rel=\"tag\">#<span>",
                        text,
                        "</span></a>",
                    ]);
                }
                Piece::Mention(user) => {
                    into.push_str("<span class=\"h-card\" translate=\"no\"><a href=\"https://social.example/@");
                    user.username(into);
                    into.push_str("\" class=\"u-url mention\">@<span>");
                    user.username(into);
                    into.push_str("</span></a></span>");
                }
                Piece::Link(number) => {
                    into.push_str("<a href=\"");
                    link(*number, into);
                    into.push_str(
                        "\" target=\"_blank\" rel=\"nofollow noopener\" translate=\"no\">",
                    );
                    link(*number, into);
                    into.push_str("</a>");
                }
            }
        }
        into.push_str("</p>");
    }
}

/// Writes a short link.
pub(super) fn link(number: u64, into: &mut String) {
    into.push_str("https://ln.example/");
    for place in 0..10 {
        into.push(char::from(BASE64[(number >> (place * 6) & 63) as usize]));
    }
}

fn chars_of(text: &str) -> u64 {
    text.chars().count() as u64
}
