//! The policy of every network client: the size of an answer, the time without progress, the
//! meaning of an unexpected status, and the proxy that leads outside. The HTTP client of this
//! module ([`http`]), the sources' WebSocket (`social/ws`) and the store on S3 (`lake/store/s3`)
//! all use it.
//!
//! No client follows a redirect: a credential and the trust in an answer belong to the host that
//! was configured. A redirect is an answer like any other, whose meaning is in [`answer`].

pub mod answer;
pub mod http;
pub mod idle;
pub mod limits;
pub mod notice;
pub mod proxy;
pub mod retry_after;
pub mod runtime;
