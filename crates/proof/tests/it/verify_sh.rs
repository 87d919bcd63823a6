//! `docs/verify.sh` beside the verifier: bash and openssl come to the same verdicts.

use crate::{
    example::{POLICY, REQUEST, RESPONSE, judge},
    proof_traps::{SMALL_ORDER, key},
    sealed::{ORIGIN, Sealed, TIME_S, named_line},
    second_opinion::{Numbers, exchanges},
};
use quorate_proof::{KeyKind, VerifierKey, write_request, write_response};
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

/// A folder of this process's own that goes with the value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("quorate-verify-sh-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whether bash of version 5 and openssl of version 3 are here; they are in every CI image.
fn is_runnable() -> bool {
    let there = Command::new("bash")
        .args(["-c", "[[ ${BASH_VERSINFO[0]} -ge 5 && $(openssl version) == OpenSSL\\ 3* ]]"])
        .status()
        .is_ok_and(|status| status.success());
    let required = std::env::var("QUORATE_SECOND_OPINIONS").is_ok_and(|how| how == "required");
    assert!(there || !required, "bash 5 and openssl 3 are required and absent");
    if !there {
        println!("skipped: no bash 5 with openssl 3");
    }
    there
}

/// What the script says: its line, or its exit code and reason.
fn run(policy: &[u8], request: &[u8], response: &[u8]) -> Result<String, (Option<i32>, String)> {
    let folder = Folder::new();
    let at = |name: &str| folder.0.join(name);
    std::fs::write(at("policy.txt"), policy).unwrap();
    std::fs::write(at("request.http"), request).unwrap();
    std::fs::write(at("response.http"), response).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/verify.sh");
    let output =
        Command::new("bash").arg(script).arg(&folder.0).arg(at("policy.txt")).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err((output.status.code(), text(output.stderr)))
    }
}

/// The verdict's line as the script prints it.
fn expected(policy: &[u8], request: &[u8], response: &[u8]) -> Option<String> {
    let verdict = judge(policy, request, response).ok()?;
    let fresh = if verdict.fresh { "" } else { ", not fresh" };
    let keys = if verdict.development { " (development keys)" } else { "" };
    Some(format!(
        "verified{fresh}: {} of {} replicas, entry {}{keys}",
        verdict.signers, verdict.replicas, verdict.facts.index
    ))
}

/// The script and the verifier say the same; gives whether it was yes.
fn agreed(policy: &[u8], request: &[u8], response: &[u8]) -> bool {
    let ours = expected(policy, request, response);
    match run(policy, request, response) {
        Ok(line) => assert_eq!(Some(line), ours),
        Err((code, reason)) => {
            assert_eq!(code, Some(3), "{reason}");
            assert!(reason.contains("not verified: "), "{reason}");
            assert_eq!(ours, None, "{reason}");
            return false;
        }
    }
    true
}

fn agreed_on(sealed: &Sealed) -> bool {
    let request = write_request(&sealed.sent, "127.0.0.1");
    let response = write_response(&sealed.received, &sealed.sent.method);
    agreed(sealed.policy.as_bytes(), &request, &response)
}

#[test]
fn the_script_has_at_most_100_lines() {
    let script = include_str!("../../../../docs/verify.sh");
    assert!(script.lines().count() <= 100);
}

#[test]
fn the_worked_example_and_richer_exchanges_pass_the_script() {
    if is_runnable() {
        assert_eq!(
            run(POLICY.as_bytes(), REQUEST, RESPONSE).as_deref(),
            Ok("verified: 3 of 4 replicas, entry 5")
        );
        for [policy, request, response] in exchanges() {
            assert!(agreed(&policy, &request, &response));
        }
    }
}

/// The script on sampled changes of all exchanges, one byte each.
fn sample(seed: u64, count: usize) -> usize {
    let originals = exchanges();
    let mut numbers = Numbers(seed);
    let passes = (0..count).filter(|_| {
        let mut files = originals[numbers.below(originals.len())].clone();
        // Each sample keeps to one of the three files.
        numbers.mutate(&mut files[usize::try_from(seed % 3).unwrap_or(0)]);
        let [policy, request, response] = files;
        agreed(&policy, &request, &response)
    });
    passes.count()
}

#[test]
fn one_byte_changes_are_judged_alike_by_the_script() {
    if is_runnable() {
        let passes = std::thread::scope(|scope| {
            let samples = [(3, 50), (4, 50), (5, 100)];
            let threads = samples.map(|(seed, count)| scope.spawn(move || sample(seed, count)));
            threads.map(|thread| thread.join().unwrap())
        });
        println!("still verified: {passes:?} of 50 policies, 50 requests, 100 responses");
    }
}

#[test]
#[ignore = "slow"]
fn many_one_byte_changes_are_judged_alike_by_the_script_slow() {
    if is_runnable() {
        std::thread::scope(|scope| {
            for seed in 6..12 {
                scope.spawn(move || sample(seed, 150));
            }
        });
    }
}

#[test]
fn a_file_that_is_missing_or_a_folder_is_refused_by_the_script() {
    if is_runnable() {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/verify.sh");
        let folder = Folder::new();
        for policy in [folder.0.join("none"), folder.0.clone()] {
            let status = Command::new("bash").arg(&script).args([&folder.0, &policy]).output();
            assert_eq!(status.unwrap().status.code(), Some(3));
        }
        let usage = Command::new("bash").arg(&script).output().unwrap();
        assert_eq!(usage.status.code(), Some(2));
    }
}

#[test]
fn the_traps_of_bash_and_openssl_do_not_spring() {
    if !is_runnable() {
        return;
    }
    let replaced = |file: &[u8], from: &str, to: &str| {
        let text = String::from_utf8(file.to_vec()).unwrap();
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1).into_bytes()
    };
    let policy = POLICY.as_bytes();
    // NULs, which `$( )` and `read` drop.
    for (from, to) in [
        ("Location", "Loca\0tion"),
        ("/orders", "/\0orders"),
        ("Created", "Created\0"),
        ("\r\n\r\n", "\r\n\0\r\n"),
        ("\r\n\r\n", "\r\n\r\0\n"),
    ] {
        assert!(!agreed(policy, REQUEST, &replaced(RESPONSE, from, to)), "{to:?}");
    }
    assert!(!agreed(policy, &[REQUEST, b"\0"].concat(), RESPONSE));
    assert!(!agreed(&replaced(policy, "quorum", "quo\0rum"), REQUEST, RESPONSE));
    // Integers, which wrap at 2^63 and 2^64.
    for index in ["18446744073709551621", "9223372036854775813", "0x5", "05", "5#5", "a[0]"] {
        let response = replaced(RESPONSE, "Quorate-Index: 5", &format!("Quorate-Index: {index}"));
        assert!(!agreed(policy, REQUEST, &response), "{index}");
    }
    // Names that a shell would run or expand.
    for line in ["`exit`: a\r\n", "$HOME: $(exit)\r\n", "*: *\r\n", "a'b: \\\r\n"] {
        assert!(agreed(policy, &replaced(REQUEST, "User-", &format!("{line}User-")), RESPONSE));
    }
    // Keys that openssl takes, under which anybody can sign.
    for weak in [SMALL_ORDER[0], SMALL_ORDER[4], SMALL_ORDER[10]] {
        let weak = VerifierKey::new("weak.example", KeyKind::Cosigner, key(weak));
        let policy = format!("{POLICY}witness weak {weak}\n");
        assert!(!agreed(policy.as_bytes(), REQUEST, RESPONSE));
    }
}

#[test]
fn the_script_counts_and_condemns_as_the_verifier_does() {
    if !is_runnable() {
        return;
    }
    let mut sealed = Sealed::default();
    let head = sealed.head_text();
    let stranger = named_line("stranger.example", [1; 4], &[7; 72]);
    let wrong = sealed.quorum.cosigner_line(3, "another\n", TIME_S);
    let late = sealed.quorum.cosigner_line(3, &head, 1 << 63);
    let twice = sealed.quorum.checkpoint(&head, &[0, 1, 1]);
    let bare = format!("{head}\n{}", sealed.quorum.cosigner_line(0, &head, TIME_S));
    for (proof, passes) in [
        (sealed.proof() + &stranger, true),
        (sealed.proof() + &sealed.quorum.cosigner_line(3, &head, TIME_S), true),
        (sealed.proof() + &sealed.quorum.cosigner_line(0, &head, TIME_S), true),
        (sealed.proof() + &wrong, false),
        (sealed.proof() + &late, false),
        (sealed.proof() + "\n", false),
        (sealed.proof().replacen("@v1\n", "@v1\nextra AAAA\n", 1), false),
        (sealed.proof_with(&twice), false),
        (sealed.proof_with(&bare), false),
    ] {
        sealed.prove(&proof);
        assert_eq!(agreed_on(&sealed), passes, "{proof}");
    }
}

#[test]
fn the_script_reads_policies_as_the_verifier_does() {
    if !is_runnable() {
        return;
    }
    let right = Sealed::default().policy;
    for (from, to, passes) in [
        ("quorum replicas", "quorum r1", true),
        ("quorum replicas", "quorum r3", false),
        ("replicas 3 ", "replicas any ", true),
        ("replicas 3 ", "replicas all ", false),
        ("replicas 3 ", "replicas 0 ", false),
        ("replicas 3 ", "replicas 5 ", false),
        ("quorum replicas", "# note\n\n\t quorum\treplicas", true),
        ("quorum replicas", "quorum none", false),
        ("quorum replicas", "quorum replicas\nquorum replicas", false),
        (" r2 r3", " r2 r2", false),
        ("witness r1", "witness r0", false),
        (ORIGIN, "shop.example/quorate/5f2c9a17d0e84b63/hybrid", false),
    ] {
        let sealed = Sealed { policy: right.replacen(from, to, 1), ..Sealed::default() };
        assert_ne!(sealed.policy, right);
        assert_eq!(agreed_on(&sealed), passes, "{to}");
    }
    // Nested groups are beyond the script, and it says so.
    let nested = right.replace("quorum replicas", "group all 1 replicas\nquorum all");
    let sealed = Sealed { policy: nested, ..Sealed::default() };
    assert_eq!(sealed.outcome(), Ok(3));
    let request = write_request(&sealed.sent, "127.0.0.1");
    let response = write_response(&sealed.received, &sealed.sent.method);
    let (code, reason) = run(sealed.policy.as_bytes(), &request, &response).unwrap_err();
    assert_eq!(code, Some(3));
    assert!(reason.contains("nest"), "{reason}");
}
