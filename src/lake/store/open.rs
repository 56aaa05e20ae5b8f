//! Opens the store that an address names.

use std::path::PathBuf;
use std::sync::Arc;

use super::Store;
use super::local::LocalStore;
use super::retried::Retried;
use super::s3::{self, S3};
use crate::error::{Error, Result};

/// Opens the lake at an address: `s3://bucket/prefix`, or a folder, which needn't exist. The
/// settings that an address of S3 lacks (credentials, region, endpoint) come from the environment,
/// as with other tools. Failed requests are repeated for up to a minute.
///
/// # Errors
/// If the address is malformed. A lake that doesn't exist is only noticed when it is used.
pub fn open(address: &str) -> Result<Arc<dyn Store>> {
    let Some((scheme, rest)) = address.split_once("://") else {
        return Ok(Arc::new(LocalStore::new(PathBuf::from(address))));
    };
    if scheme != "s3" {
        let what =
            format!("bad address \"{address}\": expected s3://<bucket>/<prefix> or a folder");
        return Err(Error::fatal(what));
    }
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let config = S3 { bucket: bucket.into(), prefix: prefix.into(), ..S3::default() };
    Ok(Arc::new(Retried::new(s3::open(&config)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_bucket_and_prefix() {
        assert_eq!(open("s3://bucket/a/b/").unwrap().address("c"), "s3://bucket/a/b/c");
        assert_eq!(open("s3://bucket").unwrap().address("c"), "s3://bucket/c");
        for bad in ["gs://bucket", "s3://", "s3:///a", "http://bucket/a", "s3://Bucket"] {
            assert!(open(bad).is_err(), "{bad}");
        }
    }
}
