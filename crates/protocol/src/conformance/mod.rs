//! What every engine is tested with: a deterministic network to run it in, and the suite that
//! it must pass. Test code, hence it may panic; no engine uses it.
//!
//! | function | an engine fails it when |
//! |---|---|
//! | [`is_deterministic`] | the same inputs give other effects |
//! | [`replays_after_every_prefix_of_effects`] | a restart at any point contradicts what was said |
//! | [`survives_garbage`] | a signed but senseless message panics it, or breaks agreement |
//! | [`ignores_stale_verdicts`] | a verdict for another view, slot or digest has any effect |
//! | [`nests`] | two of it inside one parent behave otherwise than each alone |

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "test code: a panic is how it says no"
)]

pub mod nest;
pub mod network;
mod suite;

pub use network::{Network, Node, Weather};
pub use suite::{
    ignores_stale_verdicts, is_deterministic, nests, replays_after_every_prefix_of_effects,
    survives_garbage,
};

use crate::Protocol;
use quorate_crypto::Delivery;
use quorate_types::{
    Committee, Digest, Epoch, Head, Index, ReplicaId, Slot, StableCertificate, StateRecord,
    UnixMillis,
};
use std::fmt::Debug;

/// The engine of a subject.
pub type Engine<S> = <S as Subject>::Engine;

/// An engine under test, with what the suite must know about it.
pub trait Subject: Clone {
    /// The engine.
    type Engine: Protocol + Debug;

    /// Who takes part.
    fn committee(&self) -> Committee;

    /// A fresh engine of a replica.
    fn engine(&self, me: ReplicaId) -> Self::Engine;

    /// The command of that number; no two are equal.
    fn command(&self, number: u64) -> <Self::Engine as Protocol>::Command;

    /// The verify stage. The only certificates that hold are those of [`certificate`].
    fn verify(
        &self,
        via: ReplicaId,
        message: <Self::Engine as Protocol>::Message,
    ) -> Option<Delivery<<Self::Engine as Protocol>::Message>>;

    /// A word for the kind of message.
    fn word(&self, message: &<Self::Engine as Protocol>::Message) -> &'static str;

    /// If the message is a vote made by `from`: the place at which no correct replica votes twice,
    /// and what it votes for there.
    fn vote(
        &self,
        from: ReplicaId,
        message: &<Self::Engine as Protocol>::Message,
    ) -> Option<(Vec<u8>, Digest)>;

    /// Senseless messages, validly signed by `from`, drawn from `random`.
    fn garbage(&self, from: ReplicaId, random: &mut Random) -> <Self::Engine as Protocol>::Message;

    /// How many slots lie between two stable ones.
    fn stable_interval(&self) -> u64 {
        3
    }
}

/// A certificate that names a slot and holds nowhere but here: its cosignatures are missing.
#[must_use]
pub fn certificate(slot: Slot) -> StableCertificate {
    StableCertificate {
        head: Head { size: slot.0, root: Digest::ZERO },
        cosignatures: Vec::new(),
        last_entry: String::new(),
        path: Vec::new(),
        record: StateRecord {
            slot,
            next_index: Index(slot.0),
            epoch: Epoch(0),
            time: UnixMillis(0),
            service: Digest::ZERO,
            replay: Digest::ZERO,
            engine: Digest::ZERO,
        },
    }
}

/// Numbers that look random and follow from a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next one, below `end` (0 when `end` is 0).
    pub fn below(&mut self, end: u64) -> u64 {
        self.draw().checked_rem(end).unwrap_or(0)
    }
}

/// FNV-1a, chained: cheap, and good enough to tell two runs apart.
fn mix(hash: u64, text: &str) -> u64 {
    text.bytes().fold(hash ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
