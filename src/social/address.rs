//! Addresses of platforms, as configurations give them.

use crate::component::Problem;

/// Returns the problem with the address in a field, if it has one. The text never quotes the
/// address, since the address may contain a password.
pub fn address_problem(field: &'static str, address: &str, schemes: &[&str]) -> Option<Problem> {
    let rest = address
        .split_once("://")
        .filter(|(scheme, _)| schemes.contains(scheme))
        .map(|(_, rest)| rest);
    let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '?' | '#' | '\\');
    let is_good = rest.is_some_and(|rest| {
        !rest.starts_with(['/', ':']) && !rest.is_empty() && !rest.contains(bad)
    });
    let scheme = schemes.first().copied().unwrap_or("https");
    let what = format!(
        "bad {field}: expected an address such as \"{scheme}://host\", without a user, a password or a query"
    );
    (!is_good).then_some(Problem { field, what, candidates: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_nothing_that_is_secret() {
        let is_good = |address| address_problem("base_url", address, &["https", "http"]).is_none();
        for good in ["https://h", "http://127.0.0.1:80/a/b", "https://[::1]:80"] {
            assert!(is_good(good), "{good}");
        }
        for bad in [
            "",
            "h",
            "ftp://h",
            "https://",
            "https:///a",
            "https://u:p@h",
            "https://h?a",
            "https://h#a",
            "https://h b",
        ] {
            assert!(!is_good(bad), "{bad}");
        }
    }
}
