//! Finds addresses in a text, and the registrable domains of addresses.

use super::characters::is_latin_accent;
use super::entities::{Entity, char_before};

/// The longest host, in bytes.
const HOST_BYTES_MAX: usize = 253;

/// The country codes that are used as generic domains: `example.co` is an address.
const GENERIC_COUNTRY_CODES: [&str; 2] = ["co", "tv"];

/// Returns the address that has `://` at `at`, and begins at `begin` or later.
pub(super) fn address_with_scheme(text: &str, begin: usize, at: usize) -> Option<Entity> {
    let bytes = text.as_bytes();
    let before = &bytes[begin..at];
    let scheme = [&b"https"[..], b"http"].into_iter().find(|scheme| {
        before.len() >= scheme.len()
            && before[before.len() - scheme.len()..].eq_ignore_ascii_case(scheme)
    })?;
    let start = at - scheme.len();
    if char_before(text, start).is_some_and(|char| !may_precede(char)) {
        return None;
    }
    let host = at + "://".len();
    let host_end = host + host_length(&text[host..]);
    if !is_host(&text[host..host_end]) {
        return None;
    }
    Some(Entity::address(start..address_end(text, host_end)))
}

/// Returns the address without a scheme that has a dot at `at`, and begins at `begin` or later.
pub(super) fn bare_address(text: &str, begin: usize, at: usize) -> Option<Entity> {
    let bytes = text.as_bytes();
    let is_inside = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    if !bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    let name = bytes[begin..at].iter().rev().take_while(|byte| is_inside(byte)).count();
    let start = at - name;
    let is_alone = char_before(text, start)
        .is_none_or(|char| may_precede(char) && !matches!(char, '-' | '_' | '.' | '/'));
    if name == 0 || bytes[start] == b'-' || !is_alone {
        return None;
    }
    let rest = &bytes[at..];
    let host_end = at + rest.iter().take_while(|byte| is_inside(byte) || **byte == b'.').count();
    let host = text[start..host_end].trim_end_matches(['.', '-']);
    let host_end = start + host.len();
    let behind = &text[host_end..];
    if behind.starts_with('@') || behind.starts_with("://") || !is_public(host) {
        return None;
    }
    let end = address_end(text, host_end);
    let is_word_and_country = |tld: &str| {
        tld.len() == 2 && host.split('.').count() == 2 && !GENERIC_COUNTRY_CODES.contains(&tld)
    };
    // `end.It` is the end of a sentence.
    let is_short = host.rsplit('.').next().is_some_and(is_word_and_country);
    if is_short && end == host_end {
        return None;
    }
    Some(Entity::address(start..end))
}

fn may_precede(char: char) -> bool {
    let excluded = ['@', '＠', '$', '#', '＃'];
    !char.is_ascii_alphanumeric()
        && !excluded.contains(&char)
        && !('\u{202a}'..='\u{202e}').contains(&char)
}

/// Returns the length of the host at the beginning of a text. A letter that isn't ASCII belongs to
/// it, unless the part before is a complete host: in a text without spaces, text may follow an
/// address directly.
fn host_length(text: &str) -> usize {
    for (at, char) in text.char_indices() {
        if char.is_ascii_alphanumeric() || matches!(char, '-' | '.' | '_') {
            continue;
        }
        let belongs = !char.is_ascii() && char.is_alphanumeric();
        if !belongs || at > HOST_BYTES_MAX || is_public(&text[..at]) {
            return at;
        }
    }
    text.len()
}

/// Returns true if a host has at least two parts separated by dots, none of them empty.
fn is_host(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.contains('.') && host.split('.').all(|label| !label.is_empty())
}

/// Returns true if the last part of a host is a top-level domain, or another known public suffix.
pub(super) fn is_public(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    is_host(&host) && psl::domain(host.as_bytes()).is_some_and(|domain| domain.suffix().is_known())
}

/// Returns the end of an address whose host ends at `host_end`.
fn address_end(text: &str, host_end: usize) -> usize {
    let mut end = host_end;
    let rest = &text[end..];
    if let Some(port) = rest.strip_prefix(':') {
        let digits = port.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            end += 1 + digits;
        }
    }
    if !text[end..].starts_with(['/', '?', '#']) {
        return trimmed_end(text, host_end, end);
    }
    let rest = &text[end..];
    let length = rest.find(|char| !may_be_in_address(char)).unwrap_or(rest.len());
    end += length;
    trimmed_end(text, host_end, end)
}

fn may_be_in_address(char: char) -> bool {
    char.is_ascii_alphanumeric()
        || "!*';:=+,.$/%#[]-_~@|&?()".contains(char)
        || is_latin_accent(char)
        || ('\u{400}'..='\u{4ff}').contains(&char)
}

/// Cuts off punctuation at the end, and a closing bracket that isn't opened in the address.
fn trimmed_end(text: &str, host_end: usize, end: usize) -> usize {
    let path = &text[host_end..end];
    let opened = path.matches('(').count();
    let mut closed = path.matches(')').count();
    let mut trimmed = path;
    while let Some(last) = trimmed.chars().next_back() {
        let may_end = match last {
            ')' => opened >= closed,
            _ => last.is_alphanumeric() || "=_#/+-&".contains(last) || is_latin_accent(last),
        };
        if may_end {
            break;
        }
        closed -= usize::from(last == ')');
        trimmed = &trimmed[..trimmed.len() - last.len_utf8()];
    }
    host_end + trimmed.len()
}

/// Returns the registrable domain of an address: `example.co.uk` of `https://www.example.co.uk/a`.
/// `None` for a number, for a name without a dot, and for a public suffix itself.
pub(crate) fn registrable_domain(address: &str) -> Option<String> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split(':').next()?.trim_end_matches('.');
    let is_address = host.ends_with(|char: char| char.is_ascii_digit()) || host.starts_with('[');
    if is_address || !is_host(host) || host.contains(char::is_whitespace) {
        return None;
    }
    let host = host.to_lowercase();
    psl::domain_str(&host).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_what_somebody_has_registered() {
        for (address, expected) in [
            ("https://www.example.co.uk/a?b", Some("example.co.uk")),
            ("http://user:word@News.Example.org:8080", Some("example.org")),
            ("https://ann.github.io/a", Some("ann.github.io")),
            ("https://github.io", None),
            ("https://news.example", Some("news.example")),
            ("example.com/a", Some("example.com")),
            ("https://example.com.", Some("example.com")),
            ("https://例え.jp/a", Some("例え.jp")),
            ("http://192.168.0.1/a", None),
            ("http://[::1]/a", None),
            ("http://localhost/a", None),
            ("", None),
            ("mailto:ann@example.org", Some("example.org")),
            ("https://a..example.org", None),
        ] {
            assert_eq!(registrable_domain(address).as_deref(), expected, "{address}");
        }
    }
}
