//! Converts the text of platforms that write HTML, or that escape some characters as HTML does.

use std::borrow::Cow;

use html_escape::decode_html_entities;

/// Returns a toot's text as a reader sees it: `<p>`, `<br>` and the tags of lists and the like
/// separate words, other tags (of links, of the `#` of a hashtag) don't, and HTML entities become
/// characters.
pub(crate) fn without_html(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if is_tag(rest) {
            let Some((tag, behind)) = rest.split_once('>') else { break };
            if parts_words(tag) {
                text.push('\n');
            }
            rest = behind;
        } else {
            // A lone `<` stays as it is.
            text.push('<');
            rest = &rest[1..];
        }
    }
    text.push_str(rest);
    match decode_html_entities(&text) {
        Cow::Owned(decoded) => decoded,
        Cow::Borrowed(_) => text,
    }
}

fn is_tag(html: &str) -> bool {
    html.strip_prefix('<').is_some_and(|name| {
        name.starts_with(|char: char| char == '/' || char.is_ascii_alphabetic())
    })
}

/// The tags that begin or end a line.
const BLOCKS: [&str; 19] = [
    "p",
    "br",
    "div",
    "li",
    "ul",
    "ol",
    "blockquote",
    "pre",
    "hr",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "table",
    "tr",
    "td",
    "th",
];

/// Returns true if the texts before and after a tag (given without its end) are separate words.
fn parts_words(tag: &str) -> bool {
    let tag = tag.trim_start_matches(['<', '/']);
    let name = tag.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    BLOCKS.iter().any(|block| name.eq_ignore_ascii_case(block))
}

/// A character, and the entity that stands for it.
type Entity = (&'static str, char);

/// The entities in Twitter's texts, which otherwise aren't HTML.
pub(crate) const TWITTER_ENTITIES: [Entity; 3] = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>')];

/// Returns a text with these entities decoded. Each is decoded once: `&amp;lt;` becomes `&lt;`.
pub(crate) fn decode_entities<'a>(text: Cow<'a, str>, entities: &[Entity]) -> Cow<'a, str> {
    if memchr::memchr(b'&', text.as_bytes()).is_none() {
        return text;
    }
    let mut decoded = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(at) = rest.find('&') {
        decoded.push_str(&rest[..at]);
        let (character, behind) =
            leading_entity(&rest[at..], entities).unwrap_or(('&', &rest[at + 1..]));
        decoded.push(character);
        rest = behind;
    }
    decoded.push_str(rest);
    decoded.into()
}

/// Returns the character of the entity at the beginning of a text, and the text after it.
fn leading_entity<'t>(text: &'t str, entities: &[Entity]) -> Option<(char, &'t str)> {
    entities.iter().find_map(|(name, character)| Some((*character, text.strip_prefix(name)?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn html_is_read_as_people_see_it() {
        for (html, expected) in [
            (
                "<p>a <a href=\"x\">#<span>b</span></a> &amp; c<br/>d</p><p>e</p>",
                "\na #b & c\nd\n\ne\n",
            ),
            ("<ul><li>a</li><LI>b</LI></ul>", "\n\na\n\nb\n\n"),
            ("<param>a</param><preview>b", "ab"),
            (
                "1 < 2 &c &#8217;&#x2019;&#xd800;&#;&apos;&amp;lt;",
                "1 < 2 &c \u{2019}\u{2019}&#xd800;&#;'&lt;",
            ),
            ("a <b", "a <b"),
        ] {
            assert_eq!(without_html(html), expected, "{html}");
        }
    }

    #[test]
    fn entities_are_decoded_once() {
        for (text, expected) in [
            ("a &amp; b &lt;i&gt; &amp;lt; &quot; && &", "a & b <i> &lt; &quot; && &"),
            ("plain", "plain"),
            ("&", "&"),
        ] {
            assert_eq!(decode_entities(text.into(), &TWITTER_ENTITIES), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_html_is_taken(html in "[<>&/pbra;m ltx#0-9é]*") {
            let _ = without_html(&html);
            let _ = decode_entities(html.into(), &TWITTER_ENTITIES);
        }
    }
}
