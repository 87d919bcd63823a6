//! Send to replicas, retry, verify: a client that believes nothing but proofs.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use quorate_client::{Authorities, Call, Client, Options, Pins, Url, trusted_policy};
//!
//! let url = Url::parse("http://127.0.0.1:7400/kv/greeting")?;
//! let system = Authorities::of_system();
//! let trusted = trusted_policy(None, &Pins::of_user()?, &url.endpoint, &system).await?;
//! let client = Client::new(trusted.policy.into(), vec![url.endpoint], Options::default());
//! let answer = client.send(Call::get(url.path, url.query)).await?;
//! println!("{} replicas agree on status {}", answer.verdict.signers, answer.response.status);
//! # Ok(()) }
//! ```
//!
//! | file | holds |
//! |---|---|
//! | [`url`] | where requests go, path and query byte for byte |
//! | [`client`] | sending, retrying under one key, signing, linked proofs |
//! | [`answer`] | what comes of it: [`Answer`], [`Refused`], [`NotVerified`] |
//! | [`transport`] | HTTP, without judgement |
//! | [`mod@line`], [`tls`] | connections, and whose certificates are believed |
//! | [`key`] | idempotency keys, clients that sign |
//! | [`trust`] | where the policy comes from |
//! | [`pins`] | policies that were trusted before |

pub mod answer;
pub mod client;
pub mod key;
pub mod line;
pub mod pins;
pub mod tls;
pub mod transport;
pub mod trust;
pub mod url;

pub use answer::{Answer, NotVerified, Reason, Refused, SendError, Unsendable};
pub use client::{Call, Client, Options, plain};
pub use key::{RequestSigner, idempotency_key, quoted_key};
pub use line::{Stream, connect};
pub use pins::{PinError, Pins, read_policy};
pub use tls::Authorities;
pub use transport::TransportError;
pub use trust::{Ground, TrustError, Trusted, served_policy, trusted_policy};
pub use url::{Endpoint, Url, UrlError};
