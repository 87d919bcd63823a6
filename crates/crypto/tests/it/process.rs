//! One key is never used by two processes of a host.

use quorate_crypto::{ReplicaKeys, Role};
use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

const FOLDER: &str = "QUORATE_TEST_KEYS_FOLDER";

/// What the other process runs: holds the keys until its standard input ends.
#[test]
#[ignore = "run by the tests below, in a process of its own"]
fn hold_the_keys() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    match ReplicaKeys::load(Path::new(&folder)) {
        Ok((_keys, _lock)) => {
            println!("\nheld");
            let _ = std::io::stdin().read_line(&mut String::new());
        }
        Err(error) => println!("\nrefused {}", error.code()),
    }
}

/// Starts the other process; waits for its first word.
fn other_process(folder: &Path, runtime: &Path) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process::hold_the_keys", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        // Another environment than ours: what is shared is /tmp alone.
        .env("XDG_RUNTIME_DIR", runtime)
        .env("TMPDIR", runtime)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let word = lines.map_while(Result::ok).find(|l| l == "held" || l.starts_with("refused"));
    (child, word.unwrap())
}

#[test]
fn a_copied_folder_started_twice_is_refused_until_the_first_process_is_gone() {
    let [original, copy, runtime] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    ReplicaKeys::generate().unwrap().save(original.path()).unwrap();
    for role in Role::OF_A_REPLICA {
        let name = role.file_name();
        std::fs::copy(original.path().join(&name), copy.path().join(&name)).unwrap();
    }
    let (mut child, word) = other_process(original.path(), runtime.path());
    assert_eq!(word, "held");
    for folder in [&original, &copy] {
        assert_eq!(ReplicaKeys::load(folder.path()).unwrap_err().code(), "key-in-use");
    }
    // Killed hard: it cleans nothing up, and yet nothing stays locked.
    child.kill().unwrap();
    child.wait().unwrap();
    let (_keys, _lock) = ReplicaKeys::load(copy.path()).unwrap();
    let (mut child, word) = other_process(original.path(), runtime.path());
    assert_eq!(word, "refused key-in-use");
    child.wait().unwrap();
}
