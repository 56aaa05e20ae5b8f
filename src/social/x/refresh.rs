//! Reads posts again for their counts: 100 by one call.

use async_trait::async_trait;

use crate::error::{Error, Result};
use crate::social::{Feed, Refresher};

use super::X;
use super::api::{Answer, Api};
use super::page;
use super::page::{Asked, is_id};

/// The number of posts that a lookup returns.
const AT_ONCE: usize = 100;

/// The client that reads posts by their ids.
pub(super) struct Lookup {
    x: X,
    api: Option<Api>,
}

impl Lookup {
    /// Makes a client from the configuration.
    pub(crate) fn new(x: X) -> Self {
        Self { x, api: None }
    }
}

#[async_trait(?Send)]
impl Refresher for Lookup {
    fn batch(&self) -> usize {
        AT_ONCE
    }

    async fn reread(&mut self, feed: &Feed, ids: &[String], after: &str) -> Result<()> {
        if self.api.is_none() {
            self.api = Some(Api::new(&self.x, feed.clock().clone())?);
        }
        let Some(api) = &self.api else { return Ok(()) };
        let mut ids: Vec<_> = ids.iter().map(String::as_str).filter(|id| is_id(id)).collect();
        while !ids.is_empty() {
            // Each call asks for no more posts than the budget still allows.
            feed.await_budget().await;
            let left =
                feed.budget_left().map_or(AT_ONCE, |left| usize::try_from(left).unwrap_or(AT_ONCE));
            let now = ids.split_off(ids.len().saturating_sub(left.max(1)));
            match api.lookup(feed, &now.join(",")).await? {
                Answer::Good(reply) => {
                    let page = page::read(&reply.body, Asked::Again(after), feed.now());
                    for post in page.posts {
                        feed.offer_counts(post);
                    }
                    page.refused.iter().for_each(|(raw, why)| feed.refuse(raw, why));
                    feed.flush().await?;
                }
                Answer::Forbidden(why) | Answer::Wrong(why) => {
                    return Err(Error::fatal(format!(
                        "X refuses to give counts again: {why}; leave `refresh` out"
                    )));
                }
            }
        }
        Ok(())
    }
}
