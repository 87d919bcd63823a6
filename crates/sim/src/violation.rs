//! What can be wrong with a run, by the check that finds it.

use quorate_types::Time;
use std::fmt;

/// A check.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Check {
    /// No two correct replicas have different entries at one place.
    Agreement,
    /// What is ordered was asked for.
    Validity,
    /// One key, one effect.
    AtMostOnce,
    /// Every entry answers what the model says.
    Execution,
    /// What clients were told is one history, in an order that respects real time.
    Linearizability,
    /// What was acknowledged is in the log.
    Durability,
    /// Answers verify under the client's own verifier, and only true ones do.
    Proofs,
    /// No key of a correct replica signs two roots for one size, or two votes for one place.
    Signatures,
    /// Only the guilty are accused, and evidence convinces a third party.
    Evidence,
    /// While f copies are bad at most, what the others answer is agreed on, and they agree with it.
    Copies,
    /// Replicas at one slot have one state, and logs that hold together.
    State,
    /// What is kept stays within its bounds.
    Bounds,
    /// Whoever never lied and has a sound disk runs, and starts again.
    Running,
    /// In the second phase everybody comes up, is level and answers.
    Progress,
    /// Nothing panics.
    Panic,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Agreement,
        Self::Validity,
        Self::AtMostOnce,
        Self::Execution,
        Self::Linearizability,
        Self::Durability,
        Self::Proofs,
        Self::Signatures,
        Self::Evidence,
        Self::Copies,
        Self::State,
        Self::Bounds,
        Self::Running,
        Self::Progress,
        Self::Panic,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Agreement => "agreement",
            Self::Validity => "validity",
            Self::AtMostOnce => "at-most-once",
            Self::Execution => "execution",
            Self::Linearizability => "linearizability",
            Self::Durability => "durability",
            Self::Proofs => "proofs",
            Self::Signatures => "signatures",
            Self::Evidence => "evidence",
            Self::Copies => "copies",
            Self::State => "state",
            Self::Bounds => "bounds",
            Self::Running => "running",
            Self::Progress => "progress",
            Self::Panic => "panic",
        }
    }

    /// Whether it says that a run got stuck, and not that a promise of safety was broken.
    #[must_use]
    pub fn is_liveness(self) -> bool {
        self == Self::Progress
    }

    /// A violation that this check found.
    #[must_use]
    pub fn broken(self, reason: impl Into<String>) -> Violation {
        Violation { check: self, reason: reason.into() }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that must not be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// Which check says so.
    pub check: Check,
    /// What it saw.
    pub reason: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.reason)
    }
}

/// A violation in a run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// When it was noticed.
    pub at: Time,
    /// What it is.
    pub violation: Violation,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} ms, {}", self.at.0 / 1_000_000, self.violation)
    }
}
