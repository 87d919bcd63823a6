//! What a service sees beside the request.

use crate::{rng::Rng, state::State};
use quorate_types::{Digest, Index, UnixMillis};

/// The agreed facts of one execution, and the state.
///
/// All of it is the same on every replica.
#[derive(Debug)]
pub struct Context<'a> {
    now: UnixMillis,
    index: Index,
    authority: &'a str,
    rng: Rng,
    state: &'a mut State,
}

impl<'a> Context<'a> {
    /// The context of one request: the slot's agreed time, the entry's index, the request's seed
    /// (SHA-256 over chain, index and salt), NAME of the origin, and the service's state.
    pub fn new(
        now: UnixMillis,
        index: Index,
        seed: Digest,
        authority: &'a str,
        state: &'a mut State,
    ) -> Self {
        Self { now, index, authority, rng: Rng::new(seed), state }
    }

    /// The agreed time: the same for all requests of a slot, later in every next slot.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.now
    }

    /// The place of this request's entry in the log; grows with every request.
    #[must_use]
    pub fn index(&self) -> Index {
        self.index
    }

    /// The service's public name, whatever gateway the request came through.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.authority
    }

    /// Randomness that all replicas share. The client can know it and the gateway can choose it:
    /// fit for identifiers and shuffling, never for keys or lotteries.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// What the service remembers.
    pub fn state(&mut self) -> &mut State {
        self.state
    }
}
