//! Where a bucket is, and how one gets in.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, Checksum};
use object_store::{BackoffConfig, ClientOptions, RetryConfig, StaticCredentialProvider};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::secret::Secret;

/// How long one request may take. A micro-batch of 32 MiB passes an uplink of 1 MB/s eight times in
/// less; whoever waits for a server that swallows everything waits this long.
const REQUEST_MAX: Duration = Duration::from_secs(300);

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How often a request is repeated at once after a 5xx. What takes longer is the caller's to repeat,
/// who says so meanwhile.
const RETRIES_MAX: usize = 2;

/// Where a bucket is, and how one gets in. What isn't given comes from the environment
/// (`AWS_ACCESS_KEY_ID`, `AWS_REGION`, `AWS_ENDPOINT_URL`, …), a web identity, or the metadata
/// service of the container or machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// The bucket's name.
    pub bucket: String,
    /// What all keys begin with, without the `/` behind it.
    #[serde(default)]
    pub prefix: String,
    /// The address of a server other than Amazon's, such as `http://127.0.0.1:9000`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The region; `us-east-1` if nothing names one.
    #[serde(default)]
    pub region: Option<String>,
    /// Whether the bucket stands in the path of a URL, and not in its host name. Without it: for
    /// servers other than Amazon's, and for names with a dot.
    #[serde(default)]
    pub path_style: Option<bool>,
    /// The id of the access key.
    #[serde(default)]
    pub access_key_id: Option<Secret>,
    /// The access key.
    #[serde(default)]
    pub secret_access_key: Option<Secret>,
    /// The token of temporary credentials.
    #[serde(default)]
    pub session_token: Option<Secret>,
}

impl S3 {
    /// What is wrong with it, with the field.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if let Err(what) = check_bucket(&self.bucket) {
            problems.push(("bucket", format!("bad bucket name \"{}\": {what}", self.bucket)));
        }
        let bad = |part: &str| part.is_empty() || part == "." || part == ".." || part.chars().any(char::is_control);
        if !self.prefix().is_empty() && self.prefix().split('/').any(bad) {
            problems.push(("prefix", format!("bad prefix \"{}\": expected names with / between them", self.prefix)));
        }
        if let Some(endpoint) = &self.endpoint
            && !is_endpoint(endpoint)
        {
            problems.push(("endpoint", "expected an address such as \"http://127.0.0.1:9000\"".into()));
        }
        if self.access_key_id.is_some() != self.secret_access_key.is_some() {
            let field = if self.access_key_id.is_some() { "access_key_id" } else { "secret_access_key" };
            problems.push((field, "access_key_id and secret_access_key are given together".into()));
        } else if self.session_token.is_some() && self.access_key_id.is_none() {
            problems.push(("session_token", "a session_token belongs to an access_key_id".into()));
        }
        problems
    }

    /// The prefix without slashes around it.
    pub fn prefix(&self) -> &str {
        self.prefix.trim_matches('/')
    }

    /// Its address for people: `s3://bucket/prefix`.
    pub fn address(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix()).trim_end_matches('/').to_owned()
    }

    /// The address of its server, where that isn't Amazon's: also where the environment names it.
    pub fn server(&self) -> Option<String> {
        let outside = AmazonS3Builder::from_env();
        let known = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
        self.endpoint.clone().or_else(|| known.iter().find_map(|key| outside.get_config_value(key)))
    }

    /// The client for it. Nothing is sent yet.
    pub(super) fn client(&self) -> Result<AmazonS3> {
        if let Some((_, what)) = self.problems().into_iter().next() {
            return Err(Error::fatal(what));
        }
        // Whoever installed one before chose another, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&self.bucket)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_retry(retries())
            .with_client_options(
                ClientOptions::new().with_allow_http(true).with_timeout(REQUEST_MAX).with_connect_timeout(CONNECT_MAX),
            );
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        if let Some((id, key)) = self.access_key_id.as_ref().zip(self.secret_access_key.as_ref()) {
            // Not one by one: a token from the environment belongs to the key there.
            let token = self.session_token.as_ref().map(|token| token.reveal().to_owned());
            let credential = AwsCredential { key_id: id.reveal().into(), secret_key: key.reveal().into(), token };
            builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(credential)));
        }
        self.with_address(builder)
            .build()
            .map_err(|error| Error::fatal(format!("can't use the bucket \"{}\"", self.address())).because(error))
    }

    fn with_address(&self, builder: AmazonS3Builder) -> AmazonS3Builder {
        let known = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
        let from_outside = || known.iter().find_map(|key| builder.get_config_value(key));
        let endpoint = self.endpoint.clone().or_else(from_outside);
        let in_path = self.path_style.unwrap_or(endpoint.is_some() || self.bucket.contains('.'));
        let builder = builder.with_virtual_hosted_style_request(!in_path);
        match endpoint {
            Some(endpoint) if in_path => builder.with_config(known[0], endpoint),
            Some(endpoint) => builder.with_config(known[0], in_host(&endpoint, &self.bucket)),
            None => builder,
        }
    }
}

/// The endpoint with the bucket in front of its host.
fn in_host(endpoint: &str, bucket: &str) -> String {
    let (scheme, host) = endpoint.split_once("://").unwrap_or(("https", endpoint));
    format!("{scheme}://{bucket}.{host}")
}

fn retries() -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(2),
        ..BackoffConfig::default()
    };
    RetryConfig { backoff, max_retries: RETRIES_MAX, retry_timeout: Duration::from_secs(30) }
}

fn is_endpoint(text: &str) -> bool {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    // Who gets in doesn't stand in an address, which is printed.
    host.is_some_and(|host| !host.is_empty() && !host.contains(['@', ' ', '?', '#']))
}

/// Amazon's rules for names, without those that only Amazon has.
fn check_bucket(name: &str) -> Result<(), &'static str> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !(3..=63).contains(&name.len()) {
        Err("expected 3 to 63 characters")
    } else if !name.chars().all(|c| good(c) || matches!(c, '.' | '-')) {
        Err("expected a to z, 0 to 9, `.` and `-`")
    } else if !name.starts_with(good) || !name.ends_with(good) || name.contains("..") {
        Err("expected a letter or digit at both ends, and no two dots in a row")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(config: S3, fields: &[&str]) {
        let found = config.problems();
        assert_eq!(found.iter().map(|(field, _)| *field).collect::<Vec<_>>(), fields, "{found:?}");
    }

    fn named(bucket: &str) -> S3 {
        S3 { bucket: bucket.into(), ..S3::default() }
    }

    #[test]
    fn a_bad_name_is_found_without_a_server() {
        for good in ["social-media-dec", "a.b", "123"] {
            check(named(good), &[]);
        }
        for bad in ["", "ab", "Upper", "under_score", "-a-", "a..b", "a/b", &"a".repeat(64)] {
            check(named(bad), &["bucket"]);
        }
    }

    #[test]
    fn all_that_is_wrong_is_found() {
        let endpoint = Some("http://id:key@host".into());
        let config = S3 { prefix: "a//b".into(), endpoint, secret_access_key: Some(Secret::new("s")), ..named("a") };
        assert!(!format!("{:?}", config.problems()).contains("id:key"), "an address may hold a secret");
        check(config, &["bucket", "prefix", "endpoint", "secret_access_key"]);
        check(S3 { session_token: Some(Secret::new("s")), ..named("abc") }, &["session_token"]);
    }

    #[test]
    fn the_bucket_may_stand_in_the_host() {
        assert_eq!(in_host("http://localhost:9000", "lake"), "http://lake.localhost:9000");
    }
}
