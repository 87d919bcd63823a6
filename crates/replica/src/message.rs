//! What replicas send each other: the engine's messages, and the pipeline's own.

use borsh::{BorshDeserialize, BorshSerialize};
use quorate_crypto::{Claim, Claims, Domain};
use quorate_service::Cursor;
use quorate_types::{
    Asked, Digest, Head, Index, LogItem, Rejoin, RejoinReport, ReplicaId, Report, Response,
    Signature, Slot, StableCertificate, UnixMillis,
};
use std::sync::Arc;

/// A message between two replicas; `M` is the engine's.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub enum Message<M> {
    /// Of the ordering engine.
    Engine(M),
    /// Requests for the primary to order; sent to all when it seems to ignore them.
    Forward(Vec<Asked>),
    /// A replica's signature over its log after a slot.
    Cosign(Cosign),
    /// How far the sender is; sent now and then, so that one who lags notices.
    Progress(Progress),
    /// State transfer.
    Sync(Sync),
    /// A replica that lost its disk asks where it may have voted.
    RejoinAsk {
        /// A random value drawn at this start.
        nonce: Digest,
    },
    /// The answer to [`Message::RejoinAsk`].
    RejoinReport {
        /// The nonce of the question.
        nonce: Digest,
        /// The signed answer.
        report: Box<RejoinReport>,
    },
    /// A rejoin with its quorum of reports, to be ordered.
    RejoinOffer(Rejoin),
    /// What the sender's copy of the service answered in a slot.
    Report(Report),
    /// The reports about a slot, for who still waits for them. Never answered.
    Told(Vec<Report>),
    /// Send the agreed answer of this digest.
    AskAnswer {
        /// The slot in which it was given.
        slot: Slot,
        /// Its name.
        digest: Digest,
    },
    /// An answer of a copy, which its digest proves.
    Answer {
        /// The slot in which it was given.
        slot: Slot,
        /// The answer.
        response: Box<Response>,
    },
}

/// One replica's cosignature of the head after a slot.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cosign {
    /// The slot.
    pub slot: Slot,
    /// The log after it.
    pub head: Head,
    /// The slot's agreed time.
    pub time: UnixMillis,
    /// By the sender's cosigner key, over the C2SP cosignature message.
    pub signature: Signature,
}

/// How far a replica is. Unproven: a reason to ask for a certificate, never to act.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// The last slot it executed.
    pub executed: Slot,
    /// Its newest stable slot.
    pub stable: Slot,
}

/// State transfer: questions, and answers that prove themselves.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub enum Sync {
    /// Send your newest stable certificate.
    AskCertificate,
    /// The newest stable certificate of the sender.
    Certificate(Arc<StableCertificate>),
    /// Send entries and exchanges from a place on, proven to stand in a log of `size`.
    AskPage {
        /// The first place asked for.
        from: Index,
        /// The size of the certified log that the asker goes to.
        size: u64,
    },
    /// A run of the log.
    Page(Page),
    /// Send the description of your newest snapshot.
    AskManifest,
    /// The newest snapshot's description.
    Manifest(Manifest),
    /// Send a piece of a snapshot's state.
    AskState {
        /// The snapshot's slot.
        slot: Slot,
        /// Of which of its two maps.
        map: StateMap,
        /// Where the piece begins.
        from: Cursor,
    },
    /// A piece of a snapshot's state.
    State {
        /// The snapshot's slot.
        slot: Slot,
        /// Of which of its two maps.
        map: StateMap,
        /// Where it begins.
        from: Cursor,
        /// The items, with what proves them against the map's root.
        page: Box<quorate_service::Page>,
    },
    /// The sender has no snapshot to offer.
    NoSnapshot,
}

/// A run of the log with one inclusion path, which proves every entry in it to a receiver that
/// holds everything before it.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct Page {
    /// The place of the first item.
    pub from: Index,
    /// The size of the certified log.
    pub size: u64,
    /// The items, at least one.
    pub items: Vec<LogItem>,
    /// The inclusion path of the last item's leaf in the log of `size`.
    pub path: Vec<Digest>,
}

/// A snapshot's description: its certificate proves the two roots.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub struct Manifest {
    /// Proves the state's short record.
    pub certificate: Arc<StableCertificate>,
}

/// The two maps of the replicated state.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[borsh(use_discriminant = false)]
pub enum StateMap {
    /// The service's keys and values.
    Service,
    /// The replay table.
    Replay,
}

impl<M> Message<M> {
    /// The engine's part, or the message itself where it is the pipeline's own.
    ///
    /// # Errors
    /// The message, unchanged.
    pub fn into_engine(self) -> Result<M, Self> {
        match self {
            Self::Engine(message) => Ok(message),
            own => Err(own),
        }
    }
}

impl<M: Claims> Claims for Message<M> {
    fn signer(&self) -> Option<ReplicaId> {
        match self {
            Self::Engine(message) => message.signer(),
            Self::Report(report) => Some(report.reporter),
            // A rejoin report names its maker, but nobody checks that before it is counted.
            Self::Forward(_)
            | Self::Cosign(_)
            | Self::Progress(_)
            | Self::Sync(_)
            | Self::RejoinAsk { .. }
            | Self::RejoinReport { .. }
            | Self::RejoinOffer(_)
            | Self::Told(_)
            | Self::AskAnswer { .. }
            | Self::Answer { .. } => None,
        }
    }

    /// Cosignatures, certificates and pages are not among the claims: each is checked by the stage
    /// that needs it, once it knows that it still does.
    fn claims(&self, domain: &Domain, out: &mut Vec<Claim>) {
        match self {
            Self::Engine(message) => message.claims(domain, out),
            Self::Forward(requests) => {
                requests.iter().for_each(|asked| asked.request.claims(domain, out));
            }
            Self::RejoinOffer(rejoin) => rejoin.claims(domain, out),
            Self::Report(report) => report.claims(domain, out),
            Self::Told(reports) => reports.iter().for_each(|it| it.claims(domain, out)),
            Self::Cosign(_)
            | Self::Progress(_)
            | Self::Sync(_)
            | Self::RejoinAsk { .. }
            | Self::RejoinReport { .. }
            | Self::AskAnswer { .. }
            | Self::Answer { .. } => {}
        }
    }
}
