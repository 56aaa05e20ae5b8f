//! From an address to the store that it names.

use std::sync::Arc;

use super::Store;
use super::s3::{S3, S3Store};
use crate::error::{Error, Result};

/// Opens the store at an address such as `s3://bucket/prefix`. What the address doesn't say
/// (credentials, region, endpoint) comes from the environment, as with other tools.
///
/// # Errors
/// If it is no such address. Whether there is anything is only seen when it is used.
pub fn open(address: &str) -> Result<Arc<dyn Store>> {
    let Some(rest) = address.strip_prefix("s3://") else {
        return Err(Error::fatal(format!("bad address \"{address}\": expected s3://<bucket>/<prefix>")));
    };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let config = S3 { bucket: bucket.into(), prefix: prefix.into(), ..S3::default() };
    Ok(Arc::new(S3Store::open(&config)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_bucket_and_prefix() {
        assert_eq!(open("s3://bucket/a/b/").unwrap().address("c"), "s3://bucket/a/b/c");
        assert_eq!(open("s3://bucket").unwrap().address("c"), "s3://bucket/c");
        for bad in ["bucket", "s3://", "s3:///a", "http://bucket/a", "s3://Bucket"] {
            assert!(open(bad).is_err(), "{bad}");
        }
    }
}
