//! An unchanged HTTP program behind the quorum, one copy beside each replica, and copies that lie,
//! die, hang and disagree.

use crate::{
    binary::{Person, Run},
    running::{Dev, copy_listeners, free_ports, gateway, pid, wait_for},
};
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// How a copy behaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Manner {
    Honest,
    /// Executes, and says something else: its own word.
    Says(&'static str),
    /// Executes, and closes the connection half-way through the answer.
    DiesHalfWay,
    /// Never answers.
    Hangs,
    /// Closes every connection at once.
    Dead,
}

/// A copy of a program that counts: it knows nothing of Quorate.
#[derive(Clone)]
struct Copy {
    manner: Arc<Mutex<Manner>>,
    /// What it executed since it was reset.
    executed: Arc<Mutex<Vec<String>>>,
    resets: Arc<Mutex<u32>>,
    /// How often it was given a state.
    loads: Arc<Mutex<u32>>,
}

/// Four copies, on ports that differ in their last digit.
struct Copies {
    service: String,
    all: Vec<Copy>,
}

impl Copies {
    fn start() -> Self {
        let (service, listeners) = copy_listeners(4);
        Self { service, all: listeners.into_iter().map(Copy::start).collect() }
    }

    fn set(&self, i: usize, manner: Manner) {
        *self.all[i].manner.lock().unwrap() = manner;
    }

    fn executed(&self, i: usize) -> Vec<String> {
        self.all[i].executed.lock().unwrap().clone()
    }
}

impl Copy {
    fn start(listener: TcpListener) -> Self {
        let copy = Self {
            manner: Arc::new(Mutex::new(Manner::Honest)),
            executed: Arc::default(),
            resets: Arc::default(),
            loads: Arc::default(),
        };
        let served = copy.clone();
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let copy = served.clone();
                thread::spawn(move || copy.serve(&socket));
            }
        });
        copy
    }

    fn serve(&self, mut socket: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(socket);
        loop {
            if *self.manner.lock().unwrap() == Manner::Dead {
                return None;
            }
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            let mut length = 0;
            loop {
                let mut field = String::new();
                reader.read_line(&mut field).ok()?;
                if field.trim().is_empty() {
                    break;
                }
                if let Some(value) = field.strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut content = String::new();
            reader.by_ref().take(length).read_to_string(&mut content).ok()?;
            let answer = self.answer(line.trim().trim_end_matches(" HTTP/1.1"), &content)?;
            let text = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: {:?}\r\n\
                 Content-Length: {}\r\n\r\n{answer}",
                std::time::SystemTime::now(),
                answer.len()
            );
            let half = *self.manner.lock().unwrap() == Manner::DiesHalfWay;
            let bytes = &text.as_bytes()[..if half { text.len() - 1 } else { text.len() }];
            socket.write_all(bytes).ok()?;
            if half {
                return None;
            }
        }
    }

    fn answer(&self, request: &str, content: &str) -> Option<String> {
        let mut executed = self.executed.lock().unwrap();
        if request == "POST /reset" {
            executed.clear();
            *self.resets.lock().unwrap() += 1;
            return Some(String::new());
        }
        if request == "GET /state" {
            return Some(executed.join("\n"));
        }
        if request == "PUT /state" {
            *executed = content.lines().map(str::to_owned).collect();
            *self.loads.lock().unwrap() += 1;
            return Some(String::new());
        }
        executed.push(request.to_owned());
        let number = executed.len();
        drop(executed);
        let manner = *self.manner.lock().unwrap();
        match manner {
            Manner::Says(word) => Some(word.to_owned()),
            Manner::Hangs => {
                thread::sleep(Duration::from_secs(3_600));
                None
            }
            Manner::Honest | Manner::DiesHalfWay | Manner::Dead => Some(number.to_string()),
        }
    }
}

/// A running cluster with its copies.
struct Scene {
    person: Person,
    copies: Copies,
    dev: Dev,
    ready: Value,
}

impl Scene {
    fn start() -> Self {
        Self::with("")
    }

    /// With these lines at the end of every configuration; `{service}` is the own copy's URL.
    fn with(lines: &str) -> Self {
        let (person, copies) = (Person::new(), Copies::start());
        let base = free_ports().to_string();
        let plan = ["--dir", "cluster", "--port", &base, "--service", &copies.service];
        person.run(&[&["init", "--name", "dev.localhost"], &plan[..]].concat()).exits(0);
        for i in 0..4 {
            let path = person.home.path().join(format!("cluster/r{i}/quorate.toml"));
            let service = copies.service.replace("{i}", &i.to_string());
            let text = fs::read_to_string(&path).unwrap() + &lines.replace("{service}", &service);
            fs::write(path, text).unwrap();
        }
        let dev = Dev::start(&person, &["--dir", "cluster"]);
        let ready = dev.event("ready");
        Self { person, copies, dev, ready }
    }

    fn curl(&self, i: usize, path: &str) -> Run {
        let url = format!("{}{path}", gateway(&self.ready, i));
        self.person.run(&["curl", "-X", "POST", &url])
    }

    /// POSTs through a gateway; the answer is verified.
    #[track_caller]
    fn post(&self, i: usize, path: &str) -> String {
        let run = self.curl(i, path).exits(0);
        assert!(run.stderr.contains("verified: "), "{run:?}");
        run.stdout
    }

    fn status(&self, i: usize) -> Value {
        let operations = self.ready["operations"][i].as_str().unwrap();
        self.person.run(&["--output", "json", "status", operations]).exits(0).json()
    }

    /// How a replica says that another's copy does.
    fn heard(&self, by: usize, of: u64) -> Option<String> {
        let status = self.status(by);
        let divergent = status["divergent"].as_array().unwrap();
        let one = divergent.iter().find(|one| one["id"] == of)?;
        Some(one["evidence"]["copy"].as_str().unwrap().to_owned())
    }

    fn standing(&self, i: usize) -> String {
        self.status(i)["copy"]["standing"].as_str().unwrap().to_owned()
    }
}

#[test]
fn an_unchanged_program_answers_with_proofs_and_a_liar_is_named_within_a_slot() {
    let scene = Scene::start();
    for (number, i) in (1..=8).zip([0, 1, 2, 3].into_iter().cycle()) {
        assert_eq!(scene.post(i, "/count"), number.to_string());
    }
    for i in 0..4 {
        wait_for("every copy to execute all of it", || scene.copies.executed(i).len() == 8);
        assert_eq!(scene.standing(i), "in-step");
        assert_eq!(scene.status(i)["divergent"].as_array().unwrap().len(), 0);
    }

    // Nothing that it says is certified, whichever gateway is asked.
    scene.copies.set(3, Manner::Says("a lie"));
    assert_eq!(scene.post(0, "/count"), "9");
    assert_eq!(scene.heard(0, 3).as_deref(), Some("differs"), "{}", scene.status(0));
    for (number, i) in (10..=13).zip(0..4) {
        assert_eq!(scene.post(i, "/count"), number.to_string());
    }
    wait_for("the liar to be fenced", || scene.standing(3) == "fenced");
    let lies = scene.copies.executed(3).len();
    assert_eq!(scene.post(3, "/count"), "14");
    assert_eq!(scene.copies.executed(3).len(), lies, "a fenced copy is called no more");
    let text = scene.person.run(&["status", &gateway(&scene.ready, 3)]).exits(0).stdout;
    assert!(text.contains(", fenced\n"), "{text}");
}

#[test]
fn a_dead_a_hanging_and_a_dying_copy_stop_nobody() {
    for manner in [Manner::Dead, Manner::Hangs, Manner::DiesHalfWay] {
        let scene = Scene::start();
        assert_eq!(scene.post(0, "/count"), "1");
        scene.copies.set(1, manner);
        for (number, i) in (2..=6).zip([0, 1, 2, 3].into_iter().cycle()) {
            assert_eq!(scene.post(i, "/count"), number.to_string(), "{manner:?}");
        }
        wait_for("the copy to be fenced", || scene.standing(1) == "fenced");
        assert_eq!(scene.post(0, "/count"), "7", "{manner:?}");
        wait_for(&format!("the copy to be named: {manner:?}"), || {
            scene.heard(0, 1).as_deref() == Some("silent")
        });
    }
}

#[test]
fn two_pairs_that_disagree_make_a_proven_502_and_the_chain_goes_on() {
    let scene = Scene::start();
    assert_eq!(scene.post(0, "/count"), "1");
    let words = ["a", "b", "c", "d"];
    (0..4).for_each(|i| scene.copies.set(i, Manner::Says(words[i])));
    let run = scene.curl(0, "/count");
    assert!(run.stdout.contains("\"code\":\"copies-disagree\""), "{run:?}");
    assert!(run.stderr.contains("verified: "), "{run:?}");
    // They executed it all the same, so they are still in step.
    (0..4).for_each(|i| scene.copies.set(i, Manner::Honest));
    assert_eq!(scene.post(1, "/count"), "3");
    // Of two pairs, one is agreed on, and the other no longer holds the service's state.
    (0..4).for_each(|i| scene.copies.set(i, Manner::Says(words[i / 2])));
    let agreed = scene.post(2, "/count");
    assert!(["a", "b"].contains(&&*agreed), "{agreed}");
    let others = if agreed == "a" { 2..4 } else { 0..2 };
    for i in others {
        wait_for("the other pair to be fenced", || scene.standing(i) == "fenced");
    }
}

#[test]
fn a_restarted_replica_and_a_liar_get_their_copies_in_step_again_by_replay() {
    let scene = Scene::with("[copy]\nrestore = \"replay\"\nreset_url = \"{service}/reset\"\n");
    for number in 1..=5 {
        assert_eq!(scene.post(0, "/count"), number.to_string());
    }
    let two = scene.ready["replicas"][2]["pid"].as_u64().unwrap();
    kill_process(pid(two), Signal::KILL).unwrap();
    assert_eq!(scene.dev.event("died")["id"], 2);
    assert_eq!(scene.post(0, "/count"), "6");
    assert_eq!(scene.dev.event("restarted")["id"], 2);
    wait_for("the restarted replica's copy to be in step", || {
        let run = scene.person.run(&[
            "--output",
            "json",
            "status",
            scene.ready["operations"][2].as_str().unwrap(),
        ]);
        run.exit == 0 && {
            let status = run.json();
            status["ready"] == true && status["copy"]["standing"] == "in-step"
        }
    });
    assert_eq!(*scene.copies.all[2].resets.lock().unwrap(), 1);
    assert_eq!(scene.post(2, "/count"), "7");
    wait_for("the copy to have it, too", || scene.copies.executed(2) == scene.copies.executed(0));

    scene.copies.set(1, Manner::Says("a lie"));
    assert_eq!(scene.post(0, "/count"), "8");
    assert_eq!(scene.heard(0, 1).as_deref(), Some("differs"));
    scene.copies.set(1, Manner::Honest);
    wait_for("the liar to be reset", || *scene.copies.all[1].resets.lock().unwrap() == 1);
    wait_for("it to be in step", || scene.standing(1) == "in-step");
    assert_eq!(scene.post(1, "/count"), "9");
    wait_for("it to agree again", || scene.heard(0, 1).is_none());
    assert_eq!(scene.copies.executed(1), scene.copies.executed(0));

    // No client resets a copy.
    scene.curl(0, "/RESET/").fails(1, "copy-own-path");
    assert_eq!(*scene.copies.all[0].resets.lock().unwrap(), 0);
}

#[test]
fn a_killed_replicas_forgetful_copy_gets_its_saved_state_and_what_came_since() {
    let scene = Scene::with(
        "[copy]\nrestore = \"snapshot\"\nsnapshot_entries = 3\nreset_url = \"{service}/reset\"\n\
         save_url = \"{service}/state\"\nload_url = \"{service}/state\"\n",
    );
    for number in 1..=8 {
        assert_eq!(scene.post(number % 4, "/count"), number.to_string());
    }
    let saved = scene.person.home.path().join("cluster/r2/data/copy/snapshot");
    wait_for("its state to be saved", || saved.exists());
    kill_process(pid(scene.ready["replicas"][2]["pid"].as_u64().unwrap()), Signal::KILL).unwrap();
    assert_eq!(scene.dev.event("died")["id"], 2);
    scene.copies.all[2].executed.lock().unwrap().clear();
    assert_eq!(scene.post(0, "/count"), "9");
    assert_eq!(scene.dev.event("restarted")["id"], 2);
    wait_for("the copy to have everything", || {
        scene.copies.executed(2) == scene.copies.executed(0)
    });
    let copy = &scene.copies.all[2];
    assert_eq!((*copy.loads.lock().unwrap(), *copy.resets.lock().unwrap()), (1, 0));
    assert_eq!(scene.post(1, "/count"), "10");
    wait_for("it to be in step", || {
        let operations = scene.ready["operations"][2].as_str().unwrap();
        let run = scene.person.run(&["--output", "json", "status", operations]);
        run.exit == 0 && run.json()["copy"]["standing"] == "in-step"
    });
    // No client sees a state, or gives one.
    let url = format!("{}/state", gateway(&scene.ready, 0));
    scene.person.run(&["curl", &url]).fails(1, "copy-own-path");
    scene.person.run(&["curl", "-X", "PUT", &url]).fails(1, "copy-own-path");
}

#[test]
fn each_replica_needs_a_copy_of_its_own() {
    let person = Person::new();
    let one = "http://127.0.0.1:9000";
    person.run(&["init", "--dir", "a", "--service", one]).fails(2, "init-one-copy");
    person.run(&["dev", "--dir", "b", "--service", one]).fails(2, "init-one-copy");
    person.run(&["explain", "init-one-copy"]).exits(0);
}
