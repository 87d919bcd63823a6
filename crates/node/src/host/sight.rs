//! How the copy stands, for those who ask.

use prometheus_client::metrics::counter::Counter;
use quorate_types::Index;
use std::sync::{Mutex, PoisonError};

/// See the host's module.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum CopyStanding {
    /// It executed everything before this place.
    InStep { next: Index },
    /// It is being brought back, and is at this place.
    Restoring { next: Index },
    /// It is out for good.
    Fenced,
}

impl CopyStanding {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::InStep { .. } => "in-step",
            Self::Restoring { .. } => "restoring",
            Self::Fenced => "fenced",
        }
    }
}

/// What the host publishes.
#[derive(Debug)]
pub(crate) struct CopySight {
    standing: Mutex<CopyStanding>,
    /// Requests that the copy was to execute.
    pub(crate) calls: Counter,
    /// Those that it gave no answer to.
    pub(crate) failures: Counter,
}

impl Default for CopySight {
    fn default() -> Self {
        let standing = Mutex::new(CopyStanding::InStep { next: Index(1) });
        Self { standing, calls: Counter::default(), failures: Counter::default() }
    }
}

impl CopySight {
    /// How it stands.
    pub(crate) fn standing(&self) -> CopyStanding {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes how it stands; tells whether the word for it is another one now.
    pub(super) fn publish(&self, standing: CopyStanding) -> bool {
        let mut published = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = published.word() != standing.word();
        *published = standing;
        changed
    }
}
