//! Requests in a file, for another load generator: one that is cheaper, or should not sign while it
//! measures.

use super::load::Load;
use crate::failure::Failure;
use quorate_client::Endpoint;
use quorate_proof::write_request;
use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
};

/// Writes so many requests, for the targets in turn: each as HTTP/1.1, behind a line with its
/// length in bytes.
pub(super) fn save(
    load: &Load,
    targets: &[Endpoint],
    requests: u32,
    path: &Path,
) -> Result<(), Failure> {
    let unwritable = |error| Failure::file(path, &error);
    let mut file = BufWriter::new(File::create(path).map_err(unwritable)?);
    for target in targets.iter().cycle().take(requests as usize) {
        let request = load.next_to_save().ok_or_else(|| {
            Failure::failed("request-unwritable", "HTTP cannot carry the request as it is written")
        })?;
        let bytes = write_request(&request, target.authority());
        writeln!(file, "{}", bytes.len()).map_err(unwritable)?;
        file.write_all(&bytes).map_err(unwritable)?;
    }
    // On the disk before it is used: what is written back later disturbs what is measured then.
    let file = file.into_inner().map_err(io::IntoInnerError::into_error);
    file.and_then(|file| file.sync_all()).map_err(unwritable)
}
