//! Real file systems that fill up, or turn read-only, under a replica.
//!
//! Four replicas as four organisations would run them, one of them with its data folder on a small
//! file system of its own, in a mount namespace that ends with its process: nothing is left behind,
//! and nobody else sees it. Needs the right to mount; `.ci/run --stage mounts` runs it.

use crate::{
    binary::{Person, Run},
    running::{free_ports, pid, wait_for},
};
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How large an image is: room for a start, and for a few hundred requests.
const IMAGE_SIZE: &str = "24M";

/// How large a file system in memory is: room for some ten thousand requests.
const MEMORY_SIZE: &str = "192M";

/// Mounts file system `$1` on the data folder `$2`, fills it with what `init` or the run before
/// left, and becomes the program that follows. `$3` is its size in memory.
const MOUNTED: &str = r#"
kind=$1 data=$2 size=$3
shift 3
case $kind in
    tmpfs) mount -t tmpfs -o "size=$size" tmpfs "$data" ;;
    ext4) mount -o loop,errors=remount-ro "$data.image" "$data" ;;
    read-only) mount --bind "$data" "$data"; mount -o remount,bind,ro "$data" ;;
esac
[ "$kind" = read-only ] || [ -e "$data/wal" ] || cp -a "$data.first/." "$data/"
exec "$@"
"#;

/// Whom to believe, as `init` wrote it.
const POLICY: &str = "c/policy.txt";

/// How long the file system is watched while nothing can be written.
const WATCHED: Duration = Duration::from_secs(6);

/// How long a replica may take to end after SIGTERM.
const END_MAX: Duration = Duration::from_secs(10);

struct Replica {
    child: Child,
    log: PathBuf,
}

/// Four replicas; those that are `mounted`, `me` among them, keep their data on file systems of
/// this kind.
struct Site {
    person: Person,
    base: u16,
    me: u16,
    mounted: Vec<u16>,
    kind: &'static str,
    replicas: Vec<Replica>,
}

impl Replica {
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn ended(&mut self) -> Option<i32> {
        self.child.try_wait().unwrap().map(|status| status.code().unwrap_or(-1))
    }

    /// Asks it to end, as systemd would.
    fn end(&mut self) -> Option<i32> {
        let asked = Instant::now();
        let _ = kill_process(pid(u64::from(self.child.id())), Signal::TERM);
        while self.ended().is_none() {
            assert!(asked.elapsed() < END_MAX, "it does not end:\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
        self.ended()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Site {
    /// Makes the cluster, and starts it.
    fn start(me: u16, kind: &'static str) -> Self {
        Self::start_with(&[me], kind)
    }

    fn start_with(mounted: &[u16], kind: &'static str) -> Self {
        let (person, base) = (Person::new(), free_ports());
        person.run(&["init", "--dir", "c", "--port", &base.to_string()]).exits(0);
        for i in 0..4 {
            // Snapshots and new segments fall into the time without room, too.
            let path = person.path(&format!("c/r{i}/quorate.toml"));
            let mut config: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
            let snapshots: toml::Table = "every_bytes = 65536".parse().unwrap();
            config.insert("snapshots".into(), snapshots.into());
            fs::write(&path, config.to_string()).unwrap();
        }
        let (me, mounted) = (mounted[0], mounted.to_vec());
        let mut site = Self { person, base, me, mounted, kind, replicas: Vec::new() };
        for data in site.mounted.iter().map(|i| site.data_of(*i)) {
            fs::rename(&data, data.with_extension("first")).unwrap();
            fs::create_dir(&data).unwrap();
            if kind == "ext4" {
                let image = data.with_extension("image");
                let make = r#"truncate -s "$1" "$2"; mkfs.ext4 -q -m 0 "$2""#;
                shell(make, &[IMAGE_SIZE, utf8(&image)]);
            }
        }
        site.replicas = (0..4).map(|i| site.spawn(i)).collect();
        for i in 0..4 {
            wait_for("all to be ready", || site.is_ready(i));
        }
        site
    }

    /// The folder on the file system, as it is called in its namespace.
    fn data(&self) -> PathBuf {
        self.data_of(self.me)
    }

    fn data_of(&self, i: u16) -> PathBuf {
        self.person.home.path().join(format!("c/r{i}/data"))
    }

    /// The same, as it is seen from here.
    fn data_from_outside(&self, i: u16) -> PathBuf {
        let root = format!("/proc/{}/root", self.replicas[usize::from(i)].child.id());
        Path::new(&root).join(self.data_of(i).strip_prefix("/").unwrap())
    }

    fn mine(&self) -> &Replica {
        &self.replicas[usize::from(self.me)]
    }

    fn mine_mut(&mut self) -> &mut Replica {
        &mut self.replicas[usize::from(self.me)]
    }

    fn config(&self, i: u16) -> String {
        self.person.path(&format!("c/r{i}/quorate.toml"))
    }

    fn command(&self, i: u16, kind: &str) -> Command {
        let quorate = env!("CARGO_BIN_EXE_quorate");
        let mut command = if self.mounted.contains(&i) {
            let data = self.data_of(i);
            let mut command = Command::new("unshare");
            command.args(["--mount", "--propagation", "private"]);
            command.args(["sh", "-euc", MOUNTED, "sh", kind, utf8(&data), MEMORY_SIZE, quorate]);
            command
        } else {
            Command::new(quorate)
        };
        command.args(["start", "--config", &self.config(i)]).stdin(Stdio::null());
        command
    }

    /// Starts a replica; what it says goes to a file outside its file system.
    fn spawn(&self, i: u16) -> Replica {
        let log = PathBuf::from(self.person.path(&format!("r{i}.log")));
        let said = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let child = self.command(i, self.kind).stderr(said).spawn().unwrap();
        Replica { child, log }
    }

    fn gateway(&self, i: u16) -> String {
        format!("http://127.0.0.1:{}", self.base + i)
    }

    fn status(&self, i: u16) -> Option<Value> {
        let run = self.person.run(&["--output", "json", "status", &self.gateway(i)]);
        (run.exit == 0).then(|| run.json())
    }

    fn height(&self, i: u16) -> u64 {
        self.status(i).and_then(|status| status["height"].as_u64()).unwrap_or(0)
    }

    fn is_ready(&self, i: u16) -> bool {
        self.status(i).is_some_and(|status| status["ready"] == true)
    }

    /// Has values written through the other replicas, each answer proven by a quorum.
    #[track_caller]
    fn write(&self, prefix: &str, count: u16) {
        let value = "0123456789abcdef".repeat(256);
        let others: Vec<_> = (0..4).filter(|i| *i != self.me).collect();
        for n in 0..count {
            let url =
                format!("{}/kv/{prefix}{n}", self.gateway(others[usize::from(n) % others.len()]));
            let run = self
                .person
                .run(&["curl", "--policy", POLICY, "-X", "PUT", "-d", &value, &url])
                .exits(0);
            assert!(run.stderr.starts_with("verified: 3 of 4 replicas"), "{run:?}");
        }
    }

    /// Leaves so many bytes of room, or a few less.
    fn fill(&self, room: u64) -> PathBuf {
        self.fill_of(self.me, room)
    }

    fn fill_of(&self, i: u16, room: u64) -> PathBuf {
        let path = self.data_from_outside(i).join("ballast");
        let mut file = File::create(&path).unwrap();
        for piece in [64 << 10, 4 << 10, 1] {
            // Written through, so that no block is promised that is not there.
            while file.write_all(&vec![7; piece]).and_then(|()| file.sync_data()).is_ok() {}
        }
        file.set_len(file.metadata().unwrap().len() - room).unwrap();
        file.sync_all().unwrap();
        path
    }

    /// Whether the replica noticed that it cannot write any more, with so many bytes of room: said
    /// so by this code, told those who ask, and was not waited for by the others.
    fn noticed(&mut self, code: &str, room: u64) -> Result<(), String> {
        let before = self.mine().log().len();
        for n in 0..20 + room / 4096 {
            self.write(&format!("noticed{}-", n % 20), 1);
        }
        // Less than this (a snapshot that is put off, say) is no reason to stop.
        let stops = |line: &str| {
            line.contains(code)
                && ["nothing can be written", "halts"].iter().any(|words| line.contains(words))
        };
        self.within(|site| match site.mine().log()[before..].lines().any(stops) {
            true => Ok(()),
            false => Err(format!("it never said {code}")),
        })?;
        let me = self.me;
        if self.mine_mut().ended().is_none() {
            self.within(|site| match site.status(me) {
                None => Err("it tells nothing".to_owned()),
                Some(status) if status["ready"] == true => Err("it is ready".to_owned()),
                Some(status) => match status["reason"].as_str() {
                    Some(reason) if reason.contains("disk") => Ok(()),
                    _ => Err(format!("it does not tell why: {status}")),
                },
            })?;
        }
        let other = (me + 1) % 4;
        let before = self.height(other);
        self.write("still", 6);
        if self.height(other) <= before {
            return Err("the others stand still".to_owned());
        }
        Ok(())
    }

    /// Looks again and again while it is watched.
    fn within(&self, look: impl Fn(&Self) -> Result<(), String>) -> Result<(), String> {
        let began = Instant::now();
        loop {
            match look(self) {
                Err(_) if began.elapsed() < WATCHED => thread::sleep(Duration::from_millis(100)),
                seen => return seen,
            }
        }
    }

    /// The replica has everything that the others have, and serves it.
    #[track_caller]
    fn has_caught_up(&self) {
        let other = self.height((self.me + 1) % 4);
        wait_for("the replica to catch up", || {
            self.is_ready(self.me) && self.height(self.me) >= other
        });
        for key in ["before0", "noticed19-0", "still5"] {
            let url = format!("{}/kv/{key}", self.gateway(self.me));
            let run = self.person.run(&["curl", "--policy", POLICY, &url]).exits(0);
            assert_eq!(run.stdout.len(), 4096, "{run:?}");
        }
        // All that lies on its disk is what a quorum signed, from the first entry to the last.
        let folder = self.data_from_outside(self.me);
        let audit = ["audit", "--policy", POLICY, utf8(&folder)];
        self.person.run(&audit).exits(0);
    }

    /// Starts the replica on a file system of this kind, which has to fail.
    fn refused(&self, kind: &str) -> Run {
        let mut command = self.command(self.me, kind);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let id = pid(u64::from(child.id()));
        thread::spawn(move || {
            thread::sleep(END_MAX);
            let _ = kill_process(id, Signal::TERM);
        });
        child.wait_with_output().unwrap().into()
    }

    #[track_caller]
    fn stop(mut self) {
        for replica in &mut self.replicas {
            assert_eq!(replica.end(), Some(0), "{}", replica.log());
            assert!(!replica.log().contains("panicked"), "{}", replica.log());
        }
    }
}

fn utf8(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn shell(script: &str, arguments: &[&str]) {
    let status = Command::new("sh").args(["-euc", script, "sh"]).args(arguments).status();
    assert!(status.unwrap().success(), "{script}");
}

/// A full disk: the replica says so and waits, the others go on, and with room it goes on too.
///
/// How much room there was before decides which file the last write was for: the write-ahead log,
/// the log of entries, a mark, a snapshot.
fn a_full_disk_is_waited_out(me: u16, kind: &'static str, rooms: &[u64]) {
    let mut site = Site::start(me, kind);
    site.write("before", 6);
    let process = site.mine().child.id();
    for &room in rooms {
        let ballast = site.fill(room);
        site.noticed("disk-full", room).unwrap();
        assert_eq!(site.mine_mut().ended(), None, "{}", site.mine().log());
        fs::remove_file(ballast).unwrap();
        site.has_caught_up();
    }
    assert_eq!(site.mine().child.id(), process);
    site.stop();
}

#[test]
#[ignore = "needs mounts"]
fn a_backup_waits_for_room_on_its_full_disk_and_catches_up() {
    a_full_disk_is_waited_out(3, "tmpfs", &[0, 24 << 10, 80 << 10, 240 << 10]);
}

#[test]
#[ignore = "needs mounts"]
fn a_primary_waits_for_room_on_its_full_disk_and_catches_up() {
    a_full_disk_is_waited_out(0, "tmpfs", &[0]);
}

#[test]
#[ignore = "needs mounts"]
fn a_replica_whose_disk_was_full_for_thousands_of_requests_catches_up() {
    let mut site = Site::start(3, "tmpfs");
    site.write("before", 6);
    let ballast = site.fill(0);
    site.noticed("disk-full", 0).unwrap();
    let targets = (0..3).map(|i| site.gateway(i)).collect::<Vec<_>>().join(",");
    let load = ["bench", "--target", &targets, "--connections", "4", "--duration", "12s"];
    let load = [&load[..], &["--policy", POLICY, "--output", "json"]].concat();
    let report = site.person.run(&load).exits(0).json();
    let lag = site.height(0).saturating_sub(site.height(3));
    println!("{} requests in 12 s with one disk full; {lag} slots behind", report["requests"]);
    fs::remove_file(ballast).unwrap();
    let freed = Instant::now();
    site.has_caught_up();
    println!("caught up {:.1} s after there was room", freed.elapsed().as_secs_f64());
    site.stop();
}

#[test]
#[ignore = "needs mounts"]
fn two_full_disks_of_four_stop_the_cluster_and_lose_nothing() {
    let site = Site::start_with(&[2, 3], "tmpfs");
    site.write("before", 6);
    let ballast = [2, 3].map(|i| site.fill_of(i, 0));
    // What a quorum cannot keep is never acknowledged, by whomever it is asked.
    let key = "Idempotency-Key: \"8e03978e-40d5-43e8-bc93-6894a57f9324\"";
    let value = "still there ".repeat(1 << 12);
    let put = |i, max_time: &str| {
        let url = format!("{}/kv/waits", site.gateway(i));
        let options = ["curl", "--policy", POLICY, "--max-time", max_time, "-X", "PUT"];
        site.person.run(&[&options[..], &["-H", key, "-d", &value, &url]].concat())
    };
    for i in 0..4 {
        let run = put(i, "3").exits(1);
        assert!(!run.stderr.contains("verified"), "{run:?}");
    }
    ballast.into_iter().for_each(|file| fs::remove_file(file).unwrap());
    // It goes on by itself; the request was executed once, whoever is asked now.
    let indices = (0..4).map(|i| {
        let run = put(i, "60").exits(0);
        let entry = run.stderr.split("entry ").nth(1).and_then(|rest| rest.split(',').next());
        entry.unwrap_or_else(|| panic!("{run:?}")).to_owned()
    });
    let indices: std::collections::BTreeSet<_> = indices.collect();
    assert_eq!(indices.len(), 1, "{indices:?}");
    site.write("noticed19-", 1);
    site.write("still", 6);
    site.has_caught_up();
    site.stop();
}

#[test]
#[ignore = "needs mounts"]
fn a_full_disk_that_allocates_late_is_waited_out_on_ext4() {
    a_full_disk_is_waited_out(2, "ext4", &[0, 17 << 10, 150 << 10]);
}

#[test]
#[ignore = "needs mounts"]
fn a_replica_whose_disk_turned_read_only_goes_on_from_it_after_a_restart_on_ext4() {
    let mut site = Site::start(1, "ext4");
    site.write("before", 6);
    // What the kernel does itself when it finds the file system damaged.
    let namespace = format!("--mount=/proc/{}/ns/mnt", site.mine().child.id());
    let aborted = Command::new("nsenter")
        .args([&namespace, "mount", "-o", "remount,abort", utf8(&site.data())])
        .status();
    assert!(aborted.unwrap().success());
    site.noticed("read-only", 0).unwrap();
    site.mine_mut().end();
    site.write("meanwhile", 3);
    let me = site.me;
    site.replicas[usize::from(me)] = site.spawn(me);
    site.has_caught_up();
    site.stop();
}

#[test]
#[ignore = "needs mounts"]
fn a_replica_does_not_start_where_it_cannot_write_on_ext4() {
    let mut site = Site::start(3, "ext4");
    site.write("before", 3);
    site.mine_mut().end();
    // Read-only, without data and with some.
    let data = site.data();
    site.refused("read-only").fails(1, "read-only");
    shell(r#"cp -a "$1.first/." "$1/""#, &[utf8(&data)]);
    site.refused("read-only").fails(1, "read-only");
    // Full.
    let on_it = |script: &str| {
        let script = format!(r#"mount -o loop "$1.image" "$1"; {script}; umount "$1""#);
        shell(
            r#"unshare --mount --propagation private sh -euc "$1" sh "$2""#,
            &[&script, utf8(&data)],
        );
    };
    on_it(
        r#"for size in 64k 1k; do dd if=/dev/zero bs=$size status=none >> "$1/ballast" || sync; done"#,
    );
    site.refused("ext4").fails(1, "disk-full");
    site.write("after", 3);
    // With room again, it starts as if nothing had been.
    on_it(r#"rm "$1/ballast""#);
    let me = site.me;
    site.replicas[usize::from(me)] = site.spawn(me);
    wait_for("it to be ready", || site.is_ready(me));
    site.stop();
}

#[test]
#[ignore = "needs mounts"]
fn the_check_complains_of_a_replica_that_notices_nothing() {
    let mut site = Site::start(3, "tmpfs");
    site.write("before", 6);
    // The ballast lies elsewhere, so the replica has no reason to say anything.
    fs::write(site.person.path("ballast"), vec![7; 64 << 10]).unwrap();
    let complaint = site.noticed("disk-full", 0).unwrap_err();
    assert!(complaint.contains("never said"), "{complaint}");
    // One that says so and takes part all the same is found out as well.
    let mut log = OpenOptions::new().append(true).open(&site.mine().log).unwrap();
    let said = thread::spawn(move || {
        thread::sleep(Duration::from_secs(2));
        writeln!(log, "nothing can be written: disk-full").unwrap();
    });
    assert_eq!(site.noticed("disk-full", 0), Err("it is ready".to_owned()));
    said.join().unwrap();
    site.stop();
}
