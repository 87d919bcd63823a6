//! A client that writes bytes as they are, and reads answers one by one.

use quorate_proof::{ReceivedResponse, SentRequest, parse_request, parse_response};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// How long a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    bytes: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self { socket: TcpStream::connect(address).await.unwrap(), bytes: Vec::new() }
    }

    /// Writes as much as the server takes.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = timeout(PATIENCE, self.socket.write_all(bytes.as_ref())).await.unwrap();
    }

    /// The next answer.
    pub(crate) async fn read(&mut self, method: &str) -> ReceivedResponse {
        self.try_read(method).await.expect("the connection ended without an answer")
    }

    /// The next answer, or nothing when the connection ends before its first byte.
    pub(crate) async fn try_read(&mut self, method: &str) -> Option<ReceivedResponse> {
        loop {
            if let Some(length) = self.answer_length(method) {
                let answer: Vec<u8> = self.bytes.drain(..length).collect();
                let text = String::from_utf8_lossy(&answer);
                return Some(parse_response(&answer, method).unwrap_or_else(|error| {
                    panic!("not an answer ({error}): {text}");
                }));
            }
            if !self.more().await {
                assert!(self.bytes.is_empty(), "{}", String::from_utf8_lossy(&self.bytes));
                return None;
            }
        }
    }

    /// Whether the server closes without another byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        !self.more().await && self.bytes.is_empty()
    }

    async fn more(&mut self) -> bool {
        let mut buffer = [0; 65536];
        match timeout(PATIENCE, self.socket.read(&mut buffer)).await.expect("the server is silent")
        {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.bytes.extend_from_slice(&buffer[..read]);
                true
            }
        }
    }

    fn answer_length(&self, method: &str) -> Option<usize> {
        let head = self.bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(&self.bytes[..head]).unwrap().to_ascii_lowercase();
        let silent = method == "HEAD" || [" 204 ", " 304 "].iter().any(|s| text[..14].contains(s));
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let content = if silent { 0 } else { length.map_or(0, |text| text.parse().unwrap()) };
        (self.bytes.len() >= head + content).then_some(head + content)
    }
}

/// Sends one request over its own connection.
pub(crate) async fn ask(address: SocketAddr, request: &str) -> (SentRequest, ReceivedResponse) {
    let sent = parse_request(request.as_bytes()).unwrap();
    let mut client = Client::connect(address).await;
    client.write(request).await;
    let received = client.read(&sent.method).await;
    (sent, received)
}

/// Sends bytes over their own connection, which must be answered once, by a problem of a code,
/// and not proven.
pub(crate) async fn refused(address: SocketAddr, bytes: impl AsRef<[u8]>) -> (u16, String) {
    let mut client = Client::connect(address).await;
    client.write(&bytes).await;
    let method = if bytes.as_ref().starts_with(b"HEAD ") { "HEAD" } else { "GET" };
    problem(&client.read(method).await)
}

/// Status and code of a refusal.
pub(crate) fn problem(answer: &ReceivedResponse) -> (u16, String) {
    assert_eq!(field(answer, "quorate-index"), None, "{answer:?}");
    assert_eq!(field(answer, "quorate-proof"), None, "{answer:?}");
    assert_eq!(field(answer, "content-type"), Some("application/problem+json"), "{answer:?}");
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(json["proven"], false, "{json}");
    assert_eq!(json["status"], answer.status, "{json}");
    let code = json["code"].as_str().unwrap();
    assert!(quorate_gateway::explain(code).is_some(), "{code} is not explained");
    assert!(!json["detail"].as_str().unwrap().is_empty(), "{json}");
    (answer.status, code.to_owned())
}

pub(crate) fn field<'a>(answer: &'a ReceivedResponse, name: &str) -> Option<&'a str> {
    let mut values = answer.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
    let value = values.next().map(|(_, value)| value.as_str());
    assert!(values.next().is_none(), "{name} stands twice");
    value
}

impl Client {
    /// Everything up to the end of the connection.
    pub(crate) async fn read_old(&mut self) -> String {
        while self.more().await {}
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}
