//! The configuration of a bucket and of the access to it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::{Access, problems_in_environment};
use super::credentials::sendable;
use crate::error::{Error, Result};

/// Adds the fields for access to a configuration whose first fields are `bucket` and `prefix`.
/// These fields are defined only here: with `serde(flatten)` errors would lose their positions, and
/// unknown fields would be accepted.
macro_rules! with_bucket_fields {
    (
        $(#[$about:meta])*
        pub struct $name:ident {
            $(#[$about_bucket:meta])*
            pub bucket: String,
            $(#[$about_prefix:meta])*
            pub prefix: String,
            $($others:tt)*
        }
    ) => {
        $(#[$about])*
        pub struct $name {
            $(#[$about_bucket])*
            pub bucket: String,
            $(#[$about_prefix])*
            pub prefix: String,
            /// The address of a server other than Amazon's, such as `http://127.0.0.1:9000`.
            #[serde(default)]
            pub endpoint: Option<String>,
            /// The region. Default: `us-east-1`, unless the environment or a profile names one.
            #[serde(default)]
            pub region: Option<String>,
            /// True if the bucket is in the path of a URL, and not in its host name. Default: true
            /// for servers other than Amazon's, and for names with a dot.
            #[serde(default)]
            pub path_style: Option<bool>,
            /// The id of the access key.
            #[serde(default)]
            pub access_key_id: Option<$crate::secret::Secret>,
            /// The access key.
            #[serde(default)]
            pub secret_access_key: Option<$crate::secret::Secret>,
            /// The token of temporary credentials.
            #[serde(default)]
            pub session_token: Option<$crate::secret::Secret>,
            $($others)*
        }
    };
}

/// Like `with_bucket_fields`, for the configuration of a component, with its conversion into an
/// [`S3`].
macro_rules! with_bucket_access {
    ($(#[$about:meta])* pub struct $name:ident $fields:tt) => {
        $crate::lake::store::s3::with_bucket_fields! { $(#[$about])* pub struct $name $fields }

        impl From<&$name> for $crate::lake::store::s3::S3 {
            fn from(config: &$name) -> Self {
                Self {
                    bucket: config.bucket.clone(),
                    prefix: config.prefix.clone(),
                    endpoint: config.endpoint.clone(),
                    region: config.region.clone(),
                    path_style: config.path_style,
                    access_key_id: config.access_key_id.clone(),
                    secret_access_key: config.secret_access_key.clone(),
                    session_token: config.session_token.clone(),
                    conditional_put: None,
                }
            }
        }
    };
}

pub(crate) use {with_bucket_access, with_bucket_fields};

with_bucket_fields! {
    /// The location of a bucket, and the credentials for it. Settings that aren't given come from
    /// the environment (`AWS_ACCESS_KEY_ID`, `AWS_REGION`, `AWS_ENDPOINT_URL`, …), a web identity,
    /// the shared files in `~/.aws` (the profile of `AWS_PROFILE`), or the metadata service of the
    /// container or machine.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    pub struct S3 {
        /// The bucket's name.
        pub bucket: String,
        /// The prefix of all keys, without the `/` after it.
        #[serde(default)]
        pub prefix: String,
        /// The way in which an object is put without replacing another. Default: the environment's
        /// setting (`WATERSPOUT_S3_CONDITIONAL_PUT`), or else `IfNoneMatch`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub conditional_put: Option<ConditionalPut>,
    }
}

/// The environment variable for the way in which objects are put, if no configuration sets it. The
/// tools have no configuration.
pub const CONDITIONAL_PUT: &str = "WATERSPOUT_S3_CONDITIONAL_PUT";

/// The way in which an object is put without replacing another one with the same key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionalPut {
    /// In one request, with `If-None-Match: *`: the server decides.
    #[default]
    IfNoneMatch,
    /// In two requests, HEAD and then PUT, for servers that answer 501 to the condition. If another
    /// writer puts the same key between the two, its object is overwritten without notice.
    HeadThenPut,
}

impl ConditionalPut {
    fn from_env() -> Result<Self> {
        let value = std::env::var(CONDITIONAL_PUT).unwrap_or_default();
        Self::parse(value.trim()).ok_or_else(|| {
            Error::fatal(format!(
                "{CONDITIONAL_PUT} is \"{value}\", expected \"IfNoneMatch\" or \"HeadThenPut\""
            ))
        })
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "IfNoneMatch" => Some(Self::IfNoneMatch),
            "HeadThenPut" => Some(Self::HeadThenPut),
            _ => None,
        }
    }
}

impl S3 {
    /// Returns the problems of the configuration, each with its field.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if let Err(what) = check_bucket(&self.bucket) {
            problems.push(("bucket", format!("bad bucket name \"{}\": {what}", self.bucket)));
        }
        let bad = |part: &str| {
            part.is_empty() || part == "." || part == ".." || part.chars().any(char::is_control)
        };
        if !self.prefix().is_empty() && self.prefix().split('/').any(bad) {
            problems.push((
                "prefix",
                format!("bad prefix \"{}\": expected names with / between them", self.prefix),
            ));
        }
        if let Some(endpoint) = &self.endpoint
            && !is_endpoint(endpoint.trim())
        {
            problems
                .push(("endpoint", "expected an address such as \"http://127.0.0.1:9000\"".into()));
        }
        problems.extend(
            problems_in_environment(self.endpoint.is_some())
                .into_iter()
                .map(|what| ("endpoint", what)),
        );
        if let Some(region) = &self.region
            && let Err(what) = sendable("the region", region)
        {
            problems.push(("region", what));
        }
        for (field, secret) in [
            ("access_key_id", &self.access_key_id),
            ("secret_access_key", &self.secret_access_key),
            ("session_token", &self.session_token),
        ] {
            if let Some(secret) = secret
                && let Err(what) = sendable(field, secret.reveal())
            {
                problems.push((field, what));
            }
        }
        if let Err(error) = self.way_to_put() {
            problems.push(("conditional_put", error.chain()));
        }
        if self.access_key_id.is_some() != self.secret_access_key.is_some() {
            let field =
                if self.access_key_id.is_some() { "access_key_id" } else { "secret_access_key" };
            problems
                .push((field, "access_key_id and secret_access_key must be given together".into()));
        } else if self.session_token.is_some() && self.access_key_id.is_none() {
            problems.push((
                "session_token",
                "a session_token needs an access_key_id and a secret_access_key".into(),
            ));
        }
        problems
    }

    /// Returns the way in which objects are put, from the configuration or the environment.
    ///
    /// # Errors
    /// If the environment has an invalid value.
    pub fn way_to_put(&self) -> Result<ConditionalPut> {
        self.conditional_put.map_or_else(ConditionalPut::from_env, Ok)
    }

    /// Returns the prefix without slashes around it.
    pub fn prefix(&self) -> &str {
        self.prefix.trim_matches('/')
    }

    /// Returns the prefix of all its keys: empty, or the prefix with `/` after it.
    pub(super) fn root(&self) -> String {
        if self.prefix().is_empty() { String::new() } else { format!("{}/", self.prefix()) }
    }

    /// Returns its address as shown to users: `s3://bucket/prefix`.
    pub fn address(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix()).trim_end_matches('/').to_owned()
    }

    /// Returns the address of its server, if that isn't Amazon's, even if only the environment or a
    /// profile names it.
    pub fn server(&self) -> Option<String> {
        Access::to(self).ok().and_then(|access| access.endpoint)
    }
}

/// Returns true for an HTTP address that a client can be created for.
pub(super) fn is_endpoint(text: &str) -> bool {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    // An address is printed, so it mustn't contain a user name and password.
    let plain = |host: &str| {
        host.bytes().all(|byte| byte.is_ascii_graphic()) && !host.contains(['@', '?', '#'])
    };
    host.is_some_and(plain) && reqwest::Url::parse(text).is_ok_and(|url| url.has_host())
}

/// Checks a name by Amazon's rules, without those that only apply at Amazon.
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
    use crate::secret::Secret;

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
    fn a_way_to_put_has_the_name_that_topologies_give_it() {
        assert_eq!(ConditionalPut::parse(""), Some(ConditionalPut::IfNoneMatch));
        for way in [ConditionalPut::IfNoneMatch, ConditionalPut::HeadThenPut] {
            assert_eq!(ConditionalPut::parse(&format!("{way:?}")), Some(way));
        }
        assert_eq!(ConditionalPut::parse("head-then-put"), None);
    }

    #[test]
    fn all_that_is_wrong_is_found() {
        let endpoint = Some("http://id:key@host".into());
        let config = S3 {
            prefix: "a//b".into(),
            endpoint,
            secret_access_key: Some(Secret::new("s")),
            ..named("a")
        };
        assert!(
            !format!("{:?}", config.problems()).contains("id:key"),
            "an address may hold a secret"
        );
        check(config, &["bucket", "prefix", "endpoint", "secret_access_key"]);
        check(S3 { session_token: Some(Secret::new("s")), ..named("abc") }, &["session_token"]);
    }
}
