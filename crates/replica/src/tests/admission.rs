use super::*;
use crate::admit::Proposal;
use quorate_protocol::Verdict;

fn refused(request: Request) -> (u16, &'static str) {
    let refusal = admission().admit(Proposal::part_of_verified(Arc::new(request))).unwrap_err();
    (refusal.status, refusal.code)
}

fn batch(time: u64, requests: Vec<Request>) -> Batch {
    let items = requests.into_iter().map(item).collect();
    Batch { time: UnixMillis(time), items }
}

#[test]
fn a_body_above_the_limit_is_refused() {
    let mut request = put(1, "a", "");
    request.body = Bytes::from(vec![0; (1 << 20) + 1]);
    assert_eq!(refused(request).0, 413);
}

#[test]
fn what_no_exchange_can_cover_is_refused() {
    let mut outside = put(1, "a", "v");
    outside.path = "no-slash".to_owned();
    assert_eq!(refused(outside).0, 400);
    let mut unknown = put(1, "a", "v");
    unknown.fields.insert(0, ("x-other".to_owned(), "1".to_owned()));
    assert_eq!(refused(unknown).0, 400);
    let mut long = put(1, "a", "v");
    long.path = format!("/{}", "a".repeat(70_000));
    assert!(matches!(refused(long).0, 414 | 431));
}

#[test]
fn rule_28b_a_fresh_proposal_far_from_the_clock_is_refused_and_a_re_proposal_is_exempt() {
    let clock = UnixMillis(1_000_000);
    for (time, timely) in [(1_000_000, true), (1_002_000, true), (1_002_001, false)] {
        let batch = batch(time, vec![put(1, "a", "v")]);
        let verdict = if timely { Verdict::Accepted } else { Verdict::Untimely };
        assert_eq!(admission().judge(&batch, Some(clock)), verdict, "{time}");
        assert_eq!(admission().judge(&batch, None), Verdict::Accepted);
    }
    let early = batch(997_999, vec![put(1, "a", "v")]);
    assert_eq!(admission().judge(&early, Some(clock)), Verdict::Untimely);
    let empty = batch(997_999, vec![]);
    assert_eq!(admission().judge(&empty, Some(clock)), Verdict::Refused, "wrong at any time");
}

#[test]
fn a_batch_is_neither_empty_nor_above_its_bound_nor_holds_what_would_not_be_admitted() {
    let refused = |batch| admission().judge(&batch, None) == Verdict::Refused;
    assert!(refused(batch(1, vec![])));
    let many = (0..=512).map(|n| put((n % 250) as u8, "a", "v")).collect();
    assert!(refused(batch(1, many)));
    let mut wrong = put(1, "a", "v");
    wrong.query = String::new();
    assert!(refused(batch(1, vec![put(2, "a", "v"), wrong])));
}
