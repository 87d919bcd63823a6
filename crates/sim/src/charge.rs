//! What an input costs a process, and what it does for it: the table of [`crate::cost`], applied.
//!
//! The one place that counts operations. Whose cores they keep busy, and for how long, is for who
//! asks: each machine of a simulated network has its own, and a model of one real machine has all
//! of its processes on the same.

use crate::{
    cost::{Cpu, Operation, Work},
    process::{Act, Process, Sent},
};
use quorate_crypto::{Claim, Claims, Domain};
use quorate_replica::Message;
use quorate_types::{ReplicaId, Request};

/// Reading a message, and verifying what it claims, where that is wanted and was not verified
/// lately.
pub fn read(
    cpu: &mut Cpu,
    process: &Process,
    domain: &Domain,
    (from, message): (ReplicaId, &Sent),
) -> Work {
    let (mut work, mut claims) = (Work::default(), Vec::new());
    work.add(Operation::DecodeByte, length(message));
    if process.replica().wants(from, message) {
        message.claims(domain, &mut claims);
    }
    if !claims.is_empty() {
        work.add(Operation::HashCall, 1);
        work.add(Operation::HashByte, length(message));
    }
    verify(cpu, &claims, &mut work);
    work
}

/// Verifying a request that a client hands in.
pub fn take(cpu: &mut Cpu, domain: &Domain, request: &Request) -> Work {
    let (mut work, mut claims) = (Work::default(), Vec::new());
    request.claims(domain, &mut claims);
    verify(cpu, &claims, &mut work);
    work
}

fn verify(cpu: &mut Cpu, claims: &[Claim], work: &mut Work) {
    let mut signatures = 0;
    for claim in claims {
        match claim {
            Claim::Vote { signature, .. } | Claim::Client { signature, .. } => {
                signatures += u64::from(cpu.meets(signature));
            }
            Claim::Stable(certificate) => {
                let all = certificate.cosignatures.iter();
                let new = all.filter(|it| cpu.meets(&it.signature)).count();
                work.add(Operation::VerifyStrict, new as u64);
            }
            Claim::Broken(_) => {}
        }
    }
    work.add_claims(signatures);
}

/// Handling an input, a message if it is one, whatever comes of it.
#[must_use]
pub fn step(message: Option<&Sent>) -> Work {
    let mut work = Work::default();
    work.add(Operation::Step, 1);
    if matches!(message, Some(Message::Cosign(_))) {
        work.add(Operation::VerifyStrict, 1);
    }
    work
}

/// What the thread did for something that a process asks for, or has done.
pub fn act(me: ReplicaId, act: &Act, work: &mut Work) {
    let message = match act {
        Act::Appended { items, .. } => {
            return work.add(Operation::Execute, items.len() as u64);
        }
        Act::Send { message, .. } => message,
        _ => return,
    };
    work.add(Operation::EncodeByte, length(message));
    let signatures = match &**message {
        Message::Cosign(_) => 2,
        Message::RejoinReport { .. } => 1,
        message => u64::from(message.signer() == Some(me)),
    };
    work.add(Operation::Sign, signatures);
}

/// How long a message is on the wire, in bytes, without writing it.
#[must_use]
pub fn length(message: &Sent) -> u64 {
    borsh::object_length(message).map_or(0, |length| length as u64)
}
