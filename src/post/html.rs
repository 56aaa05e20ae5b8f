//! Text of the platforms that write HTML.

/// What a reader sees of a toot: `<p>` and `<br>` part words, other tags (of links, of the `#` of a
/// hashtag) don't, and the entities that servers write are characters again.
pub(crate) fn without_html(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&']) {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some((name, char)) = ENTITIES.iter().find(|(name, _)| rest.starts_with(name)) {
            text.push(*char);
            rest = &rest[name.len()..];
        } else if is_tag(rest) {
            let Some((tag, behind)) = rest.split_once('>') else { break };
            let name = tag.trim_start_matches(['<', '/']);
            if name.starts_with('p') || name.starts_with("br") {
                text.push('\n');
            }
            rest = behind;
        } else if let Some(char) = rest.chars().next() {
            // A lone `<` or `&` is itself.
            text.push(char);
            rest = &rest[1..];
        }
    }
    text.push_str(rest);
    text
}

fn is_tag(html: &str) -> bool {
    html.strip_prefix('<').is_some_and(|name| name.starts_with(|char: char| char == '/' || char.is_ascii_alphabetic()))
}

const ENTITIES: [(&str, char); 6] =
    [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"'), ("&#39;", '\''), ("&nbsp;", ' ')];
