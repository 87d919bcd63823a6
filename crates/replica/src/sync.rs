//! State transfer: how a replica that is far behind, or empty, comes up again (rules 11, 12).
//!
//! It believes certificates only. Given one above its own state, it fetches the log in pages, each
//! proven by one inclusion path to stand under the certified head, and either executes them again
//! (a short way) or takes a snapshot's pieces, proven under the certified state root (a long
//! way). Nothing unproven is stored: of entries that are not executed, each slot is opened
//! ([`crate::signatures`]). One session runs at a time, with one peer; a peer that does not answer,
//! or answers wrongly, is replaced by the next, which begins with a whole slot: so each slot is one
//! peer's, and it is known whom to blame.

use crate::{
    message::{Manifest, Page, StateMap, Sync},
    signatures::Opened,
    snapshot::{Assembly, Snapshot},
};
use quorate_crypto::Verifier;
use quorate_proof::{Entry, Frontier, leaf_hash, root_from_path, verify_stable};
use quorate_service::Cursor;
use quorate_types::{
    Committee, Digest, Head, Index, LogItem, ReplicaId, Slot, StableCertificate, Tally, Wire,
    bug::{Bug, seeded},
};
use std::sync::Arc;

/// The most items in a page.
pub const PAGE_ITEMS_MAX: usize = 256;

/// The bytes of items after which a page ends.
pub const PAGE_BYTES_MAX: usize = 1 << 20;

/// Reads a page for a peer: `item` gives the log at a place, `path` an inclusion path in the log
/// of a size. `None` when the log does not reach that far.
pub fn page(
    from: Index,
    size: u64,
    mut item: impl FnMut(Index) -> Option<LogItem>,
    path: impl FnOnce(Index, u64) -> Option<Vec<Digest>>,
) -> Option<Page> {
    let (mut items, mut bytes) = (Vec::new(), 0usize);
    for index in from.0..size {
        let next = item(Index(index))?;
        bytes = bytes.saturating_add(next.to_wire().len());
        items.push(next);
        if items.len() >= PAGE_ITEMS_MAX || bytes >= PAGE_BYTES_MAX {
            break;
        }
    }
    let last = from.0.checked_add(items.len() as u64)?.checked_sub(1)?;
    if items.is_empty() {
        return None;
    }
    let path = path(Index(last), size)?;
    Some(Page { from, size, items, path })
}

/// What a page proves, against what its receiver holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PageFault {
    /// The page does not stand under the head: its sender lies, or answered another question.
    NotInLog,
    /// The page stands under the certified head, but what the receiver holds does not: its own log
    /// is corrupt.
    OwnLogWrong,
}

/// Checks that a page continues a log that ends at `frontier`, under a certified head.
///
/// The inclusion path of the last item fixes, by its left-hand hashes, everything before it.
///
/// # Errors
/// [`PageFault`], saying whose log is wrong.
pub fn check_page(frontier: &Frontier, page: &Page, head: &Head) -> Result<(), PageFault> {
    let (Some((last, before)), true) =
        (page.items.split_last(), page.from.0 == frontier.size() && page.size == head.size)
    else {
        return Err(PageFault::NotInLog);
    };
    let mut grown = frontier.clone();
    for item in before {
        grown.push(leaf_hash(item.entry.as_bytes()));
    }
    let leaf = leaf_hash(last.entry.as_bytes());
    if root_from_path(&leaf, grown.size(), head.size, &page.path) != Some(head.root) {
        return Err(PageFault::NotInLog);
    }
    let left = left_hashes(grown.size(), head.size, &page.path);
    // An item in the middle may be forged as well as the receiver's own log be wrong: only a page
    // of one item tells the two apart.
    match left.iter().eq(grown.peaks().iter().rev()) {
        true => Ok(()),
        false if before.is_empty() => Err(PageFault::OwnLogWrong),
        false => Err(PageFault::NotInLog),
    }
}

/// The hashes of an inclusion path that stand to the left of the leaf, from the leaf up.
fn left_hashes(index: u64, size: u64, path: &[Digest]) -> Vec<Digest> {
    let (mut node, mut last) = (index, size.saturating_sub(1));
    let mut left = Vec::new();
    for hash in path {
        if node % 2 == 1 || node == last {
            left.push(*hash);
            while node % 2 == 0 && node != 0 {
                node /= 2;
                last /= 2;
            }
        }
        node /= 2;
        last /= 2;
    }
    left
}

/// What the session waits for.
#[derive(Debug)]
enum Phase {
    /// Entries, executed again as they come.
    Repeat,
    /// A snapshot's description.
    Manifest,
    /// Entries up to the snapshot, stored without being executed.
    Store,
    /// The state, piece by piece.
    State { known: Opened, service: Assembly, replay: Assembly },
}

/// One transfer towards a certified state.
#[derive(Debug)]
struct Session {
    target: Arc<StableCertificate>,
    phase: Phase,
    peer: ReplicaId,
    /// The end of the slots that were fetched and proven.
    frontier: Frontier,
    /// Proven items behind it, of a slot whose end this peer has not sent yet.
    pending: Vec<LogItem>,
    /// What is known of the state where the stored log ends, if it ends behind the executed one.
    stored: Option<Opened>,
    /// Peers whose pages could not be executed.
    blamed: Tally,
    /// Questions that nobody answered, or answered with something of use, since the last answer.
    unanswered: u32,
}

impl Session {
    /// The end of what was fetched.
    fn fetched(&self) -> Frontier {
        let mut fetched = self.frontier.clone();
        self.pending.iter().for_each(|item| fetched.push(leaf_hash(item.entry.as_bytes())));
        fetched
    }

    /// The place that comes next.
    fn next(&self) -> Index {
        Index(self.frontier.size().saturating_add(self.pending.len() as u64))
    }
}

/// What an answer moved.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing.
    Idle,
    /// Ask for the next piece.
    Ask,
    /// Execute these slots of that peer again, each with all its items.
    Repeat(ReplicaId, Vec<Vec<LogItem>>),
    /// Store these slots of that peer, each with all its items.
    Store(ReplicaId, Vec<Vec<LogItem>>),
    /// All of the snapshot is here.
    Install(Box<Snapshot>),
    /// The peer answered wrongly; another one is asked.
    Lied { peer: ReplicaId, what: &'static str },
    /// This replica's own log is corrupt.
    OwnLogWrong,
}

/// Drives state transfer at the replica that lags.
#[derive(Debug)]
pub(crate) struct Syncer {
    me: ReplicaId,
    committee: Committee,
    snapshot_lag: u64,
    session: Option<Session>,
    next_peer: u16,
}

impl Syncer {
    pub(crate) fn new(me: ReplicaId, committee: Committee, snapshot_lag: u64) -> Self {
        Self { me, committee, snapshot_lag, session: None, next_peer: me.0 }
    }

    /// Whether a transfer runs.
    pub(crate) fn is_running(&self) -> bool {
        self.session.is_some()
    }

    /// How many proven items wait for the end of their slot.
    pub(crate) fn pending(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.pending.len())
    }

    /// Whether commits must wait, because the state is about to be replaced.
    pub(crate) fn replaces_state(&self) -> bool {
        self.session.as_ref().is_some_and(|s| {
            s.stored.is_some() || matches!(s.phase, Phase::Store | Phase::State { .. })
        })
    }

    /// The head that the running transfer goes to.
    pub(crate) fn target(&self) -> Option<&Arc<StableCertificate>> {
        self.session.as_ref().map(|session| &session.target)
    }

    /// Begins to go to a checked certificate; `false` if a transfer runs already.
    pub(crate) fn begin(&mut self, target: Arc<StableCertificate>, own: &Frontier) -> bool {
        let lag = target.head.size.saturating_sub(own.size());
        if self.session.is_some() || lag == 0 {
            return false;
        }
        let phase = if lag > self.snapshot_lag { Phase::Manifest } else { Phase::Repeat };
        let (peer, frontier, pending) = (self.turn(), own.clone(), Vec::new());
        self.session = Some(Session {
            target,
            phase,
            peer,
            frontier,
            pending,
            stored: None,
            blamed: Tally::new(self.committee),
            unanswered: 0,
        });
        true
    }

    /// Goes back to what is really held, and to the next peer: what was fetched is of no use.
    pub(crate) fn rewind(&mut self, own: &Frontier) {
        if let Some(session) = &mut self.session {
            session.frontier = own.clone();
        }
        self.retry();
        self.end_if_overtaken();
    }

    /// Ends a session to whose target the engine came by itself, while pages were on their way:
    /// from there on nobody would have anything to answer.
    fn end_if_overtaken(&mut self) {
        let overtaken = self.session.as_ref().is_some_and(|session| {
            let repeats = matches!(session.phase, Phase::Repeat);
            repeats && session.frontier.size() >= session.target.head.size
        });
        if overtaken {
            self.finish();
        }
    }

    /// Notes that a peer's slot cannot be executed; `true` once one of those who sent such is
    /// correct. Nobody stores what is not proven, so that one sent what was executed.
    pub(crate) fn blame(&mut self, peer: ReplicaId) -> bool {
        let Some(session) = &mut self.session else { return false };
        session.blamed.add(peer);
        session.blamed.has_one_correct()
    }

    /// Ends the session: its target was reached, or given up.
    pub(crate) fn finish(&mut self) {
        self.session = None;
    }

    /// What to ask now, and whom.
    pub(crate) fn question(&self) -> Option<(ReplicaId, Sync)> {
        let session = self.session.as_ref()?;
        let question = match &session.phase {
            Phase::Repeat | Phase::Store => {
                Sync::AskPage { from: session.next(), size: session.target.head.size }
            }
            Phase::Manifest => Sync::AskManifest,
            Phase::State { service, replay, .. } => {
                let service = service.next().map(|from| (StateMap::Service, from));
                let (map, from) =
                    service.or_else(|| replay.next().map(|from| (StateMap::Replay, from)))?;
                Sync::AskState { slot: session.target.slot(), map, from }
            }
        };
        Some((session.peer, question))
    }

    /// Whether nobody leads on from what was stored, or to the target, which all may have lost with
    /// their power: then the session must be given up.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.unanswered >= self.everybody())
    }

    /// As many questions without an answer as there are replicas: none of them has one.
    fn everybody(&self) -> u32 {
        u32::try_from(self.committee.n()).unwrap_or(u32::MAX)
    }

    /// Nobody answered in time, or with nothing of use: ask another peer. A snapshot that nobody
    /// offers, or goes on offering, is given up for another one, and that for the log alone, which
    /// leads to the same state.
    pub(crate) fn retry(&mut self) {
        let (peer, everybody) = (self.turn(), self.everybody());
        let Some(session) = &mut self.session else { return };
        if !seeded(Bug::TransferNeverTurns) {
            session.peer = peer;
        }
        session.pending.clear();
        session.unanswered = session.unanswered.saturating_add(1);
        if session.unanswered < everybody {
            return;
        }
        session.phase = match session.phase {
            // Items stored without being executed need a snapshot: only it leads on.
            Phase::Manifest if session.stored.is_some() => return,
            Phase::Repeat => return,
            Phase::Manifest => Phase::Repeat,
            Phase::Store | Phase::State { .. } => Phase::Manifest,
        };
        session.unanswered = 0;
    }

    /// Takes a page: what it completes is to be executed, or stored.
    pub(crate) fn page(&mut self, from: ReplicaId, page: Page) -> Step {
        let Some(session) = self.session.as_mut().filter(|session| session.peer == from) else {
            return Step::Idle;
        };
        // Of another size is the answer to an earlier question, perhaps of this one's last process.
        let expected = page.from == session.next() && page.size == session.target.head.size;
        if !expected && seeded(Bug::LateAnswerAccused) {
            return self.lied(from, "page");
        }
        if !expected || !matches!(session.phase, Phase::Repeat | Phase::Store) {
            return Step::Idle;
        }
        match check_page(&session.fetched(), &page, &session.target.head) {
            Ok(()) => {}
            Err(PageFault::NotInLog) => return self.lied(from, "page"),
            Err(PageFault::OwnLogWrong) => return Step::OwnLogWrong,
        }
        session.unanswered = 0;
        session.pending.extend(page.items);
        let whole = session.next().0 == session.target.head.size;
        let mut slots = by_slot(std::mem::take(&mut session.pending));
        if !whole {
            session.pending = slots.pop().unwrap_or_default();
        }
        for item in slots.iter().flatten() {
            session.frontier.push(leaf_hash(item.entry.as_bytes()));
        }
        match session.phase {
            Phase::Store => Step::Store(from, slots),
            _ => Step::Repeat(from, slots),
        }
    }

    /// Whether everything up to the target's size was fetched.
    pub(crate) fn is_fetched(&self) -> bool {
        self.session.as_ref().is_some_and(|s| s.frontier.size() >= s.target.head.size)
    }

    /// The snapshot on offer, if it is one: then the log is stored up to it.
    pub(crate) fn manifest(
        &mut self,
        from: ReplicaId,
        manifest: Manifest,
        verifier: &Verifier,
        own: &Frontier,
    ) -> Step {
        let Some(session) = self.session.as_mut().filter(|s| s.peer == from) else {
            return Step::Idle;
        };
        if !matches!(session.phase, Phase::Manifest) {
            return Step::Idle;
        }
        if verify_stable(verifier.policy(), verifier, &manifest.certificate).is_err() {
            return self.lied(from, "manifest");
        }
        if session.stored.is_none() {
            // The engine committed while the question was out; from here on it is held up.
            session.frontier = own.clone();
        }
        let (offered, own) = (manifest.certificate.head.size, session.frontier.size());
        match session.stored {
            _ if offered > own => {
                session.unanswered = 0;
                session.target = manifest.certificate;
                session.phase = Phase::Store;
            }
            Some(known) if offered == own => {
                session.unanswered = 0;
                session.target = manifest.certificate;
                self.stored(known);
            }
            // No answer that is of use: whoever offered as much as is stored may have lost it.
            Some(_) => self.retry(),
            None => {
                session.unanswered = 0;
                session.phase = Phase::Repeat;
                self.end_if_overtaken();
            }
        }
        Step::Ask
    }

    /// A peer has no snapshot: the next one is asked at once.
    pub(crate) fn no_snapshot(&mut self, from: ReplicaId) -> Step {
        let asked = self.session.as_ref().is_some_and(|session| {
            session.peer == from && matches!(session.phase, Phase::Manifest)
        });
        if !asked {
            return Step::Idle;
        }
        self.retry();
        Step::Ask
    }

    /// What is known of the state where the stored log ends.
    pub(crate) fn opened(&self) -> Option<Opened> {
        self.session.as_ref()?.stored
    }

    /// All slots that were fetched are stored. Once they reach the target, the state comes next.
    pub(crate) fn stored(&mut self, known: Opened) {
        let Some(session) = &mut self.session else { return };
        session.stored = Some(known);
        if session.frontier.size() >= session.target.head.size {
            let (service, replay) = (Assembly::default(), Assembly::default());
            session.phase = Phase::State { known, service, replay };
        }
    }

    /// Takes a piece of the state; the last one completes the snapshot.
    pub(crate) fn state(&mut self, from: ReplicaId, piece: Piece) -> Step {
        let Some(session) = self.session.as_mut().filter(|s| s.peer == from) else {
            return Step::Idle;
        };
        let target = session.target.clone();
        let Phase::State { known, service, replay } = &mut session.phase else {
            return Step::Idle;
        };
        let Opened { signatures, table } = *known;
        let (assembly, root) = match piece.map {
            StateMap::Service => (service, &target.record.service),
            StateMap::Replay => (replay, &table),
        };
        if piece.slot != target.slot() || Some(piece.from) != assembly.next() {
            return Step::Idle;
        }
        if !assembly.push(piece.from, piece.page, root) {
            return self.lied(from, "state");
        }
        session.unanswered = 0;
        let Phase::State { service, replay, .. } = &mut session.phase else { return Step::Idle };
        if !(service.is_whole() && replay.is_whole()) {
            return Step::Ask;
        }
        Step::Install(Box::new(Snapshot {
            certificate: target,
            frontier: session.frontier.clone(),
            service: std::mem::take(service).finish(),
            replay: std::mem::take(replay).finish(),
            signatures,
        }))
    }

    fn lied(&mut self, peer: ReplicaId, what: &'static str) -> Step {
        self.retry();
        Step::Lied { peer, what }
    }

    /// The next peer, in turn.
    fn turn(&mut self) -> ReplicaId {
        let n = u16::try_from(self.committee.n()).unwrap_or(u16::MAX);
        self.next_peer = self.next_peer.wrapping_add(1) % n;
        if self.next_peer == self.me.0 {
            self.next_peer = self.next_peer.wrapping_add(1) % n;
        }
        ReplicaId(self.next_peer)
    }
}

/// An answer to [`Sync::AskState`].
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) slot: Slot,
    pub(crate) map: StateMap,
    pub(crate) from: Cursor,
    pub(crate) page: quorate_service::Page,
}

/// Groups a run of the log by slot: the entries of a slot share its time, and no two slots do.
#[must_use]
pub fn by_slot(items: Vec<LogItem>) -> Vec<Vec<LogItem>> {
    let mut slots: Vec<Vec<LogItem>> = Vec::new();
    let mut last = None;
    for item in items {
        let time = Entry::parse(&item.entry).ok().map(|entry| entry.time);
        match slots.last_mut() {
            Some(slot) if time == last => slot.push(item),
            _ => slots.push(vec![item]),
        }
        last = time;
    }
    slots
}
