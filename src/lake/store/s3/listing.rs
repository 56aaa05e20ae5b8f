//! Requests listings of a bucket (ListObjectsV2) without the client, which refuses a whole page
//! because of one key that it can't handle, such as `a//b`, `a/../b` or one with a line break.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use object_store::aws::{AmazonS3, AwsAuthorizer};
use object_store::client::{HttpRequest, HttpRequestBody, HttpService as _};
use quick_xml::de::from_str;
use serde::Deserialize;

use super::failure::Answer;
use super::service::Bounded;

/// The number of consecutive pages without a new key. Some servers send empty ones while they skip
/// deleted objects; each costs a request.
const EMPTY_PAGES_MAX: usize = 100;

/// A bucket whose listings are requested.
pub(super) struct Bucket {
    /// The bucket's address without a slash at its end.
    pub url: String,
    pub region: String,
    pub service: Bounded,
    /// True if requests aren't signed.
    pub unsigned: bool,
}

/// The query for a page.
#[derive(Clone, Default)]
pub(super) struct Query {
    pub prefix: String,
    pub after: Option<String>,
    pub token: Option<String>,
    pub max: usize,
    /// True if keys are grouped by the part up to the next `/`.
    pub folders: bool,
}

/// A page of keys.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Page {
    pub contents: Vec<Found>,
    pub common_prefixes: Vec<Folder>,
    pub next_continuation_token: Option<String>,
    encoding_type: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Found {
    pub key: String,
    #[serde(default)]
    pub size: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Folder {
    pub prefix: String,
}

/// The reason why a page couldn't be read.
pub(super) enum NoPage {
    /// The server answered with an error.
    Said(Answer),
    /// The server didn't answer, or the answer can't be read.
    Failed(object_store::Error),
}

impl Bucket {
    /// Requests one page.
    ///
    /// # Errors
    /// If the page can't be read.
    pub(crate) async fn page(&self, client: &AmazonS3, query: &Query) -> Result<Page, NoPage> {
        let mut url = format!("{}/?list-type=2&encoding-type=url&max-keys={}", self.url, query.max);
        for (name, value) in [
            ("prefix", Some(&query.prefix)),
            ("start-after", query.after.as_ref()),
            ("continuation-token", query.token.as_ref()),
        ] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                let _ = write!(url, "&{name}={}", encoded(value));
            }
        }
        if query.folders {
            url += "&delimiter=%2F";
        }
        let failed = |source| NoPage::Failed(object_store::Error::Generic { store: "S3", source });
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() =
            url.parse().map_err(|cause| failed(Box::from(format!("bad address: {cause}"))))?;
        if !self.unsigned {
            let credential = client.credentials().get_credential().await.map_err(NoPage::Failed)?;
            let authorizer = AwsAuthorizer::new(&credential, "s3", &self.region);
            authorizer.try_authorize(&mut request, None).map_err(NoPage::Failed)?;
        }
        let answer = self.service.call(request).await.map_err(|error| failed(error.into()))?;
        let status = answer.status().as_u16();
        let body = answer.into_body().bytes().await.map_err(|error| failed(error.into()))?;
        let text = String::from_utf8_lossy(&body);
        if status != 200 {
            return Err(NoPage::Said(Answer::new(status, &text)));
        }
        parsed(&text).map_err(|why| failed(format!("the answer isn't a listing: {why}").into()))
    }
}

fn parsed(text: &str) -> Result<Page, String> {
    let mut page: Page = from_str(text).map_err(|error| error.to_string())?;
    if page.encoding_type.as_deref() == Some("url") {
        for key in page.contents.iter_mut().map(|found| &mut found.key) {
            *key = decoded(key)?;
        }
        for prefix in page.common_prefixes.iter_mut().map(|folder| &mut folder.prefix) {
            *prefix = decoded(prefix)?;
        }
    }
    page.next_continuation_token = page.next_continuation_token.filter(|token| !token.is_empty());
    Ok(page)
}

/// Encodes every byte except letters, digits and `-_.~` as `%XX`.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(byte.into())
            }
            _ => _ = write!(encoded, "%{byte:02X}"),
        }
    }
    encoded
}

/// Decodes a key in `encoding-type=url`, in which a space is `+` with some servers and `%20` with
/// others.
fn decoded(text: &str) -> Result<String, String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let digits = digit().zip(digit()).ok_or("a key is badly encoded")?;
                u8::try_from(digits.0 * 16 + digits.1).unwrap_or(b'?')
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| "a key isn't UTF-8".into())
}

/// A check that a listing makes progress: a server that repeats its pages would never end.
#[derive(Default)]
pub(super) struct Progress {
    tokens: BTreeSet<u64>,
    empty: usize,
}

impl Progress {
    /// Returns true if the page after this token is to be requested.
    ///
    /// # Errors
    /// If the listing repeats itself.
    pub(crate) fn goes_on(&mut self, token: Option<&str>, is_new: bool) -> Result<bool, String> {
        let Some(token) = token else { return Ok(false) };
        self.empty = if is_new { 0 } else { self.empty + 1 };
        if self.empty > EMPTY_PAGES_MAX
            || !self.tokens.insert(xxhash_rust::xxh3::xxh3_64(token.as_bytes()))
        {
            return Err(
                "the listing repeats itself and has no end: this is a fault of the server".into()
            );
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_keys_are_read_as_they_are() {
        let page = |encoding: &str, key: &str| {
            let text = format!(
                "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                 <Name>lake</Name>{encoding}<CommonPrefixes><Prefix>{key}/</Prefix></CommonPrefixes>\
                 <Contents><Key>{key}</Key><Size>7</Size><Owner><ID>x</ID></Owner></Contents></ListBucketResult>"
            );
            let page = parsed(&text).unwrap();
            assert_eq!((page.contents[0].size, page.next_continuation_token), (7, None));
            assert_eq!(page.common_prefixes[0].prefix, format!("{}/", page.contents[0].key));
            page.contents[0].key.clone()
        };
        let url = "<EncodingType>url</EncodingType>";
        assert_eq!(page(url, "a%2F%2Fb%0A+c%20d%2Be"), "a//b\n c d+e");
        assert_eq!(page("", "a//b%20+&amp;&#233;"), "a//b%20+&é");
        assert!(parsed("<html>no").is_err());
        assert!(decoded("%f").is_err() && decoded("%ff").is_err() && decoded("%zz").is_err());
    }

    #[test]
    fn a_listing_that_repeats_itself_ends() {
        let mut progress = Progress::default();
        assert!(
            progress.goes_on(Some("a"), true).unwrap()
                && progress.goes_on(Some("b"), true).unwrap()
        );
        assert!(progress.goes_on(Some("a"), true).is_err());
        assert!(!progress.goes_on(None, true).unwrap());
        let mut progress = Progress::default();
        let asked = (0..).map(|token| progress.goes_on(Some(&token.to_string()), false));
        assert_eq!(asked.take_while(Result::is_ok).count(), EMPTY_PAGES_MAX);
    }
}
