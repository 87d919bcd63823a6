//! A client of one service behind any number of gateways.

use crate::{
    answer::{Answer, NotVerified, Reason, SendError, Unsendable, field, refusal},
    key::{RequestSigner, idempotency_key},
    tls::Authorities,
    transport::{Transport, TransportError},
    url::Endpoint,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use quorate_proof::{
    Policy, ReceivedResponse, SentRequest, Strict, content_digest, signature_base,
    signature_params, verify,
};
use quorate_types::{ClientSignature, Request, Salt, Signature};
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Speak HTTP/2 (without TLS by prior knowledge) instead of HTTP/1.1.
    pub http2: bool,
    /// Whose certificates are believed of gateways that are reached by TLS.
    pub authorities: Authorities,
    /// How long one gateway may take. Longer than its certify time-out, so that its 504 arrives.
    pub attempt: Duration,
    /// How long all attempts together may take.
    pub deadline: Duration,
    /// The largest answer that is read, in bytes.
    pub answer_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            http2: false,
            authorities: Authorities::of_system(),
            attempt: Duration::from_secs(15),
            deadline: Duration::from_secs(25),
            answer_bytes_max: 16 << 20,
        }
    }
}

/// What is asked of the service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Call {
    /// The method.
    pub method: String,
    /// The raw path.
    pub path: String,
    /// `?` and the raw rest; `?` alone where there is none.
    pub query: String,
    /// Fields to send. An `Idempotency-Key` of 128 random bits is added where there is none.
    pub fields: Vec<(String, String)>,
    /// The content.
    pub body: Bytes,
}

impl Call {
    /// A GET.
    #[must_use]
    pub fn get(path: impl Into<String>, query: impl Into<String>) -> Self {
        Self {
            method: "GET".to_owned(),
            path: path.into(),
            query: query.into(),
            fields: Vec::new(),
            body: Bytes::new(),
        }
    }
}

/// How many times in a row all gateways may be out of reach before the client gives up.
const DEAD_ROUNDS_MOST: u32 = 3;

/// Sends requests, retries them under the same key, believes only what a quorum stands behind.
#[derive(Clone, Debug)]
pub struct Client {
    policy: Arc<Policy>,
    endpoints: Vec<Endpoint>,
    transport: Transport,
    signer: Option<RequestSigner>,
    options: Options,
}

impl Client {
    /// A client that believes this policy and asks these gateways, in this order.
    #[must_use]
    pub fn new(policy: Arc<Policy>, endpoints: Vec<Endpoint>, options: Options) -> Self {
        let transport =
            Transport::new(&options.authorities, options.http2, options.answer_bytes_max);
        Self { policy, endpoints, transport, signer: None, options }
    }

    /// Signs every request by RFC 9421, so that no gateway can alter it before it is ordered.
    #[must_use]
    pub fn signing_as(mut self, signer: RequestSigner) -> Self {
        self.signer = Some(signer);
        self
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Sends a request until a gateway gives a verified answer, or one that makes a further try
    /// useless. All tries have one `Idempotency-Key`, so the request is executed at most once.
    ///
    /// Gateways are tried in turn: after one that is out of reach, refuses, or gives an unproven
    /// answer, the next is asked; after all, the client waits as long as they asked for
    /// (`Retry-After`) and begins again, as long as [`Options::deadline`] allows. A gateway whose
    /// answer does not verify, or that refuses for good (anything but 409 while the same key runs,
    /// 429, 503 and 504), is not asked twice; that others are asked even then is because a refusal
    /// is the word of one.
    ///
    /// # Errors
    /// [`SendError`], of the last gateway that said anything.
    pub async fn send(&self, call: Call) -> Result<Answer, SendError> {
        self.send_prepared(self.prepare(call)?).await
    }

    /// As [`Self::send`], of a request that is complete: made by [`Self::prepare`], or saved.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send_prepared(&self, sent: SentRequest) -> Result<Answer, SendError> {
        self.ask(&self.endpoints, sent).await.map_err(most_telling)
    }

    /// As [`Self::send_prepared`], asking these gateways in this order.
    ///
    /// # Errors
    /// What each try came to, in order: never empty unless there is no gateway, or no time.
    pub async fn ask(
        &self,
        endpoints: &[Endpoint],
        sent: SentRequest,
    ) -> Result<Answer, Vec<(Endpoint, SendError)>> {
        let start = Instant::now();
        let mut passed_over: Vec<(Endpoint, SendError)> = Vec::new();
        let mut endpoints = endpoints.to_vec();
        let mut round = Round::default();
        loop {
            for endpoint in endpoints.clone() {
                let left = self.options.deadline.saturating_sub(start.elapsed());
                if left.is_zero() {
                    return Err(passed_over);
                }
                let error = match self.attempt(&endpoint, &sent, left).await {
                    Ok((verdict, response)) => {
                        let elapsed = start.elapsed();
                        return Ok(Answer {
                            verdict,
                            sent,
                            response,
                            endpoint,
                            elapsed,
                            passed_over,
                        });
                    }
                    Err(error) => error,
                };
                if !error.is_passing() {
                    endpoints.retain(|other| *other != endpoint);
                }
                let hopeless = error.is_about_request();
                round.note(&error);
                passed_over.push((endpoint, error));
                if hopeless {
                    return Err(passed_over);
                }
            }
            let pause = round.pause(endpoints.len());
            let left = self.options.deadline.saturating_sub(start.elapsed());
            match pause {
                Some(pause) if pause < left => tokio::time::sleep(pause).await,
                _ => return Err(passed_over),
            }
        }
    }

    /// Completes a request: adds its `Idempotency-Key` and, where this client signs, its signature.
    ///
    /// # Errors
    /// [`Unsendable`].
    pub fn prepare(&self, call: Call) -> Result<SentRequest, Unsendable> {
        let Call { method, path, query, mut fields, body } = call;
        if !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("idempotency-key")) {
            let key = idempotency_key().map_err(Unsendable::Randomness)?;
            fields.push(("idempotency-key".to_owned(), key));
        }
        let mut sent = SentRequest { method, path, query, fields, body };
        if let Some(signer) = &self.signer {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            sign(&mut sent, signer, &self.policy.origin().name, now.as_secs())?;
        }
        Ok(sent)
    }

    /// Reads something public below `/.well-known/quorate/`, such as `log/checkpoint`.
    ///
    /// # Errors
    /// [`TransportError`]; an answer of any status is an answer.
    pub async fn fetch(
        &self,
        endpoint: &Endpoint,
        what: &str,
    ) -> Result<ReceivedResponse, TransportError> {
        let path = format!("/.well-known/quorate/{what}");
        fetch_from(&self.transport, endpoint, &path, self.options.attempt).await
    }

    async fn attempt(
        &self,
        endpoint: &Endpoint,
        sent: &SentRequest,
        left: Duration,
    ) -> Result<(quorate_proof::Verdict, ReceivedResponse), SendError> {
        let within = left.min(self.options.attempt);
        let mut response = self.transport.exchange(endpoint, sent, within).await?;
        if let Some(refused) = refusal(&response) {
            return Err(SendError::Refused(Box::new(refused)));
        }
        let verdict = match self.add_linked_proof(endpoint, &mut response).await {
            Ok(()) => verify(&self.policy, &Strict, sent, &response).map_err(Reason::Verify),
            Err(reason) => Err(reason),
        };
        match verdict {
            Ok(verdict) => Ok((verdict, response)),
            Err(reason) => {
                let sent = sent.clone();
                Err(SendError::NotVerified(Box::new(NotVerified { reason, sent, response })))
            }
        }
    }

    /// Puts the proof that a response links to into it. The link's target is not followed: the
    /// place of a proof is fixed, so that a gateway cannot send its clients elsewhere.
    async fn add_linked_proof(
        &self,
        endpoint: &Endpoint,
        response: &mut ReceivedResponse,
    ) -> Result<(), Reason> {
        let index = field(response, "quorate-index").and_then(|value| value.parse::<u64>().ok());
        let linked = field(response, "link").is_some_and(|link| link.contains("describedby"));
        let (Some(index), true, None) = (index, linked, field(response, "quorate-proof")) else {
            return Ok(());
        };
        let proof =
            self.fetch(endpoint, &format!("proof/{index}")).await.map_err(Reason::Linked)?;
        if proof.status != 200 {
            return Err(Reason::NoLinked(proof.status));
        }
        let value = format!(":{}:", STANDARD.encode(&proof.body));
        response.fields.push(("quorate-proof".to_owned(), value));
        Ok(())
    }
}

/// What the gateways of one round said.
#[derive(Debug, Default)]
struct Round {
    number: u32,
    dead: u32,
    reached: bool,
    refused_connection: bool,
    retry_after_s: Option<u32>,
}

impl Round {
    fn note(&mut self, error: &SendError) {
        match error {
            SendError::Transport(TransportError::Connect(_) | TransportError::Handshake(_)) => {
                self.refused_connection = true;
            }
            SendError::Refused(refused) => {
                self.reached = true;
                let asked = refused.retry_after_s.unwrap_or(0);
                self.retry_after_s =
                    Some(self.retry_after_s.map_or(asked, |least| least.min(asked)));
            }
            _ => {}
        }
    }

    /// How long to wait before the next round among `endpoints` gateways; `None`: there is none.
    fn pause(&mut self, endpoints: usize) -> Option<Duration> {
        let Self { number, dead, reached, refused_connection, retry_after_s } =
            std::mem::take(self);
        let dead = if reached { 0 } else { dead + 1 };
        // A sole gateway that takes no connection is not there: waiting would only hide that.
        if endpoints == 0 || dead >= DEAD_ROUNDS_MOST || (endpoints == 1 && refused_connection) {
            return None;
        }
        *self = Self { number: number + 1, dead, ..Self::default() };
        let backoff = Duration::from_millis(50 << number.min(5));
        Some(backoff.max(Duration::from_secs(retry_after_s.unwrap_or(0).into())))
    }
}

/// The error to report of several: a lie rather than a refusal, a refusal rather than silence, the
/// latest of equals.
fn most_telling(passed_over: Vec<(Endpoint, SendError)>) -> SendError {
    let weight = |error: &SendError| match error {
        SendError::NotVerified(_) => 2,
        SendError::Refused(_) => 1,
        _ => 0,
    };
    let errors = passed_over.into_iter().map(|(_, error)| error);
    errors.max_by_key(weight).unwrap_or(SendError::Unsendable(Unsendable::Nowhere))
}

/// Adds `Content-Digest`, `Signature-Input` and `Signature` under the label `quorate`.
fn sign(
    sent: &mut SentRequest,
    signer: &RequestSigner,
    authority: &str,
    now_s: u64,
) -> Result<(), Unsendable> {
    let lower = |(name, value): &(String, String)| (name.to_ascii_lowercase(), value.clone());
    let request = Request {
        method: sent.method.clone(),
        path: sent.path.clone(),
        query: sent.query.clone(),
        fields: sent.fields.iter().map(lower).collect(),
        body: sent.body.clone(),
        salt: Salt([0; 16]),
        signature: None,
    };
    let params = signature_params(now_s, &signer.key());
    let unsigned =
        ClientSignature { key: signer.key(), params, signature: Signature([0; Signature::SIZE]) };
    let base = signature_base(&request, authority, &unsigned)?;
    let signature = STANDARD.encode(signer.sign(base.as_bytes()).0);
    let given = sent.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-digest"));
    if !given {
        sent.fields.push(("content-digest".to_owned(), content_digest(&sent.body)));
    }
    sent.fields.push(("signature-input".to_owned(), format!("quorate={}", unsigned.params)));
    sent.fields.push(("signature".to_owned(), format!("quorate=:{signature}:")));
    Ok(())
}

/// Sends a request as it is, once, and believes whatever comes: for what no proof covers, such as
/// an operations listener.
///
/// # Errors
/// [`TransportError`]; an answer of any status is an answer.
pub async fn plain(
    endpoint: &Endpoint,
    call: Call,
    within: Duration,
) -> Result<ReceivedResponse, TransportError> {
    let Call { method, path, query, fields, body } = call;
    let request = SentRequest { method, path, query, fields, body };
    let transport =
        Transport::new(&Authorities::of_system(), false, Options::default().answer_bytes_max);
    transport.exchange(endpoint, &request, within).await
}

/// Reads a path of a gateway.
pub(crate) async fn fetch_from(
    transport: &Transport,
    endpoint: &Endpoint,
    path: &str,
    within: Duration,
) -> Result<ReceivedResponse, TransportError> {
    let request = SentRequest {
        method: "GET".to_owned(),
        path: path.to_owned(),
        query: "?".to_owned(),
        fields: Vec::new(),
        body: Bytes::new(),
    };
    transport.exchange(endpoint, &request, within).await
}
