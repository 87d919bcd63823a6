//! The policies that this person has come to trust, a file for each authority.

use crate::url::Endpoint;
use quorate_proof::{Policy, PolicyError};
use std::{
    env, fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Larger than any policy: 256 signers in nested groups.
pub(crate) const POLICY_BYTES_MOST: u64 = 1 << 20;

/// A folder of pinned policies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pins {
    dir: PathBuf,
}

/// Why a policy file cannot be used.
#[derive(Debug, Error)]
pub enum PinError {
    /// There is neither `$XDG_CONFIG_HOME` nor `$HOME`.
    #[error("there is no home folder to keep pinned policies in")]
    NoHome,
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// The file is no policy.
    #[error("{} is not a policy: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: PolicyError,
    },
    /// Another policy is pinned already.
    #[error("another policy is pinned for {authority}, in {}", path.display())]
    Changed {
        /// For whom.
        authority: String,
        /// The pin.
        path: PathBuf,
    },
}

impl PinError {
    /// A stable word for `quorate explain`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoHome => "no-home",
            Self::Io { .. } => "policy-file",
            Self::Malformed { source, .. } => source.code(),
            Self::Changed { .. } => "policy-changed",
        }
    }
}

impl Pins {
    /// The person's own: `$XDG_CONFIG_HOME/quorate/pins`, else `~/.config/quorate/pins`.
    ///
    /// # Errors
    /// [`PinError::NoHome`].
    pub fn of_user() -> Result<Self, PinError> {
        // The XDG specification has relative paths ignored.
        let absolute =
            |name| env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
        let config = absolute("XDG_CONFIG_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".config")))
            .ok_or(PinError::NoHome)?;
        Ok(Self::at(config.join("quorate").join("pins")))
    }

    /// The pins in a folder, which need not be there yet.
    #[must_use]
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The file of an endpoint's pin, there or not.
    #[must_use]
    pub fn path(&self, endpoint: &Endpoint) -> PathBuf {
        self.dir.join(format!("{}.policy", endpoint.authority()))
    }

    /// The policy pinned for an endpoint.
    ///
    /// # Errors
    /// [`PinError::Io`] and [`PinError::Malformed`]: a pin that cannot be read is not no pin.
    pub fn find(&self, endpoint: &Endpoint) -> Result<Option<Policy>, PinError> {
        match read_policy(&self.path(endpoint)) {
            Err(PinError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            found => found.map(Some),
        }
    }

    /// Pins a policy on first use.
    ///
    /// # Errors
    /// [`PinError::Changed`] when another is pinned already, else [`PinError::Io`].
    pub fn add(&self, endpoint: &Endpoint, policy: &Policy) -> Result<(), PinError> {
        let path = self.path(endpoint);
        let temporary = self.write_beside(&path, policy)?;
        // A link, unlike a rename, never takes the place of a pin that another process just made.
        let linked = fs::hard_link(&temporary, &path);
        let _ = fs::remove_file(&temporary);
        match linked {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if read_policy(&path)?.text() == policy.text() {
                    return Ok(());
                }
                Err(PinError::Changed { authority: endpoint.authority().to_owned(), path })
            }
            Err(source) => Err(PinError::Io { path, source }),
        }
    }

    /// Pins a policy in place of any other: for who made the cluster, and so knows.
    ///
    /// # Errors
    /// [`PinError::Io`].
    pub fn replace(&self, endpoint: &Endpoint, policy: &Policy) -> Result<(), PinError> {
        let path = self.path(endpoint);
        let temporary = self.write_beside(&path, policy)?;
        fs::rename(&temporary, &path).map_err(|source| PinError::Io { path, source })
    }

    /// Removes an endpoint's pin; says whether there was one.
    ///
    /// # Errors
    /// [`PinError::Io`].
    pub fn forget(&self, endpoint: &Endpoint) -> Result<bool, PinError> {
        let path = self.path(endpoint);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(PinError::Io { path, source }),
        }
    }

    fn write_beside(&self, path: &Path, policy: &Policy) -> Result<PathBuf, PinError> {
        let temporary = path.with_extension(format!("policy.{}", std::process::id()));
        let write = || {
            fs::create_dir_all(&self.dir)?;
            let mut file = fs::File::create(&temporary)?;
            file.write_all(policy.text().as_bytes())?;
            file.sync_all()
        };
        write().map_err(|source| PinError::Io { path: temporary.clone(), source })?;
        Ok(temporary)
    }
}

/// Reads a policy file.
///
/// # Errors
/// [`PinError::Io`], and [`PinError::Malformed`] for what is no policy.
pub fn read_policy(path: &Path) -> Result<Policy, PinError> {
    let io_error = |source| PinError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(io_error)?;
    io::Read::read_to_end(&mut io::Read::take(file, POLICY_BYTES_MOST), &mut bytes)
        .map_err(io_error)?;
    let text = String::from_utf8_lossy(&bytes);
    Policy::parse(&text).map_err(|source| PinError::Malformed { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = include_str!("../../proof/testdata/example/policy.txt");

    fn endpoint() -> Endpoint {
        Endpoint::parse("127.0.0.1:7400").unwrap()
    }

    fn other_policy() -> Policy {
        // The same keys in another order of lines: another text, so another policy.
        let (first, rest) = POLICY.split_once('\n').unwrap();
        let (second, rest) = rest.split_once('\n').unwrap();
        Policy::parse(&format!("{second}\n{first}\n{rest}")).unwrap()
    }

    #[test]
    fn a_first_use_is_remembered_and_a_change_refused() {
        let dir = tempfile::tempdir().unwrap();
        let pins = Pins::at(dir.path().join("deep/pins"));
        let policy = Policy::parse(POLICY).unwrap();
        assert!(pins.find(&endpoint()).unwrap().is_none());
        pins.add(&endpoint(), &policy).unwrap();
        pins.add(&endpoint(), &policy).unwrap();
        assert_eq!(pins.find(&endpoint()).unwrap().unwrap().text(), POLICY);
        let changed = pins.add(&endpoint(), &other_policy()).unwrap_err();
        assert_eq!(changed.code(), "policy-changed");
        assert_eq!(pins.find(&endpoint()).unwrap().unwrap().text(), POLICY);
        assert_eq!(fs::read_dir(dir.path().join("deep/pins")).unwrap().count(), 1);
    }

    #[test]
    fn who_made_a_cluster_replaces_its_pin_and_anybody_may_forget_one() {
        let dir = tempfile::tempdir().unwrap();
        let pins = Pins::at(dir.path());
        pins.add(&endpoint(), &Policy::parse(POLICY).unwrap()).unwrap();
        pins.replace(&endpoint(), &other_policy()).unwrap();
        assert_eq!(pins.find(&endpoint()).unwrap().unwrap().text(), other_policy().text());
        assert!(pins.forget(&endpoint()).unwrap());
        assert!(!pins.forget(&endpoint()).unwrap());
    }

    #[test]
    fn a_pin_that_cannot_be_read_is_not_no_pin() {
        let dir = tempfile::tempdir().unwrap();
        let pins = Pins::at(dir.path());
        fs::write(pins.path(&endpoint()), "quorum none\n").unwrap();
        assert!(matches!(pins.find(&endpoint()), Err(PinError::Malformed { .. })));
    }
}
