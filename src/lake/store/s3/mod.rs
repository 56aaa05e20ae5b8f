//! A lake in a bucket of S3, or of a server that speaks like it.
//!
//! The client is asynchronous, and the lake isn't: requests run on two threads of their own
//! (`runtime`), and whoever calls waits for them. So it may be called from any thread.

mod access;
mod config;
mod failure;
mod process;
mod profile;
mod runtime;
#[cfg(feature = "rusoto")]
pub mod rusoto;

use std::error::Error as _;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use object_store::aws::AmazonS3;
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use self::access::Access;
pub use self::config::S3;
use self::failure::{Answer, failed};
use self::runtime::wait;
use super::{Object, Put, Store};
use crate::error::{Error, Result};
use crate::secret::{Redactor, Secret};

/// How many keys a server names at once.
const PAGE_MAX: usize = 1_000;

/// The environment's variable that names the client: `object_store`, or `rusoto` if it was built in.
const CLIENT: &str = "WATERSPOUT_S3_CLIENT";

/// A client's own result.
type Told<T> = object_store::Result<T>;

/// A store for a bucket, over the client that the environment names. Nothing is sent yet.
///
/// # Errors
/// If the configuration can't be used, or there is no such client.
pub fn open(config: &S3) -> Result<Arc<dyn Store>> {
    match std::env::var(CLIENT).unwrap_or_default().as_str() {
        "" | "object_store" => Ok(Arc::new(S3Store::open(config)?)),
        #[cfg(feature = "rusoto")]
        "rusoto" => Ok(Arc::new(rusoto::RusotoStore::open(config)?)),
        #[cfg(not(feature = "rusoto"))]
        "rusoto" => Err(Error::fatal(format!(
            "{CLIENT} names \"rusoto\", but this program was built without it: build it with --features rusoto"
        ))),
        other => Err(Error::fatal(format!("{CLIENT} is \"{other}\", expected \"object_store\" or \"rusoto\""))),
    }
}

/// Keeps the objects of a lake in a bucket, below a prefix.
pub struct S3Store {
    client: Arc<AmazonS3>,
    address: String,
    /// What all keys begin with: nothing, or a path with `/` behind it.
    root: String,
}

impl S3Store {
    /// A store for a bucket. Nothing is sent yet.
    ///
    /// # Errors
    /// If the configuration can't be used.
    pub fn open(config: &S3) -> Result<Self> {
        let client = Arc::new(Access::to(config)?.client(config)?);
        Ok(Self { client, address: config.address(), root: config.root() })
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.root)
    }

    fn path(&self, what: &str, key: &str) -> Result<Path> {
        checked(what, &self.address(key), &self.full(key))
    }

    fn store(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<Told<()>> {
        let (client, path) = (Arc::clone(&self.client), self.path("put", key)?);
        let options = PutOptions { mode, ..PutOptions::default() };
        wait(async move { client.put_opts(&path, bytes.into(), options).await.map(drop) })
    }

    /// An answer to a read: `None` if there is no such object.
    fn found<T>(&self, what: &str, key: &str, told: Told<T>) -> Result<Option<T>> {
        match told {
            Ok(found) => Ok(Some(found)),
            Err(error @ object_store::Error::NotFound { .. }) if !is_about_bucket(&error) => Ok(None),
            Err(error) => Err(self.failed(what, key, &error)),
        }
    }

    /// The error of an operation, without the secrets that the server or its proxy may repeat of the request.
    fn failed(&self, what: &str, key: &str, error: &object_store::Error) -> Error {
        let secrets = secrets_in_use(&self.client);
        failed(what, &self.address(key), error).with_text(|text| secrets.clean(text))
    }

    fn page(&self, prefix: &str, options: PaginatedListOptions) -> Result<PaginatedListResult> {
        let (client, full) = (Arc::clone(&self.client), self.full(prefix));
        wait(async move { client.list_paginated(Some(&full), options).await })?
            .map_err(|error| self.failed("list", prefix, &error))
    }
}

impl Store for S3Store {
    fn address(&self, key: &str) -> String {
        format!("{}/{key}", self.address)
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<Put> {
        match self.store(key, bytes, PutMode::Create)? {
            Ok(()) => Ok(Put::Stored),
            Err(error) if is_precondition(&error) => Ok(Put::Exists),
            Err(error) => Err(self.failed("put", key, &error)),
        }
    }

    fn replace(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.store(key, bytes, PutMode::Overwrite)?.map_err(|error| self.failed("put", key, &error))
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let (client, path) = (Arc::clone(&self.client), self.path("get", key)?);
        let told = wait(async move { client.get(&path).await?.bytes().await })?;
        self.found("get", key, told)
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        let (client, path) = (Arc::clone(&self.client), self.path("get", key)?);
        if range.is_empty() {
            let told = wait(async move { client.head(&path).await })?;
            return Ok(self.found("get", key, told)?.map(|_| Bytes::new()));
        }
        let range = if is_open(&range) { GetRange::Offset(range.start) } else { GetRange::Bounded(range) };
        let options = GetOptions::new().with_range(Some(range));
        match wait(async move { client.get_opts(&path, options).await?.bytes().await })? {
            Err(error) if Answer::of(&error.to_string()).is_some_and(|answer| answer.status == 416) => {
                Ok(Some(Bytes::new()))
            }
            told => self.found("get", key, told),
        }
    }

    fn list(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Vec<Object>> {
        let mut objects = Vec::new();
        let mut options = PaginatedListOptions { offset: after.map(|key| self.full(key)), ..Default::default() };
        while objects.len() < max {
            options.max_keys = Some(PAGE_MAX.min(max - objects.len()));
            let page = self.page(prefix, options)?;
            objects.extend(page.result.objects.into_iter().filter_map(|found| {
                let key = found.location.as_ref().strip_prefix(&self.root)?.to_owned();
                key.starts_with(prefix).then_some(Object { key, bytes: found.size })
            }));
            let Some(token) = page.page_token else { break };
            options = PaginatedListOptions { page_token: Some(token), ..Default::default() };
        }
        Ok(objects)
    }

    fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let full = self.full(prefix);
        let mut names = Vec::new();
        let mut token = None;
        loop {
            let delimiter = Some("/".into());
            let page =
                self.page(prefix, PaginatedListOptions { delimiter, page_token: token, ..Default::default() })?;
            let folders = page.result.common_prefixes.iter().map(|folder| format!("{folder}/"));
            let objects = page.result.objects.iter().map(|object| object.location.to_string());
            names.extend(folders.chain(objects).filter_map(|key| key.strip_prefix(&full).map(str::to_owned)));
            token = page.page_token;
            if token.is_none() {
                break;
            }
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn delete(&self, key: &str) -> Result<()> {
        let (client, path) = (Arc::clone(&self.client), self.path("delete", key)?);
        let told = wait(async move { client.delete(&path).await })?;
        self.found("delete", key, told).map(drop)
    }
}

/// The secrets that requests are signed with now, as far as they are known without asking anybody. The id of a key is
/// none.
fn secrets_in_use(client: &Arc<AmazonS3>) -> Redactor {
    let client = Arc::clone(client);
    // Within the runtime: a provider that isn't ready may have begun to ask a server, and is given up.
    let credential = wait(async move { client.credentials().get_credential().now_or_never() });
    let Ok(Some(Ok(credential))) = credential else { return Redactor::default() };
    let token = credential.token.clone().map(Secret::new);
    Redactor::new([Some(Secret::new(credential.secret_key.clone())), token].iter().flatten())
}

/// A whole key as a path. Those that a URL might change on the way are refused.
fn checked(what: &str, address: &str, full: &str) -> Result<Path> {
    match Path::parse(full) {
        // It leaves out slashes at the ends, which would be another key.
        Ok(path) if path.as_ref() == full && !full.is_empty() && !full.ends_with('/') => Ok(path),
        Ok(_) => Err(Error::fatal(format!("can't {what} \"{address}\": bad key"))),
        Err(error) => Err(Error::fatal(format!("can't {what} \"{address}\"")).because(error)),
    }
}

/// Whether a range has no end that a server could count to: MinIO then sends the whole object.
fn is_open(range: &Range<u64>) -> bool {
    range.end > i64::MAX as u64
}

/// Whether an object was there already. The client says the same of a 409, which only says that
/// somebody else is just putting it.
fn is_precondition(error: &object_store::Error) -> bool {
    use object_store::Error as Cause;
    matches!(error, Cause::AlreadyExists { .. })
        && error.source().is_some_and(|source| {
            matches!(source.downcast_ref(), Some(Cause::Precondition { .. } | Cause::NotModified { .. }))
        })
}

fn is_about_bucket(error: &object_store::Error) -> bool {
    Answer::of(&error.to_string()).and_then(|answer| answer.code).as_deref() == Some("NoSuchBucket")
}
