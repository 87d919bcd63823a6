//! What must hold of every decoder of the wire, for any bytes: shared by the property tests here
//! and by the fuzz targets.

#![allow(unreachable_pub, reason = "the fuzz targets include this file and export it")]

pub mod samples;

use quorate_types::{
    Asked, Batch, Chain, ClientSignature, Committee, Cosignature, Digest, EntryFacts, Epoch,
    Exchange, FaultModel, Head, Index, Item, LogItem, Opening, Outcome, Proven, PublicKey, Rejoin,
    RejoinReport, ReplicaId, Report, Request, Response, Salt, Signature, Slot, StableCertificate,
    StateRecord, UnixMillis, View, Wire,
};
use std::fmt::Debug;

/// No frame is longer.
pub const MOST: usize = 1 << 24;

/// Decodes `bytes`, and if they are a value, checks that they are its one encoding.
///
/// # Panics
/// When two byte strings stand for one value, which would make messages malleable.
pub fn wire<T: Wire + Debug + PartialEq>(bytes: &[u8]) -> Option<T> {
    let value = T::from_wire(bytes, MOST).ok()?;
    assert_eq!(value.to_wire(), bytes, "another encoding of {value:?}");
    Some(value)
}

macro_rules! decoders {
    ($($name:ident)*) => {
        /// The name of every type with a wire form, and its oracle: whether the bytes are a value.
        pub const DECODERS: &[(&str, fn(&[u8]) -> bool)] =
            &[$((stringify!($name), |bytes| wire::<$name>(bytes).is_some())),*];
    };
}

decoders! {
    Asked Batch Chain ClientSignature Committee Cosignature Digest EntryFacts Epoch Exchange
    FaultModel Head Index Item LogItem Opening Outcome Proven PublicKey Rejoin RejoinReport
    ReplicaId Report Request Response Salt Signature Slot StableCertificate StateRecord UnixMillis
    View
}

/// One decoder, chosen by the first byte, over the rest.
///
/// # Panics
/// When an oracle finds fault.
pub fn any_wire_type(bytes: &[u8]) {
    if let Some((&choice, rest)) = bytes.split_first()
        && let Some((_, decode)) = DECODERS.get(usize::from(choice) % DECODERS.len())
    {
        decode(rest);
    }
}
