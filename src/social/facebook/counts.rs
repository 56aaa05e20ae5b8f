//! Reads posts again for their counts, up to fifty in a call.

use async_trait::async_trait;

use crate::error::{Error, Result};
use crate::post::fields::{get, members};
use crate::social::{Feed, Platform, Refresher, delete};

use super::Facebook;
use super::client::{Client, Read};

/// The number of ids that a call accepts.
const IDS_MAX: usize = 50;

/// The client that reads posts again.
pub(super) struct Counts {
    config: Facebook,
    client: Option<Client>,
}

impl Counts {
    pub(crate) fn new(config: &Facebook) -> Self {
        Self { config: config.clone(), client: None }
    }
}

#[async_trait(?Send)]
impl Refresher for Counts {
    fn batch(&self) -> usize {
        IDS_MAX
    }

    async fn reread(&mut self, feed: &Feed, ids: &[String], after: &str) -> Result<()> {
        if self.client.is_none() {
            self.client = Some(Client::new(&self.config, feed.clock().clone())?);
        }
        let Some(client) = &self.client else { return Ok(()) };
        read(client, &self.config.fields, feed, ids, after).await
    }
}

/// Reads these posts. A post that is gone fails the whole call, and too many posts at once are
/// refused: then the call is repeated with both halves.
async fn read(
    client: &Client,
    fields: &str,
    feed: &Feed,
    ids: &[String],
    after: &str,
) -> Result<()> {
    let mut left = vec![ids];
    let mut not_read = Vec::new();
    while let Some(ids) = left.pop() {
        feed.await_budget().await;
        match (client.posts(ids, fields, feed).await?, ids) {
            (Read::Page(reply, _), _) => take(client, &reply, feed, ids, after),
            (Read::Missing(_), [gone]) => tell_gone(gone, feed),
            (Read::TooMuch, [_]) => {
                return Err(Error::transient("a single post is too much for Facebook"));
            }
            // Its page may be forbidden: that must hold back neither the other posts nor later
            // reads.
            (Read::Refused(why) | Read::Forbidden(why), [id]) => not_read.push((id, why)),
            (Read::Missing(_) | Read::TooMuch | Read::Refused(_) | Read::Forbidden(_), ids) => {
                let (first, second) = ids.split_at(ids.len() / 2);
                left.extend([second, first].into_iter().filter(|ids| !ids.is_empty()));
            }
        }
    }
    if let Some((id, why)) = not_read.first() {
        feed.say(format!(
            "{} posts can't be read again for their counts, such as {id}: {why}",
            not_read.len()
        ));
    }
    Ok(())
}

/// Offers the posts of an answer, and reports requested posts that it lacks.
fn take(client: &Client, reply: &[u8], feed: &Feed, ids: &[String], after: &str) {
    for (_, post) in members(reply) {
        let post = client.without_token(post);
        if let Err(why) = feed.offer_refreshed(&post, after) {
            feed.refuse(&post, &why);
        }
    }
    for id in ids.iter().filter(|id| get(reply, id).is_none()) {
        feed.say(format!("Facebook didn't return the post {id}"));
    }
}

/// Reports a post as deleted. It was deleted, or hidden from this token: Facebook doesn't say
/// which.
fn tell_gone(id: &str, feed: &Feed) {
    if let Ok(gone) = delete(Facebook::KIND, id, feed.now(), b"null", feed.now()) {
        feed.offer(gone);
    }
}
