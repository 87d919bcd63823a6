//! The verifiers in JavaScript and Python beside the one in Rust: the same verdicts, and the same
//! codes, on whole exchanges and on broken ones.
//!
//! Where Node or Python with `cryptography` is absent they pass with a printed line; with
//! `QUORATE_SECOND_OPINIONS=required` Python must be there.

use crate::{
    example::{POLICY, REQUEST, RESPONSE, judge},
    sealed::{Draft, Files, field, files},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use quorate_proof::Coverage;
use serde_json::{Value, json};
use std::{
    io::Write as _,
    process::{Command, Stdio},
};

/// The worked example, and exchanges with much of what one can have.
fn exchanges() -> Vec<Files> {
    let rich = |method: &str, status| {
        let coverage = Coverage {
            request: vec!["x-api-key".to_owned()],
            response: vec!["x-total".to_owned(), "content-range".to_owned()],
        };
        let mut draft = Draft { coverage, index: 617, size: 1000, ..Draft::default() };
        draft.request.method = method.to_owned();
        draft.request.query = "?q=%3F&r".to_owned();
        draft.request.fields.insert(1, field("cookie", "a=1; b=2"));
        draft.request.fields.push(field("x-api-key", ""));
        draft.response.status = status;
        for (name, value) in [("set-cookie", "a=1"), ("set-cookie", "b=2, c"), ("x-total", "1")] {
            draft.response = draft.response.with_field(name, value);
        }
        files(draft)
    };
    let mut unkeyed = Draft { index: 0, size: 1, ..Draft::default() };
    unkeyed.request.fields.retain(|(name, _)| name != "idempotency-key");
    vec![
        [POLICY.as_bytes().to_vec(), REQUEST.to_vec(), RESPONSE.to_vec()],
        rich("POST", 200),
        rich("HEAD", 200),
        rich("DELETE", 204),
        files(unkeyed),
    ]
}

/// The same numbers at every run, without a generator's crate.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    /// A file with one byte set, removed or doubled.
    fn mutate(&mut self, file: &mut Vec<u8>) {
        let at = self.below(file.len());
        match self.below(5) {
            0 => drop(file.remove(at)),
            1 => file.insert(at, file[at]),
            2 => file[at] = b"\0\t\n\r #:=0129Aa+/\x7f\x80\xff"[self.below(19)],
            _ => file[at] ^= 1 << self.below(8),
        }
    }
}

fn cases() -> Vec<Files> {
    let originals = exchanges();
    let mut numbers = Numbers(20_263);
    let mutant = |_| {
        let mut files = originals[numbers.below(originals.len())].clone();
        let which = numbers.below(3);
        numbers.mutate(&mut files[which]);
        files
    };
    let mutants: Vec<Files> = (0..1000).map(mutant).collect();
    [originals, mutants].concat()
}

/// The judge's answers, in order.
fn ask(command: &mut Command, cases: &[Files]) -> Vec<Value> {
    let question = |files: &Files| {
        let [policy, request, response] = files.each_ref().map(|file| STANDARD.encode(file));
        format!("{}\n", json!({"policy": policy, "request": request, "response": response}))
    };
    let lines: String = cases.iter().map(question).collect();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn assert_agreed(command: &mut Command) {
    let cases = cases();
    let answers = ask(command, &cases);
    assert_eq!(answers.len(), cases.len());
    let mut verified = 0;
    for ([policy, request, response], answer) in cases.iter().zip(answers) {
        let ours = match judge(policy, request, response) {
            Ok(v) => json!({
                "signers": v.signers, "replicas": v.replicas, "index": v.facts.index.0,
                "fresh": v.fresh,
            }),
            Err(code) => json!({"refused": code}),
        };
        verified += usize::from(ours.get("refused").is_none());
        let shown =
            || [policy, request, response].map(|file| String::from_utf8_lossy(file).into_owned());
        assert_eq!(answer, ours, "{:#?}", shown());
    }
    assert!(verified > exchanges().len(), "only {verified} of {} verified", cases.len());
}

fn is_there(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn judge_file(name: &str) -> String {
    format!("{}/tests/judges/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_javascript_module_agrees_on_every_verdict_and_code() {
    let has_ed25519 = "crypto.subtle.generateKey('Ed25519', true, ['sign']).then(() => 0)";
    if !is_there(Command::new("node").args(["-e", has_ed25519])) {
        println!("skipped: there is no Node with Ed25519 in WebCrypto");
        return;
    }
    assert_agreed(Command::new("node").arg(judge_file("judge.mjs")));
}

#[test]
fn the_python_module_agrees_on_every_verdict_and_code() {
    if !is_there(Command::new("python3").args(["-c", "import cryptography"])) {
        let required = std::env::var("QUORATE_SECOND_OPINIONS").is_ok_and(|how| how == "required");
        assert!(!required, "python3 with cryptography is required and absent");
        println!("skipped: python3 has no cryptography");
        return;
    }
    assert_agreed(Command::new("python3").arg(judge_file("judge.py")));
}
