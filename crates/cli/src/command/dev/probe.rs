//! Small questions to the machine: is a port free, is a replica ready?

use crate::failure::Failure;
use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// How long a replica may take to say whether it is ready.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Refuses an address that somebody listens on, by name, before any process is started.
pub(super) fn port_is_free(address: SocketAddr) -> Result<(), Failure> {
    // The standard library sets SO_REUSEADDR, so connections that linger are no obstacle.
    TcpListener::bind(address).map(drop).map_err(|error| {
        let message =
            format!("port {} on {} cannot be used: {error}", address.port(), address.ip());
        Failure::failed("port-in-use", message).hint("choose others with --port BASE")
    })
}

/// Whether `/readyz` of an operations listener answers 200.
pub(super) async fn is_ready(operations: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(operations).await.ok()?;
        let request =
            format!("GET /readyz HTTP/1.1\r\nHost: {operations}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.ok()?;
        Some(head == *b"HTTP/1.1 200")
    };
    matches!(timeout(ANSWER_MAX, ask).await, Ok(Some(true)))
}
