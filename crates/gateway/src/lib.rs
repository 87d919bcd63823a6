//! HTTP in, proof-carrying HTTP out.
//!
//! A [`Gateway`] takes requests over HTTP/1.1 and HTTP/2, has them ordered by the replica behind
//! its [`Backend`], and writes the certified answers down with their proofs. It decides nothing:
//! what it answers by itself is a refusal, a problem document with a code and `"proven": false`.
//! Files in the order of a request's way:
//!
//! | file | holds |
//! |---|---|
//! | [`config`], [`limits`] | whom the gateway serves, and every bound with its default |
//! | `server`, `line` | the listener's loop; one connection's |
//! | [`tls`] | the operator's certificate, renewed while the gateway runs |
//! | `guard`, `framing` | what the bytes of HTTP/1 must be, and by when |
//! | `quota` | how much may be in progress |
//! | `reception` | from a request's head to the whole request, and refusals |
//! | [`gateway`] | from a request to its answer |
//! | [`relay`] | the same, where other gateways answer: what `quorate proxy` stands on |
//! | `own_paths` | paths of a service that no client reaches |
//! | `admission` | from an HTTP request to the request that is ordered |
//! | [`backend`] | what the gateway asks of the replica |
//! | `answer` | from a certified answer, or a refusal, to HTTP |
//! | `cost` | the same for those who measure it |
//! | `well_known` | the pages under `/.well-known/quorate/` |
//! | [`codes`] | every code of a refusal, explained |
//! | [`counters`] | what is counted for the metrics |
//! | [`operations`] | the operations listener |
//! | `ui` | its page for people |

mod admission;
mod answer;
pub mod backend;
pub mod codes;
pub mod config;
#[doc(hidden)]
pub mod cost;
pub mod counters;
mod framing;
pub mod gateway;
mod guard;
pub mod limits;
mod line;
pub mod operations;
mod own_paths;
mod quota;
mod reception;
pub mod relay;
mod server;
pub mod tls;
mod ui;
mod well_known;

pub use backend::{
    AnswerStatus, Backend, CopyStatus, Divergent, Fetch, Fetched, LastHead, Peer, Status,
    Submitted, Timing,
};
pub use codes::{Code, explain};
pub use config::{ConfigError, GatewayConfig};
pub use counters::Counters;
pub use gateway::Gateway;
pub use limits::Limits;
pub use operations::{Fault, OperationsBackend, serve_operations};
pub use own_paths::leads_to;
pub use relay::{Relay, Upstream};
pub use tls::{Tls, TlsError, TlsFiles};
