//! Creates the clients for a bucket from its configuration. Settings that aren't configured are
//! looked up in the same places as by other tools.

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

/// The number of immediate repetitions of a request after a 5xx. Longer failures are repeated by
/// the caller, who can report them. A put that mustn't replace an object isn't repeated here: if
/// its first answer was lost, its caller has to check the object before it puts again.
const RETRIES_MAX: usize = 2;

/// The default region.
const REGION: &str = "us-east-1";

/// Variables with an address on which the client would panic if it is malformed.
const ADDRESSES: [&str; 5] = [
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_METADATA_ENDPOINT",
];

/// The settings for the access to a bucket.
pub(super) struct Access {
    builder: AmazonS3Builder,
    credentials: Credentials,
    /// The region.
    pub region: String,
    /// The address of a server other than Amazon's.
    pub endpoint: Option<String>,
    /// True if the bucket is in the path of a URL, and not in its host name.
    pub in_path: bool,
}

/// The two clients for a bucket, with the same credentials.
pub(super) struct Clients {
    /// The client for requests that may be repeated at once.
    pub repeating: AmazonS3,
    /// The client for puts that mustn't replace an object. It sends each request once.
    pub once: AmazonS3,
}

/// The source of credentials.
struct Credentials {
    /// The provider, unless the client makes its own.
    provider: Option<AwsCredentialProvider>,
    /// The description of the source for users.
    from: &'static str,
}

impl Access {
    /// Gathers the settings from the configuration, the environment, and the shared files of AWS.
    /// Sends no request.
    ///
    /// # Errors
    /// If the configuration can't be used, or names a profile that doesn't exist.
    pub(crate) fn to(config: &S3) -> Result<Self> {
        if let Some((_, what)) = config.problems().into_iter().next() {
            return Err(Error::fatal(what));
        }
        // If another provider was installed before, it works as well.
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
            let what = "the endpoint_url of the AWS profile isn't an address: expected, for example, http://127.0.0.1:9000";
            return Err(Error::fatal(what));
        }
        let in_path =
            config.path_style.unwrap_or(endpoint.is_some() || config.bucket.contains('.'));
        let credentials = credentials(&builder, config, &profile, shared)?;
        Ok(Self { builder, credentials, region, endpoint, in_path })
    }

    /// Creates the clients.
    ///
    /// # Errors
    /// If the library refuses the settings.
    pub(crate) fn clients(self, config: &S3) -> Result<Clients> {
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
        // The library's own provider is taken from a first client, so that the second one can check
        // it.
        let provider = match provider {
            Some(provider) => provider,
            None => Arc::clone(built(builder.clone())?.credentials()),
        };
        let builder = builder.with_credentials(Arc::new(Checked { provider, from }));
        let once = built(builder.clone().with_retry(retries(0)))?;
        Ok(Clients { repeating: built(builder)?, once })
    }

    /// Returns the bucket from which listings are requested.
    ///
    /// # Errors
    /// If TLS can't be set up.
    pub(crate) fn listings(&self, config: &S3) -> Result<Bucket> {
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

/// The last place in which credentials are searched for.
const METADATA_SERVICE: &str = "the metadata service of this machine (set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY if there is none)";

/// Returns the problems of addresses in the environment: the variable's name and the reason. Values
/// aren't shown, since an address may contain a password.
pub(super) fn problems_in_environment(has_endpoint: bool) -> Vec<String> {
    let mut problems = Vec::new();
    for name in ADDRESSES {
        let Ok(value) = std::env::var(name) else { continue };
        let is_unused = has_endpoint && matches!(name, "AWS_ENDPOINT_URL_S3" | "AWS_ENDPOINT_URL");
        if !value.trim().is_empty() && !is_unused && !is_endpoint(value.trim()) {
            problems.push(format!(
                "{name} isn't an address: expected, for example, \"http://127.0.0.1:9000\""
            ));
        }
    }
    problems
}

/// Finds the credentials: those in the configuration come before those of the environment, of a web
/// identity, of the shared files, of a container, and of a metadata service, in this order.
fn credentials(
    builder: &AmazonS3Builder,
    config: &S3,
    profile: &Profile,
    shared: Shared,
) -> Result<Credentials> {
    let value = |key| builder.get_config_value(&key).filter(|value| !value.trim().is_empty());
    let word = |name: &str, text: &str| sendable(name, text).map_err(Error::fatal);
    if let Some((id, key)) = config.access_key_id.as_ref().zip(config.secret_access_key.as_ref()) {
        // The key is taken as a whole: a token from the environment belongs to the environment's
        // key.
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
        let what = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI isn't a path: expected, for example, \"/v2/credentials\"";
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

/// Returns the endpoint with the bucket in front of its host.
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
