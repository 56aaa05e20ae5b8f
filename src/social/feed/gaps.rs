//! The reports of a source on gaps: when they begin, and that they are filled.

use super::*;

impl Feed {
    /// Writes into the gap ledger, and onto the stream `gaps`, that posts of a part may be missing
    /// in a period. Returns the entry's id. The number of missing posts is estimated by the rate so
    /// far.
    ///
    /// # Errors
    /// If the entry can't be written.
    pub async fn gap(
        &self,
        part: &str,
        from: OffsetDateTime,
        to: OffsetDateTime,
        why: &str,
    ) -> Result<String> {
        let estimated = self.0.rate.borrow().over(to - from);
        let gap = Gap {
            id: Uuid::new_v4().to_string(),
            spout: self.0.spout.clone(),
            kind: self.0.kind.into(),
            part: part.into(),
            from,
            to: to.max(from),
            why: self.for_people(why),
            estimated_posts: estimated,
            filled: false,
            posts: 0,
            created_at: self.now(),
        };
        let about = estimated.map(|posts| format!(", about {posts} posts")).unwrap_or_default();
        let part = if part.is_empty() { String::new() } else { format!(" of \"{part}\"") };
        self.say(format!(
            "posts{part} from {} to {} may be missing{about}: {why}",
            wrap::stamp(from),
            wrap::stamp(gap.to)
        ));
        self.write(&gap).await?;
        Ok(gap.id)
    }

    /// Writes that a gap was filled, by this number of posts.
    ///
    /// # Errors
    /// If the entry can't be written.
    pub async fn filled(&self, id: &str, posts: u64) -> Result<()> {
        let Some(gap) = self.0.ledger.borrow().get(id).cloned() else { return Ok(()) };
        let gap = Gap { filled: true, posts, created_at: self.now(), ..gap };
        self.say(format!(
            "the gap from {} to {} is filled: {posts} posts",
            wrap::stamp(gap.from),
            wrap::stamp(gap.to)
        ));
        self.write(&gap).await
    }

    /// Returns the gaps that aren't filled, the oldest first, those of earlier runs included.
    pub fn open_gaps(&self) -> Vec<Gap> {
        self.0.ledger.borrow().open_gaps()
    }

    /// Writes a gap into the spool first: after a crash between the two, the ledger is completed
    /// from the spool's tail.
    async fn write(&self, gap: &Gap) -> Result<()> {
        self.offer(gap.post()?);
        self.flush().await?;
        self.0.ledger.borrow_mut().add(gap)
    }
}
