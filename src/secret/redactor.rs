//! The removal of secrets from texts from outside: a server's error may repeat a key in the form in
//! which it was sent.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::{HIDDEN, Secret};

/// The shortest secret that is looked for: a shorter one would be found in any sentence. No
/// platform has shorter secrets.
const SECRET_BYTES_MIN: usize = 5;

/// The secrets that a client was made with, in each form in which they may come back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redactor {
    /// The secrets themselves, the longest first: each of their bytes may come back escaped.
    secrets: Vec<Secret>,
    /// The secrets in base64 and in hexadecimal digits, the longest first.
    codes: Vec<Secret>,
}

impl Redactor {
    /// Makes a redactor of these secrets.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let (mut plain, mut codes) = (BTreeSet::new(), BTreeSet::new());
        for secret in secrets {
            let secret = secret.reveal().trim();
            if secret.len() >= SECRET_BYTES_MIN {
                plain.insert(secret.to_owned());
                add_base64(secret.as_bytes(), &mut codes);
                codes.insert(secret.bytes().map(|byte| format!("{byte:02x}")).collect());
                codes.insert(secret.bytes().map(|byte| format!("{byte:02X}")).collect());
            }
        }
        Self { secrets: longest_first(plain), codes: longest_first(codes) }
    }

    /// Returns the text with `***` in the place of each secret: in plain form, percent-encoded,
    /// escaped as in JSON or HTML, and in base64, alone or behind a user.
    pub fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for code in &self.codes {
            if text.contains(code.reveal()) {
                text = text.replace(code.reveal(), HIDDEN);
            }
        }
        for secret in &self.secrets {
            text = without(&text, secret.reveal().as_bytes());
        }
        text
    }
}

/// Sorts forms by length, so that no form is cut by a shorter one within it.
fn longest_first(forms: BTreeSet<String>) -> Vec<Secret> {
    let mut forms: Vec<_> = forms.into_iter().collect();
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    forms.into_iter().map(Secret::new).collect()
}

/// Returns the text without a secret, any of whose bytes may be escaped.
fn without(text: &str, secret: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        match escaped_length(&text.as_bytes()[at..], secret) {
            Some(length) => {
                out.push_str(HIDDEN);
                at += length;
            }
            None => {
                out.push(c);
                at += c.len_utf8();
            }
        }
    }
    out
}

/// Returns the length of the secret at the beginning of a text, if the text begins with it.
fn escaped_length(text: &[u8], secret: &[u8]) -> Option<usize> {
    if text.starts_with(secret) {
        return Some(secret.len());
    }
    let mut at = 0;
    for byte in secret {
        at += byte_length(&text[at..], *byte)?;
    }
    Some(at)
}

/// The HTML names of escaped characters.
const ENTITIES: [(&[u8], u8); 6] = [
    (b"&amp;", b'&'),
    (b"&lt;", b'<'),
    (b"&gt;", b'>'),
    (b"&quot;", b'"'),
    (b"&#39;", b'\''),
    (b"&#x27;", b'\''),
];

/// Returns the length of one byte at the beginning of a text: plain, or escaped.
fn byte_length(text: &[u8], byte: u8) -> Option<usize> {
    // Escapes are checked first, since the secret may begin with a sign with which escapes begin. A
    // link within a link is encoded twice.
    for (prefix, digits) in [(&b"%"[..], 2), (b"%25", 2), (b"\\u", 4), (b"\\x", 2)] {
        if let Some(rest) = text.strip_prefix(prefix)
            && let Some(code) = rest.get(..digits).and_then(|code| std::str::from_utf8(code).ok())
            && u32::from_str_radix(code, 16) == Ok(byte.into())
        {
            return Some(prefix.len() + digits);
        }
    }
    let entity = ENTITIES.iter().find(|(name, of)| *of == byte && text.starts_with(name));
    if let Some((name, _)) = entity {
        return Some(name.len());
    }
    if matches!(byte, b'/' | b'"' | b'\\') && text.starts_with(&[b'\\', byte]) {
        return Some(2);
    }
    (text.first() == Some(&byte) || byte == b' ' && text.first() == Some(&b'+')).then_some(1)
}

/// Adds the base64 forms of a secret, which depend on the number of bytes before it (a user, `:`).
/// The characters at its ends are left out, since they are shared with its neighbours.
fn add_base64(secret: &[u8], forms: &mut BTreeSet<String>) {
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(secret);
        let first = (before * 8).div_ceil(6);
        for encoded in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            let whole = bytes.len() * 8 / 6;
            if whole > first + SECRET_BYTES_MIN {
                forms.insert(encoded[first..whole].to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_secret_is_found_in_each_form() {
        let key = Secret::new("AIzaSy/b+c&d e");
        let redactor = Redactor::new([&key]);
        for text in [
            "key AIzaSy/b+c&d e is bad".to_owned(),
            "?key=AIzaSy%2Fb%2Bc%26d+e&x".to_owned(),
            "?key=AIzaSy%2fb%2bc%26d%20e".to_owned(),
            "/AIzaSy/b%2Bc%26d%20e/".to_owned(),
            "to=https%3A%2F%2Fh%3Fkey%3DAIzaSy%252Fb%252Bc%2526d%2520e".to_owned(),
            "?key=%41%49%7A%61%53%79%2F%62%2B%63%26%64%20%65".to_owned(),
            "\\u0041IzaSy\\/b\\u002bc\\u0026d e".to_owned(),
            "AIzaSy\\/b+c&d e".to_owned(),
            "AIzaSy/b+c&amp;d e".to_owned(),
        ] {
            let cleaned = redactor.clean(&text);
            assert!(cleaned.contains("***") && !cleaned.contains("AIza"), "{cleaned}");
        }
        for user in ["u", "us", "use", "user"] {
            let sent = STANDARD.encode(format!("{user}:AIzaSy/b+c&d e"));
            let cleaned = redactor.clean(&format!("Authorization: Basic {sent}"));
            assert!(cleaned.contains("***") && cleaned.len() < 40, "{cleaned}");
        }
    }

    #[test]
    fn nothing_else_is_touched() {
        let redactor =
            Redactor::new([&Secret::new("limited"), &Secret::new("s"), &Secret::new("")]);
        assert_eq!(redactor.clean("this is what the server says"), "this is what the server says");
        assert_eq!(format!("{redactor:?}").matches("limited").count(), 0);
    }

    proptest! {
        #[test]
        fn no_secret_is_left(secret in "[ -~é]{5,40}", before in "[a-z ]{0,5}", after in "[a-z ]{0,5}") {
            let secret = secret.trim().to_owned();
            prop_assume!(secret.len() >= SECRET_BYTES_MIN && !"******".contains(&secret));
            let redactor = Redactor::new([&Secret::new(secret.clone())]);
            let cleaned = redactor.clean(&format!("{before}{secret}{after}"));
            prop_assert!(cleaned.contains("***"), "{}", cleaned);
            let sent = STANDARD.encode(format!("{before}:{secret}"));
            prop_assert!(secret.len() < 9 || redactor.clean(&sent).contains("***"), "{}", sent);
        }
    }
}
