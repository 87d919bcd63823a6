//! `quorate top`, as lines and on a terminal.

use crate::{
    binary::Person,
    cluster::{Gateway, plain},
    running::{Dev, SOON, free_ports, gateway, pid},
};
use rustix::{
    process::{Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};
use serde_json::Value;
use std::{
    ffi::OsStr,
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::ffi::OsStrExt as _,
    process::Command,
    sync::mpsc::channel,
    thread,
    time::Instant,
};

fn refreshes(person: &Person, arguments: &[&str]) -> Vec<Value> {
    let run = person.run(&[&["top", "--interval", "200ms"], arguments].concat()).exits(0);
    run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn all_replicas_are_shown_by_one_url_and_one_that_stops_holds_up_nobody() {
    let person = Person::new();
    let base = free_ports();
    let dev = Dev::start(&person, &["--no-restart", "--port", &base.to_string()]);
    let ready = dev.event("ready");
    let url = format!("{}/kv/greeting", gateway(&ready, 1));
    person.run(&["curl", "-X", "PUT", "-d", "hello", &url]).exits(0);

    for url in [gateway(&ready, 2), ready["operations"][0].as_str().unwrap().to_owned()] {
        let shown = refreshes(&person, &["--count", "10", &url]);
        assert_eq!(shown.len(), 10);
        let last = &shown[9];
        assert_eq!((&last["answering"], &last["quorum"]), (&4.into(), &3.into()), "{last}");
        for id in 0..4 {
            let replica = &last["replicas"][id];
            assert_eq!((&replica["id"], &replica["ready"]), (&id.into(), &true.into()), "{last}");
            assert!(replica["last_head"]["size"].as_u64().unwrap() >= 2, "{last}");
        }
    }

    // r3 hangs; r1 is killed.
    let process = |id: usize| pid(ready["replicas"][id]["pid"].as_u64().unwrap());
    kill_process(process(3), Signal::STOP).unwrap();
    kill_process(process(1), Signal::KILL).unwrap();
    let began = Instant::now();
    let shown = refreshes(&person, &["--count", "15", "--output", "json", &gateway(&ready, 2)]);
    assert!(began.elapsed() < SOON / 4, "{:?}", began.elapsed());
    let last = shown.last().unwrap();
    let answers: Vec<_> = (0..4).map(|id| last["replicas"][id]["answers"] == true).collect();
    assert_eq!(answers, [true, false, true, false], "{last}");
    assert_eq!(last["replicas"][3]["error"], "no answer in time", "{last}");
    kill_process(process(3), Signal::CONT).unwrap();
}

#[test]
fn nobody_to_ask_and_something_else_that_answers_are_errors() {
    let person = Person::new();
    let url = format!("http://127.0.0.1:{}", free_ports());
    let run = person.run(&["top", "--count", "1", &url]).exits(1);
    assert!(run.stderr.starts_with("error["), "{run:?}");
    let other = Gateway::start(|_| plain(200, "", "hello"));
    person.run(&["top", "--count", "1", &other.url]).fails(1, "status-malformed");
    person.run(&["top", "--interval", "1ms", &other.url]).exits(2);
}

/// A terminal with nobody before it but this test.
struct Terminal {
    near: File,
    far: File,
}

impl Terminal {
    fn open() -> Self {
        let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&near).unwrap();
        unlockpt(&near).unwrap();
        let name = ptsname(&near, Vec::new()).unwrap();
        let far = OpenOptions::new()
            .read(true)
            .write(true)
            .open(OsStr::from_bytes(name.as_bytes()))
            .unwrap();
        let size = Winsize { ws_row: 20, ws_col: 90, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&far, size).unwrap();
        Self { near: near.into(), far }
    }
}

#[test]
fn a_terminal_is_drawn_on_and_given_back_as_it_was() {
    let person = Person::new();
    let base = free_ports();
    let dev = Dev::start(&person, &["--port", &base.to_string()]);
    let ready = dev.event("ready");
    for key in [b"q", b"\x03"] {
        let Terminal { mut near, far } = Terminal::open();
        let before = tcgetattr(&far).unwrap().local_modes;
        assert!(before.contains(LocalModes::ECHO | LocalModes::ICANON));
        let mut child = Command::new(env!("CARGO_BIN_EXE_quorate"))
            .args(["top", "--interval", "100ms", &gateway(&ready, 0)])
            .env_clear()
            .env("HOME", person.home.path())
            .stdin(far.try_clone().unwrap())
            .stdout(far.try_clone().unwrap())
            .stderr(far.try_clone().unwrap())
            .spawn()
            .unwrap();
        let (sender, output) = channel();
        let mut reader = near.try_clone().unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                let _ = sender.send(String::from_utf8_lossy(&buffer[..read]).into_owned());
            }
        });
        let mut shown = String::new();
        while !shown.contains("4 of 4 ready") {
            shown += &output.recv_timeout(SOON).unwrap_or_else(|_| panic!("{shown:?}"));
        }
        assert!(shown.starts_with("\x1b[?1049h\x1b[?25l\x1b[H"), "{shown:?}");
        assert!(!tcgetattr(&far).unwrap().local_modes.contains(LocalModes::ECHO));
        near.write_all(key).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        while !shown.ends_with("\x1b[?25h\x1b[?1049l") {
            shown += &output.recv_timeout(SOON).unwrap_or_else(|_| panic!("{shown:?}"));
        }
        assert_eq!(tcgetattr(&far).unwrap().local_modes, before);
    }
}
