//! Byzantine replicas, named by what they do: the production replica runs inside, and what it
//! sends is changed on its way out.
//!
//! | deed | what others see |
//! |---|---|
//! | [`Deed::Equivocate`] | the truth or its contradiction, both signed, by whom it tells |
//! | [`Deed::Mute`] | nothing, or not everything |
//! | [`Deed::Delay`] | everything, up to two seconds late |
//! | [`Deed::Withhold`] | nothing of the order for those whom it deceives |
//! | [`Deed::Corrupt`] | bytes changed on the way out |
//! | [`Deed::ProposeOddly`] | proposals with repeated, forged or invented items, or a wrong time |
//! | [`Deed::Forget`] | in view changes, nothing of what it had prepared |
//! | [`Deed::CosignWrongly`] | validly signed heads of a log that nobody has |
//! | [`Deed::CosignBadly`] | cosignatures of the right heads that do not verify |
//! | [`Deed::ExecuteWrongly`] | results that its service got wrong, which it cosigns as they are |
//! | [`Deed::ForgePages`] | in state transfer, other exchanges behind the entries, or none |
//! | [`Deed::ForgeSignatures`] | in state transfer, other clients' signatures, or none |
//! | [`Deed::MisplacePages`] | pages of the wrong place, with items missing, swapped or changed |
//! | [`Deed::ForgeState`] | pieces of a state that nobody has |
//! | [`Deed::OfferOldSnapshots`] | the first snapshot and certificate, whatever came since |
//! | [`Deed::PassOnToFew`] | forwards and rejoin offers, for some only |
//! | [`Deed::Boast`] | progress far ahead of anybody's, in views that nobody entered |
//! | [`Deed::InflateReports`] | a later end of the window to those who lost their disk |
//! | [`Deed::ClaimLoss`] | a rejoin, in proper form, of a disk that was never lost |
//! | [`Deed::Replay`] | old messages again, its own and those that others signed |
//! | [`Deed::SendJunk`] | forwards of malformed, forged, invented and repeated requests |
//! | [`Deed::ForgeAnswers`] | at its gateway, certified answers with another content |
//! | [`Deed::ReplayAnswers`] | at its gateway, certified answers to other requests, or to older ones |
//! | [`Deed::Relabel`] | others' votes, moved to the view after |
//! | [`Deed::Usurp`] | proposals in views that another one leads |
//! | [`Deed::InventDecisions`] | decisions that it made alone, that nobody signed, or of another command |
//! | [`Deed::InventPrepared`] | in view changes, certificates that nobody signed |
//! | [`Deed::ForgeCertificates`] | certified heads that no quorum cosigned |
//! | [`Deed::ReportTwice`] | two reports on its copy, by whom it tells |
//! | [`Deed::ReportFalsely`] | reports of answers that its copy did not give, or of none |
//! | [`Deed::WithholdOutcome`] | as primary, never an outcome |
//! | [`Deed::ForgeOutcome`] | as primary, outcomes of too few reports, or of invented ones |
//! | [`Deed::AnswerWrongly`] | other answers than were asked for |

mod answers;
mod deed;
mod forge;

pub use deed::Deed;

use crate::{
    cluster::Cluster,
    model::content,
    process::{Engine, Sent},
    rng::Rng,
};
use bytes::Bytes;
use quorate_crypto::{VoteSigner, rejoin_statement};
use quorate_proof::{ReceivedResponse, cosignature_message, head_text};
use quorate_protocol::{
    adversary::Equivocates,
    pbft::{
        Body,
        message::{Header, Message as Order, Phase, PrePrepare, Vote, digest_of},
    },
};
use quorate_replica::{
    Message,
    message::{Cosign, Manifest, Page, Progress, Sync},
};
use quorate_types::{
    Asked, Batch, ClientSignature, Digest, Index, Item, PublicKey, Rejoin, ReplicaId, Report,
    Request, Salt, Signature, Slot, StableCertificate, UnixMillis, View, Wire,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

/// How many messages and requests an adversary remembers, to send them again.
const MEMORY: usize = 64;

/// How many requests of its own one adversary brings into a run, so that runs come to rest.
const JUNK_MAX: u32 = 40;

/// How many kinds of forged exchanges there are.
const FORGERIES: u64 = 6;

/// How often one adversary says that it lost its disk.
const LOSSES_MAX: u32 = 6;

/// How far a report is inflated at most, in slots and in views.
const INFLATION_MAX: u64 = u64::MAX;

/// A message on its way to one replica.
#[derive(Debug)]
pub struct Parcel {
    /// To whom.
    pub to: ReplicaId,
    /// What.
    pub message: Arc<Sent>,
    /// How long it is held back.
    pub after: Duration,
}

/// What stands between a faulty replica and the network.
#[derive(Debug)]
pub struct Adversary {
    me: ReplicaId,
    cluster: Arc<Cluster>,
    deeds: BTreeSet<Deed>,
    deceived: BTreeSet<ReplicaId>,
    rng: Rng,
    heard: VecDeque<Arc<Sent>>,
    requests: VecDeque<Arc<Request>>,
    /// Requests that its gateway answered, and how.
    answers: VecDeque<(Request, ReceivedResponse)>,
    /// Of its first snapshot.
    oldest: Option<Arc<StableCertificate>>,
    proposals: BTreeMap<(View, Slot), Order<Batch>>,
    /// What it says in place of its reports.
    reports: BTreeMap<Slot, Report>,
    /// The furthest place that anybody voted for.
    newest: Option<(View, Slot)>,
    rejoin: Option<Rejoin>,
    losses: u32,
    junk: u32,
    invented: Vec<Request>,
    injected: BTreeMap<&'static str, u64>,
}

impl Adversary {
    /// What does these deeds in the name of `me`. All liars deceive the same others.
    #[must_use]
    pub fn new(
        me: ReplicaId,
        cluster: Arc<Cluster>,
        deeds: BTreeSet<Deed>,
        deceived: BTreeSet<ReplicaId>,
        rng: Rng,
    ) -> Self {
        Self {
            me,
            cluster,
            deeds,
            deceived,
            rng,
            heard: VecDeque::new(),
            requests: VecDeque::new(),
            answers: VecDeque::new(),
            oldest: None,
            proposals: BTreeMap::new(),
            reports: BTreeMap::new(),
            newest: None,
            rejoin: None,
            losses: 0,
            junk: 0,
            invented: Vec::new(),
            injected: BTreeMap::new(),
        }
    }

    /// How often each deed was done.
    #[must_use]
    pub fn injected(&self) -> &BTreeMap<&'static str, u64> {
        &self.injected
    }

    /// Requests of its own that may be ordered: it may act as a client, too.
    #[must_use]
    pub fn invented(&self) -> &[Request] {
        &self.invented
    }

    /// Listens to what arrives, to use it later.
    pub fn hear(&mut self, message: &Arc<Sent>) {
        self.learn(message);
        self.heard.push_back(message.clone());
        if self.heard.len() > MEMORY {
            self.heard.pop_front();
        }
    }

    /// Keeps the first snapshot's certificate, to offer it for ever.
    pub fn saved(&mut self, certificate: Arc<StableCertificate>) {
        self.oldest.get_or_insert(certificate);
    }

    /// Whether the answer that its gateway is about to give is replaced.
    pub fn forges_answer(&mut self) -> bool {
        self.tempted(Deed::ForgeAnswers, 600)
    }

    /// An old answer in place of the one that its gateway is about to give: to the same request
    /// where it has no key, else to another.
    pub fn replays_answer(
        &mut self,
        request: &Request,
        answer: &ReceivedResponse,
    ) -> Option<ReceivedResponse> {
        if !self.deeds.contains(&Deed::ReplayAnswers) {
            return None;
        }
        let keyed = request.field("idempotency-key").is_some();
        let fits = |(asked, _): &&(Request, ReceivedResponse)| {
            (content(asked) == content(request)) != keyed
        };
        let old: Vec<_> = self.answers.iter().filter(fits).map(|(_, old)| old.clone()).collect();
        let old = self.rng.pick(&old).cloned();
        self.answers.push_back((request.clone(), answer.clone()));
        if self.answers.len() > MEMORY {
            self.answers.pop_front();
        }
        old.filter(|_| self.tempted(Deed::ReplayAnswers, 600))
    }

    /// What really leaves when the replica inside sends something.
    pub fn send(&mut self, engine: &Engine, to: &[ReplicaId], message: Sent) -> Vec<Parcel> {
        self.learn(&message);
        let mut parcels = Vec::new();
        if matches!(message, Message::Progress(_)) {
            self.volunteer(to, &mut parcels);
        }
        let silent = if self.deeds.len() == 1 { 1_000 } else { 200 };
        if self.tempted(Deed::Mute, silent) {
            return parcels;
        }
        let passed_on = matches!(message, Message::Forward(_) | Message::RejoinOffer(_));
        let order = matches!(message, Message::Engine(_) | Message::Cosign(_));
        let message = Arc::new(self.altered(message));
        for &to in to {
            let withheld = order && self.deceived.contains(&to);
            if (passed_on && self.tempted(Deed::PassOnToFew, 600))
                || (withheld && self.tempted(Deed::Withhold, 1_000))
            {
                continue;
            }
            let message = self.told(engine, to, &message);
            let late = self.tempted(Deed::Delay, 800);
            let after = Duration::from_millis(if late { self.rng.range(1, 2_000) } else { 0 });
            parcels.push(Parcel { to, message, after });
        }
        parcels
    }

    /// Whether it does this deed now; counts it if so.
    fn tempted(&mut self, deed: Deed, permille: u64) -> bool {
        let does = self.deeds.contains(&deed) && self.rng.permille(permille);
        if does {
            *self.injected.entry(deed.name()).or_default() += 1;
        }
        does
    }

    /// Keeps requests that pass by, and what others report to it.
    fn learn(&mut self, message: &Sent) {
        self.follow(message);
        match message {
            Message::Forward(asked) => asked.iter().for_each(|it| self.note(&it.request)),
            Message::Engine(Order { body: Body::PrePrepare(proposal), .. }) => {
                for item in proposal.command.iter().flat_map(|batch| &batch.items) {
                    if let Item::Request(asked) = item {
                        self.note(&asked.request);
                    }
                }
            }
            Message::RejoinReport { nonce, report } => {
                if let Some(rejoin) = &mut self.rejoin
                    && rejoin.nonce == *nonce
                    && rejoin.reports.iter().all(|other| other.reporter != report.reporter)
                {
                    rejoin.reports.push((**report).clone());
                }
            }
            _ => {}
        }
    }

    fn note(&mut self, request: &Arc<Request>) {
        self.requests.push_back(request.clone());
        if self.requests.len() > MEMORY {
            self.requests.pop_front();
        }
    }

    /// What one receiver is told: equivocators split the others in two.
    fn told(&mut self, engine: &Engine, to: ReplicaId, message: &Arc<Sent>) -> Arc<Sent> {
        if let Message::RejoinReport { nonce, report } = &**message
            && self.tempted(Deed::InflateReports, 700)
        {
            let mut report = report.clone();
            let further = self.rng.range(1, INFLATION_MAX);
            report.executed = Slot(report.executed.0.saturating_add(further));
            report.view = View(report.view.0.saturating_add(further));
            let bytes = rejoin_statement(&self.cluster.domain, nonce, to, &report);
            report.signature = self.key().sign(&bytes);
            return Arc::new(Message::RejoinReport { nonce: *nonce, report });
        }
        if let Message::Report(report) = &**message
            && self.deceived.contains(&to)
            && self.tempted(Deed::ReportTwice, 700)
        {
            return Arc::new(Message::Report(self.other_report(report)));
        }
        let Message::Engine(order) = &**message else { return message.clone() };
        if !self.deceived.contains(&to) || !self.deeds.contains(&Deed::Equivocate) {
            return message.clone();
        }
        let Some(other) = engine.contradiction(order) else { return message.clone() };
        *self.injected.entry(Deed::Equivocate.name()).or_default() += 1;
        Arc::new(Message::Engine(other))
    }

    fn altered(&mut self, message: Sent) -> Sent {
        let altered = match message {
            Message::Cosign(cosign) if self.tempted(Deed::CosignWrongly, 500) => {
                Message::Cosign(self.cosign_wrongly(cosign))
            }
            Message::Cosign(mut cosign) if self.tempted(Deed::CosignBadly, 500) => {
                let at = usize::try_from(self.rng.below(64)).unwrap_or(0);
                cosign.signature.0[at] ^= 1 << self.rng.below(8);
                Message::Cosign(cosign)
            }
            Message::Progress(progress) if self.tempted(Deed::Boast, 700) => {
                let ahead = self.rng.range(1, 1 << 40);
                let boast = |slot: Slot| Slot(slot.0.saturating_add(ahead));
                let (executed, stable) = (boast(progress.executed), boast(progress.stable));
                Message::Progress(Progress { executed, stable })
            }
            Message::Sync(sync) => Message::Sync(self.lie(sync)),
            Message::Report(report) => Message::Report(self.reported(report)),
            Message::Answer { slot, response } => {
                Message::Answer { slot, response: self.answered(response) }
            }
            Message::Engine(order) => Message::Engine(self.misorder(order)),
            other => other,
        };
        if !self.deeds.contains(&Deed::Corrupt) || !self.rng.permille(125) {
            return altered;
        }
        let corrupt = self.corrupted(&altered);
        if let Some(corrupt) = &corrupt {
            if let Message::Forward(requests) = corrupt {
                self.invented.extend(requests.iter().map(|asked| Request::clone(&asked.request)));
            }
            *self.injected.entry(Deed::Corrupt.name()).or_default() += 1;
        }
        corrupt.unwrap_or(altered)
    }

    /// The message with one bit changed, if that still decodes.
    fn corrupted(&mut self, message: &Sent) -> Option<Sent> {
        let mut bytes = message.to_wire();
        let at = usize::try_from(self.rng.below(bytes.len() as u64)).ok()?;
        *bytes.get_mut(at)? ^= 1 << self.rng.below(8);
        Sent::from_wire(&bytes, bytes.len()).ok()
    }

    /// A valid signature of its own over a head with another root. All liars agree on it.
    fn cosign_wrongly(&self, cosign: Cosign) -> Cosign {
        let mut head = cosign.head;
        head.root.0[0] ^= 0xff;
        let text = head_text(self.cluster.policy.origin_text(), &head);
        let message = cosignature_message(&text, cosign.time.seconds());
        let signature = self.cluster.keys.cosigner(self.me).cosign(&message);
        Cosign { head, signature, ..cosign }
    }

    // --- state transfer ------------------------------------------------------------------------

    fn lie(&mut self, sync: Sync) -> Sync {
        match sync {
            Sync::Page(page) => {
                let page = match self.tempted(Deed::ForgePages, 600) {
                    true => self.forged(page),
                    false => page,
                };
                let page = match self.tempted(Deed::ForgeSignatures, 600) {
                    true => self.missigned(page),
                    false => page,
                };
                match self.tempted(Deed::MisplacePages, 600) {
                    true => Sync::Page(self.misplaced(page)),
                    false => Sync::Page(page),
                }
            }
            Sync::State { slot, map, from, mut page } if self.tempted(Deed::ForgeState, 600) => {
                let place = self.rng.below(page.items.len() as u64);
                let item = usize::try_from(place).ok().and_then(|at| page.items.get_mut(at));
                match (item, self.rng.below(3)) {
                    (Some((_, value)), 0) => *value = Bytes::from_static(b"forged"),
                    (Some((key, _)), 1) => *key = Bytes::from_static(b"forged"),
                    (Some(_), _) => {
                        page.items.pop();
                    }
                    (None, _) => page.items.push((Bytes::from("new"), Bytes::from("forged"))),
                }
                Sync::State { slot, map, from, page }
            }
            Sync::Manifest(newest) => {
                let certificate = self.older(newest.certificate);
                Sync::Manifest(Manifest { certificate: self.forged_certificate(certificate) })
            }
            Sync::Certificate(newest) => {
                let certificate = self.older(newest);
                Sync::Certificate(self.forged_certificate(certificate))
            }
            other => other,
        }
    }

    fn older(&mut self, newest: Arc<StableCertificate>) -> Arc<StableCertificate> {
        match self.oldest.clone() {
            Some(old) if old != newest && self.tempted(Deed::OfferOldSnapshots, 700) => old,
            _ => newest,
        }
    }

    /// The entries are right, what stands behind them is not.
    fn forged(&mut self, mut page: Page) -> Page {
        let choice = self.rng.below(FORGERIES);
        for item in &mut page.items {
            let Some(exchange) = &mut item.exchange else { continue };
            let mut request = Request::clone(&exchange.request);
            match choice {
                0 => request.body = Bytes::from_static(b"forged"),
                1 => request.salt = Salt([0xff; 16]),
                2 => exchange.response.body = Bytes::from_static(b"forged"),
                3 => request.fields.push(("x-forged".to_owned(), "1".to_owned())),
                4 => exchange.response.fields.push(("x-forged".to_owned(), "1".to_owned())),
                _ => {
                    item.exchange = None;
                    break;
                }
            }
            exchange.request = Arc::new(request);
            if self.rng.permille(500) {
                break;
            }
        }
        page
    }

    /// The entries and what they stand for are right; who signed is not among that.
    fn missigned(&mut self, mut page: Page) -> Page {
        let choice = self.rng.below(5);
        for item in &mut page.items {
            match (choice, &mut item.exchange, &mut item.opening) {
                (0, Some(exchange), _) => Arc::make_mut(&mut exchange.request).signature = None,
                (1 | 2, Some(exchange), _) => {
                    let other = another_signature(&exchange.request);
                    Arc::make_mut(&mut exchange.request).signature = Some(other);
                }
                (3, _, opening) => *opening = None,
                (_, _, Some(opening)) => opening.table.0[0] ^= 1,
                _ => continue,
            }
            if self.rng.permille(500) {
                break;
            }
        }
        page
    }

    /// Other entries than those asked for.
    fn misplaced(&mut self, mut page: Page) -> Page {
        match self.rng.below(6) {
            0 => page.from = page.from.next(),
            1 => page.size = page.size.saturating_add(1),
            2 => page.items.reverse(),
            3 if page.items.len() > 1 => {
                page.items.remove(0);
            }
            4 => {
                if let Some(last) = page.items.last().cloned() {
                    page.items.push(last);
                }
            }
            _ => {
                if let Some(item) = page.items.first_mut() {
                    item.entry = item.entry.replace('1', "2");
                }
            }
        }
        page
    }

    // --- the order -----------------------------------------------------------------------------

    fn misorder(&mut self, order: Order<Batch>) -> Order<Batch> {
        let instance = order.instance;
        match order.body {
            Body::PrePrepare(_) => self.propose_oddly(order),
            Body::Status(mut status) if self.tempted(Deed::Boast, 500) => {
                let ahead = self.rng.range(1, 1 << 40);
                status.committed = Slot(status.committed.0.saturating_add(ahead));
                status.stable = Slot(status.stable.0.saturating_add(ahead));
                status.view = View(status.view.0 + self.rng.below(5));
                status.suspects |= self.rng.permille(500);
                status.stages.clear();
                Order { instance, body: Body::Status(status) }
            }
            Body::ViewChange(mut report)
                if report.signer == self.me
                    && !report.prepared.is_empty()
                    && self.tempted(Deed::Forget, 800) =>
            {
                report.prepared.clear();
                let statement = report.statement(&self.cluster.domain, instance);
                report.signature = self.key().sign(&statement);
                Order { instance, body: Body::ViewChange(report) }
            }
            Body::ViewChange(mut report)
                if report.signer == self.me && self.tempted(Deed::InventPrepared, 800) =>
            {
                self.invent_prepared(&mut report);
                Order { instance, body: Body::ViewChange(report) }
            }
            Body::Stable(certificate) => {
                Order { instance, body: Body::Stable(self.forged_certificate(certificate)) }
            }
            body => Order { instance, body: self.swapped(body) },
        }
    }

    fn key(&self) -> VoteSigner {
        self.cluster.keys.vote_signer(self.me)
    }

    /// A primary's own proposal, replaced; the same one each time it is sent.
    fn propose_oddly(&mut self, order: Order<Batch>) -> Order<Batch> {
        let Body::PrePrepare(PrePrepare { vote, command: Some(batch) }) = &order.body else {
            return order;
        };
        let odd = [Deed::ProposeOddly, Deed::WithholdOutcome, Deed::ForgeOutcome];
        if vote.signer != self.me || odd.iter().all(|deed| !self.deeds.contains(deed)) {
            return order;
        }
        let place = (vote.header.view, vote.header.slot);
        if let Some(known) = self.proposals.get(&place) {
            return known.clone();
        }
        let mut odd = order.clone();
        let mut command = self.without_outcome(batch);
        if self.tempted(Deed::ProposeOddly, 500) {
            command = Some(Arc::new(self.odd_batch(Batch::clone(batch))));
        }
        if command.as_ref() != Some(batch) {
            let header = Header { digest: digest_of(command.as_deref()), ..vote.header };
            let (key, domain) = (self.key(), &self.cluster.domain);
            let vote = Vote::sign(header, Phase::PrePrepare, self.me, &key, domain, order.instance);
            odd.body = Body::PrePrepare(PrePrepare { vote, command });
        }
        self.proposals.insert(place, odd.clone());
        odd
    }

    fn odd_batch(&mut self, mut batch: Batch) -> Batch {
        match self.rng.below(7) {
            0 => batch.items.extend(batch.items.clone()),
            1 => batch.items.clear(),
            2 => {
                // Within what backups bear with, or beyond it.
                let off = self.rng.range(0, 4_000);
                batch.time = UnixMillis((batch.time.0 + off).saturating_sub(2_000));
            }
            3 => {
                let (replica, nonce) = (self.me, Digest([0x77; 32]));
                let rejoin = Rejoin { replica, nonce, reports: Vec::new() };
                batch.items.push(Item::Rejoin(rejoin));
            }
            4 => batch.items.reverse(),
            _ => batch.items.extend(self.junk().map(Item::Request)),
        }
        batch
    }

    // --- unasked for ---------------------------------------------------------------------------

    /// What it sends of its own accord, now and then.
    fn volunteer(&mut self, to: &[ReplicaId], parcels: &mut Vec<Parcel>) {
        let mut messages = Vec::new();
        if self.deeds.contains(&Deed::Replay) {
            for _ in 0..self.rng.below(4) {
                let old = self.rng.pick(self.heard.make_contiguous()).cloned();
                if old.is_some() && self.tempted(Deed::Replay, 1_000) {
                    messages.extend(old);
                }
            }
        }
        if self.junk < JUNK_MAX && self.tempted(Deed::SendJunk, 700) {
            let junk = (0..self.rng.range(1, 4)).filter_map(|_| self.junk());
            messages.push(Arc::new(Message::Forward(junk.collect())));
        }
        messages.extend(self.claim_loss().map(Arc::new));
        messages.extend(self.pretended().into_iter().map(Arc::new));
        for message in messages {
            for &to in to.iter().filter(|_| self.rng.permille(700)) {
                parcels.push(Parcel { to, message: message.clone(), after: Duration::ZERO });
            }
        }
    }

    /// The next step of a rejoin that nothing calls for: it asks, and once enough have answered it
    /// offers what they said.
    fn claim_loss(&mut self) -> Option<Sent> {
        if self.losses >= LOSSES_MAX || !self.tempted(Deed::ClaimLoss, 500) {
            return None;
        }
        match &self.rejoin {
            Some(rejoin) if rejoin.reports.len() >= self.cluster.committee.quorum() => {
                self.losses += 1;
                self.rejoin.take().map(Message::RejoinOffer)
            }
            Some(rejoin) => Some(Message::RejoinAsk { nonce: rejoin.nonce }),
            None => {
                let mut nonce = Digest([0; 32]);
                nonce.0[..16].copy_from_slice(&self.rng.sixteen());
                self.rejoin = Some(Rejoin { replica: self.me, nonce, reports: Vec::new() });
                Some(Message::RejoinAsk { nonce })
            }
        }
    }

    /// A request that no client made, or not like this.
    fn junk(&mut self) -> Option<Asked> {
        self.junk += 1;
        let known = self.rng.pick(self.requests.make_contiguous()).cloned();
        let mut request = match (self.rng.below(6), known) {
            // A client's request: once more, changed, or under a salt that another one has.
            (0, Some(known)) => Request { salt: Salt(self.rng.sixteen()), ..(*known).clone() },
            (1, Some(known)) => Request { body: Bytes::from("other"), ..(*known).clone() },
            (2, Some(known)) => {
                let (salt, path) = (Salt(self.rng.sixteen()), "/kv/k0".to_owned());
                Request { salt, path, method: "DELETE".to_owned(), ..(*known).clone() }
            }
            (3, Some(known)) => Request { salt: known.salt, ..self.invention() },
            (4, _) => Request { fields: vec![("host".into(), "x".into())], ..self.invention() },
            _ => self.invention(),
        };
        if request.signature.is_none() {
            self.invented.push(request.clone());
        } else if self.rng.permille(300) {
            // Its client did not sign this; with its name taken off, it is another's request.
            request.signature = None;
            self.invented.push(request.clone());
        }
        let since = Index(*self.rng.pick(&[0, 10, 100, u64::MAX]).unwrap_or(&0));
        Some(Asked { request: Arc::new(request), since })
    }

    fn invention(&mut self) -> Request {
        let key = format!("\"junk-{}-{:032x}\"", self.me, self.rng.draw());
        Request {
            method: if self.rng.permille(800) { "PUT".to_owned() } else { "NO PE".to_owned() },
            path: format!("/kv/k{}", self.rng.below(3)),
            query: "?".to_owned(),
            fields: vec![("idempotency-key".to_owned(), key)],
            body: Bytes::from_static(b"junk"),
            salt: Salt(self.rng.sixteen()),
            signature: None,
        }
    }
}

/// A signature that the client of a request may have made, of this or of something else: nobody
/// who only reads a log checks that again.
fn another_signature(request: &Request) -> ClientSignature {
    let known = request.signature.clone();
    let (key, params) = known.map_or((PublicKey([7; 32]), String::new()), |it| (it.key, it.params));
    ClientSignature { key, params, signature: Signature([0x5a; 64]) }
}
