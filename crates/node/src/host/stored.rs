//! A snapshot of the copy's state on this replica's disk: one file, whole or not there.
//!
//! What a copy holds says nothing by itself, so the file names whose it is, by chain and replica,
//! and which place of the log it stands before; a digest over all of it tells rot from a snapshot.

use bytes::Bytes;
use quorate_ledger::{Disk, DiskError, Owner};
use quorate_proof::sha256;
use quorate_types::Index;
use thiserror::Error;

const FILE: &str = "snapshot";
const UNFINISHED: &str = "snapshot.new";

/// What the file begins with: its format.
const MAGIC: &[u8; 24] = b"quorate-copy-snapshot/1\n";

/// The state of a copy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Stored {
    /// The copy had executed everything before this place.
    pub(super) next: Index,
    /// What the copy said that the state is.
    pub(super) content_type: String,
    /// The state, as the copy gave it.
    pub(super) state: Bytes,
}

/// Why there is no snapshot to be had from the disk.
#[derive(Debug, Error)]
pub(super) enum Unusable {
    /// The file holds something else than was written.
    #[error("its bytes are not those that were written")]
    Damaged,
    /// It is another replica's: nobody signed for what it holds.
    #[error("it was taken by another replica")]
    Foreign,
    /// It cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The disk. See the module.
#[derive(Debug)]
pub(super) struct Store<D> {
    disk: D,
    owner: Owner,
}

impl<D: Disk> Store<D> {
    pub(super) fn new(disk: D, owner: Owner) -> Self {
        Self { disk, owner }
    }

    /// Puts a snapshot in the place of the one before; a crash leaves one of the two.
    pub(super) fn save(&self, stored: &Stored) -> Result<(), DiskError> {
        self.remove_file(UNFINISHED)?;
        let body = self.body(stored);
        let digest = sha256(&body);
        for part in [&MAGIC[..], &digest.0, &body] {
            self.disk.append(UNFINISHED, part)?;
        }
        self.disk.sync(UNFINISHED)?;
        self.disk.rename(UNFINISHED, FILE)?;
        self.disk.sync(FILE)
    }

    /// The snapshot, if there is one.
    pub(super) fn load(&self) -> Result<Option<Stored>, Unusable> {
        let files = self.disk.list()?;
        let Some((_, length)) = files.into_iter().find(|(name, _)| name == FILE) else {
            return Ok(None);
        };
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| Unusable::Damaged)?];
        let read = self.disk.read(FILE, 0, &mut bytes)?;
        bytes.truncate(read);
        let rest = bytes.strip_prefix(MAGIC).ok_or(Unusable::Damaged)?;
        let (digest, body) = rest.split_at_checked(32).ok_or(Unusable::Damaged)?;
        if sha256(body).0 != digest {
            return Err(Unusable::Damaged);
        }
        self.read(Bytes::copy_from_slice(body)).map(Some)
    }

    /// Removes the snapshot.
    pub(super) fn remove(&self) -> Result<(), DiskError> {
        self.remove_file(FILE)
    }

    fn remove_file(&self, name: &str) -> Result<(), DiskError> {
        match self.disk.remove(name) {
            Err(DiskError::Missing { .. }) => Ok(()),
            other => other,
        }
    }

    /// Whose it is, in as many bytes as any owner takes.
    fn owner(&self) -> Vec<u8> {
        let mut owner = self.owner.chain.to_string().into_bytes();
        owner.extend_from_slice(&self.owner.replica.0.to_le_bytes());
        owner
    }

    fn body(&self, Stored { next, content_type, state }: &Stored) -> Vec<u8> {
        let mut body = self.owner();
        body.extend_from_slice(&next.0.to_le_bytes());
        // Longer than any head that is read, so it never is.
        let length = u32::try_from(content_type.len()).unwrap_or(u32::MAX);
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(content_type.as_bytes());
        body.extend_from_slice(state);
        body
    }

    fn read(&self, body: Bytes) -> Result<Stored, Unusable> {
        let owner = self.owner();
        let rest = body.get(owner.len()..).ok_or(Unusable::Damaged)?;
        if !body.starts_with(&owner) {
            return Err(Unusable::Foreign);
        }
        let (next, rest) = rest.split_first_chunk::<8>().ok_or(Unusable::Damaged)?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(Unusable::Damaged)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (content_type, state) = rest.split_at_checked(length).ok_or(Unusable::Damaged)?;
        let content_type = String::from_utf8(content_type.to_vec());
        Ok(Stored {
            next: Index(u64::from_le_bytes(*next)),
            content_type: content_type.map_err(|_| Unusable::Damaged)?,
            state: body.slice_ref(state),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_ledger::MemoryDisk;
    use quorate_types::{Chain, ReplicaId};

    fn store(disk: &MemoryDisk, replica: u16) -> Store<MemoryDisk> {
        let chain = Chain::parse("5f2c9a17d0e84b63").unwrap();
        Store::new(disk.clone(), Owner { chain, replica: ReplicaId(replica) })
    }

    fn stored(next: u64, state: &'static str) -> Stored {
        Stored { next: Index(next), content_type: "text/plain".to_owned(), state: state.into() }
    }

    #[test]
    fn the_newest_is_kept_and_survives_a_loss_of_power() {
        let disk = MemoryDisk::new();
        let store_2 = store(&disk, 2);
        assert_eq!(store_2.load().unwrap(), None);
        store_2.save(&stored(7, "seven")).unwrap();
        store_2.save(&stored(9, "")).unwrap();
        let after = disk.crash(1);
        assert_eq!(store(&after, 2).load().unwrap(), Some(stored(9, "")));
        assert!(matches!(store(&after, 3).load(), Err(Unusable::Foreign)));
        store_2.remove().unwrap();
        store_2.remove().unwrap();
        assert_eq!(store_2.load().unwrap(), None);
    }

    #[test]
    fn each_crash_leaves_the_old_or_the_new_one() {
        let whole = MemoryDisk::new();
        store(&whole, 2).save(&stored(7, "seven")).unwrap();
        for operations in 0..8 {
            let disk = whole.fork();
            disk.stop_after(operations);
            let _ = store(&disk, 2).save(&stored(9, "nine"));
            for seed in 0..4 {
                let found = store(&disk.crash(seed), 2).load().unwrap().unwrap();
                assert!(found == stored(7, "seven") || found == stored(9, "nine"), "{found:?}");
            }
        }
    }

    #[test]
    fn a_changed_byte_is_found() {
        let disk = MemoryDisk::new();
        store(&disk, 2).save(&stored(7, "seven")).unwrap();
        let length = disk.list().unwrap()[0].1;
        for at in 0..length {
            let (cut, rotten) = (disk.fork(), disk.fork());
            cut.truncate(FILE, at).unwrap();
            assert!(matches!(store(&cut, 2).load(), Err(Unusable::Damaged)), "cut at {at}");
            rotten.flip(FILE, at, 0);
            assert!(matches!(store(&rotten, 2).load(), Err(Unusable::Damaged)), "byte {at}");
        }
    }
}
