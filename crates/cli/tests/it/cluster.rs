//! A cluster in one thread: it signs with four replicas' keys whatever a test wants answered.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use quorate_crypto::{Role, SecretKey};
use quorate_proof::{
    Coverage, Entry, EntryKind, Frontier, Origin, SentRequest, checkpoint_text, content_digest,
    cosignature_message, digest_value, exchange_base, exchange_digest, flat_policy, head_text,
    parse_request, policy::Policy, proof_text, salt_value, with_defaults,
};
use quorate_types::{
    Chain, Cosignature, Digest, Epoch, FaultModel, Head, Index, ReplicaId, Request, Response, Salt,
    UnixMillis,
};
use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

/// Four replicas' keys and their log.
pub(crate) struct Cluster {
    pub(crate) policy: Policy,
    cosigners: Vec<SecretKey>,
    logs: Vec<SecretKey>,
    frontier: Frontier,
}

impl Cluster {
    /// A new cluster; `seed` sets its keys, `name` its authority.
    pub(crate) fn new(seed: u8, name: &str) -> Self {
        let key = |role, tag, i| {
            let mut bytes = [tag; 32];
            (bytes[0], bytes[1]) = (seed, i);
            SecretKey::from_seed(role, &bytes)
        };
        let keys = |role, tag| (0..4).map(|i| key(role, tag, i)).collect::<Vec<_>>();
        let (cosigners, logs) = (keys(Role::Cosign, b'c'), keys(Role::Log, b'l'));
        let chain = Chain::of(&Digest([seed; 32]));
        let origin = Origin { name: name.to_owned(), chain, model: FaultModel::Bft };
        let members: Vec<_> = cosigners
            .iter()
            .zip(&logs)
            .enumerate()
            .map(|(i, (cosigner, log))| (format!("org{i}/r{i}"), cosigner.public(), log.public()))
            .collect();
        let policy = Policy::parse(&flat_policy(&origin, &members, 3)).unwrap();
        let mut frontier = Frontier::new();
        frontier.push(Digest([seed; 32]));
        Self { policy, cosigners, logs, frontier }
    }

    /// Orders a request, answers it so, and gives the HTTP response with its proof.
    pub(crate) fn answer(&mut self, sent: &SentRequest, response: Response) -> Answer {
        let coverage = Coverage::default();
        let mut response = with_defaults(response, &coverage);
        if sent.method == "HEAD" {
            response.body.clear();
        }
        let request = covered(sent);
        let name = &self.policy.origin().name;
        let base = exchange_base(name, &request, &response, &coverage).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let time = UnixMillis(u64::try_from(now.as_millis()).unwrap());
        let salt = Salt([7; 16]);
        let entry = Entry {
            index: Index(self.frontier.size()),
            epoch: Epoch(0),
            time,
            state: Digest([9; 32]),
            kind: EntryKind::Exchange(exchange_digest(&salt, &base)),
        };
        let path = self.frontier.append(&[entry.leaf()]).remove(0);
        let head = Head { size: self.frontier.size(), root: self.frontier.root() };
        let text = head_text(self.policy.origin_text(), &head);
        let message = cosignature_message(&text, time.seconds());
        let cosignatures: Vec<_> = (0..3)
            .map(|i| Cosignature {
                replica: ReplicaId(i),
                signature: self.cosigners[usize::from(i)].sign(&message),
            })
            .collect();
        let log = (ReplicaId(1), self.logs[1].sign(text.as_bytes()));
        let checkpoint = checkpoint_text(&self.policy, &head, time, Some(log), &cosignatures);
        Answer {
            status: response.status,
            fields: response.fields,
            body: response.body,
            entry,
            salt,
            proof: proof_text(entry.index, &path, &checkpoint),
        }
    }
}

fn covered(sent: &SentRequest) -> Request {
    let mut fields = Vec::new();
    for covered in quorate_proof::REQUEST_FIELDS {
        let same = sent.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(covered));
        fields.extend(same.map(|(_, value)| ((*covered).to_owned(), value.clone())));
    }
    Request {
        method: sent.method.clone(),
        path: sent.path.clone(),
        query: sent.query.clone(),
        fields,
        body: sent.body.clone(),
        salt: Salt([0; 16]),
        signature: None,
    }
}

/// A proven answer, which a test may spoil before it is written.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) entry: Entry,
    pub(crate) salt: Salt,
    pub(crate) proof: String,
}

impl Answer {
    /// The response with its proof inside.
    pub(crate) fn inline(&self) -> Vec<u8> {
        let proof = format!("Quorate-Proof: :{}:", STANDARD.encode(&self.proof));
        self.http(&proof)
    }

    /// The response with a link to its proof.
    pub(crate) fn linked(&self) -> Vec<u8> {
        let index = self.entry.index;
        self.http(&format!(
            "Link: </.well-known/quorate/proof/{index}>; rel=\"describedby\"; type=\"text/plain\""
        ))
    }

    fn http(&self, proof: &str) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} x\r\n", self.status);
        for (name, value) in &self.fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let Entry { index, epoch, time, state, .. } = &self.entry;
        head.push_str(&format!(
            "Content-Digest: {}\r\nQuorate-Index: {index}\r\nQuorate-Epoch: {epoch}\r\n\
             Quorate-Time: {time}\r\nQuorate-State: {}\r\nQuorate-Salt: {}\r\n{proof}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            content_digest(&self.body),
            digest_value(state),
            salt_value(&self.salt),
            self.body.len(),
        ));
        [head.as_bytes(), &self.body].concat()
    }
}

/// A plain response.
pub(crate) fn plain(status: u16, fields: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} x\r\n{fields}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// A refusal as gateways write it.
pub(crate) fn refusal(status: u16, code: &str, fields: &str) -> Vec<u8> {
    let body = format!(r#"{{"status":{status},"code":"{code}","detail":"no","proven":false}}"#);
    plain(status, fields, &body)
}

/// A gateway that answers as a test says.
pub(crate) struct Gateway {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<SentRequest>>>,
}

impl Gateway {
    /// Starts one, on a port of its own.
    pub(crate) fn start(answer: impl FnMut(&SentRequest) -> Vec<u8> + Send + 'static) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").unwrap(), answer)
    }

    /// Starts one on this port.
    pub(crate) fn at(
        listener: TcpListener,
        answer: impl FnMut(&SentRequest) -> Vec<u8> + Send + 'static,
    ) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, mut answer) = (seen.clone(), answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(request) = read(&mut stream) else { continue };
                let bytes = answer(&request);
                log.lock().unwrap().push(request);
                let _ = stream.write_all(&bytes);
            }
        });
        Self { url, seen }
    }

    /// A gateway of a cluster that answers everything with `hello`, proof inside.
    pub(crate) fn honest(cluster: Cluster) -> Self {
        Self::serving(cluster, |cluster, request| cluster.answer(request, hello()).inline())
    }

    /// A gateway that serves the cluster's policy and answers the rest as a test says.
    pub(crate) fn serving(
        mut cluster: Cluster,
        mut answer: impl FnMut(&mut Cluster, &SentRequest) -> Vec<u8> + Send + 'static,
    ) -> Self {
        Self::start(move |request| match request.path.as_str() {
            "/.well-known/quorate/policy" => plain(200, "", cluster.policy.text()),
            _ => answer(&mut cluster, request),
        })
    }

    /// The requests so far, those below `/.well-known/` left out.
    pub(crate) fn requests(&self) -> Vec<SentRequest> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|request| !request.path.starts_with("/.well-known")).cloned().collect()
    }
}

/// `200`, `hello`.
pub(crate) fn hello() -> Response {
    Response::new(200).with_body("text/plain", "hello")
}

/// The value of a field of a request.
pub(crate) fn field<'a>(request: &'a SentRequest, name: &str) -> Option<&'a str> {
    let mut fields = request.fields.iter();
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn read(stream: &mut TcpStream) -> Option<SentRequest> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if bytes.len() >= end + 4 + length {
                return parse_request(&bytes).ok();
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}
