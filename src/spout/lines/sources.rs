//! The sources of a spout of lines: files, followed files, and streams, which have equal priority.

use futures_util::future::{Either, select_all};
use tokio::sync::mpsc;

use super::follow;
use super::followed::{FollowReports, either};
use super::input::Input;
use super::reader::Event;
use crate::error::Result;
use crate::spool;

/// The next item that a spout processes.
pub(super) enum Next {
    /// An event of the file of this split.
    Event(usize, Event),
    /// An event of followed files.
    Followed(follow::Event),
    /// Lines of this split, from its spool.
    Batch(usize, spool::Batch),
}

/// The files and streams that are being read.
pub(super) struct Sources {
    pub reports: mpsc::Receiver<(usize, Event)>,
    pub files_done: bool,
    pub inputs: Vec<Input>,
    pub followed: Option<FollowReports>,
}

impl Sources {
    /// Waits for the next item of any source; `None` when all have ended.
    pub(crate) async fn next(&mut self) -> Result<Option<Next>> {
        while !self.files_done || !self.inputs.is_empty() || self.followed.is_some() {
            match self.news().await {
                News::Event(Some((split, event))) => return Ok(Some(Next::Event(split, event))),
                News::Event(None) => self.files_done = true,
                News::Followed(Some(event)) => return Ok(Some(Next::Followed(event))),
                News::Followed(None) => self.followed = None,
                News::Stream(input, batch) => match batch? {
                    Some(batch) => return Ok(Some(Next::Batch(self.inputs[input].split, batch))),
                    None => drop(self.inputs.remove(input)),
                },
            }
        }
        Ok(None)
    }

    async fn news(&mut self) -> News {
        let Self { reports, files_done, inputs, followed } = self;
        let files =
            async { if *files_done { std::future::pending().await } else { reports.recv().await } };
        let followed = async {
            match followed {
                Some(followed) => followed.next().await,
                None => std::future::pending().await,
            }
        };
        let streams = async {
            if inputs.is_empty() {
                return std::future::pending().await;
            }
            let (batch, input, _) =
                select_all(inputs.iter_mut().map(|input| Box::pin(input.next()))).await;
            (input, batch)
        };
        match either(files, either(followed, streams)).await {
            Either::Left(event) => News::Event(event),
            Either::Right(Either::Left(event)) => News::Followed(event),
            Either::Right(Either::Right((input, batch))) => News::Stream(input, batch),
        }
    }
}

/// An event of one of the sources; `None` if the source has ended.
enum News {
    Event(Option<(usize, Event)>),
    Followed(Option<follow::Event>),
    Stream(usize, Result<Option<spool::Batch>>),
}
