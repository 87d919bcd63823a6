use super::*;
use quorate_crypto::{ReplicaKeys, VoteSigner, report_statement};
use quorate_node::{Config, Plan};
use quorate_proof::{Entry, EntryKind, Frontier, cosignature_message, head_text, state_digest};
use quorate_protocol::pbft::message::{Header, Vote};
use quorate_types::{
    Cosignature, Digest, Epoch, Head, Index, Report, Slot, StateRecord, UnixMillis, View,
};
use serde_json::{Value, json};
use std::path::PathBuf;

/// A cluster's files, and its keys.
struct Cluster {
    config: Config,
    keys: Vec<ReplicaKeys>,
    _folder: tempfile::TempDir,
}

const SLOT: Slot = Slot(3);
const TIME: UnixMillis = UnixMillis(1_700_000_000_000);

impl Cluster {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("c");
        let plan = Plan {
            replicas: 4,
            dir: dir.clone(),
            engine: "pbft".into(),
            service: "kv".into(),
            port: 7400,
            hosts: Vec::new(),
            name: "dev.localhost".into(),
            answers: quorate_node::AnswerRules::default(),
        };
        quorate_node::init(&plan).unwrap();
        let at = |i: usize| -> PathBuf { dir.join(format!("r{i}")) };
        let keys = (0..4).map(|i| ReplicaKeys::load(&at(i).join("keys")).unwrap().0).collect();
        let config = Config::load(&at(0).join("quorate.toml")).unwrap();
        Self { config, keys, _folder: folder }
    }

    fn policy(&self) -> &Policy {
        self.config.policy()
    }

    fn cosign(&self, replica: u16, head: Head) -> Cosign {
        let text = head_text(self.policy().origin_text(), &head);
        let message = cosignature_message(&text, TIME.seconds());
        let signature = self.keys[usize::from(replica)].cosigner().cosign(&message);
        Cosign { slot: SLOT, head, time: TIME, signature }
    }

    /// The log after the slot, certified by r0, r1 and r3.
    fn certificate(&self) -> StableCertificate {
        let digest = |n| Digest([n; 32]);
        let record = StateRecord {
            slot: SLOT,
            next_index: Index(2),
            epoch: Epoch(0),
            time: TIME,
            service: digest(1),
            replay: digest(2),
            engine: digest(3),
        };
        let state = state_digest(&record);
        let entry =
            Entry { index: Index(1), epoch: Epoch(0), time: TIME, state, kind: EntryKind::Mark };
        let mut log = Frontier::new();
        log.push(digest(4));
        let path = log.append(&[entry.leaf()]).remove(0);
        let head = Head { size: log.size(), root: log.root() };
        let cosignatures = [0, 1, 3].map(|i| {
            let Cosign { signature, .. } = self.cosign(i, head);
            Cosignature { replica: ReplicaId(i), signature }
        });
        StableCertificate {
            head,
            cosignatures: cosignatures.into(),
            last_entry: entry.text(),
            path,
            record,
        }
    }

    /// What `status` shows of r2, which cosigned another root.
    fn wrong_result(&self) -> Value {
        let certificate = self.certificate();
        let head = Head { root: Digest([9; 32]), ..certificate.head };
        document(2, WRONG_RESULT, [self.cosign(2, head).to_wire(), certificate.to_wire()])
    }

    fn vote(&self, replica: u16, phase: Phase, view: u64, digest: u8) -> Vec<u8> {
        let header = Header { view: View(view), slot: SLOT, digest: Digest([digest; 32]) };
        let signer: VoteSigner = self.keys[usize::from(replica)].vote_signer();
        let domain = Domain::new(self.policy().origin_text());
        let vote = Vote::sign(header, phase, ReplicaId(replica), &signer, &domain, 0);
        SignedVote { instance: 0, phase, vote }.to_wire()
    }

    fn report(&self, replica: u16, answer: u8) -> Vec<u8> {
        let domain = Domain::new(self.policy().origin_text());
        let answers = vec![Some(Digest([answer; 32])), None];
        let signer: VoteSigner = self.keys[usize::from(replica)].vote_signer();
        let signature = signer.sign(&report_statement(&domain, SLOT, &answers));
        Report { reporter: ReplicaId(replica), slot: SLOT, answers, signature }.to_wire()
    }

    /// What it says, without a configuration where none is needed.
    fn judge(&self, evidence: &Value) -> Result<String, String> {
        let bytes = evidence.to_string();
        let charge = evidence["evidence"]["charge"].as_str().unwrap_or_default();
        let config = (charge != WRONG_RESULT).then_some(&self.config);
        self.judge_bytes(bytes.as_bytes(), config)
    }

    fn judge_bytes(&self, bytes: &[u8], config: Option<&Config>) -> Result<String, String> {
        let judged = judge_all(bytes, self.policy(), config);
        let lines = |all: Vec<Conviction>| all.iter().map(Conviction::line).collect::<Vec<_>>();
        judged.map(|all| lines(all).join("\n")).map_err(|failure| failure.code.into_owned())
    }
}

fn document(id: u16, charge: &str, messages: [Vec<u8>; 2]) -> Value {
    let messages = messages.map(|bytes| STANDARD.encode(bytes));
    json!({ "id": id, "evidence": { "charge": charge, "messages": messages } })
}

fn refused(code: &str) -> Result<String, String> {
    Err(code.to_owned())
}

#[test]
fn two_reports_about_one_slot_convict_whoever_signed_both() {
    let cluster = Cluster::new();
    let [first, second] = [1, 2].map(|answer| cluster.report(2, answer));
    let line = cluster.judge(&document(2, DOUBLE_REPORT, [first.clone(), second])).unwrap();
    let deed = "of double-report: it signed two different reports about the answers of slot 3 \
                (development keys)";
    assert!(line.ends_with(deed), "{line}");
    let same = document(2, DOUBLE_REPORT, [first.clone(), first.clone()]);
    assert_eq!(cluster.judge(&same), refused("evidence-wrong"));
    let of_another = document(2, DOUBLE_REPORT, [first.clone(), cluster.report(1, 2)]);
    assert_eq!(cluster.judge(&of_another), refused("evidence-wrong"));
    let without_keys = document(2, DOUBLE_REPORT, [first, cluster.report(2, 2)]);
    let judged = cluster.judge_bytes(without_keys.to_string().as_bytes(), None);
    assert_eq!(judged, refused("evidence-needs-config"));
}

#[test]
fn a_wrong_cosignature_convicts_by_the_policy_alone() {
    let cluster = Cluster::new();
    let line = cluster.judge(&cluster.wrong_result()).unwrap();
    assert!(line.starts_with("convicted: r2 ("), "{line}");
    let deed = "of wrong-result: after slot 3 it cosigned another log of 2 entries than 3 of 4 \
                replicas (development keys)";
    assert!(line.ends_with(deed), "{line}");
}

#[test]
fn two_votes_for_one_place_convict_by_the_vote_keys() {
    let cluster = Cluster::new();
    let vote = |phase, digest| cluster.vote(1, phase, 7, digest);
    for (phase, charge, what) in [
        (Phase::PrePrepare, "equivocation", "proposals"),
        (Phase::Prepare, "double-vote", "prepare votes"),
        (Phase::Commit, "double-vote", "commit votes"),
    ] {
        let evidence = document(1, charge, [vote(phase, 1), vote(phase, 2)]);
        let line = cluster.judge(&evidence).unwrap();
        let deed = format!("of {charge}: it signed two different {what} for slot 3 in view 7");
        assert!(line.starts_with("convicted: r1 (") && line.contains(&deed), "{line}");
        let without = cluster.judge_bytes(evidence.to_string().as_bytes(), None);
        assert_eq!(without, refused("evidence-needs-config"));
        let elsewhere = Cluster::new();
        let foreign = cluster.judge_bytes(evidence.to_string().as_bytes(), Some(&elsewhere.config));
        assert_eq!(foreign, refused("evidence-config-differs"));
    }
}

#[test]
fn what_a_correct_replica_signs_convicts_nobody() {
    let cluster = Cluster::new();
    let certificate = cluster.certificate();
    let messages = |cosign: Cosign| [cosign.to_wire(), certificate.to_wire()];
    let right = cluster.cosign(1, certificate.head);
    let larger = cluster.cosign(1, Head { size: 5, root: Digest([9; 32]) });
    let wrong = cluster.cosign(2, Head { root: Digest([9; 32]), ..certificate.head });
    for (id, cosign, why) in [
        (1, right, "it signed what the quorum signed"),
        (1, larger, "a later log is no contradiction"),
        (1, wrong, "nobody answers for another's signature"),
        (2, Cosign { slot: Slot(4), ..wrong }, "another slot"),
        (2, Cosign { time: UnixMillis(TIME.0 + 1), ..wrong }, "not as evidence is made"),
        (4, wrong, "there is no such replica"),
    ] {
        let evidence = document(id, WRONG_RESULT, messages(cosign));
        assert_eq!(cluster.judge(&evidence), refused("evidence-wrong"), "{why}");
    }
    let commit = |view, digest| cluster.vote(1, Phase::Commit, view, digest);
    let prepare = cluster.vote(1, Phase::Prepare, 7, 2);
    for (messages, why) in [
        ([commit(7, 1), commit(7, 1)], "one vote, twice"),
        ([commit(7, 1), commit(8, 2)], "two views"),
        ([commit(7, 1), prepare], "two phases"),
        ([commit(7, 1), cluster.vote(3, Phase::Commit, 7, 2)], "two replicas"),
    ] {
        let evidence = document(1, "double-vote", messages);
        assert_eq!(cluster.judge(&evidence), refused("evidence-wrong"), "{why}");
    }
}

#[test]
fn evidence_from_another_cluster_convicts_nobody_here() {
    let (cluster, elsewhere) = (Cluster::new(), Cluster::new());
    assert_eq!(cluster.judge(&elsewhere.wrong_result()), refused("evidence-wrong"));
    let vote = |digest| elsewhere.vote(1, Phase::Commit, 7, digest);
    let votes = document(1, "double-vote", [vote(1), vote(2)]);
    assert_eq!(cluster.judge(&votes), refused("evidence-wrong"));
}

#[test]
fn evidence_of_which_any_byte_was_changed_convicts_nobody() {
    let cluster = Cluster::new();
    let vote = |digest| cluster.vote(1, Phase::Commit, 7, digest);
    let votes = document(1, "double-vote", [vote(1), vote(2)]);
    for evidence in [cluster.wrong_result(), votes] {
        assert!(cluster.judge(&evidence).is_ok());
        // The text that people pass on.
        let text = evidence.to_string().into_bytes();
        for place in 0..text.len() {
            for bit in [0x01, 0x04, 0x20] {
                let mut changed = text.clone();
                changed[place] ^= bit;
                let judged = cluster.judge_bytes(&changed, Some(&cluster.config));
                assert!(judged.is_err(), "byte {place}: {}", String::from_utf8_lossy(&changed));
            }
        }
        // The bytes of its messages, cut and lengthened too.
        for at in 0..2 {
            let message = evidence["evidence"]["messages"][at].as_str().unwrap();
            let message = STANDARD.decode(message).unwrap();
            let convicts = |bytes: &[u8]| {
                let mut other = evidence.clone();
                other["evidence"]["messages"][at] = STANDARD.encode(bytes).into();
                cluster.judge(&other).is_ok()
            };
            assert!(convicts(&message));
            for place in 0..message.len() {
                let mut changed = message.clone();
                changed[place] ^= 1 << (place % 8);
                assert!(!convicts(&changed), "byte {place} of message {at}");
            }
            assert!(!convicts(&message[..message.len() - 1]));
            assert!(!convicts(&[&message[..], &[0]].concat()));
        }
    }
}

#[test]
fn a_status_document_convicts_all_whom_it_accuses_or_nobody() {
    let cluster = Cluster::new();
    let vote = |digest| cluster.vote(1, Phase::Commit, 7, digest);
    let votes = document(1, "double-vote", [vote(1), vote(2)]);
    let mut status = json!({ "replica": 0, "divergent": [cluster.wrong_result(), votes] });
    let lines = cluster.judge(&status).unwrap();
    assert_eq!(lines.lines().count(), 2, "{lines}");
    let apart = json!({ "id": 2, "evidence": { "copy": "differs", "slot": 7 } });
    status["divergent"].as_array_mut().unwrap().push(apart.clone());
    assert_eq!(cluster.judge(&status).unwrap(), lines, "a copy that stands apart is no lie");
    assert_eq!(cluster.judge(&apart), refused("evidence-malformed"));
    status["divergent"][1]["id"] = json!(3);
    assert_eq!(cluster.judge(&status), refused("evidence-wrong"));
    status["divergent"] = json!([]);
    assert_eq!(cluster.judge(&status), refused("evidence-malformed"));
}

#[test]
fn what_is_no_evidence_is_told_apart() {
    let cluster = Cluster::new();
    let messages = || [vec![1], vec![2]];
    let mut three = document(1, WRONG_RESULT, messages());
    three["evidence"]["messages"] = json!(["", "", ""]);
    let mut more = document(1, WRONG_RESULT, messages());
    more["more"] = json!(1);
    let mut letters = document(1, WRONG_RESULT, messages());
    letters["evidence"]["messages"] = json!(["?", ""]);
    for evidence in
        [json!([]), json!({"id": 1}), three, more, letters, document(1, "rude", messages())]
    {
        assert_eq!(cluster.judge(&evidence), refused("evidence-malformed"), "{evidence}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(cluster.judge_bytes(deep.as_bytes(), None), refused("evidence-malformed"));
}
