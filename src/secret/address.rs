//! Addresses that carry a secret: a user with a password before the host, or a token in the query.

use std::borrow::Cow;
use std::ops::Range;

use super::HIDDEN;

/// Parts of names of fields, variables and parameters whose values are secrets.
const SECRET_NAMES: [&str; 12] = [
    "token",
    "secret",
    "password",
    "passwd",
    "api_key",
    "apikey",
    "api-key",
    "access_key",
    "accesskey",
    "signature",
    "credential",
    "authorization",
];

/// Names of parameters with secret values that are too short to look for within other names.
const SECRET_WORDS: [&str; 4] = ["key", "sig", "auth", "pwd"];

/// Hosts with a path under which every address is a key: everybody who knows such an address may
/// post there.
const KEYS_IN_PATHS: [(&str, &str); 4] = [
    ("hooks.slack.com", "/"),
    ("discord.com", "/api/webhooks/"),
    ("discordapp.com", "/api/webhooks/"),
    ("webhook.office.com", "/"),
];

/// Returns true if a field or a variable of this name holds a secret.
pub fn names_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|part| name.contains(part))
}

fn is_secret_parameter(name: &str) -> bool {
    names_a_secret(name) || SECRET_WORDS.contains(&name.to_ascii_lowercase().as_str())
}

/// Returns the kind of secret in a text that is an address as a whole, which has no place in a
/// topology file; `None` for any other text.
pub fn secret_in_address(text: &str) -> Option<&'static str> {
    let text = text.trim();
    if !is_scheme(text.split_once("://")?.0) || text.contains(char::is_whitespace) {
        return None;
    }
    let parts = AddressParts::of(text, 0)?;
    if parts.user.is_some() {
        return Some("a user or a password");
    }
    (!parts.values.is_empty()).then_some("a token")
}

/// Hides users with their passwords, and values of parameters with secret names, in all addresses
/// of a text.
pub fn hide_in_addresses(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    for range in secrets_in_addresses(text) {
        out.push_str(&text[copied..range.start]);
        out.push_str(HIDDEN);
        copied = range.end;
    }
    if copied == 0 { Cow::Borrowed(text) } else { Cow::Owned(out + &text[copied..]) }
}

/// Returns the secrets in all addresses of a text, in order.
pub fn secrets_in_addresses(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, _) in text.match_indices("://") {
        // An address in the query of another one was checked with that one.
        if found.last().is_some_and(|last| at < last.end) {
            continue;
        }
        let Some(parts) = AddressParts::of(text, at) else { continue };
        found.extend(parts.user.filter(|user| text[user.clone()].contains(':')));
        found.extend(parts.values);
    }
    found
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// The secret parts of an address within a text.
struct AddressParts {
    /// The user and password before the `@`.
    user: Option<Range<usize>>,
    /// The values of parameters whose names say that they are secret.
    values: Vec<Range<usize>>,
}

impl AddressParts {
    /// Finds the parts of the first address whose `://` stands at or behind a byte.
    fn of(text: &str, from: usize) -> Option<Self> {
        let start = from + text[from..].find("://")? + 3;
        let ends = |c: char| {
            c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '<' | '>' | '`' | '\\')
        };
        let end = start + text[start..].find(ends).unwrap_or(text.len() - start);
        let address = &text[start..end];
        let authority = address.find(['/', '?', '#']).unwrap_or(address.len());
        let user = address[..authority].rfind('@').map(|at| start..start + at);
        let mut values = Vec::new();
        let path = address[authority..].split(['?', '#']).next().unwrap_or_default();
        values.extend(key_in_path(&address[..authority], path).map(|key| {
            let begins = start + authority + key;
            begins..start + authority + path.len()
        }));
        if let Some(query) = address.find('?') {
            let mut at = start + query + 1;
            for pair in text[at..end].split(['&', '#', ';']) {
                if let Some((name, value)) = pair.split_once('=')
                    && is_secret_parameter(name)
                    && !value.is_empty()
                {
                    let begins = at + name.len() + 1;
                    values.push(begins..begins + value.len());
                }
                at += pair.len() + 1;
            }
        }
        Some(Self { user, values })
    }
}

/// Returns the position in the path of an address at which a key begins, if its host has keys in
/// paths.
fn key_in_path(authority: &str, path: &str) -> Option<usize> {
    let host = authority.rsplit('@').next()?.split(':').next()?.to_ascii_lowercase();
    let is_of = |known: &str| {
        host.strip_suffix(known).is_some_and(|sub| sub.is_empty() || sub.ends_with('.'))
    };
    let (_, before) = KEYS_IN_PATHS.iter().find(|(known, _)| is_of(known))?;
    path.starts_with(before).then_some(before.len()).filter(|key| *key < path.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_with_a_secret_is_told_from_one_without() {
        for (text, expected) in [
            ("https://user:pw@host/a", Some("a user or a password")),
            ("wss://token@host", Some("a user or a password")),
            ("http://host/a?access_token=abc", Some("a token")),
            ("s3://id:key@bucket/prefix", Some("a user or a password")),
            ("https://hooks.slack.com/services/T0/B0/abc", Some("a token")),
            ("https://discord.com/api/webhooks/1/abc?wait=true", Some("a token")),
            ("https://discord.com/developers", None),
            ("https://nothooks.slack.com.example/services", None),
            ("https://host/@user", None),
            ("https://host/?access_token=", None),
            ("https://host/?page=2&monkey=1", None),
            ("see https://user:pw@host", None),
            ("s3://bucket/prefix", None),
            ("lake", None),
            ("://", None),
        ] {
            assert_eq!(secret_in_address(text), expected, "{text}");
        }
    }

    #[test]
    fn secrets_in_addresses_of_a_text_are_hidden() {
        for (text, expected) in [
            ("bad \"http://u:p@h/x\": no", "bad \"http://***@h/x\": no"),
            ("a://b:c@d e://f:g@h", "a://***@d e://***@h"),
            ("https://h/?a=1&key=AIza&token=x#y", "https://h/?a=1&key=***&token=***#y"),
            (
                "to https://hooks.slack.com/services/T0/B0/abc: no",
                "to https://hooks.slack.com/*** no",
            ),
            ("at://did:plc:abc/x and https://h/@a:b", "at://did:plc:abc/x and https://h/@a:b"),
        ] {
            assert_eq!(hide_in_addresses(text), expected);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "(://|[@:/?&=#\"]|key|token|[a-z é\u{1b}漢]){0,40}") {
            let hidden = hide_in_addresses(&text);
            prop_assert_eq!(hide_in_addresses(&hidden), &*hidden);
            let _ = secret_in_address(&text);
        }
    }
}
