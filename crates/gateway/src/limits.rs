//! Every bound of the gateway, with its default.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a gateway accepts, waits for and holds at most. Sizes in bytes, times in milliseconds.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Request line and header fields together: 414 when the target alone is too long, else 431.
    pub head_bytes_max: usize,
    /// Header lines of a request, 100 at most: 431.
    pub header_lines_max: usize,
    /// Content of a request: 413.
    pub body_bytes_max: usize,
    /// From the first byte of a request head to its last: 408. Also how long a fresh connection
    /// may stay silent.
    pub header_timeout_ms: u64,
    /// From the end of the head to the end of the content: 408.
    pub body_timeout_ms: u64,
    /// How long a connection may stay idle between requests before it is closed.
    pub idle_timeout_ms: u64,
    /// How long a client may refuse to take bytes of an answer before it is cut off.
    pub write_timeout_ms: u64,
    /// How long a request may wait for its certificate: 504. The same key fetches the answer later.
    pub certify_timeout_ms: u64,
    /// How long open requests may go on after shutdown was asked for.
    pub shutdown_grace_ms: u64,
    /// Open connections; one more is answered 503 and closed.
    pub connections_max: usize,
    /// Requests in progress: 503.
    pub in_flight_max: usize,
    /// Requests in progress from one client address (IPv6: one /64): 429.
    pub in_flight_per_client_max: usize,
    /// Content of all requests in progress together: 503.
    pub in_flight_body_bytes_max: usize,
    /// Streams that one HTTP/2 connection may have open.
    pub streams_max: u32,
    /// The longest `Quorate-Proof` field sent when the client states no preference.
    pub inline_proof_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 16 << 10,
            header_lines_max: 100,
            body_bytes_max: 1 << 20,
            header_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            idle_timeout_ms: 60_000,
            write_timeout_ms: 30_000,
            certify_timeout_ms: 10_000,
            shutdown_grace_ms: 5_000,
            connections_max: 8_192,
            in_flight_max: 4_096,
            in_flight_per_client_max: 1_024,
            in_flight_body_bytes_max: 64 << 20,
            streams_max: 256,
            inline_proof_bytes_max: 3 << 10,
        }
    }
}

impl Limits {
    /// [`Self::header_timeout_ms`] as a duration.
    #[must_use]
    pub fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    /// [`Self::body_timeout_ms`] as a duration.
    #[must_use]
    pub fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }

    /// [`Self::idle_timeout_ms`] as a duration.
    #[must_use]
    pub fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }

    /// [`Self::write_timeout_ms`] as a duration.
    #[must_use]
    pub fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_timeout_ms)
    }

    /// [`Self::certify_timeout_ms`] as a duration.
    #[must_use]
    pub fn certify_timeout(&self) -> Duration {
        Duration::from_millis(self.certify_timeout_ms)
    }

    /// [`Self::shutdown_grace_ms`] as a duration.
    #[must_use]
    pub fn shutdown_grace(&self) -> Duration {
        Duration::from_millis(self.shutdown_grace_ms)
    }
}
