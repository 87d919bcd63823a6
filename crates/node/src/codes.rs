//! Every error code that this room makes, explained for `quorate explain CODE`.

/// Code and explanation: what happened, and what to do about it.
pub const EXPLANATIONS: &[(&str, &str)] = &[
    (
        "config-unreadable",
        "The configuration file does not exist, may not be read, or holds no UTF-8 text.",
    ),
    (
        "config-syntax",
        "The configuration is not TOML, lacks a field, has one that nobody knows, or gives a field \
         the wrong type. The message shows the line. docs/configuration.md names every field.",
    ),
    ("config-value", "A field of the configuration holds something that the field does not take."),
    ("config-out-of-bounds", "A number in the configuration lies outside what can work."),
    ("config-duplicate-id", "Two members of the configuration have one id. Ids count from 0."),
    (
        "config-missing-id",
        "The members' ids have a gap. They count from 0, and the number of members follows.",
    ),
    (
        "config-duplicate-name",
        "Two members have one cosigner name; the policy needs distinct ones.",
    ),
    ("config-duplicate-address", "One address is used twice, by two members or by two listeners."),
    (
        "config-duplicate-key",
        "One public key stands in two places. Each replica has four keys with one use each, so \
         that one leak is not all. `quorate init` makes them.",
    ),
    ("config-not-a-member", "`replica` names no member of the configuration."),
    (
        "config-no-quorum",
        "So few or so many members form no quorum: bft takes at least 4 replicas to survive a \
         fault, and at most 1024.",
    ),
    ("config-unknown-engine", "This build has no ordering engine of that name."),
    ("config-unknown-service", "This build has no service of that name."),
    (
        "config-not-for-development",
        "`development = true` opens fault injection and all exchanges. It goes with a NAME that \
         ends in .localhost only, so that nobody mistakes such a cluster for a real one.",
    ),
    (
        "config-policy",
        "The members' public keys make no valid policy, most likely because one of them is weak.",
    ),
    (
        "config-policy-differs",
        "The configuration makes another policy than the one that the replica was made for, which \
         `policy` names and whose hash is entry 0 of the log. Name, members, keys and what \
         `[copy]` says of answers are fixed by it: put back what was changed.",
    ),
    (
        "config-answers-differ",
        "What `[copy]` says of answers (canonical_json, volatile_fields, request_fields, \
         response_fields) is not what the policy says. All members share it, and clients know it \
         by the policy that they pin, so it cannot be changed in one place: put into `[copy]` what \
         the message gives as the policy's. A new cluster gets other rules by the options of \
         `quorate init`.",
    ),
    (
        "policy-answers",
        "A line of the policy begins with `# quorate-answers/` and is none of the rules about \
         answers that this build knows, stands twice, or names a field that it cannot be about. \
         docs/proof.md lists them.",
    ),
    ("init-exists", "`quorate init` never overwrites. Name another folder, or move the old one."),
    (
        "init-ports",
        "The ports of so many replicas overlap (gateways, operations and links lie 100 apart), or \
         end above 65535.",
    ),
    ("init-hosts", "`--host` is given once for all replicas, or once for each of them."),
    (
        "backup-uncertified",
        "The log holds no certified head yet, so there is nothing that a quorum vouches for. Back up \
         once the first request was answered.",
    ),
    (
        "backup-not-certified",
        "What was to be backed up or restored is not what a quorum of this cluster certified. \
         Take another backup, of another replica if need be.",
    ),
    (
        "restore-exists",
        "`quorate restore` never overwrites. Move the data folder away first, and only if it is \
         lost: a replica with a whole data folder needs no backup.",
    ),
    (
        "init-one-copy",
        "A service that runs outside has one copy beside each replica, and all replicas were given \
         the same one. Write {i} where the number of the replica belongs, for example \
         `--service 'http://127.0.0.1:900{i}'`.",
    ),
    (
        "copy-unreachable",
        "The copy of the service beside this replica takes no connection. Start it. Nothing was \
         sent to it; if it had executed requests before, what it holds is unknown.",
    ),
    (
        "copy-timed-out",
        "The copy of the service beside this replica gave no whole answer within \
         `copy.call_timeout_ms`. The request is not sent again, since it may have been executed; \
         what the copy holds is unknown.",
    ),
    (
        "copy-broke-off",
        "The copy of the service beside this replica ended the connection before its answer was \
         whole. The request is not sent again, since it may have been executed; what the copy \
         holds is unknown.",
    ),
    (
        "copy-garbage",
        "The copy of the service beside this replica answered with something that is not \
         HTTP/1.1: most likely another program listens there.",
    ),
    (
        "copy-replaced",
        "The copy of the service that this replica used was started anew: another process listens in \
         its place, and what the first one held is gone unless it kept it on a disk. It is \
         restored, or fenced, as the configuration says (`copy.restore`).",
    ),
    (
        "copy-unknown",
        "The replica was started again, and its copy of the service may have executed requests \
         that nobody here remembers: with `restore = \"replay\"` it is reset and executes all of \
         them again, with `restore = \"snapshot\"` those since its state was saved, else it is \
         fenced.",
    ),
    (
        "copy-differs",
        "A replica's copy of the service gave another answer than f+1 copies agreed on. That \
         proves no lie: a program whose answers depend on its clock, on chance, on hash seeds or \
         on threads does the same. If it is this replica's own, it is restored or fenced.",
    ),
    ("copy-silent", "A replica's copy of the service gave no answer where one was agreed on."),
    (
        "copy-fenced",
        "It is not known what this replica's copy of the service holds, and the configuration says \
         no way to restore it (`restore = \"fence\"`, the default). The replica goes on ordering \
         and recording what the others' copies answer, and reports no answers of its own, until \
         it has `restore = \"replay\"` with `reset_url` or `reset_command`.",
    ),
    (
        "copy-reset-failed",
        "`copy.reset_url` was not answered 2xx, or `copy.reset_command` ended without success, \
         within 30 s. It is tried again, after pauses of up to 30 s.",
    ),
    (
        "copy-load-failed",
        "`copy.load_url` did not answer the PUT of the copy's saved state with 2xx within 30 s. It \
         is tried again, after pauses of up to 30 s; a state that the copy refuses, or that three \
         attempts did not bring in step, is thrown away.",
    ),
    (
        "copy-snapshot-failed",
        "The copy's state was not saved: `copy.save_url` did not answer a GET with 200 and at most \
         `copy.snapshot_bytes_max` bytes within 10 s, or the disk did not take it. The snapshot \
         before stays, and saving is tried again later.",
    ),
    (
        "copy-snapshot-unusable",
        "The copy's snapshot was damaged on the disk or refused by the copy, or with it the copy \
         did not answer the log's requests as was agreed. It was thrown away: the copy is reset \
         and executes all requests again where a reset is configured, else it is fenced.",
    ),
    (
        "copy-busy",
        "The copy of the service beside this replica lags by more slots than wait for it. It \
         executes them from the log.",
    ),
    (
        "copy-request-unwritable",
        "The request was ordered, but holds bytes that HTTP/1.1 cannot carry to the copies of the \
         service, so that none of them saw it.",
    ),
    ("key-not-listed", "The private keys are not those whose public halves the members list."),
    ("key-unusable", "The TLS key cannot be used."),
    (
        "tls-unreadable",
        "The gateway's certificate or its key cannot be read. While the replica runs, the \
         certificate that it has stays in use.",
    ),
    (
        "tls-malformed",
        "The gateway's certificate or its key is not PEM, or does not hold what it should. While \
         the replica runs, the certificate that it has stays in use.",
    ),
    (
        "tls-unusable",
        "The gateway's certificate and key are not made for each other, or are of a kind that \
         cannot be used. During a renewal that replaces one file after the other this is said \
         once, and passes; while the replica runs, the certificate that it has stays in use.",
    ),
    ("port-in-use", "Another process listens on the port. Stop it, or choose another port."),
    (
        "listen",
        "The system refuses to listen on the address; most likely it is none of this machine's.",
    ),
    ("runtime", "The system gave no thread, event loop or signal handler."),
    (
        "halted",
        "The replica met what cannot be masked, such as a result of its own that differs from the \
         quorum's, and stopped rather than give a wrong answer (promise P8). The others go on.",
    ),
    ("panic", "An invariant of the program is broken. Keep the log and report it."),
    ("log-gap", "The log of entries does not end where the replica goes on."),
    ("disk-lost", "The vote log is gone. The replica neither votes nor leads before it rejoined."),
    ("log-unreadable", "The log of entries cannot be read here. Ask another replica."),
    ("forged", "A peer delivered a message with a wrong signature."),
    ("link-refused", "A peer could not be reached, or did not hold the key that is pinned for it."),
    (
        "link-stranger",
        "Somebody without a member's key, or of another chain, dialled a replica, or held a \
         handshake open. Told once a second at most, with the number of those left out; the bounds \
         are 64 handshakes at a time, 16 of one address.",
    ),
    (
        "link-policy-differs",
        "A member of this very chain was made for another policy: its `name`, `members` or rules \
         about answers in `[copy]` are not this replica's. The two would sign different logs from \
         entry 0 on, so neither hears the other. Compare what `quorate policy show` says at both, \
         and make the one that is wrong anew from the cluster's `quorate.toml` and `policy.txt`.",
    ),
    (
        "link-broken",
        "A link of a peer was ended: it broke, or the peer sent what no replica sends.",
    ),
    ("link-accept", "A link could not be accepted, most likely for want of descriptors."),
    ("dev-running", "Another `quorate dev` runs in that folder."),
    (
        "dev-other-settings",
        "`quorate dev --dir` resumes a cluster with the settings it was made with.",
    ),
    ("dev-no-quorum", "Too few replicas of the local cluster could be started."),
    ("dev-spawn", "A replica's process could not be started."),
    ("dev-wait", "A replica's process was lost."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_words_and_stand_once() {
        let mut seen = std::collections::BTreeSet::new();
        for (code, text) in EXPLANATIONS {
            assert!(seen.insert(code), "{code} twice");
            assert!(code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{code}");
            assert!(text.ends_with('.'), "{code}");
        }
    }
}
