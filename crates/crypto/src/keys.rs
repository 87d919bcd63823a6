//! A replica's secret keys, and the files they lie in.
//!
//! A keys folder holds one text file a key: `vote.key`, `cosign.key`, `log.key`, `tls.key`, each of
//! mode 0600 and of exactly four lines:
//!
//! ```text
//! quorate-key/1
//! role vote
//! public <64 lower-case hex digits>
//! secret <64 lower-case hex digits: the seed of RFC 8032>
//! ```
//!
//! A file is created or refused, never overwritten. The role and the public key stand in it so that
//! a file under a wrong name, and a file with a flipped digit, are noticed.

use crate::{KeyLock, signer::CosignKeys, signer::Cosigner, signer::VoteSigner};
use ed25519_dalek::{Signer as _, SigningKey};
use quorate_types::{PublicKey, Signature};
use std::{
    fmt,
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// The first line of every key file.
const FORMAT: &str = "quorate-key/1";

/// More than any key file has; what is longer is no key file, and is not read to its end.
const FILE_BYTES_MOST: u64 = 1024;

/// `O_NONBLOCK`: opening a FIFO that stands where a key should must not wait for a writer.
const NON_BLOCKING: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// What a key is for. A key signs for one role only, so that no signature can pass as another.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Role {
    /// Votes of the ordering engine.
    Vote,
    /// C2SP cosignatures over heads.
    Cosign,
    /// C2SP log signatures over heads.
    Log,
    /// The replica's end of TLS links.
    Tls,
    /// A client's signatures over its requests.
    Client,
}

impl Role {
    /// The four keys of a replica.
    pub const OF_A_REPLICA: [Self; 4] = [Self::Vote, Self::Cosign, Self::Log, Self::Tls];

    /// The word in the file: `vote`, `cosign`, `log`, `tls` or `client`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vote => "vote",
            Self::Cosign => "cosign",
            Self::Log => "log",
            Self::Tls => "tls",
            Self::Client => "client",
        }
    }

    /// The name of the key's file in a keys folder.
    #[must_use]
    pub fn file_name(self) -> String {
        format!("{}.key", self.as_str())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why keys cannot be used. Every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no such file.
    #[error("the {role} key {} is missing", path.display())]
    Missing {
        /// Which key.
        role: Role,
        /// Its file.
        path: PathBuf,
    },
    /// Others than the owner may use the file, or it is executable.
    #[error("{} has mode {mode:04o}; a key must have mode 0600 (chmod 600 it)", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is no key file.
    #[error("{} is not a key file: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file is a key file, but not of this key.
    #[error("{} does not fit: {reason}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: &'static str,
    },
    /// The file to be written is already there.
    #[error("{} already exists; keys are never overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Another process uses the key.
    #[error(
        "the vote key {key} is already in use on this host (lock {}); \
         two processes with one key would sign against each other",
        path.display()
    )]
    InUse {
        /// The public key.
        key: PublicKey,
        /// The lock that is held.
        path: PathBuf,
    },
    /// No lock could be taken at all.
    #[error("no lock for the vote key can be made at {}: {source}", path.display())]
    Lock {
        /// The lock's file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The operating system refused to read or write.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gives no random bytes: {0}")]
    Randomness(getrandom::Error),
}

impl KeyError {
    /// A stable word for `quorate explain`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "key-missing",
            Self::Mode { .. } => "key-mode",
            Self::Malformed { .. } => "key-malformed",
            Self::Mismatch { .. } => "key-mismatch",
            Self::Exists { .. } => "key-exists",
            Self::InUse { .. } => "key-in-use",
            Self::Lock { .. } => "key-lock",
            Self::Io { .. } => "key-io",
            Self::Randomness(_) => "key-randomness",
        }
    }
}

/// One Ed25519 secret key and what it is for. Wiped from memory when dropped.
#[derive(Clone)]
pub struct SecretKey {
    role: Role,
    key: SigningKey,
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({}, {})", self.role, self.public())
    }
}

impl SecretKey {
    /// A new key from the operating system's randomness.
    ///
    /// # Errors
    /// [`KeyError::Randomness`].
    pub fn generate(role: Role) -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(KeyError::Randomness)?;
        Ok(Self::from_seed(role, &seed))
    }

    /// The key of a 32-byte seed (RFC 8032 section 5.1.5).
    #[must_use]
    pub fn from_seed(role: Role, seed: &[u8; 32]) -> Self {
        Self { role, key: SigningKey::from_bytes(seed) }
    }

    /// What it is for.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.key.verifying_key().to_bytes())
    }

    /// Signs by RFC 8032: the same bytes give the same signature.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.key.sign(message).to_bytes())
    }

    /// The key as PKCS#8 version 1 in DER (RFC 8410 section 7), as TLS libraries read it.
    #[must_use]
    pub fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        /// SEQUENCE { INTEGER 0, SEQUENCE { OID 1.3.101.112 },
        /// OCTET STRING { OCTET STRING of 32 } }
        const PREFIX: [u8; 16] = [
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22,
            0x04, 0x20,
        ];
        let mut der = Zeroizing::new(Vec::with_capacity(48));
        der.extend_from_slice(&PREFIX);
        der.extend_from_slice(self.key.as_bytes());
        der
    }

    /// Writes the key into a new file of mode 0600, durably.
    ///
    /// # Errors
    /// [`KeyError::Exists`] when anything stands there, else [`KeyError::Io`], and then no file is
    /// left.
    pub fn create(&self, path: &Path) -> Result<(), KeyError> {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(
                |source| match source.kind() {
                    io::ErrorKind::AlreadyExists => KeyError::Exists { path: path.to_owned() },
                    _ => KeyError::Io { path: path.to_owned(), source },
                },
            )?;
        let written = file
            .set_permissions(std::fs::Permissions::from_mode(0o600))
            .and_then(|()| file.write_all(self.text().as_bytes()))
            .and_then(|()| file.sync_all());
        written.map_err(|source| {
            // Half a key is of no use, and would block the next try.
            let _ = std::fs::remove_file(path);
            KeyError::Io { path: path.to_owned(), source }
        })
    }

    /// Reads the key of a role from its file.
    ///
    /// # Errors
    /// [`KeyError::Missing`], [`KeyError::Mode`], [`KeyError::Malformed`], [`KeyError::Mismatch`]
    /// (another role, or a public key that is not the secret's), or [`KeyError::Io`].
    pub fn read(path: &Path, role: Role) -> Result<Self, KeyError> {
        Self::read_open(path, role).map(|(key, _)| key)
    }

    /// Reads the key, and gives the open file too, so that it can be locked.
    pub(crate) fn read_open(path: &Path, role: Role) -> Result<(Self, File), KeyError> {
        let io_error = |source| KeyError::Io { path: path.to_owned(), source };
        let mut file =
            OpenOptions::new().read(true).custom_flags(NON_BLOCKING).open(path).map_err(
                |source| match source.kind() {
                    io::ErrorKind::NotFound => KeyError::Missing { role, path: path.to_owned() },
                    _ => io_error(source),
                },
            )?;
        // Asked of the open file, not of the path, so that nothing can be swapped in between.
        let metadata = file.metadata().map_err(io_error)?;
        if !metadata.is_file() {
            return Err(KeyError::Malformed { path: path.to_owned(), reason: "not a plain file" });
        }
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & !0o600 != 0 {
            return Err(KeyError::Mode { path: path.to_owned(), mode });
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MOST as usize + 1));
        let mut bounded = (&mut file).take(FILE_BYTES_MOST + 1);
        bounded.read_to_end(&mut bytes).map_err(io_error)?;
        let key = Self::parse(&bytes, role).map_err(|fault| match fault {
            TextFault::Malformed(reason) => KeyError::Malformed { path: path.to_owned(), reason },
            TextFault::Mismatch(reason) => KeyError::Mismatch { path: path.to_owned(), reason },
        })?;
        Ok((key, file))
    }

    fn text(&self) -> Zeroizing<String> {
        // Built in one allocation, so that no half-grown copy of the secret stays behind.
        let mut text = Zeroizing::new(String::with_capacity(256));
        for part in [FORMAT, "\nrole ", self.role.as_str(), "\npublic "] {
            text.push_str(part);
        }
        push_hex(&mut text, &self.public().0);
        text.push_str("\nsecret ");
        push_hex(&mut text, self.key.as_bytes());
        text.push('\n');
        text
    }

    fn parse(bytes: &[u8], role: Role) -> Result<Self, TextFault> {
        use TextFault::{Malformed, Mismatch};
        if bytes.len() as u64 > FILE_BYTES_MOST {
            return Err(Malformed("too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed("not text"))?;
        let mut lines = text.strip_suffix('\n').ok_or(Malformed("cut off"))?.split('\n');
        if lines.next() != Some(FORMAT) {
            return Err(Malformed("the first line is not quorate-key/1"));
        }
        let mut line = |name: &str| lines.next().and_then(|line| line.strip_prefix(name));
        let stated_role = line("role ").ok_or(Malformed("no role line"))?;
        let public = line("public ").and_then(hex_32).ok_or(Malformed("no public key"))?;
        let secret = line("secret ").and_then(hex_32).ok_or(Malformed("no secret key"))?;
        if lines.next().is_some() {
            return Err(Malformed("more than four lines"));
        }
        if stated_role != role.as_str() {
            return Err(Mismatch("it is a key for another role"));
        }
        let key = Self::from_seed(role, &secret);
        if key.public().0 != *public {
            return Err(Mismatch("its public key is not that of its secret"));
        }
        Ok(key)
    }
}

/// What is wrong with a key file's text.
enum TextFault {
    Malformed(&'static str),
    Mismatch(&'static str),
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
}

fn hex_32(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != 32 || !rest.is_empty() {
        return None;
    }
    let mut bytes = Zeroizing::new([0; 32]);
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

/// The public halves of a replica's keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PublicKeys {
    /// Checks its votes, by ZIP-215.
    pub vote: PublicKey,
    /// Checks its cosignatures, strictly.
    pub cosign: PublicKey,
    /// Checks its log signatures, strictly.
    pub log: PublicKey,
    /// Pins its TLS links.
    pub tls: PublicKey,
}

/// All secret keys of one replica.
#[derive(Clone, Debug)]
pub struct ReplicaKeys {
    /// Signs votes.
    pub vote: SecretKey,
    /// Cosigns heads.
    pub cosign: SecretKey,
    /// Signs heads as a log.
    pub log: SecretKey,
    /// Authenticates TLS links.
    pub tls: SecretKey,
}

impl ReplicaKeys {
    /// Four new keys.
    ///
    /// # Errors
    /// [`KeyError::Randomness`].
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self {
            vote: SecretKey::generate(Role::Vote)?,
            cosign: SecretKey::generate(Role::Cosign)?,
            log: SecretKey::generate(Role::Log)?,
            tls: SecretKey::generate(Role::Tls)?,
        })
    }

    /// The public halves.
    #[must_use]
    pub fn public(&self) -> PublicKeys {
        PublicKeys {
            vote: self.vote.public(),
            cosign: self.cosign.public(),
            log: self.log.public(),
            tls: self.tls.public(),
        }
    }

    /// Writes the four files into a folder, which is made with mode 0700 if it is not there.
    ///
    /// # Errors
    /// [`KeyError::Exists`] when one of them is there, else [`KeyError::Io`]; files written until
    /// then are removed again.
    pub fn save(&self, folder: &Path) -> Result<(), KeyError> {
        let io_error = |source| KeyError::Io { path: folder.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io_error)?;
        let mut written = Vec::new();
        for key in [&self.vote, &self.cosign, &self.log, &self.tls] {
            let path = folder.join(key.role.file_name());
            if let Err(error) = key.create(&path) {
                for path in written {
                    let _ = std::fs::remove_file(path);
                }
                return Err(error);
            }
            written.push(path);
        }
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error)
    }

    /// Reads the four files and takes the lock on the vote key: as long as it is held, no other
    /// process of this host can load the same keys, from this folder or from a copy of it.
    ///
    /// # Errors
    /// Those of [`SecretKey::read`] and [`KeyLock::take`]; [`KeyError::Mismatch`] when one key
    /// stands in two files.
    pub fn load(folder: &Path) -> Result<(Self, KeyLock), KeyError> {
        let path = |role: Role| folder.join(role.file_name());
        let (vote, vote_file) = SecretKey::read_open(&path(Role::Vote), Role::Vote)?;
        let keys = Self {
            vote,
            cosign: SecretKey::read(&path(Role::Cosign), Role::Cosign)?,
            log: SecretKey::read(&path(Role::Log), Role::Log)?,
            tls: SecretKey::read(&path(Role::Tls), Role::Tls)?,
        };
        let mut seen = Vec::new();
        for key in [&keys.vote, &keys.cosign, &keys.log, &keys.tls] {
            if seen.contains(&key.public()) {
                let reason = "another role uses the same key";
                return Err(KeyError::Mismatch { path: path(key.role), reason });
            }
            seen.push(key.public());
        }
        let lock = KeyLock::take(&keys.vote.public(), vote_file, &path(Role::Vote))?;
        Ok((keys, lock))
    }

    /// What signs this replica's votes.
    #[must_use]
    pub fn vote_signer(&self) -> VoteSigner {
        VoteSigner::Ed25519(Box::new(self.vote.clone()))
    }

    /// What cosigns this replica's heads.
    #[must_use]
    pub fn cosigner(&self) -> Cosigner {
        let keys = CosignKeys { cosign: self.cosign.clone(), log: self.log.clone() };
        Cosigner::Ed25519(Box::new(keys))
    }
}

#[cfg(test)]
mod tests;
