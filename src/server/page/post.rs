//! Posts and dead letters for people. All of their text comes from outside: maud escapes it.

use maud::{Markup, html};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::topology::instant;
use crate::post::Post;
use crate::printable::shortened;

/// The longest text of a post that is shown, in characters.
const TEXT_CHARS_MAX: usize = 1_000;

/// The longest JSON of a post that is shown, in characters.
const JSON_CHARS_MAX: usize = 4_000;

/// The kind of a dead letter.
const DEAD: &str = "dead";

/// The parts of a dead letter.
#[derive(Deserialize)]
struct Letter<'a> {
    component: String,
    error: String,
    time: Option<String>,
    raw: Option<String>,
    base64: Option<String>,
    #[serde(borrow)]
    tuple: Option<&'a RawValue>,
}

/// The longest text of a sample post, in characters.
const SAMPLE_CHARS_MAX: usize = 200;

/// Shows a sample post of a trend in a line; only its id if no lake of the topology has the post.
pub(crate) fn sample(id: &str, post: Option<&Post>) -> Markup {
    let Some(post) = post else { return html! { span.quiet { (shortened(id, 100)) } } };
    html! {
        strong { (author(post)) } " "
        (shortened(&post.text().unwrap_or_default(), SAMPLE_CHARS_MAX))
    }
}

fn author(post: &Post) -> String {
    let author = post.author();
    let name = author.name.or(author.handle).or(author.id);
    name.map_or_else(|| "No author".into(), |name| shortened(&name, 100).to_string())
}

/// Shows a post, or a dead letter with its error.
pub(crate) fn post(post: &Post) -> Markup {
    if post.kind() == DEAD
        && let Ok(letter) = serde_json::from_slice::<Letter<'_>>(post.body())
    {
        return dead_letter(&letter);
    }
    html! {
        article.post {
            p.meta {
                strong { (author(post)) }
                " · " (shortened(post.kind(), 40))
                @if let Some(at) = post.created_at() {
                    " · " time datetime=(instant(at)) { (instant(at)) }
                }
                @if let Some(id) = post.id() { " · " (shortened(&id, 100)) }
            }
            @if let Some(text) = post.text() { p.text { (shortened(&text, TEXT_CHARS_MAX)) } }
            details {
                summary { "JSON" }
                pre tabindex="0" { (shortened(&String::from_utf8_lossy(post), JSON_CHARS_MAX)) }
            }
        }
    }
}

fn dead_letter(letter: &Letter<'_>) -> Markup {
    let refused = match (&letter.raw, &letter.base64, letter.tuple) {
        (Some(raw), ..) => raw.as_str(),
        (None, Some(bytes), _) => bytes.as_str(),
        (None, None, Some(tuple)) => tuple.get(),
        (None, None, None) => "",
    };
    html! {
        article.post {
            p.meta {
                strong { (shortened(&letter.component, 100)) }
                @if let Some(time) = &letter.time { " · " time { (shortened(time, 40)) } }
            }
            p.message { (shortened(&letter.error, TEXT_CHARS_MAX)) }
            pre tabindex="0" { (shortened(refused, JSON_CHARS_MAX)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &'static str) -> String {
        post(&Post::check(json.into()).unwrap()).into_string()
    }

    #[test]
    fn all_text_is_escaped() {
        let html = shown(
            r#"{"tweet":{"id":"7","text":"<script>alert(1)</script>","user":{"name":"<b>x"}}}"#,
        );
        assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{html}");
        assert!(!html.contains("<script") && !html.contains("<b>"), "{html}");
    }

    #[test]
    fn a_dead_letter_has_its_error_and_what_was_refused() {
        let html = shown(
            r#"{"dead":{"component":"in","error":"no <object>","time":"2015-12-18T00:00:00Z","raw":"[<i>"}}"#,
        );
        for part in ["<strong>in</strong>", "no &lt;object&gt;", "[&lt;i&gt;"] {
            assert!(html.contains(part), "{part}: {html}");
        }
        let tuple = shown(r#"{"dead":{"component":"in","error":"no","tuple":{"a":1}}}"#);
        assert!(tuple.contains("{&quot;a&quot;:1}"), "{tuple}");
    }
}
