//! `Recorded -> Certified`: a quorum of cosignatures over the head after a slot.
//!
//! One head a slot. A cosignature is checked only when its slot was executed here and still lacks a
//! quorum, strictly and singly, because it goes into a proof. A certified head is the stable
//! checkpoint: there is no other.

use crate::{message::Cosign, port::Ticket, record::Recorded};
use quorate_crypto::{Cosigner, Verifier};
use quorate_proof::{Policy, SignatureCheck, cosignature_message, head_text};
use quorate_types::{
    Committee, Cosignature, Digest, EntryFacts, Exchange, Head, Held, Index, ReplicaId, Signature,
    Slot, StableCertificate, Tally, UnixMillis, Wire,
    bug::{Bug, seeded},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How many windows of slots above the certified one are executed at most, and kept until they are
/// certified. A report to one who lost its disk is believed for three (see [`crate::rejoin`]).
const OPEN_WINDOWS: u64 = 2;

/// How many more a restart may bring back: the log may hold what was executed since the newest
/// certificate was synced, with which a window and a half were forgotten at most.
const RECOVERED_WINDOWS: u64 = 2;

/// How many windows ahead of the own state others' cosignatures are kept.
const EARLY_WINDOWS: u64 = 2;

/// An entry under a certified head: all that a proof-carrying response is made of. Made by
/// the certifier alone.
#[derive(Clone, Debug)]
pub struct Certified {
    facts: EntryFacts,
    exchange: Exchange,
    path: Vec<Digest>,
    certificate: Arc<StableCertificate>,
    log_signature: Signature,
}

impl Certified {
    /// What the headers say.
    #[must_use]
    pub fn facts(&self) -> &EntryFacts {
        &self.facts
    }

    /// The request and the response.
    #[must_use]
    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// The inclusion path, from the leaf up.
    #[must_use]
    pub fn path(&self) -> &[Digest] {
        &self.path
    }

    /// The head with its cosignatures.
    #[must_use]
    pub fn certificate(&self) -> &Arc<StableCertificate> {
        &self.certificate
    }

    /// This replica's own log signature over the head, which the C2SP texts ask for.
    #[must_use]
    pub fn log_signature(&self) -> &Signature {
        &self.log_signature
    }
}

/// A slot whose head lacks a quorum.
#[derive(Debug)]
struct Open {
    recorded: Recorded,
    message: Vec<u8>,
    tickets: Vec<(Ticket, Index, bool)>,
    signed: BTreeMap<ReplicaId, Signature>,
    /// Signatures over another head for this slot: evidence, once this head is certified.
    different: BTreeMap<ReplicaId, Cosign>,
}

/// What a new certificate brings.
#[derive(Debug)]
pub(crate) struct Stabilised {
    pub(crate) certificate: Arc<StableCertificate>,
    /// Whether the certificate is news, or only what late cosignatures were held against.
    pub(crate) new: bool,
    /// Answers that its entries were waiting for.
    pub(crate) answers: Vec<(Ticket, Answer)>,
    /// Replicas that signed another head of the same size, with the signed bytes.
    pub(crate) wrong: Vec<(ReplicaId, Cosign)>,
}

#[derive(Debug)]
pub(crate) enum Answer {
    Certified(Box<Certified>),
    Earlier(Index),
}

/// This replica executed something else than a quorum did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct OwnHeadWrong(pub(crate) Slot);

/// Collects cosignatures.
pub(crate) struct Certifier {
    me: ReplicaId,
    committee: Committee,
    cosigner: Cosigner,
    origin: String,
    /// In boxes, so that a step of the log moves pointers.
    open: BTreeMap<Slot, Box<Open>>,
    /// Cosignatures for slots not executed here yet, within the window.
    early: BTreeMap<Slot, BTreeMap<ReplicaId, Cosign>>,
    stable: Option<Arc<StableCertificate>>,
    /// The certificates of the last slots, against which late cosignatures are held.
    recent: BTreeMap<Slot, Arc<StableCertificate>>,
    accused: BTreeSet<ReplicaId>,
    window: u64,
}

impl Certifier {
    pub(crate) fn new(
        me: ReplicaId,
        committee: Committee,
        cosigner: Cosigner,
        origin: String,
        window: u64,
    ) -> Self {
        Self {
            me,
            committee,
            cosigner,
            origin,
            open: BTreeMap::new(),
            early: BTreeMap::new(),
            stable: None,
            recent: BTreeMap::new(),
            accused: BTreeSet::new(),
            window,
        }
    }

    /// The newest stable slot; 0 before the first.
    pub(crate) fn stable_slot(&self) -> Slot {
        self.stable.as_ref().map_or(Slot(0), |certificate| certificate.slot())
    }

    /// The newest certificate.
    pub(crate) fn stable(&self) -> Option<&Arc<StableCertificate>> {
        self.stable.as_ref()
    }

    /// Whether one more slot may be executed before another certificate comes.
    pub(crate) fn has_room(&self) -> bool {
        (self.open.len() as u64) < self.window.saturating_mul(OPEN_WINDOWS)
    }

    /// How many slots a restart may bring back that are not known to be certified.
    pub(crate) fn recovered_max(&self) -> usize {
        let slots = self.window.saturating_mul(OPEN_WINDOWS + RECOVERED_WINDOWS);
        usize::try_from(slots).unwrap_or(usize::MAX)
    }

    /// What is kept here, with its bounds; a slot has at most so many items.
    pub(crate) fn held(&self, items_max: u64) -> [Held; 6] {
        let n = self.committee.n() as u64;
        let others = n.saturating_sub(1);
        let open = self.recovered_max() as u64;
        let early = self.window.saturating_mul(EARLY_WINDOWS).saturating_mul(others);
        let tickets = self.open.values().map(|open| open.tickets.len()).sum();
        let signed = self
            .open
            .values()
            .map(|open| open.signed.len().saturating_add(open.different.len()))
            .max();
        let early_held = self.early.values().map(BTreeMap::len).sum();
        [
            Held::new("certify.open", self.open.len(), open),
            Held::new("certify.tickets", tickets, open.saturating_mul(items_max)),
            Held::new("certify.signed-of-a-slot", signed.unwrap_or(0), n),
            Held::new("certify.early", early_held, early),
            Held::new("certify.recent", self.recent.len(), self.window),
            Held::new("certify.accused", self.accused.len(), others),
        ]
    }

    /// Whether the log is certified past an index.
    pub(crate) fn covers(&self, index: Index) -> bool {
        self.stable.as_ref().is_some_and(|certificate| certificate.head.size > index.0)
    }

    /// Whether a cosignature of a peer could still matter.
    pub(crate) fn wants(&self, from: ReplicaId, cosign: &Cosign) -> bool {
        if cosign.slot <= self.stable_slot() {
            return self.contradicts(from, cosign);
        }
        match self.open.get(&cosign.slot) {
            Some(open) => !open.signed.contains_key(&from) && !open.different.contains_key(&from),
            None => {
                let last = self.open.last_key_value().map_or(self.stable_slot(), |(s, _)| *s);
                cosign.slot > last
                    && cosign.slot.0 - last.0 <= self.window.saturating_mul(EARLY_WINDOWS)
                    && !self.early.get(&cosign.slot).is_some_and(|votes| votes.contains_key(&from))
            }
        }
    }

    /// Cosigns a recorded slot. The caller has put what follows behind the slot's own barriers, so
    /// the signature leaves after payload and commit vote are durable.
    pub(crate) fn open(
        &mut self,
        recorded: Recorded,
        tickets: Vec<(Ticket, Index, bool)>,
    ) -> Cosign {
        let (slot, head, time) = (recorded.slot(), recorded.head, recorded.record.time);
        let message = self.message(&head, time);
        let signature = self.cosigner.cosign(&message);
        let signed = BTreeMap::from([(self.me, signature)]);
        let different = BTreeMap::new();
        let open = Open { recorded, message, tickets, signed, different };
        self.open.insert(slot, Box::new(open));
        Cosign { slot, head, time, signature }
    }

    /// Takes the cosignatures that had come before the slot was executed here.
    pub(crate) fn take_early(&mut self, slot: Slot) -> BTreeMap<ReplicaId, Cosign> {
        while let Some(passed) = self.early.first_entry().filter(|votes| *votes.key() <= slot) {
            let (of, votes) = passed.remove_entry();
            if of == slot {
                return votes;
            }
        }
        BTreeMap::new()
    }

    /// Takes one cosignature of a peer. Wrong signatures are dropped here: the sender is known by
    /// its link alone, which proves nothing to others.
    pub(crate) fn add(
        &mut self,
        verifier: &Verifier,
        from: ReplicaId,
        cosign: Cosign,
    ) -> Result<Option<Stabilised>, OwnHeadWrong> {
        if !self.wants(from, &cosign) {
            return Ok(None);
        }
        if cosign.slot <= self.stable_slot() {
            return Ok(self.convict(verifier, from, cosign));
        }
        let Some(open) = self.open.get_mut(&cosign.slot) else {
            self.early.entry(cosign.slot).or_default().insert(from, cosign);
            return Ok(None);
        };
        if cosign.head != open.recorded.head || cosign.time != open.recorded.record.time {
            open.different.insert(from, cosign);
            return self.check_own(verifier, cosign.slot);
        }
        let Some(key) = verifier.policy().witnesses().get(from.position()) else { return Ok(None) };
        if SignatureCheck::check(verifier, &key.key, &open.message, &cosign.signature) {
            open.signed.insert(from, cosign.signature);
        }
        self.stabilise(verifier, cosign.slot)
    }

    /// Adopts a certificate that others made, its signatures checked, for a slot executed here.
    pub(crate) fn adopt(
        &mut self,
        verifier: &Verifier,
        certificate: Arc<StableCertificate>,
    ) -> Result<Option<Stabilised>, OwnHeadWrong> {
        let slot = certificate.slot();
        if slot <= self.stable_slot() {
            return Ok(None);
        }
        if let Some(open) = self.open.get(&slot)
            && open.recorded.head != certificate.head
        {
            return Err(OwnHeadWrong(slot));
        }
        Ok(Some(self.settle(verifier, certificate)))
    }

    /// Starts over from a certified slot whose state was installed or recovered.
    /// Gives back the gateways that wait for entries up to there.
    pub(crate) fn restart(
        &mut self,
        stable: Option<Arc<StableCertificate>>,
    ) -> Vec<(Ticket, Index)> {
        self.stable = stable;
        let above = self.stable_slot().next();
        let later = self.open.split_off(&above);
        let settled = std::mem::replace(&mut self.open, later);
        self.early = self.early.split_off(&above);
        let tickets = settled.into_values().flat_map(|open| open.tickets);
        tickets.map(|(ticket, index, _)| (ticket, index)).collect()
    }

    /// The cosignature again, for peers that may have missed it.
    pub(crate) fn repeat(&self) -> impl Iterator<Item = Cosign> + '_ {
        self.open.iter().filter_map(|(slot, open)| {
            let signature = *open.signed.get(&self.me)?;
            let (head, time) = (open.recorded.head, open.recorded.record.time);
            Some(Cosign { slot: *slot, head, time, signature })
        })
    }

    /// Whether a late cosignature is over another root than the certified one.
    fn contradicts(&self, from: ReplicaId, cosign: &Cosign) -> bool {
        let certified = self.recent.get(&cosign.slot).map(|certificate| certificate.head);
        certified.is_some_and(|head| head.size == cosign.head.size && head.root != cosign.head.root)
            && !self.accused.contains(&from)
    }

    /// Checks a late cosignature that contradicts a certified head.
    fn convict(
        &mut self,
        verifier: &Verifier,
        from: ReplicaId,
        cosign: Cosign,
    ) -> Option<Stabilised> {
        let certificate = self.recent.get(&cosign.slot)?.clone();
        if !self.signature_holds(verifier, from, &cosign) {
            return None;
        }
        self.accused.insert(from);
        let wrong = vec![(from, cosign)];
        Some(Stabilised { certificate, new: false, answers: Vec::new(), wrong })
    }

    fn message(&self, head: &Head, time: UnixMillis) -> Vec<u8> {
        cosignature_message(&head_text(&self.origin, head), time.seconds())
    }

    /// Whether f + 1 others validly signed one head that is not this replica's (P8).
    fn check_own(
        &self,
        verifier: &Verifier,
        slot: Slot,
    ) -> Result<Option<Stabilised>, OwnHeadWrong> {
        let Some(open) = self.open.get(&slot) else { return Ok(None) };
        for cosign in open.different.values() {
            let mut same = Tally::new(self.committee);
            for (replica, other) in &open.different {
                let alike = other.head == cosign.head && other.time == cosign.time;
                if alike && self.signature_holds(verifier, *replica, other) {
                    same.add(*replica);
                }
            }
            if same.has_one_correct() {
                return Err(OwnHeadWrong(slot));
            }
        }
        Ok(None)
    }

    fn signature_holds(&self, verifier: &Verifier, replica: ReplicaId, cosign: &Cosign) -> bool {
        let message = self.message(&cosign.head, cosign.time);
        let key = verifier.policy().witnesses().get(replica.position());
        key.is_some_and(|key| {
            SignatureCheck::check(verifier, &key.key, &message, &cosign.signature)
        })
    }

    fn stabilise(
        &mut self,
        verifier: &Verifier,
        slot: Slot,
    ) -> Result<Option<Stabilised>, OwnHeadWrong> {
        let Some(open) = self.open.get(&slot) else { return Ok(None) };
        let mut signers = Tally::new(self.committee);
        signers.extend(open.signed.keys().copied());
        let early = seeded(Bug::StableTooEarly) && signers.count() + 1 == self.committee.quorum();
        if !signers.is_quorum() && !early {
            return Ok(None);
        }
        let cosignatures = open
            .signed
            .iter()
            .take(self.committee.quorum())
            .map(|(&replica, &signature)| Cosignature { replica, signature })
            .collect();
        let certificate = open.recorded.certificate(cosignatures).map(Arc::new);
        Ok(certificate.map(|certificate| self.settle(verifier, certificate)))
    }

    /// Everything up to the certificate's slot is stable: answers those who wait.
    fn settle(&mut self, verifier: &Verifier, certificate: Arc<StableCertificate>) -> Stabilised {
        self.stable = Some(certificate.clone());
        self.recent.insert(certificate.slot(), certificate.clone());
        while self.recent.len() as u64 > self.window {
            self.recent.pop_first();
        }
        let text = head_text(&self.origin, &certificate.head);
        let log_signature = self.cosigner.log_sign(text.as_bytes());
        let (mut answers, mut wrong) = (Vec::new(), Vec::new());
        let stable = certificate.slot();
        while let Some(settled) = self.open.first_entry().filter(|open| *open.key() <= stable) {
            let (slot, open) = settled.remove_entry();
            let exact = slot == certificate.slot();
            for (ticket, index, fresh) in open.tickets {
                let found = if exact && fresh { open.recorded.at(index) } else { None };
                let answer = match found {
                    Some((facts, exchange, path)) => Answer::Certified(Box::new(Certified {
                        facts,
                        exchange: exchange.clone(),
                        path: path.to_vec(),
                        certificate: certificate.clone(),
                        log_signature,
                    })),
                    None => Answer::Earlier(index),
                };
                answers.push((ticket, answer));
            }
            wrong.extend(open.different.into_iter().filter(|(replica, cosign)| {
                exact
                    && cosign.head.size == certificate.head.size
                    && cosign.head.root != certificate.head.root
                    && self.signature_holds(verifier, *replica, cosign)
            }));
        }
        wrong.retain(|(replica, _)| self.accused.insert(*replica));
        Stabilised { certificate, new: true, answers, wrong }
    }
}

/// The evidence for `wrong-result`: a cosignature, and the certificate that it contradicts.
pub(crate) fn wrong_result(cosign: Cosign, certificate: &StableCertificate) -> Vec<Vec<u8>> {
    // A cosignature covers whole seconds. What it does not cover must not vary: then evidence of
    // which a byte was changed never holds.
    let time = UnixMillis(cosign.time.seconds().saturating_mul(1000));
    vec![Cosign { time, ..cosign }.to_wire(), certificate.to_wire()]
}

/// Whether evidence for `wrong-result` holds: the accused validly cosigned a head of a certified
/// size with another root. Both pieces are in wire form, as an accusation carries them.
///
/// Offline: needs the policy alone, and convinces whoever trusts it.
#[must_use]
pub fn wrong_result_holds(
    policy: &Policy,
    check: &impl SignatureCheck,
    accused: ReplicaId,
    cosign: &[u8],
    certificate: &[u8],
) -> bool {
    let Ok(cosign) = Cosign::from_wire(cosign, 4096) else { return false };
    let Ok(certificate) = StableCertificate::from_wire(certificate, 1 << 20) else { return false };
    let Some(key) = policy.witnesses().get(accused.position()) else { return false };
    let text = head_text(policy.origin_text(), &cosign.head);
    let message = cosignature_message(&text, cosign.time.seconds());
    cosign.slot == certificate.slot()
        && cosign.time.0 % 1000 == 0
        && cosign.head.size == certificate.head.size
        && cosign.head.root != certificate.head.root
        && check.check(&key.key, &message, &cosign.signature)
        && quorate_proof::verify_stable(policy, check, &certificate).is_ok()
}
