//! Messages in words: their kind, their place, and what a reader needs of the rest.

use crate::{
    plain::Plain as _,
    plan::Fault,
    process::{Sent, TimerName},
    seat::Seat,
};
use quorate_protocol::pbft::{
    self, Body,
    message::{Message as Order, Stage, Status, ViewChange, Vote},
};
use quorate_replica::{
    Message, Timer,
    message::{StateMap, Sync},
};
use quorate_types::{Batch, Digest, Item, ReplicaId, Request, Slot, StableCertificate};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// A message in words.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Described {
    /// Its kind, by the name of its type.
    pub kind: &'static str,
    /// Where it belongs: view and slot, or what else places it; empty where nothing does.
    pub place: String,
    /// What else it says; empty where that is nothing.
    pub rest: String,
}

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        if !self.place.is_empty() {
            write!(f, " {}", self.place)?;
        }
        if !self.rest.is_empty() {
            write!(f, " ({})", self.rest)?;
        }
        Ok(())
    }
}

fn described(kind: &'static str, place: impl Into<String>, rest: impl Into<String>) -> Described {
    Described { kind, place: place.into(), rest: rest.into() }
}

/// The first four bytes of a digest.
#[must_use]
pub fn short(digest: &Digest) -> String {
    digest.0.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// What a replica sends, in words.
#[must_use]
pub fn describe(message: &Sent) -> Described {
    match message {
        Message::Engine(order) => of_engine(order),
        Message::Forward(requests) => {
            let first = requests.first().map(|first| format!(": {}", asked(&first.request)));
            let rest = counted(requests.len(), "request") + &first.unwrap_or_default();
            described("Forward", "", rest)
        }
        Message::Cosign(cosign) => {
            let root = short(&cosign.head.root);
            let rest = format!("log of {}, root {root}", cosign.head.size);
            described("Cosign", format!("s{}", cosign.slot), rest)
        }
        Message::Progress(progress) => {
            let rest = format!("stable s{}", progress.stable);
            described("Progress", format!("s{}", progress.executed), rest)
        }
        Message::Sync(sync) => of_transfer(sync),
        Message::RejoinAsk { nonce } => {
            described("RejoinAsk", "", format!("nonce {}", short(nonce)))
        }
        Message::RejoinReport { nonce, report } => {
            let (executed, stable) = (report.executed, report.stable_slot());
            let known = format!("executed s{executed}, stable s{stable}, nonce {}", short(nonce));
            described("RejoinReport", format!("v{}", report.view), known)
        }
        Message::RejoinOffer(rejoin) => {
            let reports = names(rejoin.reports.iter().map(|report| report.reporter));
            let rest = format!("reports of {reports}, nonce {}", short(&rejoin.nonce));
            described("RejoinOffer", rejoin.replica.to_string(), rest)
        }
        Message::Report(report) => {
            let answers = report.answers.iter().map(|answer| match answer {
                Some(digest) => short(digest),
                None => "no answer".to_owned(),
            });
            let answers: Vec<String> = answers.collect();
            described("Report", format!("s{}", report.slot), answers.join(", "))
        }
        Message::Told(reports) => {
            let slot = reports.first().map_or(Slot(0), |report| report.slot);
            let rest = format!("reports of {}", names(reports.iter().map(|it| it.reporter)));
            described("Told", format!("s{slot}"), rest)
        }
        Message::AskAnswer { slot, digest } => {
            described("AskAnswer", format!("s{slot}"), short(digest))
        }
        Message::Answer { slot, response } => {
            described("Answer", format!("s{slot}"), format!("status {}", response.status))
        }
    }
}

fn of_engine(order: &Order<Batch>) -> Described {
    match &order.body {
        Body::PrePrepare(proposal) => {
            let (place, digest) = (voted(&proposal.vote), short(&proposal.vote.header.digest));
            described("PrePrepare", place, format!("{digest}, {}", of(proposal.command.as_deref())))
        }
        Body::Prepare(vote) => described("Prepare", voted(vote), short(&vote.header.digest)),
        Body::Commit(vote) => described("Commit", voted(vote), short(&vote.header.digest)),
        Body::Decided(decided) => {
            let header = &decided.header;
            let commits = names(decided.commits.iter().map(|ballot| ballot.signer));
            let (digest, command) = (short(&header.digest), of(decided.command.as_deref()));
            let place = format!("v{} s{}", header.view, header.slot);
            described("Decided", place, format!("{digest}, {command}, commits of {commits}"))
        }
        Body::ViewChange(report) => {
            described("ViewChange", format!("v{}", report.view), reported(report))
        }
        Body::NewView(opening) => {
            let reports = opening
                .view_changes
                .iter()
                .map(|report| format!("{} {}", report.signer, reported(report).replace(", ", " ")));
            let reports: Vec<String> = reports.collect();
            described("NewView", format!("v{}", opening.view), reports.join(", "))
        }
        Body::Status(status) => of_status(status),
        Body::Fetch(fetch) => described("Fetch", format!("s{}", fetch.slot), short(&fetch.digest)),
        Body::Payload(payload) => {
            let rest = format!("{}, {}", short(&payload.digest), of(Some(&payload.command)));
            described("Payload", format!("s{}", payload.slot), rest)
        }
        Body::Stable(certificate) => of_certificate("Stable", certificate),
    }
}

fn of_status(status: &Status) -> Described {
    let mut rest = vec![format!("committed s{}, stable s{}", status.committed, status.stable)];
    let stages = status.stages.iter().map(|stage| match stage {
        Stage::Nothing => '.',
        Stage::Proposed => 'o',
        Stage::Prepared => 'p',
        Stage::Decided => 'd',
    });
    let stages: String = stages.collect();
    if !stages.is_empty() {
        rest.push(format!("then {stages}"));
    }
    for (says, word) in [
        (!status.active, "not in it"),
        (status.suspects, "suspects the primary"),
        (status.pull, "asks for decisions"),
    ] {
        rest.extend(says.then(|| word.to_owned()));
    }
    described("Status", format!("v{}", status.view), rest.join(", "))
}

fn of_transfer(sync: &Sync) -> Described {
    let map = |map: &StateMap| match map {
        StateMap::Service => "service",
        StateMap::Replay => "replay table",
    };
    match sync {
        Sync::AskCertificate => described("AskCertificate", "", ""),
        Sync::Certificate(certificate) => of_certificate("Certificate", certificate),
        Sync::AskPage { from, size } => {
            described("AskPage", format!("from {from}"), format!("of {size}"))
        }
        Sync::Page(page) => {
            let end = page.from.0.saturating_add(page.items.len() as u64);
            let place = format!("{}..{end}", page.from);
            described("Page", place, format!("of {}", page.size))
        }
        Sync::AskManifest => described("AskManifest", "", ""),
        Sync::NoSnapshot => described("NoSnapshot", "", ""),
        Sync::Manifest(manifest) => of_certificate("Manifest", &manifest.certificate),
        Sync::AskState { slot, map: of, from } => {
            let rest = format!("{} from bucket {}", map(of), from.bucket);
            described("AskState", format!("s{slot}"), rest)
        }
        Sync::State { slot, map: of, from, page } => {
            let items = counted(page.items.len(), "item");
            let rest = format!("{} from bucket {}, {items}", map(of), from.bucket);
            described("State", format!("s{slot}"), rest)
        }
    }
}

fn of_certificate(kind: &'static str, certificate: &StableCertificate) -> Described {
    let signers = names(certificate.cosignatures.iter().map(|it| it.replica));
    let head = &certificate.head;
    let rest = format!("log of {}, root {}, {signers}", head.size, short(&head.root));
    described(kind, format!("s{}", certificate.slot()), rest)
}

fn voted(vote: &Vote) -> String {
    format!("v{} s{}", vote.header.view, vote.header.slot)
}

fn reported(report: &ViewChange) -> String {
    let mut text = format!("stable s{}", report.stable);
    for prepared in &report.prepared {
        let header = &prepared.header;
        text += &format!(", s{} in v{}", header.slot, header.view);
    }
    text
}

/// What fills a slot.
fn of(command: Option<&Batch>) -> String {
    let Some(batch) = command else { return "no-op".to_owned() };
    let others = batch.items.iter().filter_map(|item| match item {
        Item::Rejoin(rejoin) => Some(format!("rejoin of {}", rejoin.replica)),
        Item::Outcome(outcome) => Some(format!("outcome of s{}", outcome.slot)),
        Item::Request(_) => None,
    });
    let others: Vec<String> = others.collect();
    let requests = counted(batch.items.len() - others.len(), "request");
    [vec![requests], others].concat().join(", ")
}

/// What a client asks, in one word of HTTP.
#[must_use]
pub fn asked(request: &Request) -> String {
    format!("{} {}", request.method, request.path)
}

/// What a timer is for.
#[must_use]
pub fn timer(timer: &TimerName) -> &'static str {
    match timer {
        Timer::Engine(pbft::Timer::Progress) => "something is open for too long",
        Timer::Engine(pbft::Timer::Status) => "time for a Status",
        Timer::Patience => "requests wait for too long",
        Timer::Progress => "time for a Progress",
        Timer::Batch => "a batch waited for long enough",
        Timer::Sync => "a peer sends nothing",
        Timer::Reports => "not all copies reported",
    }
}

/// Some replicas.
fn names(replicas: impl IntoIterator<Item = ReplicaId>) -> String {
    let names: Vec<String> = replicas.into_iter().map(|it| it.to_string()).collect();
    if names.is_empty() { "nobody".to_owned() } else { names.join(" ") }
}

/// What the world does to somebody.
#[must_use]
pub fn fault(fault: &Fault, name: impl Fn(Seat) -> String) -> String {
    match fault {
        Fault::Crash { seats, power, down, empty } => {
            let what = match (empty, power) {
                (true, _) => "lost disk",
                (false, true) => "loss of power",
                (false, false) => "crash",
            };
            let seats: Vec<String> = seats.iter().map(|&at| name(at)).collect();
            format!("{what}: {}, down for {}", seats.join(" "), down.plain())
        }
        Fault::Cut { links: cut, lasting } => {
            format!("cut: {}, for {}", links(cut, name), lasting.plain())
        }
        Fault::Disk { at, trouble, lasting } if trouble.lasts() => {
            format!("disk of {}: {trouble}, for {}", name(*at), lasting.plain())
        }
        Fault::Disk { at, trouble, .. } => format!("disk of {}: {trouble}", name(*at)),
    }
}

/// Directed links, by where they begin.
#[must_use]
pub fn links(links: &BTreeSet<(Seat, Seat)>, name: impl Fn(Seat) -> String) -> String {
    let mut from: BTreeMap<Seat, Vec<String>> = BTreeMap::new();
    for &(a, b) in links {
        from.entry(a).or_default().push(name(b));
    }
    let from = from.into_iter().map(|(a, to)| format!("{} -> {}", name(a), to.join(" ")));
    from.collect::<Vec<_>>().join(", ")
}

fn counted(number: usize, of: &str) -> String {
    if number == 1 { format!("1 {of}") } else { format!("{number} {of}s") }
}
