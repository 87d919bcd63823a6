//! What every engine is tested with.

use quorate_types::{Digest, Epoch, Head, Index, Slot, StableCertificate, StateRecord, UnixMillis};

/// A certificate that names a slot and holds nowhere: its cosignatures are missing.
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
