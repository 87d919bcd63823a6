//! Frames: four bytes of length, big-endian, then as many bytes. An empty frame is a heartbeat.

use bytes::Bytes;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The most bytes of one frame.
pub(crate) const FRAME_BYTES_MAX: usize = 16 << 20;

/// How much is set aside for a frame before its bytes arrive: a peer that only announces much
/// costs little.
const FIRST_ALLOCATION: usize = 64 << 10;

/// Appends a frame to a buffer of frames to write.
///
/// The caller has checked that the frame has at most [`FRAME_BYTES_MAX`] bytes.
pub(crate) fn put_frame(buffer: &mut Vec<u8>, bytes: &[u8]) {
    debug_assert!(bytes.len() <= FRAME_BYTES_MAX);
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    buffer.extend_from_slice(&length.to_be_bytes());
    buffer.extend_from_slice(bytes);
}

/// Reads the length of the next frame; `None` when the peer closed the link between two frames.
///
/// # Errors
/// What the link says, and a length above [`FRAME_BYTES_MAX`].
pub(crate) async fn read_length(link: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<usize>> {
    let mut head = [0; 4];
    match link.read(&mut head[..1]).await? {
        0 => return Ok(None),
        _ => link.read_exact(&mut head[1..]).await?,
    };
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        let reason = format!("a frame of {length} bytes, where {FRAME_BYTES_MAX} are allowed");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(Some(length))
}

/// Reads the bytes of a frame of that length.
///
/// # Errors
/// What the link says; the end of the link inside the frame.
pub(crate) async fn read_bytes(
    link: &mut (impl AsyncRead + Unpin),
    length: usize,
) -> io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(length.min(FIRST_ALLOCATION));
    let limit = u64::try_from(length).unwrap_or(u64::MAX);
    link.take(limit).read_to_end(&mut bytes).await?;
    if bytes.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_out_as_they_went_in() {
        let mut buffer = Vec::new();
        for bytes in [&b"one"[..], b"", b"three"] {
            put_frame(&mut buffer, bytes);
        }
        let mut link = &buffer[..];
        for bytes in [&b"one"[..], b"", b"three"] {
            let length = read_length(&mut link).await.unwrap().unwrap();
            assert_eq!(read_bytes(&mut link, length).await.unwrap(), bytes);
        }
        assert_eq!(read_length(&mut link).await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_oversized_length_is_refused_before_its_bytes() {
        let mut link = &[0xff; 4][..];
        let error = read_length(&mut link).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_link_that_ends_inside_a_frame_is_an_error() {
        for cut in 1..8 {
            let mut buffer = Vec::new();
            put_frame(&mut buffer, b"four");
            let mut link = &buffer[..cut];
            let ended = match read_length(&mut link).await {
                Ok(Some(length)) => read_bytes(&mut link, length).await.is_err(),
                Ok(None) => false,
                Err(_) => true,
            };
            assert!(ended, "cut at {cut}");
        }
    }
}
