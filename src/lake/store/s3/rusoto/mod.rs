//! The same store with `rusoto_s3`, a client that is no longer maintained: for users who already
//! have it, and want to check that both clients do the same. It needs the cargo feature `rusoto`.
//!
//! rusoto can't put an object only if it is absent, so such a put is signed by this module. It only
//! supports buckets in the path of a URL.

mod dispatch;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use object_store::aws::AmazonS3;
use ring::digest::{SHA256, digest};
use rusoto_core::request::BufferedHttpResponse;
use rusoto_core::signature::SignedRequest;
use rusoto_core::{ByteStream, Client, Region, RusotoError};
use rusoto_s3::{
    DeleteObjectRequest, GetObjectError, GetObjectRequest, HeadObjectError, HeadObjectRequest,
    ListObjectsV2Output, ListObjectsV2Request, S3 as _, S3Client,
};

use self::dispatch::{Dispatcher, Keys};
use super::super::{Object, Put, Store};
use super::access::Access;
use super::config::{ConditionalPut, S3};
use super::failure::{Answer, Refusal};
use super::listing::Progress;
use super::runtime::wait;
use super::{PAGE_MAX, checked, is_open, is_usable, no_conditional_put, secrets_in_use};
use crate::error::{Error, Result};

/// A store that keeps the objects of a lake in a bucket, below a prefix.
pub struct RusotoStore {
    client: Client,
    s3: S3Client,
    /// The source of the keys that sign the requests.
    credentials: Arc<AmazonS3>,
    region: Region,
    bucket: String,
    address: String,
    /// The prefix of all keys: empty, or a path with `/` after it.
    root: String,
    conditional_put: ConditionalPut,
    refusal: Refusal,
}

impl RusotoStore {
    /// Opens a bucket. Sends no request yet.
    ///
    /// # Errors
    /// If the configuration can't be used.
    pub fn open(config: &S3) -> Result<Self> {
        Self::refusing(config, Refusal::Ends)
    }

    pub(super) fn refusing(config: &S3, refusal: Refusal) -> Result<Self> {
        if config.path_style == Some(false) {
            let what = "rusoto puts the bucket into the path of a URL only: leave out \"path_style: false\"";
            return Err(Error::fatal(what));
        }
        let access = Access::to(config)?;
        let endpoint = access.endpoint.clone();
        // Amazon's address is also given as text: rusoto doesn't know the regions that are newer
        // than it.
        let endpoint =
            endpoint.unwrap_or_else(|| format!("https://s3.{}.amazonaws.com", access.region));
        let region = Region::Custom { name: access.region.clone(), endpoint };
        let credentials = Arc::new(access.clients(config)?.repeating);
        let keys = Keys(Arc::clone(&credentials));
        let client = Client::new_with(keys, Dispatcher::new()?);
        let s3 = S3Client::new_with_client(client.clone(), region.clone());
        Ok(Self {
            client,
            s3,
            credentials,
            region,
            bucket: config.bucket.clone(),
            address: config.address(),
            root: config.root(),
            conditional_put: config.way_to_put()?,
            refusal,
        })
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.root)
    }

    fn key(&self, what: &str, key: &str) -> Result<String> {
        Ok(checked(what, &self.address(key), &self.full(key))?.into())
    }

    /// Puts an object. Returns false if it had to be absent, and exists.
    fn send(&self, key: &str, bytes: Bytes, absent: bool) -> Result<bool> {
        let path = format!("/{}/{}", self.bucket, self.key("put", key)?);
        let mut request = SignedRequest::new("PUT", "s3", &self.region, &path);
        if absent {
            request.add_header("If-None-Match", "*");
        }
        request.add_header("x-amz-sdk-checksum-algorithm", "SHA256");
        request.add_header("x-amz-checksum-sha256", &STANDARD.encode(digest(&SHA256, &bytes)));
        request.set_payload(Some(bytes));
        let client = self.client.clone();
        let told = wait(async move {
            let mut response = client.sign_and_dispatch(request).await?;
            response.buffer().await.map_err(RusotoError::<Never>::from)
        })?;
        match told {
            Ok(answer) if answer.status.is_success() => Ok(true),
            Ok(answer) if absent && answer.status.as_u16() == 412 => Ok(false),
            Ok(answer) if absent && said(&answer).has_no_condition() => {
                let status = format!("status code: {}", answer.status.as_u16());
                Err(no_conditional_put(&self.address(key), &status))
            }
            Ok(answer) => Err(self.failed("put", key, RusotoError::<Never>::Unknown(answer))),
            Err(error) => Err(self.failed("put", key, error)),
        }
    }

    fn read(&self, key: &str, range: Option<Range<u64>>) -> Result<Option<Bytes>> {
        let end = |range: &Range<u64>| {
            if is_open(range) { String::new() } else { (range.end - 1).to_string() }
        };
        let range = range.map(|range| format!("bytes={}-{}", range.start, end(&range)));
        let request = GetObjectRequest {
            bucket: self.bucket.clone(),
            key: self.key("get", key)?,
            range,
            ..Default::default()
        };
        let s3 = self.s3.clone();
        let told = wait(async move { whole(s3.get_object(request).await?.body).await })?;
        match told {
            Ok(bytes) => Ok(Some(bytes)),
            Err(RusotoError::Service(GetObjectError::NoSuchKey(_))) => Ok(None),
            Err(RusotoError::Unknown(answer)) if answer.status.as_u16() == 416 => {
                Ok(Some(Bytes::new()))
            }
            Err(error) => Err(self.failed("get", key, error)),
        }
    }

    fn is_there(&self, key: &str) -> Result<bool> {
        let request = HeadObjectRequest {
            bucket: self.bucket.clone(),
            key: self.key("get", key)?,
            ..Default::default()
        };
        let s3 = self.s3.clone();
        match wait(async move { s3.head_object(request).await })? {
            Ok(_) => Ok(true),
            Err(RusotoError::Service(HeadObjectError::NoSuchKey(_))) => Ok(false),
            Err(RusotoError::Unknown(answer)) if answer.status.as_u16() == 404 => Ok(false),
            Err(error) => Err(self.failed("get", key, error)),
        }
    }

    fn page(&self, prefix: &str, request: ListObjectsV2Request) -> Result<ListObjectsV2Output> {
        let request = ListObjectsV2Request {
            bucket: self.bucket.clone(),
            prefix: Some(self.full(prefix)),
            ..request
        };
        let s3 = self.s3.clone();
        wait(async move { s3.list_objects_v2(request).await })?
            .map_err(|error| self.failed("list", prefix, error))
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

    fn failed<E: Display>(&self, what: &str, key: &str, error: RusotoError<E>) -> Error {
        let secrets = secrets_in_use(&self.credentials);
        self.failure(what, key, error).with_text(|text| secrets.clean(text))
    }

    fn failure<E: Display>(&self, what: &str, key: &str, error: RusotoError<E>) -> Error {
        let address = self.address(key);
        let text = format!("can't {what} \"{address}\"");
        match error {
            RusotoError::Unknown(answer) => said(&answer).failed(what, &address, self.refusal),
            RusotoError::Service(error) => Error::fatal(format!("{text}: {error}")),
            RusotoError::Validation(error) => Error::fatal(format!("{text}: {error}")),
            RusotoError::HttpDispatch(error) => Error::transient(format!("{text}: {error}")),
            RusotoError::Credentials(error) => Error::transient(format!("{text}: {error}")),
            RusotoError::ParseError(error) => Error::transient(format!("{text}: {error}")),
            RusotoError::Blocking => Error::transient(text),
        }
    }
}

impl Store for RusotoStore {
    fn address(&self, key: &str) -> String {
        format!("{}/{key}", self.address)
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<Put> {
        if self.conditional_put == ConditionalPut::HeadThenPut {
            if self.is_there(key)? {
                return Ok(Put::Exists);
            }
            return self.replace(key, bytes).map(|()| Put::Stored);
        }
        Ok(if self.send(key, bytes, true)? { Put::Stored } else { Put::Exists })
    }

    fn replace(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.send(key, bytes, false).map(drop)
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.read(key, None)
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        if range.is_empty() {
            Ok(self.is_there(key)?.then(Bytes::new))
        } else {
            self.read(key, Some(range))
        }
    }

    fn list(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Vec<Object>> {
        let (mut objects, mut progress) = (Vec::new(), Progress::default());
        let mut request = ListObjectsV2Request {
            start_after: after.map(|key| self.full(key)),
            ..Default::default()
        };
        while objects.len() < max {
            request.max_keys = Some(PAGE_MAX.min(max - objects.len()) as i64);
            let page = self.page(prefix, request)?;
            let found = page.contents.unwrap_or_default();
            let is_new = !found.is_empty();
            objects.extend(found.into_iter().filter_map(|found| {
                let full = found.key.filter(|full| is_usable(full))?;
                let key = full.strip_prefix(&self.root)?.to_owned();
                Some(Object { key, bytes: found.size?.try_into().ok()? })
            }));
            let token = page.next_continuation_token;
            if !self.goes_on(prefix, &mut progress, token.as_deref(), is_new)? {
                break;
            }
            request = ListObjectsV2Request { continuation_token: token, ..Default::default() };
        }
        Ok(objects)
    }

    fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let full = self.full(prefix);
        let (mut names, mut progress) = (BTreeSet::new(), Progress::default());
        let mut token = None;
        loop {
            let (delimiter, continuation_token) = (Some("/".into()), token);
            let request =
                ListObjectsV2Request { delimiter, continuation_token, ..Default::default() };
            let page = self.page(prefix, request)?;
            let folders =
                page.common_prefixes.into_iter().flatten().filter_map(|folder| folder.prefix);
            let objects = page.contents.into_iter().flatten().filter_map(|object| object.key);
            let before = names.len();
            for key in
                folders.chain(objects).filter(|key| is_usable(key.strip_suffix('/').unwrap_or(key)))
            {
                names.extend(
                    key.strip_prefix(&full).filter(|name| !name.is_empty()).map(str::to_owned),
                );
            }
            token = page.next_continuation_token;
            if !self.goes_on(prefix, &mut progress, token.as_deref(), names.len() > before)? {
                return Ok(names.into_iter().collect());
            }
        }
    }

    fn delete(&self, key: &str) -> Result<()> {
        let request = DeleteObjectRequest {
            bucket: self.bucket.clone(),
            key: self.key("delete", key)?,
            ..Default::default()
        };
        let s3 = self.s3.clone();
        let told = wait(async move { s3.delete_object(request).await })?;
        told.map(drop).map_err(|error| self.failed("delete", key, error))
    }
}

/// The error type of a request that this module signed, which the client has no type for.
enum Never {}

impl Display for Never {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}

fn said(answer: &BufferedHttpResponse) -> Answer {
    Answer::new(answer.status.as_u16(), answer.body_as_str())
}

/// Reads the whole body of an answer.
async fn whole<E>(body: Option<ByteStream>) -> Result<Bytes, RusotoError<E>> {
    let Some(mut body) = body else { return Ok(Bytes::new()) };
    let mut parts = Vec::new();
    while let Some(part) = body.next().await {
        parts.push(part?);
    }
    if parts.len() == 1 {
        return Ok(parts.swap_remove(0));
    }
    let mut all = BytesMut::new();
    parts.iter().for_each(|part| all.extend_from_slice(part));
    Ok(all.freeze())
}
