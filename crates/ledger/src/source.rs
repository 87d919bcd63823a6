//! Reading a file in order, without asking the disk for each record.

use crate::disk::{Disk, DiskError};

/// Reads a file from front to back in large pieces.
pub(crate) struct Source<'d, D> {
    disk: &'d D,
    file: &'d str,
    /// Where the next piece of the file begins.
    offset: u64,
    /// How much is asked for at once: little at first, since most files end soon.
    piece: usize,
    buffer: Vec<u8>,
    /// How much of the buffer was taken.
    taken: usize,
    /// Whether the buffer reaches the file's end.
    ended: bool,
}

impl<'d, D: Disk> Source<'d, D> {
    const FIRST_BYTES: usize = 1 << 12;
    const PIECE_BYTES: usize = 1 << 16;

    /// From that place of the file on.
    pub(crate) fn new(disk: &'d D, file: &'d str, offset: u64) -> Self {
        let (piece, buffer) = (Self::FIRST_BYTES, Vec::new());
        Self { disk, file, offset, piece, buffer, taken: 0, ended: false }
    }

    /// The next bytes, which stay; `None` if the file has fewer.
    pub(crate) fn peek(&mut self, count: usize) -> Result<Option<&[u8]>, DiskError> {
        if self.buffer.len() - self.taken < count && !self.ended {
            // A damaged length must not cost memory: the last byte it promises has to be there.
            let last = self.offset + (count - (self.buffer.len() - self.taken)) as u64 - 1;
            if count > Self::PIECE_BYTES && self.disk.read(self.file, last, &mut [0])? == 0 {
                return Ok(None);
            }
            self.buffer.drain(..self.taken);
            self.taken = 0;
            let had = self.buffer.len();
            self.buffer.resize(had + self.piece.max(count - had), 0);
            self.piece = Self::PIECE_BYTES.min(2 * self.piece);
            let read = self.disk.read(self.file, self.offset, &mut self.buffer[had..])?;
            self.ended = had + read < self.buffer.len();
            self.buffer.truncate(had + read);
            self.offset += read as u64;
        }
        Ok(self.buffer.get(self.taken..self.taken + count))
    }

    /// The next bytes, and past them.
    pub(crate) fn take(&mut self, count: usize) -> Result<Option<&[u8]>, DiskError> {
        if self.peek(count)?.is_none() {
            return Ok(None);
        }
        self.taken += count;
        Ok(self.buffer.get(self.taken - count..self.taken))
    }
}
