//! From a bucket's configuration to the client that gets in: what isn't configured is looked for
//! where other tools look.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{
    AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider, Checksum,
};
use object_store::{BackoffConfig, ClientOptions, RetryConfig, StaticCredentialProvider};

use super::config::{S3, is_endpoint};
use super::credentials::{Checked, Pod, is_metadata_disabled, none_given, sendable};
use super::listing::Bucket;
use super::profile::{Profile, Shared};
use super::service::{Bounded, Connector, client};
use crate::error::{Error, Result};

/// How often a request is repeated at once after a 5xx. What takes longer is the caller's to
/// repeat, who says so meanwhile. A put that mustn't replace anything isn't repeated here: where
/// its first answer was lost, its caller has to ask what became of the object before it puts again.
const RETRIES_MAX: usize = 2;

/// The region where nothing names one.
const REGION: &str = "us-east-1";

/// Variables that name an address which the client panics on if it is none.
const ADDRESSES: [&str; 5] = [
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_METADATA_ENDPOINT",
];

/// How one gets into a bucket.
pub(super) struct Access {
    builder: AmazonS3Builder,
    credentials: Credentials,
    /// The region.
    pub region: String,
    /// The address of a server other than Amazon's.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path of a URL, and not in its host name.
    pub in_path: bool,
}

/// The two clients for a bucket, with the same credentials.
pub(super) struct Clients {
    /// For requests that may be repeated at once.
    pub repeating: AmazonS3,
    /// For puts that mustn't replace anything: sends each request once.
    pub once: AmazonS3,
}

/// Where credentials come from.
struct Credentials {
    /// The provider, unless the client makes its own.
    provider: Option<AwsCredentialProvider>,
    /// For people.
    from: &'static str,
}

impl Access {
    /// Gathers it from the configuration, the environment, and the shared files of AWS. Nothing is
    /// sent.
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
        let builder = AmazonS3Builder::from_env();
        let known = |key| builder.get_config_value(&key).filter(|value| !value.trim().is_empty());
        let region = config
            .region
            .clone()
            .or_else(|| known(AmazonS3ConfigKey::Region))
            .or(profile.region.clone());
        let region = sendable("the region", &region.unwrap_or_else(|| REGION.into()))
            .map_err(Error::fatal)?;
        let endpoint = config.endpoint.clone().or_else(|| known(AmazonS3ConfigKey::S3Endpoint));
        let endpoint = endpoint
            .or_else(|| known(AmazonS3ConfigKey::Endpoint))
            .or_else(|| profile.endpoint.clone());
        let endpoint = endpoint.map(|endpoint| endpoint.trim().trim_end_matches('/').to_owned());
        if endpoint.as_deref().is_some_and(|endpoint| !is_endpoint(endpoint)) {
            let what = "the endpoint_url of the AWS profile is no address: expected such as http://127.0.0.1:9000";
            return Err(Error::fatal(what));
        }
        let in_path =
            config.path_style.unwrap_or(endpoint.is_some() || config.bucket.contains('.'));
        let credentials = credentials(&builder, config, &profile, shared)?;
        Ok(Self { builder, credentials, region, endpoint, in_path })
    }

    /// The clients for it.
    ///
    /// # Errors
    /// If there can't be any.
    pub fn clients(self, config: &S3) -> Result<Clients> {
        let Credentials { provider, from } = self.credentials;
        if provider.is_none() && from == METADATA_SERVICE && is_metadata_disabled() {
            return Err(none_given());
        }
        let builder = self
            .builder
            .with_bucket_name(&config.bucket)
            .with_region(self.region)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_retry(retries(RETRIES_MAX))
            .with_virtual_hosted_style_request(!self.in_path)
            .with_http_connector(Connector)
            .with_client_options(ClientOptions::new().with_allow_http(true));
        let builder = match self.endpoint {
            Some(endpoint) if self.in_path => {
                builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint)
            }
            Some(endpoint) => builder
                .with_config(AmazonS3ConfigKey::S3Endpoint, in_host(&endpoint, &config.bucket)),
            None => builder,
        };
        let built = |builder: AmazonS3Builder| {
            builder.build().map_err(|error| {
                Error::fatal(format!("can't use the bucket \"{}\"", config.address()))
                    .because(error)
            })
        };
        // Its own provider is taken out of a first client, to be checked in the second.
        let provider = match provider {
            Some(provider) => provider,
            None => Arc::clone(built(builder.clone())?.credentials()),
        };
        let builder = builder.with_credentials(Arc::new(Checked { provider, from }));
        let once = built(builder.clone().with_retry(retries(0)))?;
        Ok(Clients { repeating: built(builder)?, once })
    }

    /// Where its listings are asked for.
    ///
    /// # Errors
    /// If TLS can't be set up.
    pub fn listings(&self, config: &S3) -> Result<Bucket> {
        let (bucket, region) = (&config.bucket, self.region.clone());
        let amazon = format!("https://s3.{region}.amazonaws.com");
        let endpoint = self.endpoint.as_deref().unwrap_or(&amazon);
        let url =
            if self.in_path { format!("{endpoint}/{bucket}") } else { in_host(endpoint, bucket) };
        let unsigned = self.builder.get_config_value(&AmazonS3ConfigKey::SkipSignature);
        Ok(Bucket {
            url,
            region,
            service: Bounded(client(true)?),
            unsigned: unsigned.as_deref() == Some("true"),
        })
    }
}

/// The last place where credentials are looked for.
const METADATA_SERVICE: &str = "the metadata service of this machine (set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY if there is none)";

/// What is wrong with the addresses in the environment: the variable's name and why. Values aren't
/// repeated, since an address may have a password in it.
pub(super) fn problems_in_environment(has_endpoint: bool) -> Vec<String> {
    let mut problems = Vec::new();
    for name in ADDRESSES {
        let Ok(value) = std::env::var(name) else { continue };
        let is_unused = has_endpoint && matches!(name, "AWS_ENDPOINT_URL_S3" | "AWS_ENDPOINT_URL");
        if !value.trim().is_empty() && !is_unused && !is_endpoint(value.trim()) {
            problems
                .push(format!("{name} is no address: expected such as \"http://127.0.0.1:9000\""));
        }
    }
    problems
}

/// Given ones come before those of the environment, of a web identity, of the shared files, of a
/// container, and of a metadata service, in this order.
fn credentials(
    builder: &AmazonS3Builder,
    config: &S3,
    profile: &Profile,
    shared: Shared,
) -> Result<Credentials> {
    let value = |key| builder.get_config_value(&key).filter(|value| !value.trim().is_empty());
    let word = |name: &str, text: &str| sendable(name, text).map_err(Error::fatal);
    if let Some((id, key)) = config.access_key_id.as_ref().zip(config.secret_access_key.as_ref()) {
        // Not one by one: a token from the environment belongs to the key there.
        let key_id = word("access_key_id", id.reveal())?;
        let secret_key = word("secret_access_key", key.reveal())?;
        let token = config.session_token.as_ref();
        let token = token.map(|token| word("session_token", token.reveal())).transpose()?;
        let credential = AwsCredential { key_id, secret_key, token };
        return Ok(given(Arc::new(StaticCredentialProvider::new(credential)), "the configuration"));
    }
    let pair = (value(AmazonS3ConfigKey::AccessKeyId), value(AmazonS3ConfigKey::SecretAccessKey));
    match pair {
        (Some(id), Some(key)) => {
            let key_id = word("AWS_ACCESS_KEY_ID", &id)?;
            let secret_key = word("AWS_SECRET_ACCESS_KEY", &key)?;
            let token = value(AmazonS3ConfigKey::Token);
            let token = token.map(|token| word("AWS_SESSION_TOKEN", &token)).transpose()?;
            let credential = AwsCredential { key_id, secret_key, token };
            return Ok(given(
                Arc::new(StaticCredentialProvider::new(credential)),
                "the environment",
            ));
        }
        (Some(_), None) => {
            return Err(Error::fatal("AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY isn't"));
        }
        (None, Some(_)) => {
            return Err(Error::fatal("AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID isn't"));
        }
        (None, None) => {}
    }
    let own = |from| Credentials { provider: None, from };
    if value(AmazonS3ConfigKey::WebIdentityTokenFile).is_some() {
        return Ok(own("the web identity of AWS_WEB_IDENTITY_TOKEN_FILE"));
    }
    if profile.has_key()? {
        return Ok(given(Arc::new(shared), "the shared files of AWS"));
    }
    if let Some(path) = value(AmazonS3ConfigKey::ContainerCredentialsRelativeUri) {
        let bad = !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic());
        let what = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is no path: expected such as \"/v2/credentials\"";
        return if bad {
            Err(Error::fatal(what))
        } else {
            Ok(own("the container's AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"))
        };
    }
    let url = value(AmazonS3ConfigKey::ContainerCredentialsFullUri);
    if let Some((url, file)) = url.zip(value(AmazonS3ConfigKey::ContainerAuthorizationTokenFile)) {
        let pod = Pod::new(url.trim().into(), file.trim().into());
        return Ok(given(Arc::new(pod), "the pod's AWS_CONTAINER_CREDENTIALS_FULL_URI"));
    }
    Ok(own(METADATA_SERVICE))
}

fn given(provider: AwsCredentialProvider, from: &'static str) -> Credentials {
    Credentials { provider: Some(provider), from }
}

/// The endpoint with the bucket in front of its host.
fn in_host(endpoint: &str, bucket: &str) -> String {
    let (scheme, host) = endpoint.split_once("://").unwrap_or(("https", endpoint));
    format!("{scheme}://{bucket}.{host}")
}

fn retries(max_retries: usize) -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(2),
        ..BackoffConfig::default()
    };
    RetryConfig { backoff, max_retries, retry_timeout: Duration::from_secs(30) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_may_stand_in_the_host() {
        assert_eq!(in_host("http://localhost:9000", "lake"), "http://lake.localhost:9000");
    }
}
