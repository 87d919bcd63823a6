//! Arithmetic of queues, and the rules of order, clogs, cuts and capacity.

use super::*;
use crate::network::Bandwidth;
use std::collections::BTreeMap;

const MS: u64 = 1_000_000;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Ten milliseconds from anybody to anybody.
fn plain() -> Network {
    Network::even(ms(10), Duration::ZERO)
}

/// A megabyte takes a second out of a node, and half of one into it.
fn narrow() -> Bandwidth {
    Bandwidth { up: 8_000_000, down: 16_000_000, inside: None, overseas: None, site: None }
}

/// A parcel for the tests: its number, its link and its length.
type Parcel = (usize, (usize, usize), u64);

/// An event loop of nothing but wires.
struct Post {
    wires: Wires,
    queue: BTreeMap<(Time, usize), (Parcel, Stage)>,
    events: usize,
    sent: usize,
    received: Vec<(usize, u64)>,
}

impl Post {
    fn new(network: Network) -> Self {
        let wires = Wires::new(network, 4, &mut Rng::new(7));
        Self { wires, queue: BTreeMap::new(), events: 0, sent: 0, received: Vec::new() }
    }

    /// Sends a message, when all that comes before was seen to.
    fn send(&mut self, at_ms: u64, link: (usize, usize), bytes: u64) {
        self.turn(Time(at_ms * MS));
        let parcel = (self.sent, link, bytes);
        self.sent += 1;
        for hop in self.wires.send(Time(at_ms * MS), link.0, link.1, bytes).into_iter().flatten() {
            self.push(hop, parcel);
        }
    }

    fn push(&mut self, hop: Hop, parcel: Parcel) {
        self.events += 1;
        self.queue.insert((hop.at, self.events), (parcel, hop.stage));
    }

    /// Who is received when, in order: parcel numbers and microseconds.
    fn receive(&mut self) -> Vec<(usize, u64)> {
        self.turn(Time(u64::MAX));
        std::mem::take(&mut self.received)
    }

    fn turn(&mut self, until: Time) {
        while let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= until
        {
            let ((now, _), (parcel, stage)) = entry.remove_entry();
            match self.wires.hop(now, parcel.1, parcel.2, stage) {
                Some(hop) => {
                    assert!(hop.at >= now, "{parcel:?} goes back in time");
                    self.push(hop, parcel);
                }
                None => self.received.push((parcel.0, now.0 / 1_000)),
            }
        }
    }

    fn met(&self) -> Counts {
        let mut met = Counts::new();
        self.wires.count(&mut met);
        met
    }
}

#[test]
fn without_bandwidth_and_clogs_a_message_takes_one_event() {
    let mut post = Post::new(plain());
    assert!(!post.wires.weighs());
    post.send(1, (0, 1), 1 << 20);
    post.send(1, (2, 1), 1 << 20);
    assert_eq!(post.receive(), [(0, 11_000), (1, 11_000)]);
    assert_eq!(post.events, 2);
    assert!(post.met().is_empty());
}

#[test]
fn a_sender_s_messages_leave_one_after_the_other() {
    let mut post = Post::new(Network { bandwidth: Some(narrow()), ..plain() });
    // 100 ms each on the way out; the third is sent when the queue has been empty for long.
    post.send(0, (0, 1), 100_000);
    post.send(0, (0, 2), 100_000);
    post.send(1_000, (0, 3), 100_000);
    assert_eq!(post.receive(), [(0, 110_000), (1, 210_000), (2, 1_110_000)]);
}

#[test]
fn a_receiver_takes_what_arrives_one_after_the_other_from_whomever() {
    let mut post = Post::new(Network { bandwidth: Some(narrow()), ..plain() });
    (0..3).for_each(|from| post.send(0, (from, 3), 100_000));
    // All arrive at 110 ms; each but the first takes 50 ms more.
    assert_eq!(post.receive(), [(0, 110_000), (1, 160_000), (2, 210_000)]);
    assert_eq!(post.met(), Counts::from([("queue-wait", 2)]));
}

#[test]
fn a_message_from_afar_does_not_hold_up_what_was_sent_later_from_nearby() {
    let place = |name| Region::named(name).unwrap();
    let places = vec![place("southeastasia"), place("eastus"), place("eastus")];
    let delay = Delay::Regions { places, jitter_permille: 0 };
    let mut post = Post::new(Network { delay, bandwidth: Some(narrow()), ..plain() });
    post.send(0, (0, 2), 1_000);
    post.send(50, (1, 2), 1_000);
    assert_eq!(post.receive(), [(1, 51_300), (0, 112_250)]);
}

#[test]
fn a_pair_and_a_site_have_caps_of_their_own() {
    let place = |name| Region::named(name).unwrap();
    let (east, asia) = (place("eastus"), place("southeastasia"));
    let delay = Delay::Regions { places: vec![east, east, asia, asia], jitter_permille: 0 };
    let mut bandwidth =
        Bandwidth { up: 8_000_000_000, down: 8_000_000_000, site: None, ..Bandwidth::azure(1) };
    let network = Network { delay, bandwidth: Some(bandwidth.clone()), ..plain() };
    // A megabyte: 1 ms out of the node; 20 ms between America and Asia, for each pair.
    let mut post = Post::new(network.clone());
    [(0, 2), (0, 2), (0, 3), (1, 2)].into_iter().for_each(|link| post.send(0, link, 1_000_000));
    let far = 111_250;
    let expected = [(3, 20_000), (0, 20_000), (2, 22_000), (1, 40_000)];
    let mut received = post.receive();
    received.iter_mut().for_each(|(_, at)| *at -= far);
    received.sort_unstable();
    let mut expected = expected.to_vec();
    expected[0].1 += 1_000; // Two arrive at 2 at once; one waits for the other.
    expected.sort_unstable();
    assert_eq!(received, expected);
    // One exit for both nodes: 10 ms each, in the order in which they get there.
    bandwidth.site = Some(800_000_000);
    (bandwidth.inside, bandwidth.overseas) = (None, None);
    let mut post = Post::new(Network { bandwidth: Some(bandwidth), ..network });
    post.send(0, (0, 2), 1_000_000);
    post.send(0, (1, 3), 1_000_000);
    post.send(0, (0, 1), 1_000_000);
    let inside = 300;
    assert_eq!(post.receive(), [(2, 2_000 + inside), (0, 11_000 + far), (1, 21_000 + far)]);
}

#[test]
fn throughput_into_a_node_is_its_bandwidth() {
    let mut post = Post::new(Network { bandwidth: Some(narrow()), ..plain() });
    for round in 0..100 {
        (0..3).for_each(|from| post.send(round, (from, 3), 10_000));
    }
    let received = post.receive();
    assert_eq!(received.len(), 300);
    let last = received.last().unwrap().1;
    // 3 MB into it take 1.5 s, and the first comes after 20 ms without any wait.
    assert_eq!(last, 20_000 + 299 * 5_000);
}

#[test]
fn a_link_that_keeps_order_never_reorders_and_others_do() {
    let order = |in_order| {
        let network = Network { in_order, ..Network::even(ms(1), ms(50)) };
        let mut post = Post::new(network);
        (0..200).for_each(|at| post.send(at, (0, 1), 0));
        let received = post.receive();
        assert_eq!(received.len(), 200);
        received.is_sorted_by_key(|(number, _)| *number)
    };
    assert!(order(true));
    assert!(!order(false));
}

#[test]
fn a_link_without_jitter_keeps_order_by_itself() {
    let mut post = Post::new(plain());
    (0..200).for_each(|number| post.send(number / 50, (0, 1), 0));
    assert!(post.receive().is_sorted_by_key(|(number, _)| *number));
}

#[test]
fn what_waits_in_a_clog_comes_at_its_end_in_order() {
    for in_order in [true, false] {
        let network = Network {
            in_order,
            clog_permille: 100,
            clog_max: ms(300),
            bandwidth: Some(narrow()),
            ..plain()
        };
        let mut post = Post::new(network);
        (0..300).for_each(|number| post.send(number * 3, (0, 1), 1));
        let clogs = post.met()["clog"];
        let received = post.receive();
        assert_eq!(received.len(), 300, "nothing is lost");
        assert!(clogs > 2, "{clogs}");
        assert!(received.is_sorted_by_key(|(number, _)| *number), "{received:?}");
        let waited = received.iter().map(|&(number, at)| at / 1_000 - number as u64 * 3).max();
        assert!((50..=310).contains(&waited.unwrap()), "{waited:?}");
    }
}

#[test]
fn a_full_link_drops_and_takes_again_once_it_has_room() {
    let mut post = Post::new(Network { capacity: Some(3), ..plain() });
    (0..5).for_each(|_| post.send(0, (0, 1), 0));
    post.send(0, (1, 0), 0);
    assert_eq!(post.receive().iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1, 2, 5]);
    post.send(20, (0, 1), 0);
    assert_eq!(post.receive(), [(6, 30_000)]);
    assert_eq!(post.met(), Counts::from([("queue-full", 2)]));
}

#[test]
fn a_cut_is_of_one_direction_and_cuts_add_up() {
    let mut post = Post::new(plain());
    post.send(0, (0, 1), 0);
    post.wires.cut(0, 1);
    post.wires.cut(0, 1);
    post.wires.mend(0, 1);
    assert_eq!(post.wires.cuts().collect::<Vec<_>>(), [(0, 1)]);
    post.send(1, (0, 1), 0);
    post.send(1, (1, 0), 0);
    post.wires.mend(0, 1);
    post.send(2, (0, 1), 0);
    assert_eq!(post.receive(), [(0, 10_000), (2, 11_000), (3, 12_000)]);
    assert_eq!(post.met(), Counts::from([("cut-message", 1)]));
    post.wires.cut(2, 3);
    post.wires.heal();
    assert_eq!(post.wires.cuts().count(), 0);
}

#[test]
fn loss_and_repetition_come_as_often_as_they_are_set() {
    let network = Network { loss_permille: 300, replay_permille: 500, ..plain() };
    let mut post = Post::new(network);
    (0..10_000).for_each(|number| post.send(number, (0, 1), 0));
    let met = post.met();
    assert!((2_800..3_200).contains(&met["loss"]), "{met:?}");
    assert!((3_300..3_700).contains(&met["replay"]), "{met:?}: half of what is not lost");
    assert_eq!(post.receive().len() as u64, 10_000 - met["loss"] + met["replay"]);
    post.wires.heal();
    (0..1_000).for_each(|number| post.send(20_000 + number, (0, 1), 0));
    assert_eq!(post.receive().len(), 1_000);
    assert_eq!(post.met(), met);
}

#[test]
fn the_same_seed_gives_the_same_times_and_leaving_faults_out_changes_no_others() {
    let run = |network: Network| {
        let mut post = Post::new(network);
        (0..1_000).for_each(|number| post.send(number, (0, 1), 100));
        post.receive()
    };
    let harsh = Network {
        delay: Delay::Tail { least: ms(5), mean: ms(60) },
        loss_permille: 100,
        ..plain()
    };
    assert_eq!(run(harsh.clone()), run(harsh.clone()));
    let all: BTreeMap<_, _> =
        run(Network { loss_permille: 0, ..harsh.clone() }).into_iter().collect();
    for (number, at) in run(harsh) {
        assert_eq!(all[&number], at);
    }
}

#[test]
fn tails_have_their_mean_and_their_shape() {
    let mut rng = Rng::new(3);
    let count = 200_000;
    let mut over = [0_u32; 4];
    let mut sum = 0.0;
    for _ in 0..count {
        let drawn = tail(&mut rng, ms(10)).as_secs_f64() * 100.0;
        sum += drawn;
        (0..4)
            .filter(|&times| drawn > f64::from(times))
            .for_each(|times| over[times as usize] += 1);
    }
    let mean = sum / f64::from(count);
    assert!((0.98..1.02).contains(&mean), "{mean}");
    for (times, expected) in [(1, 0.3679), (2, 0.1353), (3, 0.0498)] {
        let share = f64::from(over[times]) / f64::from(count);
        assert!((share - expected).abs() < 0.005, "{share} beyond {times} means");
    }
}
