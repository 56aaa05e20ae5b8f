//! The policy of every network client: how large an answer may be, how long a server may say
//! nothing, what an unexpected status means, and which proxy leads outside. The client of HTTP here
//! ([`http`]), the sources' WebSocket (`social/ws`) and the store on S3 (`lake/store/s3`) all take
//! it from here.
//!
//! No client follows a redirect: a credential and the trust in an answer belong to the host that
//! was configured. A redirect is an answer like any other; [`answer`] says what it means.

pub mod answer;
pub mod http;
pub mod idle;
pub mod limits;
pub mod notice;
pub mod proxy;
pub mod retry_after;
pub mod runtime;
