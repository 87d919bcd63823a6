//! Requests in a file, for another load generator: one that is cheaper, or should not sign while it
//! measures.

use super::load::{Load, host};
use crate::failure::Failure;
use bytes::Bytes;
use quorate_client::Endpoint;
use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

/// Writes so many requests, for the targets in turn.
pub(super) fn save(
    load: &Load,
    targets: &[Endpoint],
    requests: u32,
    path: &Path,
) -> Result<(), Failure> {
    let unwritable = |error| Failure::file(path, &error);
    let mut file = BufWriter::new(File::create(path).map_err(unwritable)?);
    let hosts = targets.iter().map(host).cycle();
    for host in hosts.take(requests as usize) {
        let prepared = load.next(&host).ok_or_else(|| {
            Failure::failed("request-unwritable", "HTTP cannot carry the request as it is written")
        })?;
        write(&prepared.message, &mut file).map_err(unwritable)?;
    }
    file.into_inner()
        .map_err(io::IntoInnerError::into_error)
        .and_then(|it| it.sync_all())
        .map_err(unwritable)
}

/// The length in bytes of what follows, on a line of its own; then the request as it is sent.
fn write(request: &http::Request<Bytes>, out: &mut impl Write) -> io::Result<()> {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    let content = request.body();
    if !content.is_empty() {
        head.extend_from_slice(format!("content-length: {}\r\n", content.len()).as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    writeln!(out, "{}", head.len() + content.len())?;
    out.write_all(&head)?;
    out.write_all(content)
}
