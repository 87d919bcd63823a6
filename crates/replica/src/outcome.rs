//! What a slot's answers are, computed from reports.
//!
//! Everybody computes it from the reports themselves (rule 17), and everybody comes to the same:
//! of the reports of a quorum, at least f + 1 are of correct replicas. So where all n replicas
//! reported one answer, any quorum's reports hold f + 1 equal ones, and no outcome needs to be
//! ordered. What f + 1 replicas report, one correct replica's copy gave.

use quorate_crypto::{Claim, Claims, Domain, VoteSigner, report_statement};
use quorate_protocol::Accusation;
use quorate_types::{
    Committee, Digest, Outcome, ReplicaId, Report, Slot, Tally, Wire,
    bug::{Bug, seeded},
};
use std::collections::{BTreeMap, BTreeSet};

/// The stable word for two reports of one replica about one slot.
pub(crate) const DOUBLE_REPORT: &str = "double-report";

/// What became of one call.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Agreed {
    /// f + 1 replicas reported this answer.
    Answer(Digest),
    /// Copies answered, and no f + 1 of them alike.
    Disagree,
    /// Too few copies answered for one of the answers to count as executed.
    Silent,
}

/// This replica's report.
pub(crate) fn report(
    domain: &Domain,
    signer: &VoteSigner,
    reporter: ReplicaId,
    slot: Slot,
    answers: Vec<Option<Digest>>,
) -> Report {
    let signature = signer.sign(&report_statement(domain, slot, &answers));
    Report { reporter, slot, answers, signature }
}

/// Whether an outcome carries a quorum's reports on one slot and equally many calls. That their
/// number is right follows: f + 1 of the reporters are correct. Its signatures are among its
/// claims.
pub(crate) fn is_sound(outcome: &Outcome, committee: Committee, calls_max: usize) -> bool {
    let Some(first) = outcome.reports.first() else { return false };
    let calls = first.answers.len();
    let alike = |report: &Report| report.slot == outcome.slot && report.answers.len() == calls;
    let ascends = outcome.reports.windows(2).all(|pair| pair[0].reporter < pair[1].reporter);
    let mut reporters = Tally::new(committee);
    reporters.extend(outcome.reports.iter().map(|report| report.reporter));
    ascends
        && (1..=calls_max).contains(&calls)
        && outcome.reports.iter().all(alike)
        && reporters.count() == outcome.reports.len()
        && (reporters.is_quorum() || seeded(Bug::OutcomeUnchecked))
}

/// What the reports of a sound outcome say of each call.
pub(crate) fn results(outcome: &Outcome, committee: Committee) -> Vec<Agreed> {
    let calls = outcome.reports.first().map_or(0, |report| report.answers.len());
    (0..calls).map(|call| result(&outcome.reports, call, committee)).collect()
}

fn result(reports: &[Report], call: usize, committee: Committee) -> Agreed {
    let mut answered = Tally::new(committee);
    let mut alike: BTreeMap<Digest, Tally> = BTreeMap::new();
    for report in reports {
        if let Some(Some(answer)) = report.answers.get(call) {
            answered.add(report.reporter);
            alike.entry(*answer).or_insert_with(|| Tally::new(committee)).add(report.reporter);
        }
    }
    let enough = |tally: &Tally| tally.has_one_correct() || seeded(Bug::OneReportIsEnough);
    // Of two that f + 1 reported each, the more frequent; the lower digest where that is equal.
    let best = alike.iter().filter(|(_, tally)| enough(tally));
    let best = best.min_by_key(|(digest, tally)| (std::cmp::Reverse(tally.count()), **digest));
    match best {
        Some((digest, _)) => Agreed::Answer(*digest),
        None if answered.has_one_correct() => Agreed::Disagree,
        None => Agreed::Silent,
    }
}

/// What all n replicas reported alike, if they did: it needs no ordering. "No answer" agrees with
/// nothing.
pub(crate) fn unanimous<'a>(
    mut reports: impl Iterator<Item = &'a Report>,
    committee: Committee,
) -> Option<Vec<Agreed>> {
    let first = reports.next()?;
    let agreed: Vec<_> = first.answers.iter().copied().collect::<Option<Vec<Digest>>>()?;
    let mut reporters = BTreeSet::from([first.reporter]);
    for report in reports {
        if report.answers != first.answers && !seeded(Bug::UnanimousUnchecked) {
            return None;
        }
        reporters.insert(report.reporter);
    }
    let all = reporters.len() == committee.n();
    all.then(|| agreed.into_iter().map(Agreed::Answer).collect())
}

/// The charge that two reports of one replica about one slot make.
pub(crate) fn charge(first: &Report, second: &Report) -> Accusation {
    let evidence = vec![first.to_wire(), second.to_wire()];
    Accusation { replica: second.reporter, charge: DOUBLE_REPORT, evidence }
}

/// Whether evidence for `double-report` holds: the accused signed two different reports about one
/// slot. Both pieces are in wire form, as an accusation carries them; `check` finds whether claims
/// hold.
///
/// Offline: needs the committee's vote keys alone.
#[must_use]
pub fn double_report_holds(
    domain: &Domain,
    accused: ReplicaId,
    (first, second): (&[u8], &[u8]),
    check: impl Fn(&[Claim]) -> bool,
) -> bool {
    const BYTES_MAX: usize = 1 << 20;
    let read = |bytes| Report::from_wire(bytes, BYTES_MAX);
    let (Ok(first), Ok(second)) = (read(first), read(second)) else { return false };
    let mut claims = Vec::new();
    [&first, &second].into_iter().for_each(|report| report.claims(domain, &mut claims));
    first.reporter == accused
        && second.reporter == accused
        && first.slot == second.slot
        && first.answers != second.answers
        && check(&claims)
}
