//! The judge of what clients were told, on histories made by hand.

use bytes::Bytes;
use quorate_sim::{
    Check, Plan,
    client::{Manner, Operation, Returned},
    linear::{Beside, Judged, check},
    record,
};
use quorate_types::{Index, Request, Response, Salt, Time};

/// A history of one key.
#[derive(Default)]
struct Told(Vec<Operation>);

impl Told {
    /// An operation from one time to another, with its status and content; or for ever.
    fn add(mut self, ask: &str, from: u64, answer: Option<(u64, u16, &str)>) -> Self {
        let (method, value) = ask.split_once(' ').unwrap_or((ask, ""));
        let cas = format!("{{\"expect\":null,\"set\":\"{value}\"}}");
        let (method, path, body) = match method {
            "CREATE" => ("POST", "/kv/k0/cas", cas),
            method => (method, "/kv/k0", value.to_owned()),
        };
        let number = self.0.len() as u64;
        let request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: "?".to_owned(),
            fields: vec![("idempotency-key".to_owned(), format!("\"{number}\""))],
            body: Bytes::from(body),
            salt: Salt([0; 16]),
            signature: None,
        };
        let returned = answer.map(|(at, status, body)| Returned {
            at: Time(at),
            index: Index(number + 1),
            salt: Salt([0; 16]),
            response: Response::new(status).with_body("text/plain", body.to_owned()),
        });
        let (client, called, manner, sound) = (0, Time(from), Manner::Patient, true);
        self.0.push(Operation { client, request, called, returned, manner, sound });
        self
    }

    /// One after all others, that is answered at once.
    fn then(self, ask: &str, status: u16, body: &str) -> Self {
        let ends = self.0.iter().filter_map(|it| it.returned.as_ref()).map(|it| it.at.0);
        let now = ends.max().unwrap_or(0);
        self.add(ask, now + 1, Some((now + 2, status, body)))
    }

    fn judged(&self) -> Judged {
        check(&self.0, &Beside::default()).unwrap()
    }

    fn is_explained(&self) -> bool {
        match check(&self.0, &Beside::default()) {
            Ok(judged) => judged.too_long == 0,
            Err(violation) => {
                assert_eq!(violation.check, Check::Linearizability, "{violation}");
                false
            }
        }
    }
}

/// Two writes, one after the other.
fn two_writes() -> Told {
    Told::default().then("PUT a", 201, "").then("PUT b", 204, "")
}

#[test]
fn what_a_register_answers_is_linearizable() {
    let told = two_writes().then("GET", 200, "b").then("CREATE c", 409, "{\"actual\":\"b\"}");
    let told = told.then("DELETE", 204, "").then("GET", 404, "").then("CREATE c", 200, "");
    let judged = told.then("GET", 200, "c").judged();
    assert_eq!(judged, Judged { keys: 1, operations: 8, unanswered: 0, too_long: 0 });
}

#[test]
fn a_stale_read_a_lost_write_and_a_value_from_nowhere_are_noticed() {
    assert!(!two_writes().then("GET", 200, "a").is_explained());
    assert!(!two_writes().then("GET", 404, "").is_explained());
    assert!(!two_writes().then("GET", 200, "z").is_explained());
    assert!(!two_writes().then("PUT c", 201, "").is_explained());
    assert!(!two_writes().then("CREATE c", 200, "").is_explained());
    assert!(!two_writes().then("CREATE c", 409, "{\"actual\":\"a\"}").is_explained());
}

#[test]
fn a_double_execution_is_noticed() {
    let told = two_writes().then("GET", 200, "b").then("PUT c", 204, "");
    assert!(!told.then("GET", 200, "b").is_explained());
    assert!(!two_writes().then("DELETE", 404, "").is_explained());
}

#[test]
fn real_time_is_respected_and_what_overlaps_may_come_in_any_order() {
    // The read begins while the second write is under way, and ends after it.
    for (value, explained) in [("a", true), ("b", true), ("c", false)] {
        let told = Told::default().add("PUT a", 0, Some((10, 201, "")));
        let told =
            told.add("PUT b", 20, Some((40, 204, ""))).add("GET", 30, Some((50, 200, value)));
        assert_eq!(told.is_explained(), explained, "{value}");
    }
}

#[test]
fn what_nobody_answered_may_have_happened_late_or_never_but_not_twice() {
    for (value, explained) in [("b", true), ("c", true), ("a", false)] {
        let told = two_writes().add("PUT c", 5, None).add("GET", 5, None);
        assert_eq!(told.then("GET", 200, value).is_explained(), explained, "{value}");
    }
    let told = two_writes().add("PUT c", 5, None).then("GET", 200, "c").then("PUT d", 204, "");
    assert!(!told.then("GET", 200, "c").is_explained());
}

#[test]
fn a_retry_is_the_same_operation_and_two_entries_for_it_are_noticed() {
    let mut told = two_writes().then("GET", 200, "b");
    let mut again = told.0[0].clone();
    again.called = Time(100);
    again.returned.as_mut().unwrap().at = Time(101);
    told.0.push(again);
    assert!(told.is_explained(), "the first answer, once more");
    told.0.last_mut().unwrap().returned.as_mut().unwrap().index = Index(77);
    let violation = check(&told.0, &Beside::default()).unwrap_err();
    assert_eq!(violation.check, Check::AtMostOnce);
}

#[test]
fn a_history_that_takes_too_long_is_counted() {
    let mut told = Told::default();
    for write in 0..24 {
        told = told.add(&format!("PUT {write}"), 1, None);
    }
    let judged = told.then("GET", 200, "z").judged();
    assert_eq!((judged.too_long, judged.keys), (1, 0));
}

/// What a calm run's clients were told can be explained, and no longer when one read is changed.
#[test]
fn a_read_that_was_changed_in_a_run_is_noticed() {
    let noticed = (0..10).filter(|&seed| {
        let (_, mut trace) = record(Plan::calm(seed, 4));
        let beside = Beside::of(&trace);
        assert!(check(&trace.history, &beside).is_ok(), "seed {seed}");
        let reads = trace.history.iter_mut().filter(|it| it.request.method == "GET");
        let read = reads.filter_map(|it| it.returned.as_mut()).find(|it| it.response.status == 200);
        let Some(read) = read else { return false };
        read.response.body = Bytes::from_static(b"what nobody wrote");
        check(&trace.history, &beside).is_err()
    });
    assert!(noticed.count() > 0);
}
