//! What is agreed about the answers of copies, from reports alone.

use super::*;
use crate::{
    answers::{self, was_called},
    copies::Copies,
    message::Message,
    outcome::{self, Agreed, double_report_holds},
    port::Record,
};
use quorate_crypto::{Claim, Claims, VoteSigner};
use quorate_proof::exchange;
use quorate_types::{Call, Exchange, Outcome, Report, Response, Slot, Wire};

/// A report whose answers are digests of these bytes.
fn unsigned(reporter: u16, answers: &[Option<u8>]) -> Report {
    let answers = answers.iter().map(|answer| answer.map(digest)).collect();
    let signature = Signature([0; 64]);
    Report { reporter: ReplicaId(reporter), slot: Slot(3), answers, signature }
}

/// What the reports of these replicas, with one answer each, come to.
fn agreed(answers: &[(u16, Option<u8>)]) -> Agreed {
    let reports = answers.iter().map(|(reporter, answer)| unsigned(*reporter, &[*answer]));
    let outcome = Outcome { slot: Slot(3), reports: reports.collect() };
    assert!(outcome::is_sound(&outcome, committee(), 8));
    outcome::results(&outcome, committee())[0]
}

fn sound(slot: u64, reports: Vec<Report>) -> bool {
    outcome::is_sound(&Outcome { slot: Slot(slot), reports }, committee(), 2)
}

#[test]
fn what_one_correct_replica_must_have_reported_is_agreed_on() {
    assert_eq!(agreed(&[(0, Some(1)), (1, Some(1)), (2, Some(2))]), Agreed::Answer(digest(1)));
    assert_eq!(agreed(&[(0, None), (1, Some(2)), (3, Some(2))]), Agreed::Answer(digest(2)));
    // One report may be a liar's.
    assert_eq!(agreed(&[(0, Some(1)), (1, Some(2)), (2, Some(3))]), Agreed::Disagree);
    assert_eq!(agreed(&[(0, Some(1)), (1, Some(2)), (2, None)]), Agreed::Disagree);
    // "No answer" agrees with nothing, however many say it.
    assert_eq!(agreed(&[(0, Some(1)), (1, None), (2, None)]), Agreed::Silent);
    assert_eq!(agreed(&[(0, None), (1, None), (2, None)]), Agreed::Silent);
}

#[test]
fn of_two_answers_that_enough_reported_everybody_takes_the_same() {
    let pairs = [(0, Some(2)), (1, Some(2)), (2, Some(1)), (3, Some(1))];
    assert_eq!(agreed(&pairs), Agreed::Answer(digest(1)));
}

#[test]
fn what_all_report_alike_is_what_any_quorum_of_reports_comes_to() {
    let reports: Vec<_> = (0..4).map(|replica| unsigned(replica, &[Some(1), Some(2)])).collect();
    let unanimous = outcome::unanimous(reports.iter(), committee()).unwrap();
    for left_out in 0..4 {
        let rest = reports.iter().filter(|report| report.reporter.0 != left_out).cloned();
        let outcome = Outcome { slot: Slot(3), reports: rest.collect() };
        assert_eq!(outcome::results(&outcome, committee()), unanimous);
    }
}

#[test]
fn fewer_than_all_unequal_or_silent_reports_are_not_unanimous() {
    let all = |answers: [&[Option<u8>]; 4]| {
        let reports: Vec<_> = (0..4).zip(answers).map(|(r, it)| unsigned(r, it)).collect();
        outcome::unanimous(reports.iter(), committee())
    };
    let (one, two) = (&[Some(1)][..], &[Some(2)][..]);
    assert!(all([one, one, one, one]).is_some());
    assert!(all([one, one, one, two]).is_none());
    assert!(all([&[None], &[None], &[None], &[None]]).is_none());
    let three: Vec<_> = (0..3).map(|replica| unsigned(replica, one)).collect();
    assert!(outcome::unanimous(three.iter(), committee()).is_none());
    let again = three.iter().chain(&three[..1]);
    assert!(outcome::unanimous(again, committee()).is_none(), "one replica counts once");
}

#[test]
fn an_answer_is_there_for_who_asks_a_moment_after_its_slot_was_certified() {
    let mut copies = Copies::new(committee(), 128, 8);
    let (report, answers) = (unsigned(0, &[Some(1)]), vec![Some(Response::new(200))]);
    copies.recall(Record::<u8>::Report { report, answers }, Slot(0));
    let slot = Slot(3);
    let ask = Message::<u8>::AskAnswer { slot, digest: digest(1) };
    copies.forget(slot);
    assert!(copies.wants_message(&ask, slot));
    copies.forget(Slot(100));
    assert!(!copies.wants_message(&ask, Slot(100)));
}

/// A replica that lags by more than a window hears of an outcome once, and of another one for the
/// same slot later.
#[test]
fn of_several_outcomes_for_one_slot_the_first_counts_however_far_ahead_it_came() {
    let outcome = |answers: [Option<u8>; 3]| {
        let reports = (0..).zip(answers).map(|(replica, answer)| unsigned(replica, &[answer]));
        Outcome { slot: Slot(3), reports: reports.collect() }
    };
    let (first, second) = (outcome([Some(1), Some(1), Some(2)]), outcome([None; 3]));
    let mut copies = Copies::new(committee(), 1, 8);
    copies.decided(Slot(4), Slot(0), &first);
    copies.decided(Slot(5), Slot(0), &second);
    assert_eq!(copies.ordered(Slot(3)), Some(&first));
    // About a slot that is not decided yet, or settled.
    copies.decided(Slot(3), Slot(3), &second);
    copies.forget(Slot(3));
    assert_eq!(copies.ordered(Slot(3)), None);
}

#[test]
fn an_outcome_needs_a_quorum_of_reports_one_a_replica_on_its_slot_and_equally_many_calls() {
    let report = |replica| unsigned(replica, &[Some(1)]);
    assert!(sound(3, vec![report(0), report(1), report(3)]));
    assert!(!sound(3, vec![report(0), report(1)]), "no quorum");
    assert!(!sound(4, vec![report(0), report(1), report(3)]), "another slot");
    assert!(!sound(3, vec![report(0), report(1), report(1)]), "twice the same");
    assert!(!sound(3, vec![report(1), report(0), report(3)]), "another order of the same");
    assert!(!sound(3, vec![report(0), report(1), report(9)]), "a stranger");
    let longer = unsigned(3, &[Some(1), Some(1)]);
    assert!(!sound(3, vec![report(0), report(1), longer]), "unequally many");
    let empty = |replica| unsigned(replica, &[]);
    assert!(!sound(3, vec![empty(0), empty(1), empty(3)]), "no calls");
    let many = |replica| unsigned(replica, &[None; 3]);
    assert!(!sound(3, vec![many(0), many(1), many(3)]), "more calls than a slot may have");
    assert!(!sound(3, Vec::new()));
}

#[test]
fn outcomes_are_ordered_only_where_a_service_has_copies_and_one_in_a_batch() {
    let reports = || (0..3).map(|replica| unsigned(replica, &[Some(1)])).collect();
    let outcome = || Item::Outcome(Outcome { slot: Slot(3), reports: reports() });
    let batch = |items| Batch { time: GENESIS, items };
    let copies = Admission::new(&Config { copies: true, ..config() });
    let judge = |admission: &Admission, items| admission.judge(&batch(items), None);
    use quorate_protocol::Verdict;
    assert_eq!(judge(&copies, vec![outcome()]), Verdict::Accepted);
    assert_eq!(judge(&copies, vec![outcome(), item(put(1, "a", "1"))]), Verdict::Accepted);
    assert_eq!(judge(&copies, vec![outcome(), outcome()]), Verdict::Refused);
    assert_eq!(judge(&admission(), vec![outcome()]), Verdict::Refused);
}

#[test]
fn two_reports_of_one_replica_about_one_slot_convict_it_and_nobody_else() {
    let domain = Domain::new(policy().origin_text());
    let signer = |replica: u16| VoteSigner::Mac { keyring: keyring(), replica: ReplicaId(replica) };
    let report = |replica: u16, answer: u8| {
        let answers = vec![Some(digest(answer))];
        outcome::report(&domain, &signer(replica), ReplicaId(replica), Slot(3), answers)
    };
    let verifier = verifier();
    let holds = |accused: u16, first: &Report, second: &Report| {
        let pair = (&first.to_wire()[..], &second.to_wire()[..]);
        let check = |claims: &[Claim]| verifier.check(claims);
        double_report_holds(&domain, ReplicaId(accused), pair, check)
    };
    let (first, second) = (report(2, 1), report(2, 2));
    let accusation = outcome::charge(&first, &second);
    assert_eq!((accusation.replica, accusation.charge), (ReplicaId(2), "double-report"));
    assert!(holds(2, &first, &second));
    assert!(!holds(1, &first, &second), "another replica");
    assert!(!holds(2, &first, &first), "the same twice");
    assert!(!holds(2, &first, &report(1, 2)), "of two replicas");
    let forged = Report { signature: Signature([1; 64]), ..second.clone() };
    assert!(!holds(2, &first, &forged), "a forged one");
    let elsewhere = Report { slot: Slot(4), ..second };
    assert!(!holds(2, &first, &elsewhere), "of two slots");
}

#[test]
fn a_report_without_its_replicas_signature_is_refused() {
    let domain = Domain::new(policy().origin_text());
    let mut claims = Vec::new();
    unsigned(2, &[Some(1)]).claims(&domain, &mut claims);
    assert_eq!(claims.len(), 1);
    assert!(!verifier().check(&claims));
}

// --- answers -----------------------------------------------------------------------------------

fn call(number: u8) -> Call {
    let request = Arc::new(put(number, "a", "1"));
    Call { index: Index(u64::from(number)), time: GENESIS, seed: digest(0), request }
}

fn code_of(answer: &Response) -> String {
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    body.split("\"code\":\"").nth(1).unwrap_or("").split('"').next().unwrap().to_owned()
}

#[test]
fn an_answer_is_agreed_on_as_the_exchange_covers_it() {
    let rules = Rules::from(&config());
    let given = Response::new(200).with_field("x-request-id", "7").with_field("etag", " \"a\" ");
    let admitted = answers::admitted(&rules, &[call(1)], vec![Some(given)]);
    let answer = admitted[0].as_ref().unwrap();
    assert_eq!(answer.field("etag"), Some("\"a\""));
    assert_eq!(answer.field("x-request-id"), None);
    assert_eq!(answer.field("cache-control"), Some("no-store, no-transform"));
}

#[test]
fn an_answer_that_no_proof_can_cover_is_agreed_on_as_a_problem_of_its_own() {
    let rules = Rules { body_max: 10, ..Rules::from(&config()) };
    let long = Response::new(200).with_body("text/plain", vec![b'a'; 11]);
    let odd = Response::new(200).with_field("etag", "\u{e4}");
    let early = Response::new(103);
    let given = vec![Some(long), Some(odd), Some(early), None];
    let calls = [call(1), call(2), call(3), call(4)];
    let admitted = answers::admitted(&rules, &calls, given);
    let codes: Vec<_> = admitted.iter().map(|it| it.as_ref().map(code_of)).collect();
    let expected = ["copy-too-large", "copy-uncoverable", "copy-uncoverable"];
    assert_eq!(codes[..3], expected.map(|code| Some(code.to_owned())));
    assert_eq!(codes[3], None);
}

#[test]
fn answers_to_one_slot_are_bounded_together() {
    let rules = Rules { body_max: 3 << 20, ..Rules::from(&config()) };
    let large = || Some(Response::new(200).with_body("text/plain", vec![b'a'; 3 << 20]));
    let calls = [call(1), call(2), call(3)];
    let admitted = answers::admitted(&rules, &calls, vec![large(), large(), large()]);
    let statuses: Vec<_> = admitted.iter().flatten().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 502]);
}

#[test]
fn no_copy_can_pretend_that_its_request_never_reached_it() {
    let rules = Rules::from(&config());
    let silent = answers::void(&rules, Agreed::Silent).unwrap();
    let admitted = answers::admitted(&rules, &[call(1)], vec![Some(silent.clone())]);
    let answer = admitted[0].as_ref().unwrap();
    assert_eq!(code_of(answer), "copy-uncoverable");
    let exchange =
        |response: &Response| Exchange { request: call(1).request, response: response.clone() };
    assert!(was_called(&exchange(answer)));
    assert!(!was_called(&exchange(&silent)));
    assert!(was_called(&exchange(&answers::void(&rules, Agreed::Disagree).unwrap())));
    assert!(answers::void(&rules, Agreed::Answer(digest(1))).is_none());
}

// --- execution ---------------------------------------------------------------------------------

fn copied() -> Execution {
    let service = Box::new(quorate_service::Elsewhere::default());
    Execution::genesis(service, Rules { copies: true, ..Rules::from(&config()) })
}

fn ordered(execution: &Execution, requests: &[Request]) -> Ordered {
    let items = requests.iter().map(|request| item(request.clone())).collect();
    let time = UnixMillis(GENESIS.0 + 10 * (1 + execution.record().slot.0));
    Ordered::new(execution.record().slot.next(), Some(Arc::new(Batch { time, items })))
}

#[test]
fn a_slot_calls_the_copies_for_what_was_not_answered_before() {
    let mut execution = copied();
    let slot = ordered(&execution, &[put(1, "a", "1"), put(2, "b", "2"), put(1, "a", "1")]);
    let before = *execution.record();
    let calls = execution.calls(&slot);
    assert_eq!(calls.iter().map(|call| call.index.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(*execution.record(), before, "nothing was executed");
    let answer = |text: &str| Response::new(200).with_body("text/plain", text.to_owned());
    let executed = execution.execute_answered(&slot, vec![answer("one"), answer("two")]);
    let bodies =
        executed.fresh.iter().map(|it| it.exchange.as_ref().unwrap().response.body.clone());
    assert_eq!(bodies.collect::<Vec<_>>(), ["one", "two"]);
    let again = ordered(&execution, &[put(2, "b", "2")]);
    assert!(execution.calls(&again).is_empty());
}

#[test]
fn a_log_of_agreed_answers_leads_to_the_same_state_and_no_other_answers_do() {
    let mut execution = copied();
    let (mut recorder, _) = recorder(&execution);
    let slot = ordered(&execution, &[put(1, "a", "1"), put(2, "b", "2")]);
    let answers = vec![Response::new(201), Response::new(204)];
    let recorded = recorder.record(execution.execute_answered(&slot, answers));
    let mut items = recorded.items().to_vec();
    let mut replayed = copied();
    replayed.repeat(&items).unwrap();
    assert_eq!(replayed.record(), execution.record());
    assert_ne!(replayed.record().service, copied().record().service);
    let exchange = items[1].exchange.as_mut().unwrap();
    exchange.response = exchange::with_defaults(Response::new(404), &Coverage::default());
    // All entries of a slot name the state after it.
    assert_eq!(copied().repeat(&items).unwrap_err().index, Index(1));
}
