//! What the proof of one response costs: the client that verifies it, and those who add it.
//!
//! The response is a real one: a cluster writes for a while, so that its log has a path of real
//! length, and then answers one more request. The example `proof_cost` of the gateway's room does
//! the rest on one core, with the code that serves and the code that clients run.

use super::{Findings, Setting};
use crate::{
    compare::{
        bar::Bar,
        system::{REPLICAS, Spread, quorate},
    },
    output,
};
use serde_json::{Value, json};

pub(super) const OPTIONS: &[(&str, u64, &str)] = &[
    ("seconds", 10, "how long the log grows before"),
    ("rounds", 5, "how often all is measured; medians count"),
    ("payload", 512, "bytes of content in a request"),
];

/// What one round measured, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Costs {
    verify: f64,
    text: f64,
    answer: f64,
    bare: f64,
    path: u64,
    bytes: u64,
}

impl Costs {
    fn of(said: &str) -> Option<Self> {
        let said: Value = serde_json::from_str(said).ok()?;
        let number = |name: &str| said.get(name)?.as_f64();
        Some(Self {
            verify: number("verify_us")?,
            text: number("text_us")?,
            answer: number("answer_us")?,
            bare: number("bare_us")?,
            path: said.get("path")?.as_u64()?,
            bytes: said.get("proof_bytes")?.as_u64()?,
        })
    }

    /// What an answer costs more than it would without a proof.
    fn added(&self) -> f64 {
        self.text + self.answer - self.bare
    }
}

/// One of the costs.
type Cost = fn(&Costs) -> f64;

/// Has a response proven, and measures its proof.
pub(super) fn carry_out(setting: &Setting) -> Result<Findings, String> {
    let mut running = setting.cluster(REPLICAS, setting.payload())?;
    let load = running.load(running.targets(Spread::All), 100);
    setting.generator.run(&load, setting.duration())?;
    let saved = setting.dir.join("exchange");
    let policy = running.cluster_dir().join("policy.txt");
    let (saved, policy) = (saved.to_string_lossy(), policy.to_string_lossy());
    let url = format!("http://{}/kv/proof-cost", load.targets[0]);
    let body = "q".repeat(setting.payload());
    let curl = ["curl", "-X", "PUT", "-d", &body, "--policy", &policy, "--save", &saved, &url];
    output(&quorate().to_string_lossy(), &curl)?;
    running.stop()?;

    let program = crate::target().join("release/examples/proof_cost");
    let files = [format!("{saved}/request.http"), format!("{saved}/response.http")];
    let round = |_| {
        let said = output(&program.to_string_lossy(), &[&policy, &files[0], &files[1]])?;
        Costs::of(&said).ok_or(format!("proof_cost said {said}"))
    };
    let rounds: Vec<Costs> =
        (0..setting.number("rounds").max(1)).map(round).collect::<Result<_, _>>()?;
    Ok(found(rounds))
}

fn found(mut rounds: Vec<Costs>) -> Findings {
    let mut findings = Findings::of(&["what", "us"]);
    let mut middle = |of: Cost| {
        rounds.sort_by(|a, b| of(a).total_cmp(&of(b)));
        rounds.get(rounds.len() / 2).map_or(f64::NAN, of)
    };
    let (verify, added) = (middle(|it| it.verify), middle(Costs::added));
    let rows: [(&str, Cost); 4] = [
        ("a client verifies a response", |it| it.verify),
        ("the proof is written", |it| it.text),
        ("the gateway writes an answer with its proof", |it| it.answer),
        ("the same without", |it| it.bare),
    ];
    for (what, of) in rows {
        findings.row([json!(what), json!(middle(of))]);
    }
    findings.row([json!("a proof adds to an answer"), json!(added)]);
    if let Some(Costs { path, bytes, .. }) = rounds.first() {
        findings.note(format!("a path of {path} hashes, a proof of {bytes} bytes"));
    }
    findings.bar(Bar::at_most("us to verify a response", verify, 1_000.0));
    findings.bar(Bar::at_most("us that a proof adds to an answer", added, 15.0));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_proof_adds_is_judged_in_the_middle_of_the_rounds() {
        let said = |verify: u32, answer: u32| {
            let text = format!(
                "{{\"verify_us\":{verify},\"text_us\":2,\"answer_us\":{answer},\"bare_us\":1,\
                 \"path\":17,\"proof_bytes\":1700}}"
            );
            Costs::of(&text).unwrap()
        };
        let text = found(vec![said(1001, 9), said(300, 14), said(200, 90)]).text();
        assert!(text.contains("verify a response: 300.00, wanted at most 1000: met"), "{text}");
        assert!(text.contains("adds to an answer: 15.00, wanted at most 15: met"), "{text}");
        assert!(text.contains("a path of 17 hashes, a proof of 1700 bytes"), "{text}");
        assert!(found(vec![said(300, 15)]).text().contains("16.00, wanted at most 15: missed"));
        assert!(Costs::of("{\"verify_us\":1}").is_none());
    }
}
