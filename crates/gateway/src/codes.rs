//! Every code that a gateway or the replica behind it refuses with, and what it means.
//!
//! A code is a stable word: scripts compare it, `quorate explain CODE` prints its paragraph.
//! Refusals are built from a [`Code`], so one that is not in [`ALL`] cannot be sent from here.

use quorate_types::Refusal;

/// A kind of refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Code {
    /// The stable word.
    pub name: &'static str,
    /// The HTTP status that it comes with.
    pub status: u16,
    /// Seconds for `Retry-After`, where another try makes sense.
    pub retry_after_s: Option<u32>,
    /// One paragraph for a person: what happened, and what to do about it.
    pub explanation: &'static str,
}

impl Code {
    /// A refusal of this kind; `detail` is one sentence about this case.
    #[must_use]
    pub fn refusal(&self, detail: impl Into<String>) -> Refusal {
        let refusal = Refusal::new(self.status, self.name, detail);
        match self.retry_after_s {
            Some(seconds) => refusal.retry_after(seconds),
            None => refusal,
        }
    }
}

/// The code of that name.
#[must_use]
pub fn explain(name: &str) -> Option<&'static Code> {
    ALL.iter().find(|code| code.name == name)
}

macro_rules! codes {
    ($(
        $ident:ident = $status:literal $name:literal $(retry $seconds:literal)?: $text:literal;
    )*) => {
        $(
            #[doc = concat!("`", $name, "`, ", stringify!($status), ". ", $text)]
            pub const $ident: Code = Code {
                name: $name,
                status: $status,
                retry_after_s: codes!(@retry $($seconds)?),
                explanation: $text,
            };
        )*
        /// All codes, in the order of a request's way through the gateway.
        pub const ALL: &[Code] = &[$($ident),*];
    };
    (@retry) => { None };
    (@retry $seconds:literal) => { Some($seconds) };
}

codes! {
    HEAD_MALFORMED = 400 "head-malformed":
        "The bytes are not an HTTP/1.1 request head: a start line or field line that does not \
         parse, a line ended by a bare line feed, a control character, or an HTTP version other \
         than 1.0, 1.1 and 2. Nothing was ordered. Check what builds the request.";
    HEADER_FOLDED = 400 "header-folded":
        "A header line was continued on the next line. RFC 9112 lets a server refuse this old \
         form, and this one does, since readers of folded lines disagree on their value. Send \
         each field on one line.";
    HEADER_TIMEOUT = 408 "header-timeout":
        "The request head did not arrive whole within the header time-out (10 s by default), \
         counted from its first byte. Nothing was ordered; send it again, faster.";
    TARGET_FORM = 400 "target-form":
        "The request target is a whole URL (absolute form), an authority or an asterisk. An \
         exchange covers the raw path and query only: send the target in origin form, starting \
         with a slash, and the authority as Host. A client that thinks it talks to a forward \
         proxy sends the absolute form.";
    TARGET_MALFORMED = 400 "target-malformed":
        "The request target holds a fragment (#), a byte outside ASCII, or a character that no \
         target may hold. It is taken byte for byte and never repaired: percent-encode what is \
         not allowed, and leave fragments out.";
    TARGET_TOO_LONG = 414 "target-too-long":
        "The request head is longer than allowed (16 KiB by default), most of it by the target. Put \
         long input into the content.";
    HEAD_TOO_LARGE = 431 "head-too-large":
        "Request line and header fields together are larger than allowed (16 KiB by default). \
         Large cookies are the usual reason.";
    TOO_MANY_HEADERS = 431 "too-many-headers":
        "The request has more header lines than allowed (100 by default).";
    FRAMING_AMBIGUOUS = 400 "framing-ambiguous":
        "The request says in two ways where its content ends: Content-Length with \
         Transfer-Encoding, or either of them twice. Two servers that read such a request \
         differently can be played against each other, so it is refused even if all values agree.";
    FRAMING_MALFORMED = 400 "framing-malformed":
        "Where the content ends cannot be told: a Content-Length that is not a plain number, or a \
         Transfer-Encoding other than chunked.";
    METHOD_UNSUPPORTED = 501 "method-unsupported":
        "CONNECT and TRACE act on connections, not on a service, and cannot be ordered.";
    UPGRADE_UNSUPPORTED = 501 "upgrade-unsupported":
        "The request asks to change the protocol (WebSocket, for example). A proof covers one \
         request and one response; there is nothing to agree on in a stream.";
    EVENT_STREAM_UNSUPPORTED = 501 "event-stream-unsupported":
        "The request accepts nothing but an event stream. A proof covers a response with a fixed \
         content; ask for the state and ask again.";
    HOST_MISSING = 400 "host-missing":
        "The request names no host. HTTP/1.1 asks for exactly one Host field, HTTP/2 for \
         :authority.";
    HOST_AMBIGUOUS = 400 "host-ambiguous":
        "The request names two hosts: Host stands twice, or differs from :authority.";
    HOST_FOREIGN = 421 "host-foreign":
        "The request is for another authority than this gateway serves. The exchange names the \
         service's own authority, so a request meant for somebody else must not get its proof. \
         Use one of the gateway's names, or have the operator add the name as an alias.";
    FIELD_REPEATED = 400 "field-repeated":
        "A field that the exchange covers stands on more than one line. The exchange holds one \
         value per field; join the values yourself where the field allows it.";
    FIELD_VALUE = 400 "field-value":
        "The value of a field that the exchange covers holds something other than printable \
         ASCII. Encode it as the field's definition says.";
    CONTENT_ENCODING = 415 "content-encoding":
        "The request's content is compressed or otherwise encoded. Proofs cover the plain content: \
         send it without Content-Encoding.";
    CONTENT_RANGE = 400 "content-range":
        "The request carries Content-Range. A part of a representation cannot be ordered; send \
         the whole, or use the service's own way to change a part.";
    FIELD_UNCOVERED = 400 "field-uncovered":
        "A request to be ordered holds a field that this service's exchanges do not cover. Gateways \
         drop such fields, so this one comes from a gateway with another configuration.";
    REQUEST_METHOD = 400 "request-method":
        "The method is not a token as RFC 9110 defines it: letters, digits and a few marks.";
    REQUEST_PATH = 400 "request-path":
        "The path does not start with a slash, or holds a blank, a fragment or a byte outside \
         printable ASCII. It is taken byte for byte: percent-encode what is not allowed.";
    REQUEST_QUERY = 400 "request-query":
        "The query holds a blank, a fragment or a byte outside printable ASCII. It is taken byte \
         for byte: percent-encode what is not allowed.";
    KEY_FORM = 400 "key-form":
        "The Idempotency-Key is not a quoted string. Write it in double quotes, for example \
         Idempotency-Key: \"8e03978e-40d5-43e8-bc93-6894a57f9324\".";
    KEY_TOO_LONG = 400 "key-too-long":
        "The Idempotency-Key has more than 255 bytes. A random UUID is enough.";
    KEY_TOO_SHORT = 400 "key-too-short":
        "The Idempotency-Key is shorter than 22 characters and the request carries neither \
         Authorization nor a signature. All such clients share one space of keys, so a key must \
         hold 128 random bits: a random UUID will do.";
    SIGNATURE_MALFORMED = 401 "signature-malformed":
        "Signature-Input and Signature are there but are not a client signature as defined for \
         this service: Ed25519 by RFC 9421 over @method, @authority, @path, @query, \
         content-digest and idempotency-key, with created and keyid. Sign anew, or send neither \
         field.";
    CLIENT_SIGNATURE_WRONG = 401 "client-signature-wrong":
        "The client's signature does not verify for this request under the key that it names. \
         Something changed on the way, or another text was signed. Nothing was ordered.";
    FIELDS_TOO_LONG = 431 "fields-too-long":
        "The covered fields exceed what an exchange may hold (65,535 bytes, of which the response \
         needs some). Put long input into the content.";
    BODY_TOO_LARGE = 413 "body-too-large":
        "The content is larger than allowed (1 MiB by default). Every replica keeps every request, \
         so large content belongs into a store of its own, with its digest here.";
    BODY_TIMEOUT = 408 "body-timeout":
        "The content did not arrive whole within the body time-out (30 s by default). Nothing was \
         ordered; the same Idempotency-Key may be used again.";
    BODY_MALFORMED = 400 "body-malformed":
        "The content ended early or its chunks are malformed. Nothing was ordered.";
    DIGEST_MISMATCH = 400 "digest-mismatch":
        "The Content-Digest does not match the content: it was changed on its way, or the digest \
         is of something else. Nothing was ordered.";
    DIGEST_UNSUPPORTED = 400 "digest-unsupported":
        "The Content-Digest is not exactly one sha-256 digest (sha-256=:BASE64:). No other \
         algorithm is accepted; the field may also be left out.";
    CLIENT_BUSY = 429 "client-busy" retry 1:
        "This client address already has as many requests in progress as one address may have. \
         Wait for answers, or spread the load over other gateways.";
    GATEWAY_BUSY = 503 "gateway-busy" retry 1:
        "This gateway has as many requests, or as many bytes of content, in progress as it takes. \
         Try again after Retry-After, here or at another gateway, with the same Idempotency-Key.";
    TOO_MANY_CONNECTIONS = 503 "too-many-connections" retry 1:
        "This gateway has as many open connections as it takes. Try again, here or at another \
         gateway.";
    OVERLOADED = 503 "overloaded" retry 1:
        "The replica has as many requests waiting for their order as it takes. Try again after \
         Retry-After with the same Idempotency-Key, which makes the retry safe.";
    REPLAY_TABLE_FULL = 503 "replay-table-full" retry 10:
        "The table of recent keys holds only signed keys that are too young to be dropped: more \
         than a million signed requests came within ten minutes. Try again later.";
    NOT_READY = 503 "not-ready" retry 1:
        "The replica cannot get a request ordered now: it is recovering, catching up, or cut off \
         from a quorum. Use another gateway, or try again.";
    REQUEST_RUNNING = 409 "request-running" retry 1:
        "A request with this Idempotency-Key is being ordered right now. Ask again in a moment: \
         the same request then gets the first one's answer.";
    CERTIFY_TIMEOUT = 504 "certify-timeout" retry 1:
        "No quorum certified an answer in time. The request may have been ordered or not; nothing \
         is proven. Send the same request with the same Idempotency-Key again, here or at another \
         gateway: it executes at most once, and the retry fetches its answer.";
    REQUEST_EXPIRED = 504 "request-expired":
        "The request waited longer than answers are remembered: in the meantime more entries were \
         made than the table of keys reaches back. It takes no effect from now on. Whether it took \
         effect before, by another gateway, is not known any more: look, before sending it again.";
    REQUEST_ALTERED = 503 "request-altered" retry 1:
        "The request was ordered with other content than this client sent: a replica on its way \
         changed it. Nothing of it is proven to be yours; send it again, here or elsewhere.";
    KEY_REUSED = 422 "idempotency-key-reused":
        "This Idempotency-Key stood on another request before. A key means one request with one \
         content; take a fresh one. This answer is ordered and proven.";
    SIGNATURE_OUTSIDE_WINDOW = 401 "signature-outside-window":
        "The client's signature is right, but its created time is more than 300 s from the time \
         that the replicas agreed on. Set the clock, sign anew. This answer is ordered and proven.";
    RESPONSE_NOT_COVERABLE = 500 "response-not-coverable":
        "The service gave a response that no proof can cover: repeated or malformed fields, or more \
         than an exchange holds. A defect of the service. This answer is ordered and proven.";
    COPIES_DISAGREE = 502 "copies-disagree":
        "The service runs in copies, one beside each replica. They executed the request, and no \
         answer was given by enough of them to be believed: the service is not deterministic \
         (`quorate doctor determinism` finds where), or its copies are not in the same state. This \
         answer is ordered and proven; the same Idempotency-Key gets it again.";
    COPIES_SILENT = 502 "copies-silent":
        "The service runs in copies, one beside each replica, and too few of them answered in time. \
         The request counts as not executed: a copy that executed it all the same is restored. \
         This answer is ordered and proven; ask again under another Idempotency-Key.";
    COPY_UNCOVERABLE = 502 "copy-uncoverable":
        "The copies of the service gave an answer that no proof can cover: malformed fields, an \
         interim status, or the words of one of Quorate's own answers. A defect of the service. \
         This answer is ordered and proven.";
    COPY_TOO_LARGE = 502 "copy-too-large":
        "The copies of the service gave an answer that is longer than `limits.body_bytes_max`, or \
         those of one slot took more than 8 MiB together. This answer is ordered and proven.";
    ANSWER_MALFORMED = 503 "answer-malformed":
        "The service's answer was ordered and proven, but cannot be written as an HTTP response: a \
         field holds bytes that HTTP forbids. This is a defect of the service.";
    RANDOMNESS = 503 "randomness" retry 1:
        "The operating system gave no random bytes for the salt of the exchange.";
    ORIGIN_REFUSED = 403 "origin-refused":
        "A web page of another origin sent this request to a proxy (`quorate proxy`). A proxy on \
         somebody's own machine must not lend every page that is visited its way to the service: \
         name the page's origin with --origin, if it is meant to.";
    GATEWAYS_BUSY = 503 "gateways-busy" retry 1:
        "None of the gateways behind this proxy takes the request now, or answered it in time: \
         they are busy, not ready, or still order a request of the same key. Send it again, under \
         the same Idempotency-Key, so that it takes effect once.";
    ANSWER_UNVERIFIED = 502 "answer-unverified":
        "No gateway behind this proxy gave an answer that a quorum stands behind, and at least one \
         gave an answer without a valid proof, which is not passed on. Somebody lies, changes \
         answers on the way, or serves another cluster than the proxy's policy is about: the \
         proxy's log and metrics name the gateway. A request that changes something may have \
         taken effect.";
    GATEWAYS_REFUSED = 502 "gateways-refused":
        "The gateways behind this proxy refused the request for good. Their word is not passed \
         on as an answer, because no proof covers it and a client could take it for the service's; \
         the detail names their code.";
    ANSWER_TOO_OLD = 502 "answer-too-old":
        "The answer is proven, but was agreed on longer ago than this proxy passes on (--max-age). \
         It is the first answer to an Idempotency-Key that was used before, or a clock is wrong.";
    GATEWAYS_SILENT = 504 "gateways-silent":
        "Connections to the gateways behind this proxy broke, or no answer came in time. The \
         request may have taken effect or not: send it again under the same Idempotency-Key, and \
         it takes effect once.";
    GATEWAYS_UNREACHABLE = 503 "gateways-unreachable" retry 1:
        "No gateway behind this proxy takes a connection. Nothing was sent.";
    NOT_FOUND = 404 "not-found":
        "There is nothing under this path of /.well-known/quorate/, or not yet: an entry that the \
         log does not have, or a tile that is not complete to this width.";
    LOG_UNREADABLE = 503 "log-unreadable":
        "This replica cannot read its own log here: the disk fails or bytes are damaged. Other \
         replicas hold the same log; ask one of them, and tell the operator.";
    METHOD_NOT_ALLOWED = 405 "method-not-allowed":
        "What lies under /.well-known/quorate/, and on the operations listener, takes only the \
         methods that Allow names.";
    EXCHANGE_RESTRICTED = 403 "exchange-restricted":
        "Exchanges hold what clients sent and got. The operator shows them to named callers only; \
         the public log stays readable for everyone.";
    COPY_OWN_PATH = 403 "copy-own-path":
        "The path is the replicas' own way to their copies of the service (`reset_url` in the \
         configuration). No client's request reaches it.";
    FAULTS_REFUSED = 403 "faults-refused":
        "Faults can be injected in development clusters only, and never by a web page.";
    FAULT_MALFORMED = 400 "fault-malformed":
        "The content is not a fault, for example {\"fault\":\"mute\"} or \
         {\"fault\":\"delay\",\"ms\":250}, sent as application/json.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_code_stands_once_and_is_a_plain_word() {
        let names: BTreeSet<_> = ALL.iter().map(|code| code.name).collect();
        assert_eq!(names.len(), ALL.len());
        for code in ALL {
            assert!(code.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{code:?}");
            assert!((400..=504).contains(&code.status), "{code:?}");
            assert!(code.explanation.len() > 40 && code.explanation.ends_with('.'), "{code:?}");
            assert!(!code.explanation.contains("  "), "{code:?}");
            assert_eq!(explain(code.name), Some(code));
        }
    }

    #[test]
    fn faults_of_form_stand_in_the_table_with_their_status() {
        use quorate_proof::RequestFault as Fault;
        let name = String::new;
        for fault in [
            Fault::Method,
            Fault::Path,
            Fault::Query,
            Fault::Uncovered(name()),
            Fault::Order(name()),
            Fault::Value(name()),
            Fault::Key,
            Fault::KeyTooLong,
            Fault::KeyTooShort,
            Fault::TargetTooLong,
            Fault::FieldsTooLong,
        ] {
            assert_eq!(explain(fault.code()).map(|code| code.status), Some(fault.status()));
        }
    }

    #[test]
    fn what_may_be_tried_again_says_when() {
        for code in ALL.iter().filter(|code| matches!(code.status, 429)) {
            assert!(code.retry_after_s.is_some(), "{code:?}");
        }
        let refusal = GATEWAY_BUSY.refusal("full");
        assert_eq!((refusal.status, refusal.retry_after_s), (503, Some(1)));
    }

    #[test]
    fn no_refusal_is_built_without_a_code_of_the_table() {
        let src = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        for file in std::fs::read_dir(src).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let built = text.matches(concat!("Refusal", "::new(")).count();
            let here = usize::from(path.ends_with("codes.rs"));
            assert_eq!(built, here, "{}", path.display());
        }
    }
}
