//! From a bucket's configuration to the client that gets in: what isn't configured is looked for where
//! other tools look.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, Checksum};
use object_store::{BackoffConfig, ClientOptions, RetryConfig, StaticCredentialProvider};

use super::config::S3;
use super::profile::{Profile, Shared};
use crate::error::{Error, Result};

/// How long one request may take. A micro-batch of 32 MiB passes an uplink of 1 MB/s eight times in
/// less; whoever waits for a server that swallows everything waits this long.
pub(super) const REQUEST_MAX: Duration = Duration::from_secs(300);

/// How long a connection may take to be made.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How often a request is repeated at once after a 5xx. What takes longer is the caller's to repeat,
/// who says so meanwhile.
const RETRIES_MAX: usize = 2;

/// The region where nothing names one.
const REGION: &str = "us-east-1";

/// How one gets into a bucket.
pub(super) struct Access {
    builder: AmazonS3Builder,
    /// The region.
    pub region: String,
    /// The address of a server other than Amazon's.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path of a URL, and not in its host name.
    pub in_path: bool,
}

impl Access {
    /// Gathers it from the configuration, the environment, and the shared files of AWS. Nothing is sent.
    ///
    /// # Errors
    /// If the configuration can't be used, or names a profile that isn't there.
    pub fn to(config: &S3) -> Result<Self> {
        if let Some((_, what)) = config.problems().into_iter().next() {
            return Err(Error::fatal(what));
        }
        // Whoever installed one before chose another, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let shared = Shared::from_env();
        let profile = shared.profile()?;
        let builder = with_credentials(AmazonS3Builder::from_env(), config, &profile, shared)?;
        let known = |key| builder.get_config_value(&key);
        let region = config.region.clone().or_else(|| known(AmazonS3ConfigKey::Region)).or(profile.region);
        let endpoint = config.endpoint.clone().or_else(|| known(AmazonS3ConfigKey::S3Endpoint));
        let endpoint = endpoint.or_else(|| known(AmazonS3ConfigKey::Endpoint)).or(profile.endpoint);
        let in_path = config.path_style.unwrap_or(endpoint.is_some() || config.bucket.contains('.'));
        Ok(Self { builder, region: region.unwrap_or_else(|| REGION.into()), endpoint, in_path })
    }

    /// The client for it.
    ///
    /// # Errors
    /// If there can't be any.
    pub fn client(self, config: &S3) -> Result<AmazonS3> {
        let builder = self
            .builder
            .with_bucket_name(&config.bucket)
            .with_region(self.region)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_retry(retries())
            .with_virtual_hosted_style_request(!self.in_path)
            .with_client_options(
                ClientOptions::new().with_allow_http(true).with_timeout(REQUEST_MAX).with_connect_timeout(CONNECT_MAX),
            );
        let builder = match self.endpoint {
            Some(endpoint) if self.in_path => builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint),
            Some(endpoint) => builder.with_config(AmazonS3ConfigKey::S3Endpoint, in_host(&endpoint, &config.bucket)),
            None => builder,
        };
        builder
            .build()
            .map_err(|error| Error::fatal(format!("can't use the bucket \"{}\"", config.address())).because(error))
    }
}

/// Given ones come before those of the environment, of a web identity, of the shared files, and of a
/// metadata service, in this order.
fn with_credentials(
    builder: AmazonS3Builder,
    config: &S3,
    profile: &Profile,
    shared: Shared,
) -> Result<AmazonS3Builder> {
    let is_set = |key| builder.get_config_value(&key).is_some();
    if let Some((id, key)) = config.access_key_id.as_ref().zip(config.secret_access_key.as_ref()) {
        // Not one by one: a token from the environment belongs to the key there.
        let token = config.session_token.as_ref().map(|token| token.reveal().to_owned());
        let credential = AwsCredential { key_id: id.reveal().into(), secret_key: key.reveal().into(), token };
        return Ok(builder.with_credentials(Arc::new(StaticCredentialProvider::new(credential))));
    }
    if is_set(AmazonS3ConfigKey::AccessKeyId)
        || is_set(AmazonS3ConfigKey::SecretAccessKey)
        || is_set(AmazonS3ConfigKey::WebIdentityTokenFile)
    {
        return Ok(builder);
    }
    Ok(if profile.has_key()? { builder.with_credentials(Arc::new(shared)) } else { builder })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_may_stand_in_the_host() {
        assert_eq!(in_host("http://localhost:9000", "lake"), "http://lake.localhost:9000");
    }
}
