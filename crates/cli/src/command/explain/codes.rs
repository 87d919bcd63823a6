//! The codes of everything but gateways, and what they mean.

/// Name and explanation: what happened, and what to do about it.
pub(super) const ALL: &[(&str, &str)] = &[
    // What a verifier finds wrong.
    (
        "field-missing",
        "The answer lacks a field that every proven answer carries (Content-Digest, \
         Quorate-Index, -Epoch, -Time, -State, -Salt, or the proof). It was made by something \
         that no quorum stands behind, or a proxy took the field away.",
    ),
    (
        "field-repeated",
        "A covered field, or one of Quorate's own, stands more than once, so that readers could \
         take different values. Such an exchange is never believed.",
    ),
    (
        "field-malformed",
        "One of Quorate's own fields is not in its one canonical form: a number with leading \
         zeros, base64 with stray bits, a parameter. Somebody rewrote it.",
    ),
    (
        "field-value",
        "A covered value holds something other than trimmed ASCII, and cannot be what a replica \
         executed or answered.",
    ),
    (
        "content-coded",
        "The answer or the request has a Content-Encoding. Proofs cover the plain content: a proxy \
         that compresses must not stand between a replica and who verifies.",
    ),
    (
        "content-partial",
        "The answer is a part of a content (Content-Range) that the service does not have covered. \
         No proof is about a part.",
    ),
    (
        "content-unexpected",
        "There is content in an answer to HEAD, or in a 204 or 304, which have none. Nothing \
         covers it.",
    ),
    (
        "content-digest-wrong",
        "The Content-Digest is not that of the content. The content was changed after it was \
         agreed on.",
    ),
    (
        "covers-name",
        "Quorate-Covers names something that is not a field name in lower case. It is covered by \
         the proof itself, so a service's configuration, or who rewrote the field, is wrong.",
    ),
    (
        "covers-reserved",
        "Quorate-Covers names a field that every exchange covers anyway, or one of Quorate's own.",
    ),
    ("covers-twice", "Quorate-Covers names a field twice on one side, so it has no one meaning."),
    (
        "covers-order",
        "Quorate-Covers names a request field after a response field; request fields come first, \
         so that there is one spelling.",
    ),
    (
        "covers-wrong",
        "The answer announces other covered fields than the service's configuration has, so no \
         replica made it.",
    ),
    (
        "response-status",
        "The status is not that of a final response (200 to 599), so no service answered it.",
    ),
    (
        "exchange-too-long",
        "Request and response together are longer than an exchange may be (65,535 bytes beside \
         the contents). No replica answers such a request.",
    ),
    (
        "proof-malformed",
        "The proof is not a c2sp.org/tlog-proof@v1 text of the form used here: an index, at most \
         63 hashes, an empty line, a checkpoint, one newline at the end.",
    ),
    ("proof-too-long", "The proof has more than 64 KiB, more than any head and path need."),
    (
        "proof-unavailable",
        "The answer links to its proof instead of carrying it, and the gateway does not give the \
         proof. Without it the answer is anybody's claim. Ask another gateway with the same \
         Idempotency-Key.",
    ),
    (
        "checkpoint-malformed",
        "The signed head is not a C2SP checkpoint of three lines, an empty line and signature \
         lines.",
    ),
    (
        "entry-malformed",
        "The text is not an entry of a log: six lines in one canonical form. In an audit, the log \
         holds something that no replica wrote.",
    ),
    ("index-beyond-head", "The proof speaks of an entry that its own head does not have yet."),
    (
        "index-differs",
        "The answer's Quorate-Index and its proof name different entries: a valid proof of \
         something else was put beside this answer.",
    ),
    (
        "origin-differs",
        "The head is that of another log: another cluster, another service, or a cluster that was \
         set up anew. Use that cluster's policy.",
    ),
    (
        "not-in-log",
        "The exchange, written down as it arrived, is not the entry that the replicas agreed on. \
         The answer, a covered field, or the request that was executed was changed on its way. \
         This is what a corrupt gateway looks like: `quorate status` at another replica may name \
         it, and another gateway gives the right answer.",
    ),
    (
        "signature-wrong",
        "A line of a replica that the policy knows does not verify. The head was changed after it \
         was signed, or somebody signs with another key under that replica's name.",
    ),
    ("log-signature-missing", "No log key of the policy signed the head, as C2SP texts ask for."),
    (
        "quorum-missing",
        "Too few replicas of the policy cosigned the head. Fewer than a quorum may be wrong, or \
         may know only one of two histories: do not believe the answer.",
    ),
    (
        "certificate-inconsistent",
        "The parts of a stable certificate do not belong together: its last entry, path, state \
         record or signers. No correct replica made it.",
    ),
    (
        "webcrypto-unavailable",
        "The JavaScript module found no WebCrypto, without which it verifies nothing. Browsers give \
         it to pages that came over https, or from localhost or 127.0.0.1.",
    ),
    (
        "ed25519-unavailable",
        "The browser's WebCrypto has no Ed25519 (Chrome before 137, Firefox before 129, Safari \
         before 17), so the JavaScript module can verify nothing there, and accepts nothing.",
    ),
    (
        "redirect-hidden",
        "The answer redirects, and browsers hide such answers from the page that asked. Another \
         client, or Node, can verify it.",
    ),
    (
        "too-old",
        "The answer verifies, but was agreed longer ago than --max-age accepts. A gateway may \
         replay old valid answers to requests without an Idempotency-Key; or this clock is ahead.",
    ),
    // What is wrong with evidence against a replica.
    (
        "evidence-malformed",
        "The file holds no evidence of the form that `quorate status --output json` prints in \
         `divergent`: the accused, a charge, and two messages in base64.",
    ),
    (
        "evidence-wrong",
        "The evidence convicts nobody: a signature in it is not the accused's, the certificate is \
         no quorum's, or what was signed is no contradiction. Somebody changed it, made it up, or \
         holds it against the wrong policy.",
    ),
    (
        "evidence-needs-config",
        "The evidence consists of votes, and vote keys stand in the replicas' configurations \
         only. Name one by --config. Nothing proves the vote keys in it, so have it from \
         somebody whom you trust as much as the source of the policy.",
    ),
    (
        "evidence-config-differs",
        "The configuration leads to another policy than the one given: it is another cluster's, \
         or was changed.",
    ),
    ("arguments", "The command line names too little to do anything with."),
    // What an audit finds wrong.
    (
        "audit-entry",
        "An entry of the log is out of its place: its index, time, epoch or kind does \
         not follow from the entries before, or the entries of one slot state different states.",
    ),
    (
        "audit-exchange",
        "The request and response that are shown for an entry are not those that \
         the entry was made from. Somebody changed the exchange after it was agreed on, or the \
         disk did.",
    ),
    (
        "audit-state",
        "Executing the requests again leads to another state root, or to another \
         response, than the log states. Either a quorum executed something else than the service \
         does (another version, say), or the log is forged.",
    ),
    ("audit-head", "The head that should vouch for a slot does not cover it, or is not there."),
    (
        "audit-root",
        "The Merkle root over the entries is not the one that a quorum signed. One of \
         the entries up to the one that is named was changed, removed or added.",
    ),
    (
        "audit-fork",
        "Two signed heads of one size have different roots: a quorum vouched for two \
         histories. Keep both heads; together they prove it to anybody.",
    ),
    (
        "audit-tile",
        "A published tile does not follow from the published entries. Monitors that \
         read tiles see another log than readers of entries.",
    ),
    (
        "audit-withheld",
        "A gateway certified something and does not give it. Ask another one; if \
         none gives it, the log is not public any more.",
    ),
    (
        "audit-truncated",
        "The folder holds fewer entries than are certified. After a crash the \
         replica makes them again from its write-ahead log at the next start; else entries were \
         lost, or are damaged from the one that is named on.",
    ),
    (
        "audit-upstream",
        "The fresh copy that is to execute everything again cannot be asked: --upstream names more \
         than http://HOST:PORT, nobody listens there, or the copy broke off. The audit says \
         nothing about the log then. Start the copy anew, empty, and try again.",
    ),
    (
        "audit-upstream-differs",
        "A fresh copy of the service answers otherwise than the log says that the copies did. Either \
         it was not fresh, or is of another version, or is called otherwise (--config names the \
         `[copy]` of a replica); or the service is not deterministic; or enough copies lied \
         together.",
    ),
    ("audit-from", "The log has fewer entries than --from asks for."),
    ("audit-folder", "The folder is no data folder of a replica."),
    // Policies and keys in them.
    (
        "policy-changed",
        "The gateway serves another policy than the one believed for it, and nothing leads from \
         the old one to it. Either this is another cluster at the same address, or somebody wants \
         to be believed in its place. If you know that the cluster was set up anew: `quorate \
         policy forget URL`.",
    ),
    (
        "proxy-url",
        "A gateway of `quorate proxy` is named by scheme, host and port alone: what a client asks \
         for is passed on as it is.",
    ),
    (
        "proxy-setting",
        "A setting of `quorate proxy` cannot work, an alias that is no authority for example. The \
         message names the value.",
    ),
    (
        "insecure-http",
        "The address can be reached from other machines, and what is said there in plain HTTP can \
         be read and changed on the way. Listen on the loopback, use TLS, or say --insecure-http \
         where something else protects the way.",
    ),
    (
        "policy-needed",
        "The command checks proofs and was given no policy to check them by. Name it by --policy \
         or $QUORATE_POLICY.",
    ),
    (
        "policy-unserved",
        "The URL gives no policy under /.well-known/quorate/policy. It is no gateway of Quorate, \
         or one behind a proxy that hides the path. Name the policy by --policy.",
    ),
    (
        "policy-file",
        "The policy file, or the folder of pinned policies, cannot be read or written.",
    ),
    ("policy-too-long", "The policy has more than 1 MiB, more than 1,024 replicas need."),
    (
        "policy-malformed",
        "A line of the policy is none of log, witness, group and quorum in their C2SP forms, or \
         the text does not end in a newline.",
    ),
    (
        "policy-origin",
        "A log line names no origin NAME/quorate/CHAIN/MODEL, or not the one of the \
         other log lines. A policy is about one log.",
    ),
    ("policy-name", "A name in the policy is used twice, or is the reserved word none."),
    ("policy-unknown-name", "A group or the quorum refers to a name that no line before it gives."),
    ("policy-member-twice", "A witness or group belongs to two groups, and would count twice."),
    ("policy-threshold", "A group asks for none of its members, or for more than it has."),
    ("policy-nesting", "Groups nest more than 32 deep."),
    ("policy-too-many", "The policy has more than 1,024 lines of one kind."),
    ("policy-quorum", "A policy has exactly one quorum line, and it is not `quorum none`."),
    ("policy-no-log", "The policy has no log line, so it is about no log."),
    (
        "key-type",
        "A verifier key has another type than its line asks for: 0x01 for logs, 0x04 for \
         witnesses.",
    ),
    (
        "key-weak",
        "A public key is of small order or not canonically encoded. Anybody could sign \
         under such a key, so a policy that holds one is refused even where it is not used.",
    ),
    ("key-twice", "One public key stands twice in the policy, and would count twice."),
    ("vkey-malformed", "A verifier key is not NAME+ID+BASE64 with the id that its parts give."),
    ("key-id", "The id in a verifier key is not the one that its name and bytes give."),
    (
        "origin-malformed",
        "The log's name is not NAME/quorate/CHAIN/MODEL, CHAIN sixteen lower-case \
         hex digits, MODEL bft or hybrid.",
    ),
    // Files of saved exchanges.
    (
        "file-truncated",
        "A saved request or response has no empty line at the end of its header \
         section.",
    ),
    (
        "file-start-line",
        "The first line of a saved file is not `METHOD TARGET HTTP/1.1` or \
         `HTTP/1.1 STATUS REASON`, lines ended by CRLF.",
    ),
    ("file-interim", "The saved response is an interim one (1xx). Save the final one."),
    ("file-header-line", "A line of a saved header section is not `Name: value`, or is folded."),
    ("file-host", "A saved request has exactly one Host line."),
    (
        "file-transfer-encoding",
        "A saved file holds the plain content; a Transfer-Encoding has no \
         place in it.",
    ),
    (
        "file-content-length",
        "The Content-Length of a saved file is missing, repeated, or not the \
         content's.",
    ),
    // Clients' requests and signatures.
    (
        "request-method",
        "The method of the request is not an RFC 9110 token, and was never ordered.",
    ),
    ("request-path", "The path is not raw printable ASCII that begins with a slash."),
    ("request-query", "The query is not raw printable ASCII."),
    ("field-uncovered", "A request holds a field that this service's exchanges do not cover."),
    ("key-form", "The Idempotency-Key is not a quoted string. Write it in double quotes."),
    ("key-too-long", "The Idempotency-Key has more than 255 bytes."),
    (
        "key-too-short",
        "An anonymous client's Idempotency-Key needs at least 22 characters, so that \
         nobody guesses it.",
    ),
    ("target-too-long", "The request target does not fit an exchange."),
    ("fields-too-long", "The covered request fields do not fit an exchange."),
    (
        "signature-fields",
        "Signature-Input and Signature do not hold one signature under one label.",
    ),
    (
        "signature-parameters",
        "The signature's parameters are not created, keyid and alg in canonical \
         form.",
    ),
    ("signature-algorithm", "A client's signature is Ed25519; another algorithm was named."),
    ("signature-keyid", "The signature's keyid is not the base64 of a 32-byte public key."),
    (
        "signature-uncovered",
        "A client's signature covers at least @method, @authority, @path, \
         @query, content-digest and idempotency-key; one of them is missing.",
    ),
    ("signature-component", "The signature covers something that the request does not have."),
    // What the key-value service answers, ordered and proven.
    (
        "not-found",
        "The service has nothing there: no value under the key, or a path other than /kv/{key} \
         and /kv/{key}/cas.",
    ),
    ("method-not-allowed", "The service does not take this method for this path."),
    ("precondition-failed", "If-Match or If-None-Match names another value than the one held."),
    ("key-encoding", "A percent sign in a key of the store is not followed by two hex digits."),
    ("kv-key-too-long", "A key of the store has more than 1,024 bytes once it is decoded."),
    (
        "cas-malformed",
        "The content of a compare-and-set is not {\"expect\": .., \"set\": ..}, each a text or \
         null, and nothing else.",
    ),
    (
        "no-session",
        "No open session of the shopping cart has this id: it was closed, or never opened.",
    ),
    ("no-item", "The shop has no item of this name; `GET /cart/items` lists what there is."),
    (
        "cart-malformed",
        "The content of a request to add something is not {\"item\": NAME, \"quantity\": N}, with N \
         from 1 to 1000000, and nothing else.",
    ),
    ("cart-empty", "There is nothing in the cart that could be ordered."),
    ("cart-full", "A cart holds at most 1000000 of an item."),
    (
        "out-of-stock",
        "There is less left of an item than the cart holds. Nothing was ordered, and the cart is as it \
         was.",
    ),
    (
        "runs-elsewhere",
        "The service runs in copies beside the replicas, and something asked the replica itself for \
         an answer. This is a defect of Quorate.",
    ),
    // The client's way to a gateway.
    (
        "url-scheme",
        "A gateway has an http:// or an https:// URL, and a copy of a service an http:// one, \
         since it listens for its own replica alone.",
    ),
    (
        "doctor-config",
        "The configuration that --config names is of a service that runs inside the replicas, so that \
         it says nothing about copies.",
    ),
    (
        "tls-authorities",
        "A gateway is to be reached by TLS, and there is no file of certificate authorities that \
         are believed, or none in it can be read. Name one by --cacert or $SSL_CERT_FILE, or \
         install the system's (ca-certificates).",
    ),
    (
        "tls-untrusted",
        "The gateway's certificate is expired, names other hosts than the URL, or comes from an \
         authority that is not believed. Nothing was sent. For an authority of your own there is \
         --cacert. An answer would have been checked by its proof all the same: TLS keeps requests \
         from other eyes.",
    ),
    (
        "tls-handshake",
        "No TLS connection to the gateway came about: it speaks plain HTTP there, or another version \
         of TLS, or broke off. Nothing was sent.",
    ),
    ("url-authority", "The URL names no host, or a user, or a port that is none."),
    (
        "url-character",
        "The URL holds a blank, a control or a non-ASCII character. Requests are \
         ordered byte for byte, so encode it yourself (%20).",
    ),
    ("header-form", "A header field is written `Name: value`."),
    (
        "connect",
        "No connection to the gateway. It does not run, listens elsewhere, or is out of \
         reach. Nothing was sent.",
    ),
    (
        "connection-broken",
        "The connection broke before the answer was there. The request may have \
         been ordered; the same Idempotency-Key makes a retry safe.",
    ),
    (
        "timed-out",
        "No answer in time. The request may have been ordered; the same Idempotency-Key \
         makes a retry safe.",
    ),
    ("answer-too-large", "The answer is larger than this client reads."),
    ("request-unwritable", "HTTP cannot carry the method or a header field as it is written."),
    ("no-randomness", "The operating system gave no random bytes for the Idempotency-Key."),
    ("no-gateway", "No gateway was named."),
    ("no-home", "Neither $XDG_CONFIG_HOME nor $HOME names a folder for pinned policies."),
    ("answer-unexpected", "A listener answered with a status that the command has no use for."),
    (
        "status-malformed",
        "What the URL gives is no status document. Name a gateway or an operations listener of \
         Quorate.",
    ),
    ("replica-unknown", "The cluster has no replica of that number."),
    (
        "operations-unknown",
        "The replica that was asked does not know the operations listener of the \
         other. Only development clusters tell them.",
    ),
    (
        "fault-malformed",
        "The fault cannot be written down for the operations listener, or is none.",
    ),
    ("code-unknown", "There is no such code. `quorate explain` lists all."),
    (
        "runtime",
        "The operating system gave no event loop (epoll) to this process, usually for want \
         of file descriptors.",
    ),
    ("terminal", "The terminal could not be set to give single keys, or the system did not say."),
    (
        "no-answer",
        "Something accepts connections there, and did not answer in time: a replica that hangs or \
         is stopped, perhaps.",
    ),
    (
        "cluster-other",
        "A URL leads to a replica of another cluster than the one that answered first.",
    ),
    (
        "backup-exists",
        "The folder of the new backup is there already, or that of one under way. A backup is never \
         overwritten: name another folder, or remove what was broken off.",
    ),
    (
        "backup-damaged",
        "A file of the backup is missing, has other content than its manifest says, or does not \
         belong there. Use another backup; nothing was restored.",
    ),
    (
        "backup-format",
        "The folder is no backup of `quorate snapshot`, or one that another version wrote.",
    ),
    (
        "backup-other-cluster",
        "The backup is of another cluster than the configuration, or of an earlier one of the same \
         name. Nothing was restored.",
    ),
    ("signals", "The system gave no signal handler, so the command could not be ended in order."),
    ("file", "A file or folder that the command line names cannot be read or written."),
    (
        "bench-not-verified",
        "Under load, some answers carried a wrong proof or none. The errors name \
         what was wrong with them; `quorate curl` shows one such answer at a time.",
    ),
    ("bench-no-answers", "Not one request of a load was answered while it was measured."),
    // The simulator.
    (
        "scenario-unknown",
        "The simulator has no scenario of that name; `quorate sim run --help` lists them.",
    ),
    (
        "plan-malformed",
        "The file is no plan of the simulator. `quorate sim run SCENARIO --save-plan FILE` writes \
         one that can be edited; times are such as 12.5ms, replicas r0, seats numbers.",
    ),
    ("plan-unwritable", "The plan holds a number that its text form cannot, from 2^63 on."),
    (
        "place-unknown",
        "The replica that is watched does less than so many things in any course, so there is no \
         such place to crash at. `quorate sim crash-points` without --at says how many there are.",
    ),
    // The doctor.
    (
        "answers-differ",
        "Two copies of the service were asked the same and answered differently. Behind a quorum \
         the copies would disagree: where no f + 1 of them agree, clients get a proven 502. What \
         stands above says where they differ, why it seems so, and what cures it; \
         docs/determinism.md tells more.",
    ),
    (
        "doctor-service",
        "`--service` must name two copies: a command line with {port} in it, which is started \
         twice, or a URL with {i} in it, for copies 0 and 1 that run; of a host and a port, \
         without a path.",
    ),
    (
        "doctor-start",
        "A copy of the service cannot be asked: its program ended or did not begin to listen in \
         time (`--start-time`), or nothing listens where the URL says. A program must listen on \
         127.0.0.1 at the port that {port} stands for.",
    ),
    (
        "replay-malformed",
        "The file of requests is not a JSON object a line: `path`, and if need be `method`, \
         `headers` and `body`, nothing else. The message names the line.",
    ),
    ("stopped", "A signal ended the command before it was done."),
    // Keys in files.
    (
        "key-missing",
        "A key file is not there. Replicas' keys are made by `quorate init`, clients' \
         by `quorate keygen`.",
    ),
    (
        "key-mode",
        "A key file may be read by others than its owner, or is executable. chmod 600 it, \
         and consider whether it was read.",
    ),
    (
        "key-malformed",
        "A verifier key is not NAME+ID+BASE64 in canonical form; or a key file is not \
         one, was cut off, or is a folder.",
    ),
    (
        "key-mismatch",
        "The key file is for another role, or its public key is not that of its \
         secret.",
    ),
    ("key-exists", "A file stands where the key should be written. Keys are never overwritten."),
    (
        "key-in-use",
        "Another process on this host uses the key. Two processes with one key would \
         sign against each other and be accused; stop the other one, or do not copy data folders.",
    ),
    ("key-lock", "The lock that keeps one key from being used twice cannot be made."),
    ("key-io", "The operating system refused to read or write a key file."),
    ("key-randomness", "The operating system gave no random bytes for a key."),
    ("keys-count", "There are not as many keys as replicas."),
    ("keys-weak", "A replica's vote key is no sound Ed25519 key."),
    ("keys-shared", "Two replicas have one vote key, and would count as one."),
    // Why a replica refuses a message of another.
    ("stranger", "A message claims to be by a replica that the committee does not have."),
    ("unsigned", "A message holds no signature where it needs one."),
    ("broken", "A message claims something that cannot be checked at all."),
    ("vote", "A vote's signature does not verify."),
    (
        "client",
        "The client's signature inside a proposal does not verify. A correct replica never \
         proposes such a request.",
    ),
    ("certificate", "A certificate inside a message does not verify."),
    // Disks.
    (
        "disk-full",
        "The disk is full (ENOSPC). A replica that runs waits, so that it never answers what it \
         could not keep, and goes on by itself once there is room; one that starts does not. \
         Nothing that was answered is lost.",
    ),
    (
        "read-only",
        "The file system is read-only (EROFS), most often because the system found it damaged. \
         Mount it writable and start again; nothing that was answered is lost.",
    ),
    (
        "file-missing",
        "A file of the data folder is not there. If the whole folder was lost, start \
         with an empty one: the replica rejoins.",
    ),
    (
        "disk-failed",
        "The disk failed to read or write (EIO, for example). The replica stops; the \
         others go on. Replace the disk and start with an empty data folder.",
    ),
    (
        "fsync-failed",
        "An fsync failed. What was written may or may not be on the disk, and trying \
         again would not tell, so the process ends. Start it again: it recovers from what the disk \
         really holds.",
    ),
    ("foreign-data", "The data folder is that of another cluster or replica."),
    ("unknown-format", "The data folder was written by a version of another format."),
    (
        "corrupt-log",
        "The log on this disk is damaged somewhere else than at its end. It is never \
         repaired by guessing: start with an empty data folder, and the replica rejoins.",
    ),
    (
        "corrupt-snapshot",
        "A snapshot on this disk is damaged. An older one, or the others, serve \
         instead.",
    ),
    ("item-too-large", "An item is larger than the log takes."),
    ("record-too-large", "A record is larger than the write-ahead log takes."),
    ("snapshot-too-large", "A snapshot is larger than its file format holds."),
    ("log-exists", "A write-ahead log is there already; it is never made anew over an old one."),
];
