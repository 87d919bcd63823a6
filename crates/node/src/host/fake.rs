//! A copy of a service for tests: it hears requests, and answers with the bytes that it is told to.

use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What a fake does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// Writes these bytes, and goes on.
    Say(Vec<u8>),
    /// Writes these bytes, and closes the connection.
    SayAndClose(Vec<u8>),
    /// Never answers.
    Hang,
}

/// The requests that a fake heard, each as it came, and how many connections it had.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) requests: Vec<String>,
    pub(crate) connections: usize,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Fake {
    pub(crate) address: String,
    pub(crate) heard: Arc<Mutex<Heard>>,
}

impl Fake {
    /// Listens; `deed` is told the request, and how many came before it.
    pub(crate) async fn start(deed: impl Fn(&str, usize) -> Deed + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let (deed, ears) = (Arc::new(deed), Arc::clone(&heard));
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                ears.lock().unwrap().connections += 1;
                tokio::spawn(serve(socket, Arc::clone(&deed), Arc::clone(&ears)));
            }
        });
        Self { address, heard }
    }

    /// The first lines of all requests heard.
    pub(crate) fn lines(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        heard.requests.iter().map(|it| it.lines().next().unwrap_or_default().to_owned()).collect()
    }
}

async fn serve<F: Fn(&str, usize) -> Deed>(
    mut socket: TcpStream,
    deed: Arc<F>,
    ears: Arc<Mutex<Heard>>,
) {
    while let Some(request) = read(&mut socket).await {
        let before = ears.lock().unwrap().requests.len();
        ears.lock().unwrap().requests.push(request.clone());
        match deed(&request, before) {
            Deed::Say(bytes) => {
                if socket.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Deed::SayAndClose(bytes) => {
                let _ = socket.write_all(&bytes).await;
                return;
            }
            Deed::Hang => std::future::pending().await,
        }
    }
}

async fn read(socket: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.map_or(0, |length| length.parse::<usize>().unwrap());
            if bytes.len() >= end + 4 + length {
                return Some(text.into_owned());
            }
        }
        let mut more = [0; 4096];
        match socket.read(&mut more).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&more[..read]),
        }
    }
}

/// An answer with a content.
pub(crate) fn ok(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}
