//! The edge of a PBFT replica: passes messages on, or breaks them as an operator asked.

use crate::{driver::Edge, faults::Faults};
use quorate_crypto::{Cosigner, Domain, VoteSigner};
use quorate_gateway::Fault;
use quorate_protocol::{
    To,
    pbft::message::{Body, Header, Message as Pbft, Phase, PrePrepare, Vote, digest_of},
};
use quorate_replica::Message;
use quorate_types::{Batch, Committee, ReplicaId, UnixMillis};
use std::sync::Arc;

/// See the module.
pub(crate) struct PbftEdge {
    pub(crate) me: ReplicaId,
    pub(crate) committee: Committee,
    pub(crate) domain: Domain,
    pub(crate) signer: VoteSigner,
    pub(crate) cosigner: Cosigner,
    pub(crate) faults: Arc<Faults>,
}

impl Edge<Pbft<Batch>> for PbftEdge {
    fn leaving(
        &self,
        to: To,
        message: Message<Pbft<Batch>>,
        out: &mut Vec<(To, Message<Pbft<Batch>>)>,
    ) {
        match (self.faults.fault(), message) {
            (Some(Fault::CorruptResponses), Message::Cosign(cosign)) => {
                let wrong = Faults::cosign_wrongly(cosign, self.domain.origin(), &self.cosigner);
                out.push((to, Message::Cosign(wrong)));
            }
            (Some(Fault::Equivocate), Message::Engine(message)) => {
                self.equivocate(to, message, out);
            }
            (_, message) => out.push((to, message)),
        }
    }
}

impl PbftEdge {
    /// Tells one half this, and the other half something else.
    fn equivocate(&self, to: To, message: Pbft<Batch>, out: &mut Vec<(To, Message<Pbft<Batch>>)>) {
        let Some(other) = self.another(&message).filter(|_| to == To::All) else {
            out.push((to, Message::Engine(message)));
            return;
        };
        let others: Vec<_> =
            self.committee.replicas().filter(|&replica| replica != self.me).collect();
        let (some, rest) = others.split_at(others.len() / 2);
        out.push((To::Group(some.into()), Message::Engine(message)));
        out.push((To::Group(rest.into()), Message::Engine(other)));
    }

    /// Something else of the same kind for the same view and slot, rightly signed.
    fn another(&self, message: &Pbft<Batch>) -> Option<Pbft<Batch>> {
        let instance = message.instance;
        let sign = |header: Header, phase| {
            Vote::sign(header, phase, self.me, &self.signer, &self.domain, instance)
        };
        let altered = |vote: &Vote, phase| {
            let mut header = vote.header;
            header.digest.0[0] ^= 1;
            sign(header, phase)
        };
        let body = match &message.body {
            Body::PrePrepare(PrePrepare { vote, command: Some(command) }) => {
                let time = UnixMillis(command.time.0.saturating_add(1));
                let command = Batch { time, ..Batch::clone(command) };
                let digest = digest_of(Some(&command));
                let vote = sign(Header { digest, ..vote.header }, Phase::PrePrepare);
                Body::PrePrepare(PrePrepare { vote, command: Some(Arc::new(command)) })
            }
            Body::Prepare(vote) => Body::Prepare(altered(vote, Phase::Prepare)),
            Body::Commit(vote) => Body::Commit(altered(vote, Phase::Commit)),
            _ => return None,
        };
        Some(Pbft { instance, body })
    }
}
