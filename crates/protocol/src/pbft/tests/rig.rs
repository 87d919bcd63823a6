//! One engine on a bench: everything that it hears is made by hand, everything it does is seen.

use super::*;
use crate::Verdict;
use crate::{Accusation, Stable};
use std::time::Duration;

pub(super) struct Rig {
    pub(super) macs: Macs,
    pub(super) engine: Pbft<Word>,
    pub(super) now: Time,
    /// Every record that it wrote.
    pub(super) records: Vec<Record<Word>>,
    pub(super) me: ReplicaId,
}

pub(super) type Did = Vec<Effect<Pbft<Word>>>;

impl Rig {
    /// Replica `me` of `n`, started on an empty disk.
    pub(super) fn new(n: u16, me: u16) -> Self {
        Self::on(Macs::new(n), me)
    }

    pub(super) fn on(macs: Macs, me: u16) -> Self {
        let me = ReplicaId(me);
        let engine = macs.pbft(me);
        let now = Time(1_000_000_000);
        let mut rig = Self { macs, engine, now, records: Vec::new(), me };
        rig.tell(Input::Start { records: Vec::new(), stable: Stable::genesis() });
        rig
    }

    pub(super) fn tell(&mut self, input: Input<Pbft<Word>>) -> Did {
        let mut out = Outbox::new();
        self.engine.handle(self.now, input, &mut out);
        let did: Did = out.drain().collect();
        self.records.extend(did.iter().filter_map(|effect| match effect {
            Effect::Persist { record, .. } | Effect::Note { record, .. } => Some(record.clone()),
            _ => None,
        }));
        did
    }

    /// The same replica after a crash, from what it wrote.
    pub(super) fn restart(&mut self) -> Did {
        self.restart_at(Stable::genesis())
    }

    /// The same, and the state after a slot was still there.
    pub(super) fn restart_at(&mut self, stable: Stable) -> Did {
        self.engine = self.macs.pbft(self.me);
        let records = self.records.clone();
        self.tell(Input::Start { records, stable })
    }

    pub(super) fn hear(&mut self, via: u16, body: Body<Word>) -> Did {
        let message = self.macs.message(body);
        let via = ReplicaId(via);
        let Delivery { signer, via, message } = self.macs.verified(via, message).expect("valid");
        self.tell(Input::Message { signer, via, message })
    }

    pub(super) fn wants(&self, via: u16, body: Body<Word>) -> bool {
        self.engine.wants(ReplicaId(via), &self.macs.message(body))
    }

    pub(super) fn propose(&self, view: u64, slot: u64, word: u64) -> Body<Word> {
        let command = Some(Arc::new(Word(word)));
        let primary = self.macs.committee.primary(View(view)).0;
        let digest = digest_of(command.as_deref());
        let vote = self.macs.vote(primary, Phase::PrePrepare, view, slot, digest);
        Body::PrePrepare(PrePrepare { vote, command })
    }

    pub(super) fn prepare(&self, by: u16, view: u64, slot: u64, word: u64) -> Body<Word> {
        Body::Prepare(self.macs.vote(by, Phase::Prepare, view, slot, digest(word)))
    }

    pub(super) fn commit(&self, by: u16, view: u64, slot: u64, word: u64) -> Body<Word> {
        Body::Commit(self.macs.vote(by, Phase::Commit, view, slot, digest(word)))
    }

    /// Answers every question in these effects.
    pub(super) fn answer(&mut self, asked: &Did, accept: bool) -> Did {
        self.give(asked, if accept { Verdict::Accepted } else { Verdict::Refused })
    }

    pub(super) fn give(&mut self, asked: &Did, verdict: Verdict) -> Did {
        let mut did = Vec::new();
        for effect in asked {
            if let Effect::Judge { slot, view, digest, .. } = effect {
                let (slot, view, digest) = (*slot, *view, *digest);
                did.extend(self.tell(Input::Verdict { slot, view, digest, verdict }));
            }
        }
        did
    }

    /// A proposal heard, judged good and voted for.
    pub(super) fn accept(&mut self, view: u64, slot: u64, word: u64) -> Did {
        let primary = self.macs.committee.primary(View(view)).0;
        let body = self.propose(view, slot, word);
        let asked = self.hear(primary, body);
        self.answer(&asked, true)
    }

    pub(super) fn prepared(&self, view: u64, slot: u64, word: u64) -> Prepared {
        let committee = self.macs.committee;
        let header = Header { view: View(view), slot: Slot(slot), digest: digest(word) };
        let ballot = |by: ReplicaId, phase| {
            let vote = self.macs.vote(by.0, phase, view, slot, digest(word));
            Ballot { signer: by, signature: vote.signature }
        };
        let primary = committee.primary(View(view));
        let backups = committee.replicas().filter(|it| *it != primary);
        let backups = backups.take(committee.quorum() - 1);
        Prepared {
            header,
            proposal: ballot(primary, Phase::PrePrepare),
            prepares: backups.map(|by| ballot(by, Phase::Prepare)).collect(),
        }
    }

    /// What the others decided without this replica.
    pub(super) fn decided(&self, view: u64, slot: u64, word: u64) -> Decided<Word> {
        let others = self.macs.committee.replicas().filter(|it| *it != self.me);
        self.decided_by(others, view, slot, word)
    }

    pub(super) fn decided_by(
        &self,
        voters: impl Iterator<Item = ReplicaId>,
        view: u64,
        slot: u64,
        word: u64,
    ) -> Decided<Word> {
        let header = Header { view: View(view), slot: Slot(slot), digest: digest(word) };
        let ballot = |by: ReplicaId| {
            let vote = self.macs.vote(by.0, Phase::Commit, view, slot, digest(word));
            Ballot { signer: by, signature: vote.signature }
        };
        let commits = voters.take(self.macs.committee.quorum()).map(ballot).collect();
        Decided { header, command: Some(Arc::new(Word(word))), commits }
    }

    pub(super) fn report(&self, by: u16, view: u64, prepared: Vec<Prepared>) -> ViewChange {
        self.report_above(by, view, 0, prepared)
    }

    pub(super) fn report_above(
        &self,
        by: u16,
        view: u64,
        stable: u64,
        prepared: Vec<Prepared>,
    ) -> ViewChange {
        let certificate = (stable > 0).then(|| Arc::new(certificate(Slot(stable))));
        let mut report = ViewChange {
            view: View(view),
            stable: Slot(stable),
            certificate,
            prepared,
            signer: ReplicaId(by),
            signature: Signature([0; 64]),
        };
        let bytes = report.statement(&self.macs.domain, self.macs.instance);
        report.signature = self.macs.key(ReplicaId(by)).sign(&bytes);
        report
    }

    pub(super) fn opening(&self, view: u64, view_changes: Vec<ViewChange>) -> NewView {
        let signer = self.macs.committee.primary(View(view));
        let mut opening =
            NewView { view: View(view), view_changes, signer, signature: Signature([0; 64]) };
        let bytes = opening.statement(&self.macs.domain, self.macs.instance);
        opening.signature = self.macs.key(signer).sign(&bytes);
        opening
    }

    pub(super) fn status(&self) -> Status {
        Status {
            view: self.engine.view(),
            active: true,
            suspects: false,
            pull: false,
            round: 0,
            stable: Slot(0),
            committed: Slot(0),
            stages: Vec::new(),
        }
    }

    pub(super) fn suspicion(&self) -> Body<Word> {
        Body::Status(Status { suspects: true, ..self.status() })
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
    }
}

pub(super) fn digest(word: u64) -> Digest {
    digest_of(Some(&Word(word)))
}

pub(super) fn stable(slot: u64) -> Stable {
    Stable::certified(Arc::new(certificate(Slot(slot))))
}

/// What was sent, in short: `Prepare 3 All`.
pub(super) fn sent(did: &Did) -> Vec<Body<Word>> {
    did.iter()
        .filter_map(|effect| match effect {
            Effect::Send { message, .. } => Some(message.body.clone()),
            _ => None,
        })
        .collect()
}

pub(super) fn commits(did: &Did) -> Vec<(u64, Option<u64>)> {
    did.iter()
        .filter_map(|effect| match effect {
            Effect::Commit { slot, command, .. } => Some((slot.0, command.as_ref().map(|it| it.0))),
            _ => None,
        })
        .collect()
}

pub(super) fn accusations(did: &Did) -> Vec<Accusation> {
    did.iter()
        .filter_map(|effect| match effect {
            Effect::Accuse(accusation) => Some(accusation.clone()),
            _ => None,
        })
        .collect()
}

/// One word an effect, in order.
pub(super) fn words(did: &Did) -> String {
    let kind = |record: &Record<Word>| match record {
        Record::Proposal(_) => "Proposal",
        Record::Prepared(_) => "Prepared",
        Record::Decided(..) => "Decided",
        Record::Payload(_) => "Payload",
        Record::Stable(_) => "Stable",
        Record::ViewChange(_) => "ViewChange",
        Record::NewView(_) => "NewView",
    };
    let word = |effect: &Effect<Pbft<Word>>| match effect {
        Effect::Persist { record, .. } => format!("write:{}", kind(record)),
        Effect::Note { record, .. } => format!("note:{}", kind(record)),
        Effect::Send { message, .. } => match &message.body {
            Body::PrePrepare(it) => format!("PrePrepare({})", it.vote.header.slot),
            Body::Prepare(it) => format!("Prepare({})", it.header.slot),
            Body::Commit(it) => format!("Commit({})", it.header.slot),
            Body::Decided(it) => format!("Decided({})", it.header.slot),
            Body::ViewChange(it) => format!("ViewChange({})", it.view),
            Body::NewView(it) => format!("NewView({})", it.view),
            Body::Status(_) => "Status".to_owned(),
            Body::Fetch(it) => format!("Fetch({})", it.slot),
            Body::Payload(it) => format!("Payload({})", it.slot),
            Body::Stable(it) => format!("Stable({})", it.slot()),
        },
        Effect::Judge { slot, fresh, .. } if *fresh => format!("judge({slot})"),
        Effect::Judge { slot, .. } => format!("judge-again({slot})"),
        Effect::Commit { slot, .. } => format!("commit({slot})"),
        Effect::Forget { below } => format!("forget({below})"),
        Effect::Enter { view, .. } => format!("enter({view})"),
        Effect::Leave { to } => format!("leave({to})"),
        Effect::Room(room) => format!("room({room})"),
        Effect::Returned(word) => format!("returned({})", word.0),
        Effect::Behind { stable } => format!("behind({})", stable.slot),
        Effect::Accuse(it) => format!("accuse({}, {})", it.replica, it.charge),
        Effect::Timer { .. } => String::new(),
    };
    let words: Vec<String> = did.iter().map(word).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}
