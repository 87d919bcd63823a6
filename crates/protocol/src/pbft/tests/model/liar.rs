//! The Byzantine replica. It has no state and no plan: at any time it has sent whatever can be
//! signed with its key and made of what the correct ones signed so far.

use super::{
    super::*,
    Setting,
    said::{Book, Number},
};

/// What the correct replicas signed, sorted, and what can be made of it.
struct Liar<'a> {
    setting: &'a Setting,
    /// Every vote that can be in a certificate, by phase and header.
    votes: BTreeMap<(Phase, Header), Vec<Ballot>>,
    /// Of the correct ones, who make one for each view.
    reports: Vec<ViewChange>,
    bodies: Vec<Body<Word>>,
}

/// Everything that can be delivered once this was said.
pub(super) fn deliverable(setting: &Setting, book: &mut Book, said: &[Number]) -> Vec<Number> {
    let mut liar =
        Liar { setting, votes: BTreeMap::new(), reports: Vec::new(), bodies: Vec::new() };
    for number in said {
        liar.learn(&book.message(*number).message.get().body);
    }
    liar.vote();
    liar.decide();
    liar.change();
    let mut numbers: BTreeSet<Number> = said.iter().copied().collect();
    for body in liar.bodies {
        numbers.insert(book.number(&setting.macs, setting.byzantine, body));
    }
    numbers.into_iter().collect()
}

impl Liar<'_> {
    fn learn(&mut self, body: &Body<Word>) {
        let (phase, vote) = match body {
            Body::PrePrepare(proposal) => (Phase::PrePrepare, proposal.vote),
            Body::Prepare(vote) => (Phase::Prepare, *vote),
            Body::Commit(vote) => (Phase::Commit, *vote),
            Body::ViewChange(report) => return self.reports.push(report.clone()),
            _ => return,
        };
        self.count(phase, vote);
    }

    fn count(&mut self, phase: Phase, vote: Vote) {
        let ballot = Ballot { signer: vote.signer, signature: vote.signature };
        self.votes.entry((phase, vote.header)).or_default().push(ballot);
    }

    fn me(&self) -> ReplicaId {
        self.setting.byzantine
    }

    fn primary(&self, view: View) -> ReplicaId {
        self.setting.macs.committee.primary(view)
    }

    /// Proposes as primary whatever there is, and votes for everything.
    fn vote(&mut self) {
        let setting = self.setting;
        let me = setting.byzantine;
        let places = setting.views().flat_map(|view| setting.slots().map(move |slot| (view, slot)));
        for (view, slot) in places {
            for command in Setting::commands(view) {
                let digest = digest_of(command.as_ref());
                let sign = |phase| setting.macs.vote(me.0, phase, view.0, slot.0, digest);
                let commit = sign(Phase::Commit);
                self.bodies.push(Body::Commit(commit));
                self.count(Phase::Commit, commit);
                if self.primary(view) == me {
                    let vote = sign(Phase::PrePrepare);
                    let command = command.clone().map(Arc::new);
                    self.bodies.push(Body::PrePrepare(PrePrepare { vote, command }));
                    self.count(Phase::PrePrepare, vote);
                } else {
                    let vote = sign(Phase::Prepare);
                    self.bodies.push(Body::Prepare(vote));
                    self.count(Phase::Prepare, vote);
                }
                if let Some(command) = command.map(Arc::new) {
                    self.bodies.push(Body::Payload(Payload { slot, command, digest }));
                }
            }
        }
    }

    /// Every decision that there are Commits for, and with one vote less.
    fn decide(&mut self) {
        let quorum = self.quorum();
        for ((phase, header), ballots) in &self.votes {
            let known = Setting::commands(View(1));
            let command = known.into_iter().find(|it| digest_of(it.as_ref()) == header.digest);
            let Some(command) = command.filter(|_| *phase == Phase::Commit) else { continue };
            for commits in subsets(ballots) {
                if commits.len() == quorum || commits.len() + 1 == quorum {
                    let command = command.clone().map(Arc::new);
                    self.bodies.push(Body::Decided(Decided { header: *header, command, commits }));
                }
            }
        }
    }

    fn quorum(&self) -> usize {
        self.setting.macs.committee.quorum()
    }

    /// The certificates for a slot that can be made of so many votes, of views before this one.
    fn certificates(&self, slot: Slot, before: View, votes: usize) -> Vec<Prepared> {
        let proposals = self.votes.iter().filter(|((phase, header), _)| {
            *phase == Phase::PrePrepare && header.slot == slot && header.view < before
        });
        let certificate = |((_, header), proposals): (&(Phase, Header), &Vec<Ballot>)| {
            let proposal = *proposals.first()?;
            let prepares = self.votes.get(&(Phase::Prepare, *header))?.get(..votes - 1)?.to_vec();
            Some(Prepared { header: *header, proposal, prepares })
        };
        proposals.filter_map(certificate).collect()
    }

    fn report(&self, view: View, prepared: Vec<Prepared>) -> ViewChange {
        let (stable, certificate, signer) = (Slot(0), None, self.me());
        let signature = Signature([0; 64]);
        let mut report = ViewChange { view, stable, certificate, prepared, signer, signature };
        let Macs { domain, instance, .. } = &self.setting.macs;
        report.signature = self.setting.macs.key(signer).sign(&report.statement(domain, *instance));
        report
    }

    /// Reports each choice of what there are certificates for, nothing first; and certificates
    /// that lack a vote.
    fn reports(&self, view: View) -> Vec<ViewChange> {
        let mut claims: Vec<Vec<Prepared>> = vec![Vec::new()];
        for slot in self.setting.slots() {
            for claim in claims.clone() {
                let certificates = self.certificates(slot, view, self.quorum());
                let longer = |it| claim.iter().cloned().chain([it]).collect();
                claims.extend(certificates.into_iter().map(longer));
            }
        }
        for slot in self.setting.slots() {
            let short = self.certificates(slot, view, self.quorum() - 1);
            claims.extend(short.into_iter().map(|it| vec![it]));
        }
        claims.into_iter().map(|claim| self.report(view, claim)).collect()
    }

    fn change(&mut self) {
        for view in self.setting.views().skip(1) {
            let reports = self.reports(view);
            if self.primary(view) == self.me() {
                self.open(view, &reports);
            }
            self.bodies.extend(reports.into_iter().map(Body::ViewChange));
        }
    }

    /// Opens its view with any reports of others and at most one of its own; or with two of these.
    fn open(&mut self, view: View, own: &[ViewChange]) {
        let others: Vec<ViewChange> =
            self.reports.iter().filter(|report| report.view == view).cloned().collect();
        for others in subsets(&others) {
            let with = |own: &ViewChange| others.iter().cloned().chain([own.clone()]).collect();
            let mut openings: Vec<Vec<ViewChange>> = own.iter().map(with).collect();
            openings.push(others.clone());
            openings.extend(own.first().map(|twice| {
                others.iter().cloned().chain([twice.clone(), twice.clone()]).collect()
            }));
            openings.retain(|reports| reports.len() + 1 >= self.quorum());
            for mut view_changes in openings {
                view_changes.sort_by_key(|report| report.signer);
                let (signer, signature) = (self.me(), Signature([0; 64]));
                let mut opening = NewView { view, view_changes, signer, signature };
                let Macs { domain, instance, .. } = &self.setting.macs;
                opening.signature =
                    self.setting.macs.key(signer).sign(&opening.statement(domain, *instance));
                self.bodies.push(Body::NewView(opening));
            }
        }
    }
}

/// All of them, by the bits of a number.
fn subsets<T: Clone>(of: &[T]) -> impl Iterator<Item = Vec<T>> + '_ {
    (0..1_u32 << of.len()).map(|bits| {
        let held = of.iter().enumerate().filter(move |(at, _)| bits & (1 << at) != 0);
        held.map(|(_, it)| it.clone()).collect()
    })
}
