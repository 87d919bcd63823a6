//! Gets answers from gateways, and believes proofs alone.

use super::standing::{Outcome, Standing};
use crate::command::verify::check_age;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use quorate_client::{Answer, Call, Client, Endpoint, SendError};
use quorate_gateway::{Counters, Fetched, Upstream, codes};
use quorate_types::{Proven, Refusal, Request};
use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

/// How many keys one request may take, where gateways spend them on other requests.
const KEYS_MOST: u32 = 3;

/// A client of several gateways, behind a relay. A clone is a handle to the same one.
#[derive(Clone)]
pub(super) struct Verified(Arc<Inner>);

struct Inner {
    client: Client,
    standing: Arc<Standing>,
    max_age_s: Option<u64>,
    counters: OnceLock<Counters>,
}

impl Verified {
    /// Asks by this client. Answers that were agreed longer ago than `max_age_s` are not passed on.
    pub(super) fn new(client: Client, standing: Arc<Standing>, max_age_s: Option<u64>) -> Self {
        Self(Arc::new(Inner { client, standing, max_age_s, counters: OnceLock::new() }))
    }

    /// Shows these counters among the metrics; the first call counts.
    pub(super) fn count(&self, counters: Counters) {
        let _ = self.0.counters.set(counters);
    }
}

impl Upstream for Verified {
    async fn send(&self, request: Request) -> Result<Proven, Refusal> {
        let own_key = request.field("idempotency-key").is_none();
        let mut keys = 0;
        loop {
            keys += 1;
            let answer = self.0.ask(request.clone()).await?;
            if own_key && keys < KEYS_MOST && is_key_spent(&answer) {
                let index = answer.verdict.facts.index.0;
                tracing::warn!(index, "a gateway spent this request's key on another request");
                continue;
            }
            return self.0.judged(&answer);
        }
    }

    fn page(&self, path: &str) -> Result<Fetched, Refusal> {
        let inner = &*self.0;
        let text = "text/plain; charset=utf-8";
        let of = |content_type, body: String| Ok(Fetched { content_type, body: body.into() });
        match path {
            "policy" => of(text, inner.client.policy().text().to_owned()),
            "readyz" if inner.standing.is_hopeful() => of(text, "ready\n".to_owned()),
            "readyz" => Err(codes::NOT_READY.refusal("no gateway answered when last asked")),
            "proxy/metrics" => of("text/plain; version=0.0.4; charset=utf-8", inner.metrics()),
            _ => {
                let detail = "a proxy shows its policy, readyz and proxy/metrics; ask a gateway";
                Err(codes::NOT_FOUND.refusal(detail))
            }
        }
    }
}

impl Inner {
    /// Asks under one key until an answer verifies.
    async fn ask(&self, request: Request) -> Result<Answer, Refusal> {
        let sent = self.client.prepare(call(request, &self.client.policy().origin().name));
        let sent = sent.map_err(|error| codes::RANDOMNESS.refusal(error.to_string()))?;
        let order = self.standing.order(Instant::now());
        match self.client.ask(&order, sent).await {
            Ok(answer) => {
                self.note(&answer.passed_over, true);
                self.standing.note(&answer.endpoint, Outcome::Verified, Instant::now());
                self.standing.answered(answer.elapsed);
                Ok(answer)
            }
            Err(told) => {
                self.note(&told, false);
                Err(refusal(&told))
            }
        }
    }

    /// The verified answer, unless it is too old.
    fn judged(&self, answer: &Answer) -> Result<Proven, Refusal> {
        check_age(&answer.verdict, self.max_age_s)
            .map_err(|failure| codes::ANSWER_TOO_OLD.refusal(failure.message))?;
        answer
            .proven()
            .ok_or_else(|| codes::ANSWER_UNVERIFIED.refusal("the verified answer does not parse"))
    }

    /// Takes down what became of tries. A refusal for good is the gateway's fault only where
    /// another one answered: else a client could make all gateways look as if they failed.
    fn note(&self, told: &[(Endpoint, SendError)], answered: bool) {
        let now = Instant::now();
        for (endpoint, error) in told {
            let Some(outcome) = Outcome::of(error) else { continue };
            if outcome == Outcome::Refused && !error.is_passing() && !answered {
                self.standing.count(endpoint, outcome);
            } else {
                self.standing.note(endpoint, outcome, now);
            }
            let (gateway, code) = (endpoint.to_string(), error.code());
            if outcome == Outcome::Unverified {
                tracing::warn!(gateway, code, %error, "an answer is not verified");
            } else {
                tracing::info!(gateway, code, %error, "a gateway was passed over");
            }
        }
    }

    fn metrics(&self) -> String {
        let mut out = String::new();
        if let Some(counters) = self.counters.get() {
            counters.write_metrics_of("quorate_proxy", &mut out);
        }
        self.standing.write_metrics(&mut out);
        out
    }
}

/// Whether a quorum says that the key stood on another request before. No two requests of a proxy
/// have one key, so a gateway altered this one: it never took effect under this key, nor will.
fn is_key_spent(answer: &Answer) -> bool {
    let problem = || serde_json::from_slice::<serde_json::Value>(&answer.response.body);
    answer.response.status == codes::KEY_REUSED.status
        && problem().is_ok_and(|problem| problem["code"] == codes::KEY_REUSED.name)
}

/// What goes to gateways: the service's own name as `Host`, which each of them has, and the wish
/// for the proof in the answer itself, so that a gateway needs to be asked once.
fn call(request: Request, authority: &str) -> Call {
    let Request { method, path, query, fields: given, body, salt: _, signature } = request;
    let mut preference = "proof=inline".to_owned();
    let mut fields = vec![("host".to_owned(), authority.to_owned())];
    for (name, value) in given {
        if name == "prefer" {
            // The first preference for a proof counts.
            preference.push_str(", ");
            preference.push_str(&value);
        } else {
            fields.push((name, value));
        }
    }
    fields.push(("prefer".to_owned(), preference));
    if let Some(signature) = signature {
        let bytes = STANDARD.encode(signature.signature.0);
        fields.push(("signature-input".to_owned(), format!("quorate={}", signature.params)));
        fields.push(("signature".to_owned(), format!("quorate=:{bytes}:")));
    }
    Call { method, path, query, fields, body }
}

/// Why there is no answer, by what all gateways said. A refusal of theirs is never passed on under
/// its own status: a client could take one liar's 404 or 409 for the service's word.
fn refusal(told: &[(Endpoint, SendError)]) -> Refusal {
    let last = |is: &dyn Fn(&SendError) -> bool| told.iter().rfind(|(_, error)| is(error));
    let unanswered = |error: &SendError| Outcome::of(error) == Some(Outcome::Silent);
    let (code, (endpoint, error)) = if let Some(told) =
        last(&|error| matches!(error, SendError::Refused(_)) && error.is_passing())
    {
        (&codes::GATEWAYS_BUSY, told)
    } else if let Some(told) = last(&|error| matches!(error, SendError::NotVerified(_))) {
        (&codes::ANSWER_UNVERIFIED, told)
    } else if let Some(told) = last(&|error| matches!(error, SendError::Refused(_))) {
        (&codes::GATEWAYS_REFUSED, told)
    } else if let Some(told) = last(&unanswered) {
        (&codes::GATEWAYS_SILENT, told)
    } else if let Some(told) = told.last() {
        (&codes::GATEWAYS_UNREACHABLE, told)
    } else {
        return codes::GATEWAYS_UNREACHABLE.refusal("there was no time to ask a gateway");
    };
    code.refusal(format!("{endpoint}: {}", word(error)))
}

/// What an error says, without a gateway's own sentences: those are any bytes that it likes.
fn word(error: &SendError) -> String {
    match error {
        SendError::Refused(refused) => {
            let known = codes::explain(&refused.code).map_or("unknown code", |code| code.name);
            format!("status {}, {known}", refused.status)
        }
        error => format!("{}: {error}", error.code()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_client::{Refused, TransportError};
    use quorate_proof::ReceivedResponse;

    fn refused(status: u16, code: &str) -> SendError {
        SendError::Refused(Box::new(Refused {
            status,
            code: code.to_owned(),
            detail: "<script>".to_owned(),
            retry_after_s: None,
            response: ReceivedResponse::default(),
        }))
    }

    fn said(errors: Vec<SendError>) -> Refusal {
        let endpoint = Endpoint::parse("h:1").unwrap();
        let told: Vec<_> = errors.into_iter().map(|error| (endpoint.clone(), error)).collect();
        refusal(&told)
    }

    #[test]
    fn what_all_gateways_said_becomes_one_refusal_that_no_client_takes_for_an_answer() {
        let connect = || SendError::Transport(TransportError::Connect("refused".to_owned()));
        let broken = || SendError::Transport(TransportError::Broken("reset".to_owned()));
        for (errors, status, code) in [
            (vec![], 503, "gateways-unreachable"),
            (vec![connect(), connect()], 503, "gateways-unreachable"),
            (vec![broken(), connect()], 504, "gateways-silent"),
            (vec![refused(404, "not-found"), connect()], 502, "gateways-refused"),
            (vec![refused(413, "body-too-large"), broken()], 502, "gateways-refused"),
            (vec![refused(503, "not-ready"), refused(401, "x")], 503, "gateways-busy"),
            (vec![refused(409, "request-running")], 503, "gateways-busy"),
        ] {
            let refusal = said(errors);
            assert_eq!((refusal.status, refusal.code), (status, code), "{refusal:?}");
        }
    }

    #[test]
    fn a_gateways_own_sentences_are_not_passed_on() {
        let refusal = said(vec![refused(400, "<b>"), refused(413, "body-too-large")]);
        assert_eq!(refusal.detail, "http://h:1: status 413, body-too-large");
        assert_eq!(said(vec![refused(400, "<b>")]).detail, "http://h:1: status 400, unknown code");
    }

    #[test]
    fn a_request_goes_out_under_the_services_name_with_its_signature() {
        let request = Request {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            query: "?".to_owned(),
            fields: vec![("prefer".to_owned(), "proof=none".to_owned())],
            body: Vec::new().into(),
            salt: quorate_types::Salt([0; 16]),
            signature: Some(quorate_types::ClientSignature {
                key: quorate_types::PublicKey([0; 32]),
                params: "(\"@method\")".to_owned(),
                signature: quorate_types::Signature([0; 64]),
            }),
        };
        let fields = call(request, "shop.example").fields;
        let value = |name: &str| {
            let mut same = fields.iter().filter(|(field, _)| field == name);
            let value = same.next().map(|(_, value)| value.as_str());
            assert!(same.next().is_none());
            value.unwrap()
        };
        assert_eq!(value("host"), "shop.example");
        assert_eq!(value("prefer"), "proof=inline, proof=none");
        assert_eq!(value("signature-input"), "quorate=(\"@method\")");
        assert!(value("signature").starts_with("quorate=:AAAA"));
    }
}
