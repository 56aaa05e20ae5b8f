//! The location of a lake, to find out if two lakes overlap: a replay mustn't write into the lake
//! that it reads.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use super::store::s3::S3;

/// The location of a lake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// A folder.
    Folder(PathBuf),
    /// A prefix of a bucket.
    Bucket {
        /// The server's address, if it isn't one of Amazon's.
        endpoint: Option<String>,
        /// The bucket's name.
        bucket: String,
        /// The prefix of all keys, without slashes around it.
        prefix: String,
    },
}

impl Root {
    /// Returns the location of a lake on S3.
    pub fn of_bucket(s3: &S3) -> Self {
        Self::Bucket {
            endpoint: s3.server(),
            bucket: s3.bucket.clone(),
            prefix: s3.prefix().to_owned(),
        }
    }

    /// Returns the location at an address, `s3://bucket/prefix` or a folder.
    pub fn at(address: &str) -> Self {
        match address.strip_prefix("s3://") {
            None => Self::Folder(address.into()),
            Some(rest) => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                Self::of_bucket(&S3 {
                    bucket: bucket.into(),
                    prefix: prefix.into(),
                    ..S3::default()
                })
            }
        }
    }

    /// Returns true if both are the same location, or one lies inside the other, even if they are
    /// written in different ways.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Folder(a), Self::Folder(b)) => {
                let (a, b) = (real(a), real(b));
                a.starts_with(&b) || b.starts_with(&a)
            }
            (
                Self::Bucket { endpoint: a, bucket: one, prefix: p },
                Self::Bucket { endpoint: b, bucket: two, prefix: q },
            ) => {
                one == two
                    && server(a.as_deref()) == server(b.as_deref())
                    && (is_inside(p, q) || is_inside(q, p))
            }
            _ => false,
        }
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Bucket { bucket, prefix, .. } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix, .. } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// Returns true if the keys of one prefix are among those of another.
fn is_inside(prefix: &str, of: &str) -> bool {
    of.is_empty()
        || prefix.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The end of the host names of Amazon's servers, all of which have the same buckets; the servers
/// in China have others.
const AMAZON: &str = ".amazonaws.com";
const AMAZON_IN_CHINA: &str = ".amazonaws.com.cn";

/// Returns a server's host and port in one spelling, or `None` for Amazon's servers. All names of
/// this machine become `127.0.0.1`.
fn server(endpoint: Option<&str>) -> Option<String> {
    let (scheme, rest) = endpoint?.split_once("://").unwrap_or(("https", endpoint?));
    let (scheme, host) = (
        scheme.to_ascii_lowercase(),
        rest.split('/').next().unwrap_or_default().to_ascii_lowercase(),
    );
    let (name, port) = match host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
    {
        Some((name, port)) => (name.to_owned(), port.to_owned()),
        None => (host, if scheme == "http" { "80" } else { "443" }.to_owned()),
    };
    // A fully qualified host name may end with a dot.
    let name = name.strip_suffix('.').unwrap_or(&name);
    // The name may have a region, and the bucket in front. All of these are the same server, and
    // the bucket's name is compared separately.
    if name.ends_with(AMAZON) {
        return None;
    }
    if name.ends_with(AMAZON_IN_CHINA) {
        return Some(AMAZON_IN_CHINA.into());
    }
    let name = if ["localhost", "[::1]", "0.0.0.0"].contains(&name) { "127.0.0.1" } else { name };
    Some(format!("{name}:{port}"))
}

/// Returns the path without symbolic links, as far as it exists, and without `..` in the rest.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut real = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                real.pop();
            }
            // Resolved one part at a time, since `..` is the parent of a link's target.
            part => {
                real.push(part);
                real = real.canonicalize().unwrap_or(real);
            }
        }
    }
    real
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[track_caller]
    fn check(a: &str, b: &str, overlaps: bool) {
        for (a, b) in [(a, b), (b, a)] {
            assert_eq!(Root::at(a).overlaps(&Root::at(b)), overlaps, "{a} {b}");
        }
    }

    #[test]
    fn a_folder_has_many_names() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path).to_str().unwrap().to_owned();
        fs::create_dir_all(root.path().join("a/lake")).unwrap();
        symlink(root.path().join("a/lake"), root.path().join("link")).unwrap();
        symlink(root.path().join("a"), root.path().join("to-a")).unwrap();
        for same in [
            "a/lake",
            "a/lake/",
            "a/../a/lake",
            "link",
            "to-a/lake",
            "link/../lake",
            "link/not/there/../..",
        ] {
            check(&at("a/lake"), &at(same), true);
        }
        check(&at("a/lake"), &at("a"), true);
        check(&at("a/lake"), &at("link/inside"), true);
        for other in ["a/lake2", "a/lak", "lake", "to-a/other", "link/../other"] {
            check(&at("a/lake"), &at(other), false);
        }
        check("lake", &std::path::absolute("lake").unwrap().display().to_string(), true);
        check(&at("a/lake"), "s3://bucket/a/lake", false);
    }

    #[test]
    fn a_prefix_ends_with_a_name() {
        check("s3://bucket/a/lake", "s3://bucket/a/lake/", true);
        check("s3://bucket/a/lake", "s3://bucket", true);
        check("s3://bucket/a/lake", "s3://bucket/a", true);
        check("s3://bucket/a/lake", "s3://bucket/a/lake2", false);
        check("s3://bucket/a/lake", "s3://other/a/lake", false);
    }

    #[test]
    fn servers_are_told_apart_by_host_and_port() {
        let at = |endpoint: Option<&str>| Root::Bucket {
            endpoint: endpoint.map(str::to_owned),
            bucket: "lake".into(),
            prefix: String::new(),
        };
        let same = |a, b| at(a).overlaps(&at(b));
        assert!(same(None, None));
        assert!(same(Some("http://localhost:9000"), Some("http://127.0.0.1:9000/")));
        assert!(same(Some("https://host"), Some("https://HOST:443")));
        assert!(!same(Some("http://localhost:9000"), Some("http://localhost:9001")));
        assert!(!same(Some("http://localhost:9000"), None));
    }

    #[test]
    fn amazons_own_servers_are_the_default_by_whatever_name() {
        let at = |endpoint: Option<&str>| Root::Bucket {
            endpoint: endpoint.map(str::to_owned),
            bucket: "lake".into(),
            prefix: String::new(),
        };
        for name in [
            "https://s3.amazonaws.com",
            "https://s3.amazonaws.com/",
            "HTTPS://S3.AmazonAWS.com:443",
            "http://s3.amazonaws.com:80/",
            "https://s3.eu-west-1.amazonaws.com",
            "https://s3-eu-west-1.amazonaws.com./",
            "https://s3.dualstack.eu-west-1.amazonaws.com",
            "https://lake.s3.eu-west-1.amazonaws.com/",
        ] {
            assert!(
                at(Some(name)).overlaps(&at(None)) && at(None).overlaps(&at(Some(name))),
                "{name}"
            );
        }
        let china = at(Some("https://s3.cn-north-1.amazonaws.com.cn"));
        assert!(china.overlaps(&at(Some("https://lake.s3.cn-northwest-1.amazonaws.com.cn/"))));
        assert!(!china.overlaps(&at(None)));
        assert!(!at(Some("https://s3.notamazonaws.com")).overlaps(&at(None)));
        assert!(!at(Some("https://amazonaws.com.example.org")).overlaps(&at(None)));
    }
}
