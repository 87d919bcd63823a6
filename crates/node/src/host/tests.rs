use super::*;
use fake::{Deed, Fake, ok};
use quorate_client::{Endpoint, Url};
use quorate_ledger::{Log, MemoryDisk, Owner};
use quorate_proof::{Coverage, Entry, EntryKind, with_defaults};
use quorate_types::{
    Chain, Digest, Epoch, Exchange, Index, LogItem, ReplicaId, Request, Salt, UnixMillis,
};
use sight::CopyStanding;
use std::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering::SeqCst},
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

mod snapshots;

const TIME: UnixMillis = UnixMillis(1_763_658_123_456);

/// Long enough for a machine that also compiles.
const SOON: Duration = Duration::from_secs(30);

/// A log and a host on it.
struct Scene {
    log: Log<MemoryDisk>,
    host: Host,
    answers: UnboundedReceiver<(Slot, Vec<Option<Response>>)>,
}

fn chain() -> Chain {
    Chain::parse("5f2c9a17d0e84b63").unwrap()
}

fn replica_rules() -> quorate_replica::Rules {
    quorate_replica::Rules {
        authority: "shop.example".to_owned(),
        chain: chain(),
        coverage: Coverage::default(),
        policy: Digest([3; 32]),
        genesis: TIME,
        body_max: 1000,
        replay_window: 100,
        replay_signed_max: 100,
        copies: true,
    }
}

fn request(path: &str) -> Arc<Request> {
    Arc::new(Request {
        method: "POST".to_owned(),
        path: path.to_owned(),
        query: "?".to_owned(),
        fields: Vec::new(),
        body: "".into(),
        salt: Salt([7; 16]),
        signature: None,
    })
}

fn item(index: u64, exchange: Option<(&str, Response)>) -> LogItem {
    let kind = match &exchange {
        Some(_) => EntryKind::Exchange(Digest([1; 32])),
        None => EntryKind::Mark,
    };
    let entry =
        Entry { index: Index(index), epoch: Epoch(0), time: TIME, state: Digest([2; 32]), kind };
    let exchange = exchange.map(|(path, response)| Exchange {
        request: request(path),
        response: with_defaults(response, &Coverage::default()),
    });
    LogItem { entry: entry.text(), exchange, opening: None }
}

fn said(body: &str) -> Response {
    Response::new(200).with_body("text/plain", body.to_owned())
}

fn call(index: u64, path: &str) -> Call {
    let request = request(path);
    let seed = quorate_replica::execute::seed(&chain(), Index(index), &request);
    Call { index: Index(index), time: TIME, seed, request }
}

impl Scene {
    /// A host of a copy at this address, on a log with genesis and these exchanges.
    fn new(address: &str, reset: Option<Reset>, fresh: bool, past: &[(&str, Response)]) -> Self {
        Self::with(address, reset, None, fresh, past)
    }

    /// The same, with snapshots of the copy's state.
    fn with(
        address: &str,
        reset: Option<Reset>,
        saves: Option<Saves<MemoryDisk>>,
        fresh: bool,
        past: &[(&str, Response)],
    ) -> Self {
        let owner = Owner { chain: chain(), replica: ReplicaId(2) };
        let mut log = Log::open(MemoryDisk::new(), owner).unwrap().log;
        log.append(&[item(0, None)]).unwrap();
        let rules = Rules {
            authority: "shop.example".to_owned(),
            coverage: Coverage::default(),
            volatile: Vec::new(),
            canonical_json: false,
            body_max: 1000,
            call_timeout: Duration::from_millis(300),
            own_paths: Vec::new(),
        };
        let (sender, answers) = unbounded_channel();
        for (index, (path, response)) in (1..).zip(past) {
            log.append(&[item(index, Some((path, response.clone())))]).unwrap();
        }
        let past = Past { reader: log.reader(), rules: replica_rules() };
        let host = Host::start(Parts {
            copy: OwnCopy::new(Endpoint::parse(address).unwrap(), rules),
            past,
            reset,
            saves,
            fresh,
            answered: Arc::new(move |slot, answers| {
                let _ = sender.send((slot, answers));
            }),
        });
        Self { log, host: host.unwrap(), answers }
    }

    fn record(&mut self, path: &str, response: Response) {
        let index = self.log.size();
        self.log.append(&[item(index, Some((path, response)))]).unwrap();
    }

    /// The bodies of the answers to these calls.
    async fn call(&mut self, slot: u64, calls: &[(u64, &str)]) -> Vec<Option<String>> {
        let calls = calls.iter().map(|(index, path)| self::call(*index, path)).collect();
        self.host.call(Slot(slot), Arc::new(calls));
        let (answered, answers) = self.answers.recv().await.unwrap();
        assert_eq!(answered, Slot(slot));
        let body = |it: Response| String::from_utf8(it.body.to_vec()).unwrap();
        answers.into_iter().map(|answer| answer.map(body)).collect()
    }

    fn standing(&self) -> CopyStanding {
        self.host.sight().standing()
    }

    async fn comes_to(&self, standing: CopyStanding) {
        let deadline = Instant::now() + SOON;
        while self.standing() != standing {
            assert!(Instant::now() < deadline, "it is {:?}", self.standing());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A program that counts its requests, and begins anew after a POST to /reset.
async fn counter() -> Fake {
    let count = AtomicU32::new(0);
    Fake::start(move |request, _| {
        if request.starts_with("POST /reset ") {
            count.store(0, SeqCst);
            return Deed::Say(ok(""));
        }
        let number = count.fetch_add(1, SeqCst) + 1;
        if request.starts_with("POST /die ") {
            return Deed::SayAndClose(Vec::new());
        }
        Deed::Say(ok(&number.to_string()))
    })
    .await
}

fn reset_of(fake: &Fake) -> Option<Reset> {
    Some(Reset::Url(Url::parse(&format!("http://{}/reset", fake.address)).unwrap()))
}

fn some(bodies: &[&str]) -> Vec<Option<String>> {
    bodies.iter().map(|body| Some((*body).to_owned())).collect()
}

#[tokio::test]
async fn a_slots_calls_are_executed_in_order_and_answered_together() {
    let fake = counter().await;
    let mut scene = Scene::new(&fake.address, None, true, &[]);
    assert_eq!(scene.call(1, &[(1, "/a"), (2, "/b")]).await, some(&["1", "2"]));
    scene.record("/a", said("1"));
    scene.record("/b", said("2"));
    scene.host.agreed(Slot(1), true);
    // The entry between was no call: another answer to a key that was used before.
    let detail = "another request was made under this Idempotency-Key";
    scene.record("/c", Response::problem(422, "idempotency-key-reused", detail));
    assert_eq!(scene.call(2, &[(4, "/d")]).await, some(&["3"]));
    assert_eq!(scene.standing(), CopyStanding::InStep { next: Index(5) });
    assert_eq!(fake.lines().len(), 3);
    assert_eq!((scene.host.sight().calls.get(), scene.host.sight().failures.get()), (3, 0));
}

#[tokio::test]
async fn what_was_executed_elsewhere_is_executed_from_the_log_first() {
    let fake = counter().await;
    let mut scene = Scene::new(&fake.address, None, true, &[("/a", said("1"))]);
    let silent = "too few of the service's copies answered; the request counts as not executed";
    scene.record("/b", Response::problem(502, "copies-silent", silent));
    assert_eq!(scene.call(9, &[(3, "/c")]).await, some(&["2"]));
    // What it says of a request that was answered elsewhere is compared as well.
    scene.record("/c", said("2"));
    scene.record("/d", said("another"));
    assert_eq!(scene.call(11, &[(5, "/e")]).await, [None]);
    assert_eq!(scene.standing(), CopyStanding::Fenced);
    assert_eq!(fake.lines()[..2], ["POST /a HTTP/1.1", "POST /c HTTP/1.1"]);
    let seed = call(1, "/a").seed;
    let heard = fake.heard.lock().unwrap().requests[0].clone();
    assert!(heard.contains(&format!("quorate-index: 1\r\nquorate-time: {TIME}\r\n")), "{heard}");
    assert!(heard.contains(&format!("quorate-seed: {seed}\r\n")), "{heard}");
}

#[tokio::test]
async fn a_copy_without_a_way_back_is_fenced_by_a_call_without_an_answer() {
    let fake = counter().await;
    let mut scene = Scene::new(&fake.address, None, true, &[]);
    let calls = [(1, "/a"), (2, "/die"), (3, "/b")];
    assert_eq!(scene.call(1, &calls).await, [Some("1".to_owned()), None, None]);
    assert_eq!(scene.standing(), CopyStanding::Fenced);
    assert_eq!(scene.call(2, &[(4, "/c")]).await, [None]);
    assert_eq!(fake.lines().len(), 2, "nothing after the one that failed");
    let restarted = Scene::new(&fake.address, None, false, &[("/a", said("1"))]);
    assert_eq!(restarted.standing(), CopyStanding::Fenced);
}

#[tokio::test]
async fn a_copy_that_differs_is_reset_and_executes_everything_again() {
    let fake = counter().await;
    let mut scene = Scene::new(&fake.address, reset_of(&fake), true, &[]);
    assert_eq!(scene.call(1, &[(1, "/a")]).await, some(&["1"]));
    scene.record("/a", said("another"));
    scene.host.agreed(Slot(1), false);
    scene.comes_to(CopyStanding::InStep { next: Index(2) }).await;
    while fake.lines().len() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(fake.lines()[1..], ["POST /reset HTTP/1.1", "POST /a HTTP/1.1"]);
    assert_eq!(scene.call(2, &[(2, "/b")]).await, some(&["2"]));
    scene.record("/b", said("2"));
    // What is told of a slot before the restoration is no news.
    scene.host.agreed(Slot(1), false);
    assert_eq!(scene.call(3, &[(3, "/c")]).await, some(&["3"]));
}

#[tokio::test]
async fn an_agreed_answer_that_came_too_late_is_no_difference() {
    let fake = counter().await;
    let mut scene = Scene::new(&fake.address, None, true, &[]);
    assert_eq!(scene.call(1, &[(1, "/a")]).await, some(&["1"]));
    scene.record("/a", said("1"));
    scene.host.agreed(Slot(1), false);
    assert_eq!(scene.call(2, &[(2, "/b")]).await, some(&["2"]));
    scene.host.agreed(Slot(2), false);
    assert_eq!(scene.call(3, &[(3, "/c")]).await, [None], "its entry is not in the log");
}

#[tokio::test]
async fn a_difference_that_nobody_tells_of_is_found_in_the_log() {
    let fake = counter().await;
    let mut scene = Scene::new(&fake.address, None, true, &[]);
    assert_eq!(scene.call(1, &[(1, "/a")]).await, some(&["1"]));
    let detail =
        "the service's copies executed the request, and too few of them gave the same answer";
    scene.record("/a", Response::problem(502, "copies-disagree", detail));
    assert_eq!(scene.call(2, &[(2, "/b")]).await, some(&["2"]), "it executed it as all did");
    scene.host.grown();
    scene.record("/b", said("another"));
    scene.host.grown();
    scene.comes_to(CopyStanding::Fenced).await;
    assert_eq!(scene.call(3, &[(3, "/c")]).await, [None]);
}

#[tokio::test]
async fn a_restarted_replica_brings_its_copy_in_step_before_the_next_call() {
    let fake = counter().await;
    let past = [("/a", said("1")), ("/b", said("2"))];
    let mut scene = Scene::new(&fake.address, reset_of(&fake), false, &past);
    assert_eq!(scene.call(5, &[(3, "/c")]).await, some(&["3"]));
    assert_eq!(scene.standing(), CopyStanding::InStep { next: Index(4) });
    assert_eq!(fake.lines()[0], "POST /reset HTTP/1.1");
    // A call that the copy executed from the log meanwhile is not executed twice.
    scene.record("/c", said("3"));
    assert_eq!(scene.call(6, &[(3, "/c")]).await, [None]);
    assert_eq!(scene.call(7, &[(4, "/d")]).await, some(&["4"]));
}

#[tokio::test]
async fn a_reset_that_fails_is_tried_again_and_nobody_waits_for_it_meanwhile() {
    let tries = Arc::new(Mutex::new(0));
    let told = Arc::clone(&tries);
    let fake = Fake::start(move |request, _| {
        if !request.starts_with("POST /reset ") {
            return Deed::Say(ok("x"));
        }
        *told.lock().unwrap() += 1;
        let busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec();
        Deed::Say(if *told.lock().unwrap() < 3 { busy } else { ok("") })
    })
    .await;
    let mut scene = Scene::new(&fake.address, reset_of(&fake), false, &[("/a", said("x"))]);
    let before = Instant::now();
    assert_eq!(scene.call(1, &[(2, "/b")]).await, [None]);
    assert!(before.elapsed() < Duration::from_secs(9), "less than a call waits for a copy");
    scene.comes_to(CopyStanding::InStep { next: Index(2) }).await;
    assert_eq!(*tries.lock().unwrap(), 3);
}

#[tokio::test]
async fn a_command_resets_a_copy_in_the_folder_of_the_configuration() {
    let fake = counter().await;
    let folder = tempfile::tempdir().unwrap();
    let argv = ["sh", "-c", "echo reset > it"].map(str::to_owned).to_vec();
    let reset = Reset::Command { argv, folder: folder.path().to_owned() };
    let mut scene = Scene::new(&fake.address, Some(reset), false, &[]);
    assert_eq!(scene.call(1, &[(1, "/a")]).await, some(&["1"]));
    assert_eq!(std::fs::read_to_string(folder.path().join("it")).unwrap(), "reset\n");
}

#[tokio::test]
async fn a_copy_that_was_sent_nothing_yet_may_come_up_later() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let mut scene = Scene::new(&address.to_string(), None, true, &[]);
    assert_eq!(scene.call(1, &[(1, "/a")]).await, [None]);
    assert_eq!(scene.standing(), CopyStanding::InStep { next: Index(1) });
    scene.record("/a", said("1"));
    scene.host.agreed(Slot(1), false);
    assert_eq!(scene.call(2, &[(2, "/b")]).await, [None]);
    scene.record("/b", said("2"));
    assert_ne!(scene.standing(), CopyStanding::Fenced);
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        for number in 1.. {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.read(&mut [0; 4096]).await;
            let _ = socket.write_all(&ok(&number.to_string())).await;
        }
    });
    assert_eq!(scene.call(3, &[(3, "/c")]).await, some(&["3"]));
}
