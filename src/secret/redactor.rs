//! Secrets taken out of texts from outside: a server's error may repeat the key that it was sent, as it was sent.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::{HIDDEN, Secret};

/// Secrets that are shorter aren't looked for: they would be found in any sentence. No platform has such.
const SECRET_BYTES_MIN: usize = 5;

/// The secrets that a client was made with, in each form in which they may come back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redactor {
    /// The longest first, so that no form is cut by another one within it.
    forms: Vec<Secret>,
}

impl Redactor {
    /// Of these secrets.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut forms = BTreeSet::new();
        for secret in secrets {
            add_forms(secret.reveal().trim(), &mut forms);
        }
        let mut forms: Vec<_> = forms.into_iter().collect();
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        Self { forms: forms.into_iter().map(Secret::new).collect() }
    }

    /// The text with `***` in the place of each secret: as it is, percent-encoded, escaped as in JSON or HTML, and in
    /// base64, alone or behind a user.
    pub fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for form in &self.forms {
            if text.contains(form.reveal()) {
                text = text.replace(form.reveal(), HIDDEN);
            }
        }
        text
    }
}

fn add_forms(secret: &str, forms: &mut BTreeSet<String>) {
    if secret.len() < SECRET_BYTES_MIN {
        return;
    }
    let json = serde_json::to_string(secret).unwrap_or_default();
    let json = json.trim_matches('"').to_owned();
    forms.insert(json.replace('/', "\\/"));
    forms.insert(json);
    let html = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    forms.insert(html.replace('"', "&quot;").replace('\'', "&#39;"));
    forms.insert(html);
    for plain in ["-._~", "-._*", "-._~!$'()*,;:@/", ""] {
        let encoded = percent_encoded(secret, plain);
        forms.insert(encoded.replace("%20", "+"));
        forms.insert(percent_in_lower_case(&encoded));
        // A link within a link.
        forms.insert(encoded.replace('%', "%25"));
        forms.insert(encoded);
    }
    for bytes in [secret.as_bytes(), format!("{secret}\n").as_bytes()] {
        add_base64(bytes, forms);
    }
    forms.insert(secret.bytes().map(|byte| format!("{byte:02x}")).collect());
    forms.insert(secret.into());
    forms.retain(|form| form.len() >= SECRET_BYTES_MIN);
}

/// What base64 makes of a secret depends on how many bytes stand before it (a user, `:`); the letters at its ends, which
/// it shares with its neighbours, are left out.
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

fn percent_encoded(text: &str, plain: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.as_bytes().contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn percent_in_lower_case(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let mut lower = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at(2.min(part.len()));
        lower.push('%');
        lower.push_str(&code.to_ascii_lowercase());
        lower.push_str(rest);
    }
    lower
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
        let redactor = Redactor::new([&Secret::new("limited"), &Secret::new("s"), &Secret::new("")]);
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
