//! Addresses that requests go to, and their parts that may be shown.

use reqwest::Url;

use crate::secret::Secret;

/// Returns true if requests can be sent to an address.
pub fn is_address(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some_and(|host| !host.is_empty())
    })
}

/// Returns the parts of an address that may be secrets: the user, the password, the path with each
/// name in it, and the query.
pub fn hidden_parts(url: &str) -> Vec<Secret> {
    let Ok(url) = Url::parse(url) else { return Vec::new() };
    let path = url.path().trim_matches('/');
    let whole =
        [url.username(), url.password().unwrap_or_default(), path, url.query().unwrap_or_default()];
    let parts = whole.into_iter().chain(path.split('/'));
    parts.filter(|part| !part.is_empty()).map(Secret::new).collect()
}

/// Returns the decoded parameters of a link's query; `None` if the link isn't a URL.
pub fn pairs_of(link: &str) -> Option<Vec<(String, String)>> {
    let url = Url::parse(link).ok()?;
    Some(url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
}

/// Returns a URL without user, password and query.
pub(super) fn without_secrets(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut url) => {
            // This fails for URLs that can have neither a user nor a password.
            let _ = (url.set_username(""), url.set_password(None));
            url.set_query(None);
            url.to_string()
        }
        Err(_) => "…".into(),
    }
}
