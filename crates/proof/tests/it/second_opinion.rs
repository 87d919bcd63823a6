//! What code that nobody here wrote says of the same bytes.
//!
//! The Python ones need the packages of `tests/second_opinion/requirements.txt`. Without them they
//! pass with a printed line, unless `QUORATE_SECOND_OPINIONS=required` stands in the environment.

use crate::{
    example::{POLICY, PROOF, REQUEST, RESPONSE, judge},
    sealed::{Draft, Files, field, files, public, request},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::SigningKey;
use quorate_proof::{
    Coverage, Frontier, KeyKind, Policy, TlogProof, VerifierKey, exchange_base, leaf_hash,
    node_hash, parse_signature, signature_base, signature_params, with_defaults,
};
use quorate_types::{Digest, Request, Response};
use serde_json::{Value, json};
use std::{
    io::Write as _,
    process::{Command, Stdio},
};

/// Runs a script on lines of JSON; `None` where its packages are absent and need not be there.
fn ask(script: &str, package: &str, cases: &[Value]) -> Option<Vec<Value>> {
    let there = Command::new("python3").args(["-c", &format!("import {package}")]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        let required = std::env::var("QUORATE_SECOND_OPINIONS").is_ok_and(|how| how == "required");
        assert!(!required, "python3 with {package} is required and absent");
        println!("skipped: python3 has no {package}");
        return None;
    }
    let path = format!("{}/tests/second_opinion/{script}", env!("CARGO_MANIFEST_DIR"));
    let mut child = Command::new("python3")
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines: String = cases.iter().map(|case| format!("{case}\n")).collect();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), cases.len());
    Some(answers)
}

/// The worked example, and exchanges with everything that one can have.
pub(crate) fn exchanges() -> Vec<Files> {
    let rich = || {
        let mut draft = Draft {
            coverage: Coverage {
                request: vec!["x-api-key".to_owned()],
                response: vec!["x-total".to_owned(), "content-range".to_owned()],
            },
            index: 617,
            size: 1000,
            ..Draft::default()
        };
        draft.request.fields.insert(1, field("cookie", "a=1; b=2"));
        draft.request.fields.push(field("x-api-key", ""));
        draft.request.query = "?q=%3F&r".to_owned();
        draft.response = draft
            .response
            .with_field("set-cookie", "a=1; Path=/")
            .with_field("set-cookie", "b=2, c")
            .with_field("x-total", "1")
            .with_field("content-range", "bytes 0-1/2");
        draft
    };
    let without_content = |method: &str, status| {
        let mut draft = rich();
        draft.request.method = method.to_owned();
        draft.request.fields.retain(|(name, _)| name != "idempotency-key");
        draft.response.status = status;
        draft
    };
    vec![
        [POLICY.as_bytes().to_vec(), REQUEST.to_vec(), RESPONSE.to_vec()],
        files(rich()),
        files(without_content("HEAD", 200)),
        files(without_content("GET", 304)),
        files(without_content("DELETE", 204)),
        files(Draft { index: 0, size: 1, ..Draft::default() }),
    ]
}

/// The same numbers at every run, without a generator's crate.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) as usize % end
    }

    /// A file with one byte set, removed, doubled or swapped with its neighbour.
    pub(crate) fn mutate(&mut self, file: &mut Vec<u8>) {
        let at = self.below(file.len());
        match self.below(6) {
            0 => drop(file.remove(at)),
            1 => file.insert(at, file[at]),
            2 if at > 0 => file.swap(at - 1, at),
            3 => file[at] = b"\0\t\n\r #:=0129Aa+/\x7f\x80\xff"[self.below(19)],
            _ => file[at] ^= 1 << self.below(8),
        }
    }
}

fn mutants(count: usize) -> Vec<Files> {
    let mut numbers = Numbers(617);
    let originals = exchanges();
    let mutant = |_| {
        let mut files = originals[numbers.below(originals.len())].clone();
        let which = numbers.below(3);
        numbers.mutate(&mut files[which]);
        files
    };
    (0..count).map(mutant).collect()
}

#[test]
fn another_implementation_agrees_on_whole_proofs_and_on_broken_ones() {
    let mut cases = exchanges();
    cases.extend(mutants(2000));
    let encode = |[policy, request, response]: &Files| {
        let [policy, request, response] =
            [policy, request, response].map(|file| STANDARD.encode(file));
        json!({"policy": policy, "request": request, "response": response})
    };
    let questions: Vec<Value> = cases.iter().map(encode).collect();
    let Some(answers) = ask("whole_proof.py", "cryptography", &questions) else { return };
    let mut verified = 0;
    for (files, answer) in cases.iter().zip(answers) {
        let [policy, request, response] = files;
        let ours = judge(policy, request, response);
        let said = match &ours {
            Ok(v) => json!({
                "signers": v.signers, "replicas": v.replicas, "index": v.facts.index.0,
                "fresh": v.fresh,
            }),
            Err(_) => answer.clone(),
        };
        assert_eq!(ours.is_err(), answer.get("refused").is_some(), "{ours:?} {answer} {files:?}");
        assert_eq!(said, answer);
        verified += usize::from(ours.is_ok());
    }
    assert!(verified > exchanges().len(), "{verified} of {}", cases.len());
}

fn question(request: &Request, content_digest: bool) -> Value {
    let mut headers = request.fields.clone();
    if content_digest {
        headers.push(field("content-digest", &quorate_proof::content_digest(&request.body)));
    }
    let query = if request.query == "?" { "" } else { &request.query };
    json!({
        "method": request.method,
        "url": format!("https://shop.example:8443{}{query}", request.path),
        "headers": headers,
    })
}

#[test]
fn another_implementation_of_rfc_9421_builds_the_same_exchanges() {
    let mut questions = Vec::new();
    let mut bases = Vec::new();
    let mut numbers = Numbers(9421);
    for round in 0..200 {
        let mut request = request();
        request.path = ["/", "/orders", "/a%20b/%2E%2e//c", "/a;b=c/d,e"][numbers.below(4)].into();
        request.query = ["?", "?a", "?a=%3F&b=/?", "?a+b=%C3%A9"][numbers.below(4)].into();
        request.method = ["GET", "POST", "DELETE"][numbers.below(3)].into();
        let coverage = Coverage {
            request: vec!["x-a".to_owned()],
            response: vec!["x-b".to_owned(), "x-a".to_owned()],
        };
        for (name, value) in [("if-match", "\"1\""), ("x-a", ""), ("x-a", "a,\tb")] {
            if numbers.below(2) == 0 && request.field(name).is_none() {
                request.fields.push(field(name, value));
            }
        }
        request
            .fields
            .sort_by_key(|(name, _)| coverage.request_fields().position(|covered| covered == name));
        let mut response = Response::new(200 + round).with_body("text/plain", "body");
        for cookie in 0..numbers.below(4) {
            response = response.with_field("set-cookie", format!("c{cookie}=\"v, w\"; Path=/"));
        }
        let response = with_defaults(response, &coverage);
        let base = exchange_base("shop.example:8443", &request, &response, &coverage).unwrap();
        let params = base.rsplit_once(": ").map(|(_, params)| params.to_owned()).unwrap();
        let mut headers = response.fields.clone();
        let content = quorate_proof::response_content(&request.method, &response);
        headers.push(field("Content-Digest", &quorate_proof::content_digest(content)));
        questions.push(json!({
            "params": params,
            "request": question(&request, true),
            "response": {"status": response.status, "headers": headers},
        }));
        bases.push(Value::String(base));
    }
    let package = "http_message_signatures";
    let Some(answers) = ask("signature_base.py", package, &questions) else { return };
    assert_eq!(answers, bases);
}

#[test]
fn another_implementation_of_rfc_9421_builds_the_same_client_signature() {
    let key = public(&SigningKey::from_bytes(&[5; 32]));
    let ours = signature_params(1_763_658_123, &key);
    let more = ours.replace("(\"@method\"", "(\"content-type\" \"@method\"") + ";nonce=\"n\"";
    let signature = format!("s=:{}:", STANDARD.encode([0; 64]));
    let mut questions = Vec::new();
    let mut bases = Vec::new();
    for params in [ours, more] {
        let parsed = parse_signature(&format!("s={params}"), &signature).unwrap();
        let base = signature_base(&request(), "shop.example:8443", &parsed).unwrap();
        questions.push(json!({"params": params, "request": question(&request(), true)}));
        bases.push(Value::String(base));
    }
    let package = "http_message_signatures";
    let Some(answers) = ask("signature_base.py", package, &questions) else { return };
    assert_eq!(answers, bases);
}

#[test]
fn another_implementation_of_signed_notes_opens_the_checkpoint() {
    use signed_note::{Note, StandardVerifier, Verifier, VerifierList};
    let (_, checkpoint) = PROOF.split_once("\n\n").unwrap();
    let policy = Policy::parse(POLICY).unwrap();
    let logs: Vec<Box<dyn Verifier>> = policy
        .logs()
        .iter()
        .map(|key| Box::new(StandardVerifier::new(&key.to_string()).unwrap()) as Box<dyn Verifier>)
        .collect();
    let note = Note::from_bytes(checkpoint.as_bytes()).unwrap();
    let (valid, unknown) = note.verify(&VerifierList::new(logs)).unwrap();
    // To it, cosigners are keys of an unknown type.
    assert_eq!((valid.len(), unknown.len()), (1, 3));
    let ours = TlogProof::parse(PROOF).unwrap().checkpoint;
    let theirs: Vec<_> = valid.iter().chain(&unknown).collect();
    for line in &ours.signatures {
        let same = |their: &&&signed_note::Signature| {
            their.name() == line.name && their.id().to_be_bytes() == line.id
        };
        assert_eq!(theirs.iter().find(same).unwrap().signature(), line.bytes);
    }
    assert_eq!(note.text(), ours.head_text().as_bytes());
}

#[test]
fn another_implementation_of_verifier_keys_spells_them_alike() {
    for number in 0..50 {
        let secret = SigningKey::from_bytes(&[number; 32]);
        let theirs = signed_note::new_ed25519_verifier_key("n.example", &secret.verifying_key());
        let ours = VerifierKey::new("n.example", KeyKind::Log, public(&secret));
        assert_eq!(ours.to_string(), theirs);
        assert_eq!(VerifierKey::parse(&theirs), Ok(ours));
    }
}

#[test]
fn another_implementation_of_checkpoints_reads_the_head() {
    let (_, checkpoint) = PROOF.split_once("\n\n").unwrap();
    let (head, _) = checkpoint.split_once("\n\n").unwrap();
    let theirs = tlog_tiles::Checkpoint::from_bytes(format!("{head}\n").as_bytes()).unwrap();
    let ours = TlogProof::parse(PROOF).unwrap().checkpoint;
    assert_eq!(theirs.origin(), ours.origin);
    assert_eq!((theirs.size(), theirs.hash().0), (ours.head.size, ours.head.root.0));
    assert_eq!(theirs.extension(), "");
}

/// The other crate's store of hashes, in memory.
struct Hashes(Vec<tlog_tiles::Hash>);

impl tlog_tiles::HashReader for Hashes {
    fn read_hashes(&self, places: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(places.iter().map(|&place| self.0[place as usize]).collect())
    }
}

#[test]
fn another_implementation_of_the_tree_has_the_same_roots_and_paths() {
    use tlog_tiles::{check_record, node_hash as their_node, prove_record, record_hash, tree_hash};
    let theirs = |digest: Digest| tlog_tiles::Hash(digest.0);
    let (left, right) = (leaf_hash(b"left"), leaf_hash(b"right"));
    assert_eq!(theirs(left), record_hash(b"left"));
    assert_eq!(theirs(node_hash(&left, &right)), their_node(theirs(left), theirs(right)));
    let mut stored = Hashes(Vec::new());
    let mut frontier = Frontier::new();
    for size in 1..=130_u64 {
        let data = size.to_be_bytes();
        let more = tlog_tiles::stored_hashes(size - 1, &data, &stored).unwrap();
        stored.0.extend(more);
        let path = frontier.append(&[leaf_hash(&data)]).swap_remove(0);
        let root = tree_hash(size, &stored).unwrap();
        assert_eq!(theirs(frontier.root()), root);
        let path: Vec<_> = path.into_iter().map(theirs).collect();
        assert_eq!(prove_record(size, size - 1, &stored).unwrap(), path);
        check_record(&path, size, root, size - 1, record_hash(&data)).unwrap();
    }
}
