//! A lake in a bucket of S3, or of a server with the same protocol.
//!
//! The client is asynchronous, and the lake isn't: requests run on two separate threads
//! (`runtime`), and the caller waits for them. So it may be called from any thread.

mod access;
mod config;
mod credentials;
mod failure;
mod listing;
mod probe;
mod process;
mod profile;
mod runtime;
#[cfg(feature = "rusoto")]
pub mod rusoto;
mod service;

use std::collections::BTreeSet;
use std::error::Error as _;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use self::access::{Access, Clients};
pub use self::config::{CONDITIONAL_PUT, ConditionalPut, S3};
pub(crate) use self::config::{with_bucket_access, with_bucket_fields};
use self::failure::{Answer, Refusal, failed};
use self::listing::{Bucket, NoPage, Page, Progress, Query};
pub use self::probe::{StartProbe, probe};
use self::runtime::wait;
use super::{Object, Put, Store};
use crate::error::{Error, Result};
use crate::secret::{Redactor, Secret};

/// The number of keys per answer of a server.
const PAGE_MAX: usize = 1_000;

/// The environment variable that names the client: `object_store`, or `rusoto` if it was built in.
const CLIENT: &str = "WATERSPOUT_S3_CLIENT";

/// The result of a client.
type Told<T> = object_store::Result<T>;

/// Opens a bucket for reading, with the client that the environment names. Sends no request yet.
///
/// # Errors
/// If the configuration can't be used, or the client doesn't exist.
pub fn open(config: &S3) -> Result<Arc<dyn Store>> {
    open_with(config, Refusal::Ends)
}

/// Opens a bucket for uploads: a refusal of the server is a transient error, unless no change on
/// the server could fix it.
///
/// # Errors
/// As [`open`].
pub fn open_for_uploads(config: &S3) -> Result<Arc<dyn Store>> {
    open_with(config, Refusal::Waits)
}

fn open_with(config: &S3, refusal: Refusal) -> Result<Arc<dyn Store>> {
    match std::env::var(CLIENT).unwrap_or_default().as_str() {
        "" | "object_store" => Ok(Arc::new(S3Store::refusing(config, refusal)?)),
        #[cfg(feature = "rusoto")]
        "rusoto" => Ok(Arc::new(rusoto::RusotoStore::refusing(config, refusal)?)),
        #[cfg(not(feature = "rusoto"))]
        "rusoto" => Err(Error::fatal(format!(
            "{CLIENT} names \"rusoto\", but this program was built without it: build it with --features rusoto"
        ))),
        other => Err(Error::fatal(format!(
            "{CLIENT} is \"{other}\", expected \"object_store\" or \"rusoto\""
        ))),
    }
}

/// A store that keeps the objects of a lake in a bucket, below a prefix.
pub struct S3Store {
    client: Arc<AmazonS3>,
    /// The client for puts that mustn't replace an object.
    once: Arc<AmazonS3>,
    bucket: Arc<Bucket>,
    address: String,
    /// The prefix of all keys: empty, or a path with `/` after it.
    root: String,
    conditional_put: ConditionalPut,
    refusal: Refusal,
}

impl S3Store {
    /// Opens a bucket. Sends no request yet.
    ///
    /// # Errors
    /// If the configuration can't be used.
    pub fn open(config: &S3) -> Result<Self> {
        Self::refusing(config, Refusal::Ends)
    }

    fn refusing(config: &S3, refusal: Refusal) -> Result<Self> {
        let access = Access::to(config)?;
        let bucket = Arc::new(access.listings(config)?);
        let Clients { repeating, once } = access.clients(config)?;
        Ok(Self {
            bucket,
            client: Arc::new(repeating),
            once: Arc::new(once),
            address: config.address(),
            root: config.root(),
            conditional_put: config.way_to_put()?,
            refusal,
        })
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.root)
    }

    fn path(&self, what: &str, key: &str) -> Result<Path> {
        checked(what, &self.address(key), &self.full(key))
    }

    fn store(
        &self,
        client: &Arc<AmazonS3>,
        key: &str,
        bytes: Bytes,
        mode: PutMode,
    ) -> Result<Told<()>> {
        let (client, path) = (Arc::clone(client), self.path("put", key)?);
        let options = PutOptions { mode, ..PutOptions::default() };
        wait(async move { client.put_opts(&path, bytes.into(), options).await.map(drop) })
    }

    /// Converts the result of a read: `None` if the object doesn't exist.
    fn found<T>(&self, what: &str, key: &str, told: Told<T>) -> Result<Option<T>> {
        match told {
            Ok(found) => Ok(Some(found)),
            Err(error @ object_store::Error::NotFound { .. }) if !is_about_bucket(&error) => {
                Ok(None)
            }
            Err(error) => Err(self.failed(what, key, &error)),
        }
    }

    /// Returns the error of an operation, without secrets of the request that the server or its
    /// proxy may repeat.
    fn failed(&self, what: &str, key: &str, error: &object_store::Error) -> Error {
        let secrets = secrets_in_use(&self.client);
        failed(what, &self.address(key), error, self.refusal).with_text(|text| secrets.clean(text))
    }

    fn page(&self, prefix: &str, query: Query) -> Result<Page> {
        let (client, bucket) = (Arc::clone(&self.client), Arc::clone(&self.bucket));
        wait(async move { bucket.page(&client, &query).await })?.map_err(|none| match none {
            NoPage::Said(answer) => {
                let secrets = secrets_in_use(&self.client);
                let failed = answer.failed("list", &self.address(prefix), self.refusal);
                failed.with_text(|text| secrets.clean(text))
            }
            NoPage::Failed(error) => self.failed("list", prefix, &error),
        })
    }

    fn goes_on(
        &self,
        prefix: &str,
        progress: &mut Progress,
        token: Option<&str>,
        is_new: bool,
    ) -> Result<bool> {
        let circle = |why| Error::fatal(format!("can't list \"{}\": {why}", self.address(prefix)));
        progress.goes_on(token, is_new).map_err(circle)
    }

    fn is_there(&self, key: &str) -> Result<bool> {
        let (client, path) = (Arc::clone(&self.client), self.path("get", key)?);
        let told = wait(async move { client.head(&path).await })?;
        Ok(self.found("get", key, told)?.is_some())
    }

    /// Puts an object if no object has its key, with two requests.
    fn head_then_put(&self, key: &str, bytes: Bytes) -> Result<Put> {
        if self.is_there(key)? {
            return Ok(Put::Exists);
        }
        let told = self.store(&self.once, key, bytes, PutMode::Overwrite)?;
        told.map(|()| Put::Stored).map_err(|error| self.failed("put", key, &error))
    }
}

impl Store for S3Store {
    fn address(&self, key: &str) -> String {
        format!("{}/{key}", self.address)
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<Put> {
        if self.conditional_put == ConditionalPut::HeadThenPut {
            return self.head_then_put(key, bytes);
        }
        match self.store(&self.once, key, bytes, PutMode::Create)? {
            Ok(()) => Ok(Put::Stored),
            Err(error) if is_precondition(&error) => Ok(Put::Exists),
            Err(error)
                if Answer::of(&error.to_string())
                    .is_some_and(|answer| answer.has_no_condition()) =>
            {
                Err(no_conditional_put(&self.address(key), &error.to_string()))
            }
            Err(error) => Err(self.failed("put", key, &error)),
        }
    }

    fn replace(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.store(&self.client, key, bytes, PutMode::Overwrite)?
            .map_err(|error| self.failed("put", key, &error))
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let (client, path) = (Arc::clone(&self.client), self.path("get", key)?);
        let told = wait(async move { client.get(&path).await?.bytes().await })?;
        self.found("get", key, told)
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        let (client, path) = (Arc::clone(&self.client), self.path("get", key)?);
        if range.is_empty() {
            return Ok(self.is_there(key)?.then(Bytes::new));
        }
        let range =
            if is_open(&range) { GetRange::Offset(range.start) } else { GetRange::Bounded(range) };
        let options = GetOptions::new().with_range(Some(range));
        match wait(async move { client.get_opts(&path, options).await?.bytes().await })? {
            Err(error)
                if Answer::of(&error.to_string()).is_some_and(|answer| answer.status == 416) =>
            {
                Ok(Some(Bytes::new()))
            }
            told => self.found("get", key, told),
        }
    }

    fn list(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Vec<Object>> {
        let (mut objects, mut progress) = (Vec::new(), Progress::default());
        let mut query = Query {
            prefix: self.full(prefix),
            after: after.map(|key| self.full(key)),
            ..Query::default()
        };
        while objects.len() < max {
            query.max = PAGE_MAX.min(max - objects.len());
            let page = self.page(prefix, query.clone())?;
            let is_new = !page.contents.is_empty();
            objects.extend(page.contents.into_iter().filter_map(|found| {
                let key =
                    found.key.strip_prefix(&self.root).filter(|key| key.starts_with(prefix))?;
                is_usable(&found.key).then(|| Object { key: key.to_owned(), bytes: found.size })
            }));
            let token = page.next_continuation_token;
            if !self.goes_on(prefix, &mut progress, token.as_deref(), is_new)? {
                break;
            }
            query = Query { token, after: None, ..query };
        }
        Ok(objects)
    }

    fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let full = self.full(prefix);
        let (mut names, mut progress) = (BTreeSet::new(), Progress::default());
        let mut query =
            Query { prefix: full.clone(), max: PAGE_MAX, folders: true, ..Query::default() };
        loop {
            let page = self.page(prefix, query.clone())?;
            let folders = page.common_prefixes.into_iter().map(|folder| folder.prefix);
            let keys = folders.chain(page.contents.into_iter().map(|found| found.key));
            let before = names.len();
            for key in keys.filter(|key| is_usable(key.strip_suffix('/').unwrap_or(key))) {
                names.extend(
                    key.strip_prefix(&full).filter(|name| !name.is_empty()).map(str::to_owned),
                );
            }
            let token = page.next_continuation_token;
            if !self.goes_on(prefix, &mut progress, token.as_deref(), names.len() > before)? {
                return Ok(names.into_iter().collect());
            }
            query.token = token;
        }
    }

    fn strays(&self) -> Result<Vec<String>> {
        let (mut strays, mut progress) = (Vec::new(), Progress::default());
        let mut query = Query { prefix: self.root.clone(), max: PAGE_MAX, ..Query::default() };
        loop {
            let page = self.page("", query.clone())?;
            let is_new = !page.contents.is_empty();
            let odd =
                page.contents.into_iter().map(|found| found.key).filter(|key| !is_usable(key));
            // Many tools create an empty object as the mark of a folder, so that is no problem.
            let odd = odd.filter(|key| !key.strip_suffix('/').is_some_and(is_usable));
            strays.extend(odd.filter_map(|key| key.strip_prefix(&self.root).map(str::to_owned)));
            let token = page.next_continuation_token;
            if !self.goes_on("", &mut progress, token.as_deref(), is_new)? {
                return Ok(strays);
            }
            query.token = token;
        }
    }

    fn delete(&self, key: &str) -> Result<()> {
        let (client, path) = (Arc::clone(&self.client), self.path("delete", key)?);
        let told = wait(async move { client.delete(&path).await })?;
        self.found("delete", key, told).map(drop)
    }
}

/// Returns the error for a server without conditional PUT, which the first put notices. The text
/// names the alternative.
fn no_conditional_put(address: &str, said: &str) -> Error {
    let status = Answer::of(said).map_or(501, |answer| answer.status);
    Error::fatal(format!(
        "can't put \"{address}\": this server has no conditional PUT (it answers {status} to If-None-Match): set \
         conditional_put: HeadThenPut in the S3 sink, which is safe as long as nothing else writes the same keys, \
         or {CONDITIONAL_PUT}=HeadThenPut for the tools, of which only one may run at a time then"
    ))
}

/// Returns true if both clients can request this key. Others, such as `a//b`, are skipped.
fn is_usable(full: &str) -> bool {
    checked("get", full, full).is_ok() && !full.contains(char::is_control)
}

/// Returns the secrets that currently sign requests, as far as they are known without a request.
/// The id of a key isn't secret.
fn secrets_in_use(client: &Arc<AmazonS3>) -> Redactor {
    let client = Arc::clone(client);
    // Runs within the runtime: a provider that isn't ready may have begun a request, which is
    // dropped.
    let credential = wait(async move { client.credentials().get_credential().now_or_never() });
    let Ok(Some(Ok(credential))) = credential else { return Redactor::default() };
    let token = credential.token.clone().map(Secret::new);
    Redactor::new([Some(Secret::new(credential.secret_key.clone())), token].iter().flatten())
}

/// Returns a whole key as a path. Refuses keys that a URL might change on the way.
fn checked(what: &str, address: &str, full: &str) -> Result<Path> {
    match Path::parse(full) {
        // `Path` drops slashes at both ends, which would give another key.
        Ok(path) if path.as_ref() == full && !full.is_empty() && !full.ends_with('/') => Ok(path),
        Ok(_) => Err(Error::fatal(format!("can't {what} \"{address}\": bad key"))),
        Err(error) => Err(Error::fatal(format!("can't {what} \"{address}\"")).because(error)),
    }
}

/// Returns true if a range has no end within a server's numbers: MinIO would send the whole object
/// for it.
fn is_open(range: &Range<u64>) -> bool {
    range.end > i64::MAX as u64
}

/// Returns true if the object already existed. The client reports the same for a 409, which only
/// means that another client is putting it right now.
fn is_precondition(error: &object_store::Error) -> bool {
    use object_store::Error as Cause;
    matches!(error, Cause::AlreadyExists { .. })
        && error.source().is_some_and(|source| {
            matches!(
                source.downcast_ref(),
                Some(Cause::Precondition { .. } | Cause::NotModified { .. })
            )
        })
}

fn is_about_bucket(error: &object_store::Error) -> bool {
    Answer::of(&error.to_string()).and_then(|answer| answer.code).as_deref() == Some("NoSuchBucket")
}
