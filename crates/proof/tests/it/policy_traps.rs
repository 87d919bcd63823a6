//! What a policy may not be, and how its quorums nest.

use crate::{
    proof_traps::{SMALL_ORDER, key},
    sealed::{ORIGIN, Quorum, Sealed, TIME_S, public},
};
use ed25519_dalek::SigningKey;
use quorate_proof::{KeyKind, Policy, VerifierKey};

fn code(text: &str) -> Result<(), &'static str> {
    Policy::parse(text).map(|_| ()).map_err(|error| error.code())
}

fn right() -> String {
    Quorum::new(4).policy(3)
}

fn replaced(from: &str, to: &str) -> String {
    let text = right();
    let changed = text.replacen(from, to, 1);
    assert_ne!(text, changed, "{from}");
    changed
}

fn log(number: u8) -> String {
    let key = SigningKey::from_bytes(&[number; 32]);
    VerifierKey::new(ORIGIN, KeyKind::Log, public(&key)).to_string()
}

fn witness(number: u8) -> String {
    let key = SigningKey::from_bytes(&[number; 32]);
    VerifierKey::new(format!("w{number}.example"), KeyKind::Cosigner, public(&key)).to_string()
}

#[test]
fn blanks_comments_and_urls_do_not_matter() {
    let text = replaced("witness r0 ", "# a comment\n\n \t witness\t r0  ");
    let text = text.replacen("\nwitness r1", " https://log.example\nwitness r1", 1);
    let policy = Policy::parse(&text).unwrap();
    assert_eq!(policy.text(), text);
    assert_eq!((policy.logs().len(), policy.witnesses().len()), (4, 4));
}

#[test]
fn a_policy_of_another_form_is_refused() {
    let text = right();
    for (wrong, expected) in [
        (String::new(), "policy-malformed"),
        (text.trim_end().to_owned(), "policy-malformed"),
        (text.replace('\n', "\r\n"), "policy-malformed"),
        (replaced("quorum", "\0quorum"), "policy-malformed"),
        (replaced("log ", "\u{7f}log "), "policy-malformed"),
        (replaced("log ", "logs "), "policy-malformed"),
        (replaced("quorum replicas", "quorum replicas r0"), "policy-malformed"),
        (replaced("witness r0 ", "witness r0 a b "), "policy-malformed"),
        (replaced(" r0 r1 r2 r3", ""), "policy-malformed"),
        (replaced("quorum replicas", "quorum none"), "policy-unknown-name"),
        (replaced("quorum replicas", "quorum others"), "policy-unknown-name"),
        (replaced("quorum replicas\n", ""), "policy-quorum"),
        (format!("{text}quorum r0\n"), "policy-quorum"),
        (format!("{text}quorum replicas\n"), "policy-quorum"),
        (replaced("3 r0 r1", "0 r0 r1"), "policy-threshold"),
        (replaced("3 r0 r1", "5 r0 r1"), "policy-threshold"),
        (replaced("3 r0 r1", "03 r0 r1"), "policy-threshold"),
        (replaced("3 r0 r1", "+3 r0 r1"), "policy-threshold"),
        (replaced("3 r0 r1", "most r0 r1"), "policy-threshold"),
        (replaced("r2 r3", "r2 r2"), "policy-member-twice"),
        (replaced("r2 r3", "r2 none"), "policy-unknown-name"),
        (replaced("r2 r3", "r2 r4"), "policy-unknown-name"),
        (replaced("witness r1", "witness r0"), "policy-name"),
        (replaced("witness r1", "witness none"), "policy-name"),
        (replaced("group replicas", "group r0"), "policy-name"),
        ("# nothing\n".to_owned(), "policy-no-log"),
    ] {
        assert_eq!(code(&wrong), Err(expected), "{wrong}");
    }
}

#[test]
fn a_group_refers_to_what_stands_before_it_only() {
    let head = format!("log {}\nwitness a {}\n", log(50), witness(51));
    let forward = format!("{head}group g any a h\ngroup h any g\nquorum g\n");
    assert_eq!(code(&forward), Err("policy-unknown-name"));
    let itself = format!("{head}group g any a g\nquorum g\n");
    assert_eq!(code(&itself), Err("policy-unknown-name"));
    let early = format!("{head}quorum g\ngroup g any a\n");
    assert_eq!(code(&early), Err("policy-unknown-name"));
}

#[test]
fn a_member_belongs_to_one_group() {
    let text = format!(
        "log {}\nwitness a {}\nwitness b {}\ngroup g any a b\ngroup h all g a\nquorum h\n",
        log(50),
        witness(51),
        witness(52)
    );
    assert_eq!(code(&text), Err("policy-member-twice"));
}

#[test]
fn keys_of_other_types_are_refused() {
    let text = right();
    let log_line = text.lines().next().unwrap();
    let log_key = log_line.strip_prefix("log ").unwrap();
    // A log's key as a witness, a cosigner's as a log.
    let swapped =
        replaced(&format!("\nwitness r0 {}", cosigner_of(0)), &format!("\nwitness r0 {}", log(60)));
    assert_eq!(code(&swapped), Err("key-type"));
    let as_log = text.replacen(log_key, &cosigner_named(ORIGIN, 61), 1);
    assert_eq!(code(&as_log), Err("key-type"));
    // ML-DSA-44 cosigners (0x06), ECDSA (0x02): valid elsewhere, refused here.
    for (kind, length) in [(6, 1312), (2, 91), (0, 32), (255, 32)] {
        let other = foreign_key(kind, length);
        let text = replaced(&cosigner_of(0), &other);
        assert_eq!(code(&text), Err("key-type"), "{kind}");
    }
    for length in [0, 31, 33] {
        let text = replaced(&cosigner_of(0), &foreign_key(4, length));
        assert_eq!(code(&text), Err("key-malformed"), "{length}");
    }
}

fn cosigner_of(replica: usize) -> String {
    Policy::parse(&right()).unwrap().witnesses()[replica].to_string()
}

fn cosigner_named(name: &str, number: u8) -> String {
    let key = SigningKey::from_bytes(&[number; 32]);
    VerifierKey::new(name, KeyKind::Cosigner, public(&key)).to_string()
}

/// A key of a type and length that are not ours, with the id that C2SP asks for.
fn foreign_key(kind: u8, length: usize) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let material = [&[kind][..], &vec![7; length]].concat();
    let id = quorate_proof::sha256(&[b"f.example\n", &material[..]].concat());
    format!("f.example+{}+{}", &id.to_string()[..8], STANDARD.encode(material))
}

#[test]
fn a_key_s_id_is_computed_again() {
    let right = cosigner_of(1);
    let id = right.split('+').nth(1).unwrap();
    let text = replaced(&right, &right.replacen(id, "00000000", 1));
    assert_eq!(code(&text), Err("key-id"));
    let upper = right.replacen(id, &id.to_uppercase(), 1);
    assert_ne!(upper, right);
    assert_eq!(code(&replaced(&right, &upper)), Err("key-id"));
}

#[test]
fn a_public_key_stands_once_whatever_its_type_and_name() {
    let twice = cosigner_named("other.example", 1);
    assert_eq!(code(&format!("witness extra {twice}\n{}", right())), Err("key-twice"));
    // Replica 0's log key again as a cosigner.
    let as_cosigner = cosigner_named("other.example", 101);
    assert_eq!(code(&format!("witness extra {as_cosigner}\n{}", right())), Err("key-twice"));
    let as_log = log(1);
    assert_eq!(code(&format!("log {as_log}\n{}", right())), Err("key-twice"));
}

#[test]
fn a_cosigner_s_name_stands_once() {
    let twice = cosigner_named("org-0.example/r0", 70);
    assert_eq!(code(&format!("{}witness extra {twice}\n", right())), Err("policy-name"));
}

#[test]
fn weak_keys_are_refused_even_where_nothing_uses_them() {
    for hex in SMALL_ORDER {
        let weak = VerifierKey::new("weak.example", KeyKind::Cosigner, key(hex));
        let text = format!("{}witness unused {weak}\n", right());
        assert_eq!(code(&text), Err("key-weak"), "{hex}");
        let weak = VerifierKey::new(ORIGIN, KeyKind::Log, key(hex));
        let text = format!("{}log {weak}\n", right());
        assert_eq!(code(&text), Err("key-weak"), "{hex}");
    }
}

#[test]
fn all_logs_have_one_name_and_it_is_an_origin() {
    let key = public(&SigningKey::from_bytes(&[80; 32]));
    for name in [
        "shop.example/quorate/5f2c9a17d0e84b64/bft",
        "shop.example/quorate/5f2c9a17d0e84b63/hybrid",
        "shop.example/quorate/5f2c9a17d0e84b63/bft/",
        "shop.example/quorate/5F2c9a17d0e84b63/bft",
        "shop.example/quorate/5f2c9a17d0e84b63/cft",
        "shop.example/log/5f2c9a17d0e84b63/bft",
        "Shop.example/quorate/5f2c9a17d0e84b63/bft",
        "/quorate/5f2c9a17d0e84b63/bft",
        "a/b/quorate/5f2c9a17d0e84b63/bft",
        "shop.example",
    ] {
        let log = VerifierKey::new(name, KeyKind::Log, key);
        let text = format!("{}log {log}\n", right());
        assert_eq!(code(&text), Err("policy-origin"), "{name}");
    }
}

#[test]
fn groups_nest_32_deep_and_no_deeper() {
    for (depth, outcome) in [(32, Ok(())), (33, Err("policy-nesting"))] {
        let mut text = format!("log {}\nwitness w {}\ngroup g1 all w\n", log(50), witness(51));
        for level in 2..=depth {
            text += &format!("group g{level} all g{}\n", level - 1);
        }
        text += &format!("quorum g{depth}\n");
        assert_eq!(code(&text), outcome, "{depth}");
    }
}

/// "2 of 3 sites, each 3 of 4", over twelve witnesses.
fn sites() -> Policy {
    let mut text = format!("log {}\n", log(50));
    for replica in 0..12 {
        text += &format!("witness r{replica} {}\n", witness(51 + replica));
    }
    text += "group a 3 r0 r1 r2 r3\ngroup b 3 r4 r5 r6 r7\ngroup c 3 r8 r9 r10 r11\n";
    text += "group sites 2 a b c\nquorum sites\n";
    Policy::parse(&text).unwrap()
}

#[test]
fn nested_groups_ask_for_a_quorum_of_quorums() {
    let policy = sites();
    let met = |signers: &[usize]| {
        let signed: Vec<bool> = (0..12).map(|replica| signers.contains(&replica)).collect();
        policy.is_satisfied(&signed)
    };
    assert!(met(&[0, 1, 2, 4, 5, 6]));
    assert!(met(&[1, 2, 3, 9, 10, 11]));
    assert!(!met(&[0, 1, 2, 3, 4, 5, 8, 9]));
    assert!(!met(&[0, 1, 4, 5, 8, 9]));
    assert!(!met(&[]));
    assert_eq!(policy.quorum_witnesses().count(), 12);
}

#[test]
fn any_and_all_are_thresholds() {
    let text = |word: &str| {
        format!(
            "log {}\nwitness a {}\nwitness b {}\ngroup g {word} a b\nquorum g\n",
            log(50),
            witness(51),
            witness(52)
        )
    };
    let any = Policy::parse(&text("any")).unwrap();
    assert!(any.is_satisfied(&[false, true]) && !any.is_satisfied(&[false, false]));
    let all = Policy::parse(&text("all")).unwrap();
    assert!(all.is_satisfied(&[true, true]) && !all.is_satisfied(&[false, true]));
}

#[test]
fn a_single_witness_can_be_the_quorum_and_others_are_not_counted() {
    let mut sealed = Sealed::default();
    sealed.policy = sealed.policy.replace("quorum replicas", "quorum r1");
    // r1 belongs to a group as well, which is not below the quorum.
    let verdict = sealed.verdict().unwrap();
    assert_eq!((verdict.signers, verdict.replicas), (1, 1));
    assert_eq!(verdict.names, ["org-1.example/r1"]);
    sealed.policy = sealed.policy.replace("quorum r1", "quorum r3");
    assert_eq!(sealed.outcome(), Err("quorum-missing"));
}

#[test]
fn a_wrong_line_of_a_witness_outside_the_quorum_condemns_too() {
    let mut sealed = Sealed::default();
    sealed.policy = sealed.policy.replace("3 r0 r1 r2 r3", "3 r0 r1 r2");
    assert_eq!(sealed.verdict().map(|verdict| verdict.replicas), Ok(3));
    let wrong = sealed.quorum.cosigner_line(3, "another\n", TIME_S);
    let proof = sealed.proof() + &wrong;
    assert_eq!(sealed.outcome_of(&proof), Err("signature-wrong"));
}

#[test]
fn development_keys_are_known_by_the_authority_s_name() {
    let policy = |name: &str| {
        let mut quorum = Quorum::new(4);
        quorum.origin.name = name.to_owned();
        Policy::parse(&quorum.policy(3)).unwrap().is_development()
    };
    assert!(policy("dev.localhost"));
    assert!(policy("dev.localhost:7400"));
    assert!(!policy("shop.example"));
    assert!(!policy("localhost.example"));
    assert!(!policy("devlocalhost"));
}
