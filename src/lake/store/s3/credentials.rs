//! Checks credentials before the client for S3 sends them: it panics on a line break in a key or a
//! token, and reports a refusal of a metadata service as if the bucket had refused.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::{AwsCredential, AwsCredentialProvider};
use serde::Deserialize;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::service::client;
use crate::clock::SystemClock;
use crate::error::{Error, Result};
use crate::net::limits::{ERROR_BYTES_MAX, said};

/// The name that distinguishes a failure of credentials from a failure of the bucket.
pub(super) const CREDENTIALS: &str = "credentials";

/// The variable that says that there is no metadata service; the tools of AWS read it, too.
const METADATA_DISABLED: &str = "AWS_EC2_METADATA_DISABLED";

/// The longest time for an answer of the service that gives out keys in a container. It runs on the
/// same machine.
const POD_MAX: Duration = Duration::from_secs(10);

/// The time before their expiry at which credentials are renewed: an upload that has begun must end
/// while they are valid.
const AHEAD: time::Duration = time::Duration::minutes(5);

/// Returns a key or token without white space around it.
///
/// # Errors
/// If it has a character that isn't allowed in a header; `name` says where it comes from.
pub(super) fn sendable(name: &str, text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        Err(format!("{name} is empty"))
    } else if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{name} has a line break, a space or another character that no key has: expected one word"
        ))
    }
}

/// Returns true if the environment says that there is no metadata service.
pub(super) fn is_metadata_disabled() -> bool {
    std::env::var(METADATA_DISABLED).is_ok_and(|value| value.trim().eq_ignore_ascii_case("true"))
}

/// Returns the error for the case that no credentials are found and no service may be asked.
pub(super) fn none_given() -> Error {
    Error::fatal(format!(
        "no credentials are given, and {METADATA_DISABLED} says that no metadata service has any: set \
         AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    ))
}

/// A provider that checks the credentials of another one, and names it in errors.
#[derive(Debug)]
pub(super) struct Checked {
    pub provider: AwsCredentialProvider,
    /// The description of the provider for users.
    pub from: &'static str,
}

#[async_trait]
impl CredentialProvider for Checked {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let failed =
            |why: String| object_store::Error::Generic { store: CREDENTIALS, source: why.into() };
        let found = self.provider.get_credential().await;
        let found = found.map_err(|error| {
            let mut cause: &dyn std::error::Error = &error;
            while let Some(source) = cause.source() {
                cause = source;
            }
            failed(format!("no credentials from {}: {}", self.from, said(&cause.to_string())))
        })?;
        let word = |name: &str, text: &str| {
            sendable(name, text)
                .map_err(|why| failed(format!("bad credentials from {}: {why}", self.from)))
        };
        let key_id = word("the id of the access key", &found.key_id)?;
        let secret_key = word("the access key", &found.secret_key)?;
        let token =
            found.token.as_deref().map(|token| word("the session token", token)).transpose()?;
        if (&key_id, &secret_key, &token) == (&found.key_id, &found.secret_key, &found.token) {
            return Ok(found);
        }
        Ok(Arc::new(AwsCredential { key_id, secret_key, token }))
    }
}

/// Credentials of a container, which a service gives out for the token in a file (EKS Pod
/// Identity).
pub(super) struct Pod {
    pub url: String,
    pub token_file: String,
    last: Mutex<Option<Last>>,
}

struct Last {
    credential: Arc<AwsCredential>,
    expires: OffsetDateTime,
}

/// The answer of the service.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Handed {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    expiration: OffsetDateTime,
}

impl std::fmt::Debug for Pod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pod")
    }
}

impl Pod {
    pub(crate) fn new(url: String, token_file: String) -> Self {
        Self { url, token_file, last: Mutex::default() }
    }

    async fn ask(&self) -> Result<Last, String> {
        let token = std::fs::read_to_string(&self.token_file)
            .map_err(|cause| format!("can't read the token in \"{}\": {cause}", self.token_file))?;
        let token = sendable(&format!("the token in \"{}\"", self.token_file), &token)?;
        let client = client(true).map_err(|error| error.chain())?;
        let network = |error: reqwest::Error| error.without_url().to_string();
        let request = client.get(&self.url).header("authorization", token);
        let mut answer = request.send().await.map_err(network)?;
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(network)? {
            body.extend_from_slice(&part);
            if body.len() as u64 > ERROR_BYTES_MAX {
                return Err("the answer is too large".into());
            }
        }
        if !answer.status().is_success() {
            return Err(format!("the service answered {}", answer.status().as_u16()));
        }
        let handed: Handed = serde_json::from_slice(&body)
            .map_err(|_| "the answer has no credentials".to_owned())?;
        let Handed {
            access_key_id: key_id,
            secret_access_key: secret_key,
            token,
            expiration: expires,
        } = handed;
        Ok(Last { credential: Arc::new(AwsCredential { key_id, secret_key, token }), expires })
    }
}

#[async_trait]
impl CredentialProvider for Pod {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut last = self.last.lock().await;
        let now = SystemClock::shared().now();
        if let Some(last) = last.as_ref().filter(|last| now + AHEAD < last.expires) {
            return Ok(Arc::clone(&last.credential));
        }
        let asked =
            timeout(POD_MAX, self.ask()).await.unwrap_or_else(|_| Err("no answer in time".into()));
        let asked = asked
            .map_err(|why| object_store::Error::Generic { store: "S3", source: why.into() })?;
        let credential = Arc::clone(&asked.credential);
        *last = Some(asked);
        Ok(credential)
    }
}

#[cfg(test)]
mod tests {
    use object_store::StaticCredentialProvider;

    use super::*;

    fn checked(key_id: &str, token: Option<&str>) -> Result<Arc<AwsCredential>, String> {
        let credential = AwsCredential {
            key_id: key_id.into(),
            secret_key: "secret\n".into(),
            token: token.map(str::to_owned),
        };
        let provider = Arc::new(StaticCredentialProvider::new(credential));
        let checked = Checked { provider, from: "the test" };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(checked.get_credential()).map_err(|error| error.to_string())
    }

    #[test]
    fn white_space_around_a_key_is_left_out_and_inside_it_is_refused() {
        let found = checked("id\r\n", Some(" token\n")).unwrap();
        assert_eq!(
            (&*found.key_id, &*found.secret_key, found.token.as_deref()),
            ("id", "secret", Some("token"))
        );
        for bad in ["i\nd", "ï", "i d", "\n"] {
            let why = checked(bad, None).unwrap_err();
            assert!(
                why.contains("the id of the access key") && why.contains("from the test"),
                "{why}"
            );
            assert!(!why.contains("secret\n"), "{why}");
        }
        assert!(checked("id", Some("a\u{7f}b")).unwrap_err().contains("the session token"));
    }

    #[test]
    fn the_token_of_a_pod_is_read_without_its_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token").display().to_string();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ask = |text: &str| {
            std::fs::write(&path, text).unwrap();
            runtime
                .block_on(Pod::new("http://127.0.0.1:1/".into(), path.clone()).ask())
                .err()
                .unwrap()
        };
        assert!(!ask("token\n").contains("line break"));
        assert!(ask("tok\nen").contains("line break"));
    }
}
