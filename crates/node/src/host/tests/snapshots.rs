//! Copies whose state is saved and put back.

use super::*;

/// The way to a saved state, in a folder that outlives the host.
struct Shelf {
    disk: MemoryDisk,
    fake: Fake,
    entries: u64,
    bytes_max: usize,
}

impl Shelf {
    async fn new() -> Self {
        Self::of(keeper_of_its_count(204).await)
    }

    fn of(fake: Fake) -> Self {
        Self { disk: MemoryDisk::new(), fake, entries: 2, bytes_max: 100 }
    }

    fn saves(&self) -> Option<Saves<MemoryDisk>> {
        let at = |path: &str| Url::parse(&format!("http://{}{path}", self.fake.address)).unwrap();
        let plan = SavePlan {
            save: at("/save"),
            load: at("/load"),
            entries: self.entries,
            bytes_max: self.bytes_max,
        };
        let owner = Owner { chain: chain(), replica: ReplicaId(2) };
        Some(Saves::new(plan, self.disk.clone(), owner, 4))
    }

    fn scene(&self, reset: bool, fresh: bool, past: &[(&str, Response)]) -> Scene {
        let reset = if reset { reset_of(&self.fake) } else { None };
        Scene::with(&self.fake.address, reset, self.saves(), fresh, past)
    }

    /// Three calls, and the host is gone. The state before the third was saved.
    async fn fill(&self) {
        let mut scene = self.scene(true, true, &[]);
        for (slot, path) in (1..).zip(["/a", "/b", "/c"]) {
            let body = slot.to_string();
            assert_eq!(scene.call(slot, &[(slot, path)]).await, some(&[&body]));
            scene.record(path, said(&body));
            scene.host.agreed(Slot(slot), true);
        }
        drop(scene);
        let saved = ["GET /save", "POST /a", "POST /b", "GET /save", "POST /c"];
        self.heard_from(0, &saved).await;
    }

    /// Waits for these first lines, and no others, after some.
    async fn heard_from(&self, from: usize, lines: &[&str]) {
        let deadline = Instant::now() + SOON;
        while self.fake.lines().len() < from + lines.len() {
            assert!(Instant::now() < deadline, "{:?}", self.fake.lines());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let heard = self.fake.lines();
        let whole: Vec<_> = lines.iter().map(|line| format!("{line} HTTP/1.1")).collect();
        assert_eq!(heard[from..], whole);
    }
}

/// A program that counts, and gives its count away and takes one back, which it answers so.
async fn keeper_of_its_count(taken: u16) -> Fake {
    let count = AtomicU32::new(0);
    Fake::start(move |request, _| {
        let content = request.rsplit("\r\n\r\n").next().unwrap_or_default();
        Deed::Say(if request.starts_with("GET /save ") {
            ok(&count.load(SeqCst).to_string())
        } else if request.starts_with("PUT /load ") {
            assert!(request.contains("\r\ncontent-type: text/plain\r\n"), "{request}");
            if taken < 300 {
                count.store(content.parse().unwrap(), SeqCst);
            }
            format!("HTTP/1.1 {taken} x\r\nContent-Length: 0\r\n\r\n").into_bytes()
        } else if request.starts_with("POST /reset ") {
            count.store(0, SeqCst);
            ok("")
        } else {
            ok(&(count.fetch_add(1, SeqCst) + 1).to_string())
        })
    })
    .await
}

fn past() -> [(&'static str, Response); 3] {
    [("/a", said("1")), ("/b", said("2")), ("/c", said("3"))]
}

#[tokio::test]
async fn a_restart_with_a_snapshot_executes_only_what_came_after_it() {
    let shelf = Shelf::new().await;
    shelf.fill().await;
    let mut scene = shelf.scene(true, false, &past());
    assert_eq!(scene.call(9, &[(4, "/d")]).await, some(&["4"]));
    shelf.heard_from(5, &["PUT /load", "POST /c", "POST /d"]).await;
    assert_eq!(scene.standing(), CopyStanding::InStep { next: Index(5) });
    // Without another way back it is as good.
    drop(scene);
    let mut scene = shelf.scene(false, false, &[&past()[..], &[("/d", said("4"))]].concat());
    assert_eq!(scene.call(11, &[(5, "/e")]).await, some(&["5"]));
    scene.record("/e", said("another"));
    scene.host.agreed(Slot(11), false);
    scene.comes_to(CopyStanding::Fenced).await;
    assert_eq!(shelf.disk.list().unwrap(), [], "with it, the copy answers otherwise than agreed");
}

#[tokio::test]
async fn a_damaged_snapshot_is_never_loaded() {
    for reset in [true, false] {
        let shelf = Shelf::new().await;
        shelf.fill().await;
        shelf.disk.flip("snapshot", 90, 3);
        let scene = shelf.scene(reset, false, &past());
        if reset {
            shelf.heard_from(5, &["POST /reset", "POST /a", "POST /b", "POST /c"]).await;
            scene.comes_to(CopyStanding::InStep { next: Index(4) }).await;
        } else {
            scene.comes_to(CopyStanding::Fenced).await;
            assert_eq!(shelf.fake.lines().len(), 5);
        }
    }
}

#[tokio::test]
async fn a_snapshot_that_the_copy_refuses_is_thrown_away() {
    let shelf = Shelf::of(keeper_of_its_count(400).await);
    shelf.fill().await;
    let scene = shelf.scene(true, false, &past());
    scene.comes_to(CopyStanding::InStep { next: Index(4) }).await;
    let again = ["PUT /load", "POST /reset", "POST /a", "POST /b", "POST /c", "GET /save"];
    shelf.heard_from(5, &again).await;
}

#[tokio::test]
async fn a_copy_that_cannot_take_it_yet_is_asked_again() {
    let shelf = Shelf::of(keeper_of_its_count(503).await);
    shelf.fill().await;
    let scene = shelf.scene(true, false, &past());
    shelf.heard_from(5, &["PUT /load", "PUT /load"]).await;
    assert_eq!(scene.standing(), CopyStanding::Restoring { next: Index(1) });
    assert_eq!(shelf.disk.list().unwrap().len(), 1, "it is kept");
}

#[tokio::test]
async fn a_snapshot_that_leads_to_other_answers_is_thrown_away() {
    for reset in [true, false] {
        let shelf = Shelf::new().await;
        shelf.fill().await;
        let [a, b, _] = past();
        let scene = shelf.scene(reset, false, &[a, b, ("/c", said("another"))]);
        if reset {
            let again = ["PUT /load", "POST /c", "POST /reset", "POST /a", "POST /b", "POST /c"];
            scene.comes_to(CopyStanding::InStep { next: Index(4) }).await;
            shelf.heard_from(5, &[&again[..], &["GET /save"]].concat()).await;
        } else {
            scene.comes_to(CopyStanding::Fenced).await;
            shelf.heard_from(5, &["PUT /load", "POST /c"]).await;
            assert_eq!(shelf.disk.list().unwrap(), []);
        }
    }
}

#[tokio::test]
async fn a_snapshot_beyond_the_logs_end_waits_for_the_log() {
    let shelf = Shelf::new().await;
    shelf.fill().await;
    let mut scene = shelf.scene(true, false, &past()[..1]);
    assert_eq!(scene.call(8, &[(2, "/b")]).await, [None]);
    scene.record("/b", said("2"));
    scene.comes_to(CopyStanding::InStep { next: Index(3) }).await;
    shelf.heard_from(5, &["PUT /load"]).await;
    // It holds what this call did.
    assert_eq!(scene.call(9, &[(3, "/c")]).await, some(&["3"]));
}

#[tokio::test]
async fn nothing_is_saved_before_it_is_known_that_the_copy_kept_up() {
    let shelf = Shelf::new().await;
    let mut scene = shelf.scene(true, true, &[]);
    assert_eq!(scene.call(1, &[(1, "/a"), (2, "/b"), (3, "/c")]).await, some(&["1", "2", "3"]));
    tokio::time::sleep(Duration::from_millis(50)).await;
    shelf.heard_from(0, &["GET /save", "POST /a", "POST /b", "POST /c"]).await;
    past().into_iter().for_each(|(path, response)| scene.record(path, response));
    scene.host.agreed(Slot(1), true);
    shelf.heard_from(4, &["GET /save"]).await;
    // What came of the next is another's word, so nothing of it is kept.
    assert_eq!(scene.call(2, &[(4, "/d"), (5, "/e")]).await, some(&["4", "5"]));
    scene.record("/d", said("4"));
    scene.record("/e", said("another"));
    scene.host.agreed(Slot(2), false);
    shelf.heard_from(7, &["PUT /load", "POST /d", "POST /e", "POST /reset"]).await;
}

#[tokio::test]
async fn a_state_that_is_too_long_is_not_kept() {
    let mut shelf = Shelf::new().await;
    shelf.bytes_max = 0;
    let mut scene = shelf.scene(false, true, &[]);
    assert_eq!(scene.call(1, &[(1, "/a")]).await, some(&["1"]));
    assert_eq!(shelf.disk.list().unwrap(), []);
    shelf.heard_from(0, &["GET /save", "POST /a"]).await;
    // So there is no way back.
    scene.record("/a", said("another"));
    scene.host.agreed(Slot(1), false);
    scene.comes_to(CopyStanding::Fenced).await;
}
