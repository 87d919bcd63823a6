//! A lost disk, rule 28a.

use super::{transfer::certified, *};
use crate::rejoin::{Rejoining, VIEWS_APART_MAX, bound, is_sound, report, view};
use quorate_crypto::{VoteSigner, rejoin_claims};
use quorate_protocol::Verdict;
use quorate_types::{Rejoin, RejoinReport, Slot, StableCertificate, View};

const WINDOW: u64 = 16;

fn claim(reporter: u16, executed: u64, in_view: u64) -> RejoinReport {
    RejoinReport {
        reporter: ReplicaId(reporter),
        executed: Slot(executed),
        view: View(in_view),
        stable: None,
        signature: Signature([0; 64]),
    }
}

fn rejoin(reports: Vec<RejoinReport>) -> Rejoin {
    Rejoin { replica: ReplicaId(3), nonce: digest(1), reports }
}

fn certificate_of_slot(slots: u8) -> Arc<StableCertificate> {
    let (_, last, _) = written(slots);
    certified(&last)
}

#[test]
fn rule_28a_a_rejoin_needs_reports_of_a_quorum_of_others() {
    let sound = |reporters: &[u16]| {
        let reports = reporters.iter().map(|&reporter| claim(reporter, 16, 0)).collect();
        is_sound(&rejoin(reports), committee())
    };
    assert!(sound(&[0, 1, 2]));
    assert!(!sound(&[0, 1]), "no quorum");
    assert!(!sound(&[0, 1, 1]), "one reporter twice");
    assert!(!sound(&[0, 1, 3]), "its own report");
    assert!(!sound(&[0, 1, 9]), "a stranger");
}

#[test]
fn a_batch_lets_no_replica_rejoin_twice() {
    let returns = || Item::Rejoin(rejoin((0..3).map(|by| claim(by, 0, 0)).collect()));
    let judge = |items| admission().judge(&Batch { time: GENESIS, items }, None);
    assert_eq!(judge(vec![returns()]), Verdict::Accepted);
    assert_eq!(judge(vec![returns(), returns()]), Verdict::Refused);
}

#[test]
fn rule_28a_nobody_names_the_last_view_there_is() {
    let views = |a, b, c| rejoin(vec![claim(0, 0, a), claim(1, 0, b), claim(2, 0, c)]);
    assert!(is_sound(&views(5, 9, 5 + VIEWS_APART_MAX), committee()));
    assert!(!is_sound(&views(5, 9, 6 + VIEWS_APART_MAX), committee()));
}

#[test]
fn rule_28a_a_reporter_cannot_inflate_the_bound_beyond_what_a_certificate_proves() {
    let lie = rejoin(vec![claim(0, 40, 0), claim(1, 41, 0), claim(2, u64::MAX, 0)]);
    assert_eq!(bound(&lie, WINDOW), Slot(6 * WINDOW), "genesis, three windows and three more");
    let certificate = certificate_of_slot(8);
    let slot = certificate.slot().0;
    let mut honest = claim(0, slot + 3, 0);
    honest.stable = Some(certificate);
    let bounds = bound(&rejoin(vec![honest, claim(1, 2, 0), claim(2, 3, 0)]), WINDOW);
    assert_eq!(bounds, Slot(slot + 3 + 3 * WINDOW), "the highest executed slot and three windows");
}

#[test]
fn rule_28a_it_begins_above_every_view_that_it_may_have_left_for_and_does_not_lead_it() {
    let begins = |views: [u64; 3]| {
        let reports = (0..3).zip(views).map(|(by, view)| claim(by, 0, view)).collect();
        view(&rejoin(reports), committee())
    };
    assert_eq!(begins([0, 0, 0]), View(2));
    assert_eq!(begins([0, 8, 4]), View(10));
    assert_eq!(begins([1, 0, 0]), View(4), "it would lead view 3");
}

#[test]
fn rule_28a_one_liar_among_more_than_a_quorum_cannot_keep_a_replica_out() {
    let committee = Committee::new(7, FaultModel::Bft).unwrap();
    let config = Config { me: ReplicaId(6), committee, ..config() };
    let nonce = digest(1);
    let mut rejoining = Rejoining::new(nonce);
    let views = [u64::MAX, 3, 4, 3, 3, 5];
    for (by, in_view) in (0..).zip(views) {
        assert!(rejoining.offer().is_none(), "r{by}");
        let reporter = Config { me: ReplicaId(by), ..config.clone() };
        let signer = VoteSigner::Mac { keyring: keyring(), replica: ReplicaId(by) };
        let place = (Slot(9), View(in_view));
        let report = report(&reporter, &signer, &nonce, ReplicaId(6), place, None);
        let verifier = Verifier::mac(committee, keyring(), policy());
        rejoining.add(&config, &verifier, &nonce, report);
    }
    let offer = rejoining.offer().expect("a quorum without the liar");
    assert!(offer.reports.iter().all(|report| report.view < View(9)));
}

#[test]
fn a_report_is_taken_once_for_its_nonce_with_its_certificate_and_signature() {
    let config = Config { me: ReplicaId(3), ..config() };
    let nonce = digest(1);
    let answer = |by: u16, nonce: &Digest, stable| {
        let reporter = Config { me: ReplicaId(by), ..config.clone() };
        let signer = VoteSigner::Mac { keyring: keyring(), replica: ReplicaId(by) };
        let place = (Slot(9), View(1));
        report(&reporter, &signer, nonce, ReplicaId(3), place, stable)
    };
    let certificate = certificate_of_slot(8);
    let mut wrong = StableCertificate::clone(&certificate);
    wrong.record.slot = Slot(1_000_000);
    let mut rejoining = Rejoining::new(nonce);
    let mut add = |report| {
        rejoining.add(&config, &verifier(), &nonce, report);
        rejoining.offer().cloned()
    };
    add(answer(0, &nonce, Some(certificate.clone())));
    assert!(add(answer(1, &nonce, Some(Arc::new(wrong)))).is_none());
    assert!(add(answer(1, &digest(2), None)).is_none(), "the answer to another question");
    let mut moved = answer(1, &nonce, None);
    moved.executed = Slot(3);
    assert!(add(moved).is_none(), "not what was signed");
    assert!(add(answer(0, &nonce, None)).is_none(), "the same reporter");
    assert!(add(answer(1, &nonce, None)).is_none(), "two are no quorum");
    let offer = add(answer(2, &nonce, Some(certificate))).expect("a quorum");
    assert!(is_sound(&offer, committee()));
    let claims: Vec<_> = offer
        .reports
        .iter()
        .flat_map(|report| rejoin_claims(&config.domain, &nonce, ReplicaId(3), report))
        .collect();
    assert_eq!(claims.len(), 5, "three reports, two certificates");
    assert!(verifier().check(&claims));
}
