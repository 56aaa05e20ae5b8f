//! Hashtags, mentions and addresses of posts, each as a row of a table beside `posts`.

use std::collections::BTreeSet;

use super::columns::position;
use super::copy::copy_rows;
use super::encode::{KeyOf, encode_key, key_of};
use super::failure::Done;
use super::row::PostRow;
use super::session::Session;
use super::standing::{Sorted, Wins};
use super::wire::WireTime;

/// The tables that hold the texts of posts, one row for each.
const SATELLITES: [&str; 3] = ["post_hashtags", "post_mentions", "post_urls"];

/// The longest hashtag, mention or domain that gets a row of its own, in bytes: an index doesn't
/// accept longer keys.
const INDEXED_BYTES_MAX: usize = 1_000;

impl Session {
    /// Hashtags, mentions and addresses, each as a row.
    pub(super) async fn write_satellites(&self, posts: &Sorted<'_>) -> Done<()> {
        let client = self.client();
        let mut changed: Vec<&PostRow> = posts.new.iter().map(|post| &**post).collect();
        let before = changed.len();
        for (wins, post) in &posts.known {
            if *wins != Wins::Counts {
                changed.push(post);
            }
        }
        self.delete_satellites(changed[before..].iter().map(|post| key_of(post)).collect()).await?;
        for (table, column) in [("hashtag", "hashtags"), ("mention", "mentions")] {
            let mut rows: Vec<(KeyOf<'_>, &str)> = Vec::new();
            for post in &changed {
                let texts: BTreeSet<&str> = post
                    .texts(position(column))
                    .filter(|text| text.len() <= INDEXED_BYTES_MAX)
                    .collect();
                rows.extend(texts.into_iter().map(|text| (key_of(post), text)));
            }
            let columns = format!("platform, post_id, created_at, {table}");
            let table = format!("post_{column}");
            copy_rows(client, &table, &columns, rows, |(key, text), buffer| {
                buffer.row(4);
                encode_key(key, buffer);
                buffer.text(Some(text));
            })
            .await?;
        }
        self.write_urls(&changed).await
    }

    /// Deletes the rows of posts, each by its key: a join with a staging table might read a large
    /// table completely.
    pub(super) async fn delete_satellites(&self, posts: Vec<KeyOf<'_>>) -> Done<()> {
        if posts.is_empty() {
            return Ok(());
        }
        for table in SATELLITES {
            let delete = format!(
                "delete from {table} where platform = $1 and post_id = $2 and created_at = $3"
            );
            let delete = self.client().prepare(&delete).await?;
            for (platform, post_id, created_at) in &posts {
                let at = WireTime(*created_at);
                self.client().execute(&delete, &[platform, post_id, &at]).await?;
            }
        }
        Ok(())
    }

    async fn write_urls(&self, posts: &[&PostRow]) -> Done<()> {
        let mut rows: Vec<UrlRow<'_>> = Vec::new();
        for post in posts {
            let domains: Vec<&str> = post.texts(position("domains")).collect();
            for (place, url) in (0..).zip(post.texts(position("urls"))) {
                let domain = domain_of(url, &domains);
                rows.push(UrlRow { key: key_of(post), place, url, domain });
            }
        }
        let columns = "platform, post_id, created_at, place, url, domain";
        copy_rows(self.client(), "post_urls", columns, rows, |row, buffer| {
            let UrlRow { key, place, url, domain } = row;
            buffer.row(6);
            encode_key(key, buffer);
            buffer.int4(place);
            buffer.text(Some(url));
            buffer.text(domain.filter(|domain| domain.len() <= INDEXED_BYTES_MAX));
        })
        .await
    }
}

/// An address in a post.
struct UrlRow<'a> {
    key: KeyOf<'a>,
    place: i32,
    url: &'a str,
    domain: Option<&'a str>,
}

/// Returns the domain of an address, among the post's domains.
pub(super) fn domain_of<'a>(url: &str, domains: &[&'a str]) -> Option<&'a str> {
    let behind = url.split_once("://").map_or(url, |(_, behind)| behind);
    let authority = behind.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default().trim_end_matches('.').to_lowercase();
    let is_of = |domain: &&&str| {
        host.strip_suffix(**domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    domains.iter().filter(is_of).max_by_key(|domain| domain.len()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_of_the_longest_domain_that_its_host_ends_with() {
        let domains = ["example.org", "ample.org", "co.example.org"];
        for (url, domain) in [
            ("https://www.example.org/a?b", Some("example.org")),
            ("http://user@Co.Example.org:8080#x", Some("co.example.org")),
            ("example.org", Some("example.org")),
            ("https://notexample.org", None),
            ("https://example.com/example.org", None),
            ("", None),
        ] {
            assert_eq!(domain_of(url, &domains), domain, "{url}");
        }
    }
}
