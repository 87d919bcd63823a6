//! `quorate curl`: a request, verified before anything of its answer is shown.

use super::{block_on, verify::check_age, verify::unverified};
use crate::{
    console::Console,
    failure::{Exit, Failure},
    keys, trust, verdict,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use quorate_client::{
    Answer, Call, Client, Endpoint, Ground, Options, SendError, TransportError, Trusted, Url,
    served_policy,
};
use quorate_proof::{ReceivedResponse, SentRequest, write_request, write_response};
use serde::Serialize;
use std::{
    fs,
    io::{IsTerminal as _, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    quorate curl -X PUT -d hello http://127.0.0.1:7400/kv/greeting\n  \
    quorate curl http://127.0.0.1:7402/kv/greeting\n  \
    quorate curl --save x --max-age 60 http://127.0.0.1:7401/kv/greeting\n  \
    quorate curl -H 'If-Match: \"17\"' -X PUT --data-binary @photo.jpg http://h/kv/photo\n  \
    quorate curl --sign me.key --json @order.json http://h/orders\n  \
    quorate curl --cacert ca.pem https://shop.example/orders\n  \
    quorate curl --also http://127.0.0.1:7401 http://127.0.0.1:7400/kv/greeting\n\n\
    The body goes to standard output, the verdict to standard error. Every request gets a random\n\
    Idempotency-Key unless one is given, so that an old answer cannot pass as a new one. A\n\
    refusal is exit 1; an answer without a valid proof is exit 3, and its body is not shown.")]
pub(crate) struct Curl {
    /// The method; GET, or POST where there is data
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    method: Option<String>,
    /// A header field, `Name: value`
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    fields: Vec<String>,
    /// Data to send, `@FILE` without its line ends, `@-` for standard input; several are joined
    /// by `&`, and `Content-Type: application/x-www-form-urlencoded` is the default, as with curl
    #[arg(short = 'd', long = "data", value_name = "DATA", allow_hyphen_values = true)]
    data: Vec<String>,
    /// Data to send byte for byte, or `@FILE`, or `@-`
    #[arg(long, value_name = "DATA", conflicts_with = "data", allow_hyphen_values = true)]
    data_binary: Option<String>,
    /// JSON to send byte for byte, or `@FILE`, or `@-`, with the `Content-Type` and `Accept` of
    /// JSON
    #[arg(long, value_name = "DATA", conflicts_with_all = ["data", "data_binary"])]
    json: Option<String>,
    /// Ask for the head only
    #[arg(short = 'I', long, conflicts_with_all = ["data", "data_binary", "json", "method"])]
    head: bool,
    /// Print the status line and the header fields too
    #[arg(short, long)]
    include: bool,
    /// Sign the request (RFC 9421) by this key, made by `quorate keygen`
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
    #[command(flatten)]
    policy: trust::PolicyArgument,
    /// Write request.http and response.http into this folder, for `quorate verify`
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Refuse an answer whose agreed time is more seconds ago than this
    #[arg(long, value_name = "SECONDS")]
    max_age: Option<u64>,
    /// Another gateway of the same service, to try when the first does not give a proven answer
    #[arg(long, value_name = "URL")]
    also: Vec<String>,
    /// Speak HTTP/2
    #[arg(long)]
    http2: bool,
    /// Give up after so many seconds, retries included
    #[arg(long, value_name = "SECONDS", default_value_t = 25)]
    max_time: u64,
    /// Where to
    url: String,
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    report: &'a verdict::Report,
    endpoint: String,
    status: u16,
    fields: &'a [(String, String)],
    /// The content, where it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    /// The content, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl Curl {
    /// Sends, verifies, shows.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
        let url = parse_url(&self.url)?;
        let call = self.call(&url)?;
        block_on(self.request(&url, call, console))?
    }

    async fn request(&self, url: &Url, call: Call, console: &Console) -> Result<Exit, Failure> {
        let trusted = self.policy.find(&url.endpoint).await?;
        let mut endpoints = vec![url.endpoint.clone()];
        for also in &self.also {
            endpoints.push(parse_url(also)?.endpoint);
        }
        let deadline = Duration::from_secs(self.max_time);
        let authorities = self.policy.authorities();
        let options = Options { http2: self.http2, authorities, deadline, ..Options::default() };
        let mut client = Client::new(trusted.policy.clone().into(), endpoints, options);
        if let Some(path) = &self.sign {
            client = client.signing_as(keys::request_signer(path)?);
        }
        match client.send(call).await {
            Ok(answer) => self.show(url, &trusted, &answer, console),
            Err(error) => Err(self.explain(url, &trusted, error, console).await),
        }
    }

    fn show(
        &self,
        url: &Url,
        trusted: &Trusted,
        answer: &Answer,
        console: &Console,
    ) -> Result<Exit, Failure> {
        for (endpoint, error) in &answer.passed_over {
            console.note(format_args!("note: {endpoint}: {}: {error}", error.code()));
        }
        self.save(&answer.sent, &answer.response, &answer.endpoint)?;
        check_age(&answer.verdict, self.max_age)?;
        let first_use = trusted.ground == Ground::FirstUse;
        let report = verdict::Report::new(&answer.verdict, trusted.policy.origin_text(), first_use)
            .after(answer.elapsed);
        let response = &answer.response;
        if console.is_json() {
            let body = std::str::from_utf8(&response.body).ok();
            console.json(&Shown {
                report: &report,
                endpoint: answer.endpoint.to_string(),
                status: response.status,
                fields: &response.fields,
                body,
                body_base64: body.is_none().then(|| STANDARD.encode(&response.body)),
            });
        } else {
            // The verdict first, so that it stands on a line of its own whatever the body is.
            console.note(report.line());
            self.print(response, console);
        }
        trust::keep(trusted, &url.endpoint, console)?;
        Ok(Exit::Done)
    }

    fn print(&self, response: &ReceivedResponse, console: &Console) {
        if self.include || self.head {
            let mut head = format!("HTTP/1.1 {}\n", response.status);
            for (name, value) in &response.fields {
                head.push_str(&format!("{name}: {value}\n"));
            }
            console.line(head);
        }
        console.bytes(&response.body);
        let ends_line = response.body.last().is_none_or(|&byte| byte == b'\n');
        if !ends_line && std::io::stdout().is_terminal() {
            console.line("");
        }
    }

    /// What to say of a request without a proven answer.
    async fn explain(
        &self,
        url: &Url,
        trusted: &Trusted,
        error: SendError,
        console: &Console,
    ) -> Failure {
        let code = error.code().to_owned();
        let failure = match error {
            SendError::Unsendable(_) => return Failure::failed(code, error),
            SendError::Transport(ref cause) => {
                let hint = match cause {
                    TransportError::Untrusted(_)
                    | TransportError::Authorities(_)
                    | TransportError::Handshake(_) => trust::way_out(cause),
                    _ => "is the gateway running? `--also URL` names a further one to try",
                };
                return Failure::failed(code, format!("{}: {error}", url.endpoint)).hint(hint);
            }
            SendError::Refused(refused) => {
                if console.is_json() {
                    console.json(&serde_json::json!({
                        "verified": false, "refused": true, "status": refused.status,
                        "code": refused.code, "reason": refused.detail,
                    }));
                }
                let message = format!("{} (status {}, not proven)", refused.detail, refused.status);
                let hint = format!("`quorate explain {}` tells more", refused.code);
                return Failure::failed(refused.code, message).hint(hint);
            }
            SendError::NotVerified(failed) => {
                if let Err(failure) = self.save(&failed.sent, &failed.response, &url.endpoint) {
                    return failure;
                }
                Failure::not_verified(code, &failed.reason)
            }
        };
        let failure = match self.changed_policy(url, trusted).await {
            Some(changed) => changed,
            None => failure.hint(
                "the answer is not shown, since nothing proves it; ask another gateway, and see \
                 `quorate status`",
            ),
        };
        if console.is_json() {
            console.json(&unverified(&failure));
        }
        failure
    }

    /// Whether the gateway serves another policy than the one believed.
    async fn changed_policy(&self, url: &Url, trusted: &Trusted) -> Option<Failure> {
        let (what, forget) = match &trusted.ground {
            Ground::FirstUse => return None,
            Ground::Given(path) => (path, ""),
            Ground::Pinned(path) => (
                path,
                "; if you trust the new one, `quorate policy forget` \
                 the pin and use it again",
            ),
        };
        let served = served_policy(&url.endpoint, &self.policy.authorities()).await.ok()?;
        if served.text() == trusted.policy.text() {
            return None;
        }
        let message = format!(
            "{} serves another policy than {}, and nothing leads from that one to it",
            url.endpoint,
            what.display()
        );
        let hint = format!("this is another cluster, or one that was set up anew{forget}");
        Some(Failure::not_verified("policy-changed", message).hint(hint))
    }

    fn save(
        &self,
        sent: &SentRequest,
        response: &ReceivedResponse,
        endpoint: &Endpoint,
    ) -> Result<(), Failure> {
        let Some(dir) = &self.save else { return Ok(()) };
        fs::create_dir_all(dir).map_err(|error| Failure::file(dir, &error))?;
        let write = |name: &str, bytes: Vec<u8>| {
            let path = dir.join(name);
            fs::write(&path, bytes).map_err(|error| Failure::file(&path, &error))
        };
        write("request.http", write_request(sent, endpoint.authority()))?;
        write("response.http", write_response(response, &sent.method))
    }

    fn call(&self, url: &Url) -> Result<Call, Failure> {
        let mut fields =
            self.fields.iter().map(|text| field(text)).collect::<Result<Vec<_>, _>>()?;
        let body = self.body()?;
        let mut default = |name: &str, value: &str| {
            if !fields.iter().any(|(given, _)| given.eq_ignore_ascii_case(name)) {
                fields.push((name.to_owned(), value.to_owned()));
            }
        };
        if self.json.is_some() {
            default("content-type", "application/json");
            default("accept", "application/json");
        } else if body.is_some() {
            default("content-type", "application/x-www-form-urlencoded");
        }
        default("user-agent", concat!("quorate/", env!("CARGO_PKG_VERSION")));
        let method = match &self.method {
            Some(method) => method.clone(),
            None if self.head => "HEAD".to_owned(),
            None if body.is_some() => "POST".to_owned(),
            None => "GET".to_owned(),
        };
        let (path, query) = (url.path.clone(), url.query.clone());
        Ok(Call { method, path, query, fields, body: body.unwrap_or_default() })
    }

    fn body(&self) -> Result<Option<Bytes>, Failure> {
        if let Some(data) = self.data_binary.as_ref().or(self.json.as_ref()) {
            return Ok(Some(data_of(data, false)?.into()));
        }
        if self.data.is_empty() {
            return Ok(None);
        }
        let parts =
            self.data.iter().map(|data| data_of(data, true)).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(parts.join(&b'&').into()))
    }
}

/// What a data argument stands for: itself, or a file's content.
fn data_of(data: &str, drop_line_ends: bool) -> Result<Vec<u8>, Failure> {
    let Some(file) = data.strip_prefix('@') else { return Ok(data.as_bytes().to_vec()) };
    let path = Path::new(file);
    let mut bytes = if file == "-" {
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut bytes);
        read.map_err(|error| Failure::file(path, &error))?;
        bytes
    } else {
        fs::read(path).map_err(|error| Failure::file(path, &error))?
    };
    if drop_line_ends {
        bytes.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
    }
    Ok(bytes)
}

fn field(text: &str) -> Result<(String, String), Failure> {
    let (name, value) = text.split_once(':').ok_or_else(|| {
        Failure::usage("header-form", format!("`{text}` is not a header field"))
            .hint("write it as 'Name: value'")
    })?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Reads the URL of a copy of a service, to which nobody speaks TLS.
pub(crate) fn parse_copy(text: &str) -> Result<Url, Failure> {
    let url = parse_url(text)?;
    if url.endpoint.is_by_tls() {
        let message = format!("`{text}` is not an http:// URL: copies are asked without TLS");
        return Err(Failure::usage("url-scheme", message));
    }
    Ok(url)
}

/// Reads a URL argument.
pub(crate) fn parse_url(text: &str) -> Result<Url, Failure> {
    Url::parse(text).map_err(|error| Failure::usage(error.code(), &error))
}
