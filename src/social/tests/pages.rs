//! A server on loopback for the tests of polling sources: a closure makes the answers.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::trial::Trial;
use crate::clock::{Clock, ManualClock};
use crate::error::Result;

/// A request: its path, and its parameters.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub path: String,
    pub query: Vec<(String, String)>,
    /// All headers, in lower case.
    pub head: String,
    pub body: String,
    /// The time of the request, by the test's clock.
    pub at: Duration,
}

impl Asked {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Status, headers (each with its line break), body.
pub(crate) type Answer = (u16, String, String);

/// Returns a good answer.
pub(crate) fn good(body: impl ToString) -> Answer {
    (200, String::new(), body.to_string())
}

/// The closure that makes answers.
type Answers = Box<dyn FnMut(&Asked) -> Answer>;

/// A server, and the requests that it got.
pub(crate) struct Server {
    listener: TcpListener,
    clock: Rc<dyn Fn() -> Duration>,
    answer: RefCell<Answers>,
    pub asked: RefCell<Vec<Asked>>,
}

impl Server {
    pub(crate) async fn new(
        trial: &Trial,
        answer: impl FnMut(&Asked) -> Answer + 'static,
    ) -> Rc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let clock = trial.clock.clone();
        Rc::new(Self {
            listener,
            clock: Rc::new(move || clock.monotonic()),
            answer: RefCell::new(Box::new(answer)),
            asked: RefCell::default(),
        })
    }

    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    /// Returns the number of requests.
    pub(crate) fn count(&self) -> usize {
        self.asked.borrow().len()
    }

    /// Replaces the closure that makes answers.
    pub(crate) fn answer(&self, answer: impl FnMut(&Asked) -> Answer + 'static) {
        *self.answer.borrow_mut() = Box::new(answer);
    }

    /// Serves without an end, one request for each connection.
    pub(crate) async fn serve(&self) {
        loop {
            let (mut stream, _) = self.listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !is_complete(&request) {
                if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let request = String::from_utf8(request).unwrap();
            let Some((target, (head, body))) =
                request.split(' ').nth(1).zip(request.split_once("\r\n\r\n"))
            else {
                continue;
            };
            let url = reqwest::Url::parse(&format!("http://h{target}")).unwrap();
            let query = url
                .query_pairs()
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect();
            let (path, head, body) = (url.path().into(), head.to_lowercase(), body.to_owned());
            let asked = Asked { path, query, head, body, at: (self.clock)() };
            let (status, headers, body) = (self.answer.borrow_mut())(&asked);
            self.asked.borrow_mut().push(asked);
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n",
                body.len()
            );
            let _ = stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).await;
        }
    }
}

/// Returns true if a request has arrived with all of its body.
fn is_complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length =
        head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

/// Runs a source and a server beside a test, until the test is done; the source must not end
/// before.
pub(crate) async fn beside(
    source: impl Future<Output = Result<()>>,
    server: &Server,
    test: impl Future<Output = ()>,
) {
    let ended = async { panic!("it ended: {:?}", source.await) };
    let both = futures_util::future::join(ended, server.serve());
    select(std::pin::pin!(both), std::pin::pin!(test)).await;
}

/// Runs a future that ends, and a server beside it.
pub(crate) async fn served<T>(server: &Server, work: impl Future<Output = T>) -> T {
    match select(std::pin::pin!(work), std::pin::pin!(server.serve())).await {
        Either::Left((done, _)) => done,
        Either::Right(((), _)) => unreachable!("it serves for ever"),
    }
}

/// Lets everything continue until a condition holds, and moves the clock when nothing else happens.
pub(crate) async fn advance_until(
    clock: &ManualClock,
    step: Duration,
    mut so: impl FnMut() -> bool,
) {
    loop {
        for _ in 0..100 {
            if so() {
                return;
            }
            tokio::task::yield_now().await;
        }
        clock.advance(step);
    }
}
