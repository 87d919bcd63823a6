use super::*;
use crate::command::top::frame::{Line, Tone, frame};
use quorate_gateway::{Divergent, Peer};
use serde_json::json;

const NOW: u64 = 1_800_000_003_400;

/// What replica `id` of four says of itself, each having an operations listener but r3.
fn status(id: u16) -> Status {
    let operations = |id: u16| (id < 3).then(|| format!("http://10.0.0.{id}:7500"));
    let peer = |id| Peer { id, connected: id != 3, operations: operations(id) };
    Status {
        replica: id,
        replicas: 4,
        origin: "shop.example/quorate/5f2c9a17d0e84b63/bft".to_owned(),
        engine: "pbft".to_owned(),
        service: "kv".to_owned(),
        fault_model: "bft".to_owned(),
        development: false,
        ready: true,
        reason: None,
        view: 2,
        primary: 2,
        height: 40,
        lag: 0,
        peers: (0..4).filter(|other| *other != id).map(peer).collect(),
        last_head: Some(head(41, "Kx8fQd2mroot")),
        divergent: Vec::new(),
        copy: None,
        answers: None,
        version: "0.1.0".to_owned(),
        operations: None,
    }
}

fn head(size: u64, root: &str) -> LastHead {
    LastHead { size, root: root.to_owned(), time: NOW - 3_400 }
}

/// A board of which one listener is known, and what goes on there.
struct Story {
    board: Board,
    start: Instant,
}

impl Story {
    fn begin() -> Self {
        let first = endpoint("http://127.0.0.1:7400").unwrap();
        let board = Board::of(vec![first], Duration::from_secs(1));
        Self { board, start: Instant::now() }
    }

    fn hear(&mut self, place: usize, after_ms: u64, said: Result<Status, Failure>) -> Vec<String> {
        let at = self.start + Duration::from_millis(after_ms);
        let new = self.board.take(Heard { place, at, said: said.map(Box::new) });
        new.into_iter().map(|(place, endpoint)| format!("{place} {endpoint}")).collect()
    }

    fn picture(&self, after_ms: u64) -> Picture {
        self.board.picture(self.start + Duration::from_millis(after_ms), NOW)
    }
}

fn refused() -> Failure {
    Failure::failed("no-answer", "http://10.0.0.2:7500: connection refused")
}

fn text(lines: &[Line]) -> String {
    lines.iter().map(|line| format!("{}\n", line.text.trim_end())).collect()
}

#[test]
fn a_frame_shows_every_replica_whether_it_answers_or_not() {
    let mut story = Story::begin();
    assert_eq!(
        story.hear(0, 0, Ok(status(0))),
        ["1 http://10.0.0.1:7500", "2 http://10.0.0.2:7500"]
    );
    let recovers = "the replica fetches what it lacks";
    let behind = Status {
        ready: false,
        reason: Some(recovers.to_owned()),
        height: 17,
        lag: 23,
        last_head: Some(head(18, "AAAAAAAAAA")),
        ..status(1)
    };
    assert!(story.hear(1, 10, Ok(behind.clone())).is_empty(), "all are watched already");
    story.hear(2, 10, Ok(status(2)));
    let accusing = Status {
        last_head: Some(head(61, "bigger")),
        height: 60,
        divergent: vec![Divergent {
            id: 3,
            evidence: json!({ "charge": "equivocation", "messages": [1, 2] }),
        }],
        ..status(0)
    };
    story.hear(0, 2000, Ok(accusing));
    story.hear(1, 2010, Ok(behind));
    story.hear(2, 2010, Err(refused()));
    let picture = story.picture(2050);
    let expected = "\
shop.example/quorate/5f2c9a17d0e84b63/bft   pbft (bft), kv
1 of 4 ready, a quorum is 3   view 2 (primary r2)   height 60   10.0 requests/s

REPLICA READY   VIEW  PRIMARY     HEIGHT     LAG     REQ/S  LINKS  LAST HEAD
r0      yes        2       r2         60       0      10.0    2/3  61 entries, bigger.., 3.4 s ago
r1      no         2       r2         17      23       0.0    2/3  18 entries, AAAAAAAA.., \
3.4 s ago; the replica fetches what it lacks
r2      -       http://10.0.0.2:7500 (last answer 2.0 s ago): connection refused; 2 of 2 others \
have a link to it
r3      -       nobody tells where it can be asked; 0 of 2 others have a link to it

DIVERGENT: r3: equivocation, proven by 2 messages (see --output json) (told by r0)
q ends
";
    let lines = frame(&picture, 200, 50);
    assert_eq!(text(&lines), expected);
    let alarms: Vec<bool> = lines.iter().map(|line| line.tone == Tone::Alarm).collect();
    let expected = [false, true, false, false, false, true, true, true, false, true, false];
    assert_eq!(alarms, expected);

    let small = frame(&picture, 20, 3);
    assert_eq!(text(&small), "shop.example/quorat>\n1 of 4 ready, a quo>\n\n");
}

#[test]
fn one_that_hangs_grows_old_and_the_others_stay() {
    let mut story = Story::begin();
    story.hear(0, 0, Ok(status(0)));
    story.hear(1, 0, Ok(status(1)));
    story.hear(0, 1900, Ok(status(0)));
    assert_eq!(story.picture(1950).answering, 2);
    let picture = story.picture(2100);
    assert_eq!(picture.answering, 1);
    let silent = &picture.replicas[1];
    assert!(!silent.answers && silent.said.is_none());
    assert_eq!(silent.error.as_deref(), Some("no answer in time"));
    assert_eq!(silent.age_ms, Some(2100));
    story.hear(1, 2200, Ok(status(1)));
    assert_eq!(story.picture(2300).answering, 2);
}

#[test]
fn two_roots_of_one_size_are_a_fork() {
    let mut story = Story::begin();
    story.hear(0, 0, Ok(status(0)));
    story.hear(1, 0, Ok(status(1)));
    assert!(story.picture(1).forks.is_empty());
    story.hear(1, 5, Ok(Status { last_head: Some(head(41, "other")), ..status(1) }));
    let picture = story.picture(6);
    assert_eq!((picture.forks[0].size, &picture.forks[0].replicas[..]), (41, &[0, 1][..]));
    let lines = frame(&picture, 100, 50);
    let fork = "FORK: r0, r1 show different certified roots of 41 entries";
    assert!(lines.contains(&Line { tone: Tone::Alarm, text: fork.to_owned() }), "{lines:?}");
}

#[test]
fn a_replica_of_another_cluster_is_not_mixed_in() {
    let mut story = Story::begin();
    story.hear(0, 0, Ok(status(0)));
    let foreign = Status { origin: "other.example".to_owned(), replica: 2, ..status(1) };
    story.hear(1, 0, Ok(foreign));
    let picture = story.picture(1);
    assert_eq!(picture.answering, 1);
    let error = picture.replicas[1].error.as_deref();
    assert_eq!(error, Some("it is of another cluster, other.example"));
}

#[test]
fn a_peer_that_names_strange_places_makes_no_more_than_a_committee_be_asked() {
    let mut story = Story::begin();
    for round in 0..2000_u16 {
        let peers = vec![Peer {
            id: round + 1,
            connected: true,
            operations: Some(format!("http://10.1.{}.{}:1", round / 250, round % 250)),
        }];
        story.hear(0, 0, Ok(Status { peers, ..status(0) }));
    }
    assert_eq!(story.board.watched.len(), WATCHED_MAX);
}

#[test]
fn nobody_at_all_is_an_error_with_the_first_reason() {
    let mut story = Story::begin();
    assert!(story.board.hopeless().is_none() && !story.board.is_complete());
    story.hear(0, 0, Err(refused()));
    assert!(story.board.is_complete() && !story.board.has_heard());
    assert_eq!(story.board.hopeless(), Some(refused()));
}
