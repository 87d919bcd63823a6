//! Bugs on purpose: each is a mistake that implementations of such protocols really make, at the
//! very line where it would be made. The simulator switches one on and counts the seeds until a
//! check notices, which shows what the checks are worth.
//!
//! Only the feature `seeded-bugs` makes a switch of them. Without it [`seeded`] is the constant
//! `false`, and the compiler leaves nothing of a bug.

use std::fmt;

macro_rules! bugs {
    ($($(#[doc = $what:literal])+ $bug:ident = $name:literal,)+) => {
        /// One mistake.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        pub enum Bug {
            $($(#[doc = $what])+ $bug,)+
        }

        impl Bug {
            /// All of them, by room in the order of the pipeline.
            pub const ALL: &[Self] = &[$(Self::$bug),+];

            /// Its name, in kebab case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$bug => $name,)+ }
            }

            /// What is wrong, in a sentence.
            #[must_use]
            pub fn what(self) -> &'static str {
                match self { $(Self::$bug => concat!($($what),+).trim_ascii(),)+ }
            }
        }
    };
}

bugs! {
    /// A quorum is one replica smaller than two quorums need to share a correct one.
    QuorumMinusOne = "quorum-minus-one",
    /// What f replicas say is believed, as if one of them had to be correct.
    FaultyCountAsCorrect = "faulty-count-as-correct",
    /// A replica whose vote comes twice is counted twice.
    DuplicateSignerCounted = "duplicate-signer-counted",
    /// Where a client's proof leads is not compared with the signed root.
    PathUnchecked = "path-unchecked",
    /// Nobody checks what clients sign.
    ClientSignatureUnchecked = "client-signature-unchecked",
    /// A command is taken for the one that a digest names.
    DigestUnchecked = "digest-unchecked",
    /// Votes do not sign the view in which they were cast.
    ViewNotSigned = "view-not-signed",
    /// Votes for different digests in one slot count together.
    VotesOfAnyDigest = "votes-of-any-digest",
    /// The votes of a view count in the next one, too.
    VotesAcrossViews = "votes-across-views",
    /// Whoever proposes is taken for the primary.
    ProposalFromAnybody = "proposal-from-anybody",
    /// A primary's second proposal for a slot replaces the first, and is voted for as well.
    SecondProposalOverwrites = "second-proposal-overwrites",
    /// A verdict on another proposal counts for the one that is there.
    StaleVerdictAccepted = "stale-verdict-accepted",
    /// A prepare, or a proposal, leaves before it is durable.
    PrepareBeforeFsync = "prepare-before-fsync",
    /// A commit leaves before the prepared certificate is durable.
    CommitBeforeFsync = "commit-before-fsync",
    /// A decision that is passed on is believed whatever signatures come with it.
    DecisionUnchecked = "decision-unchecked",
    /// A decided slot is passed on although the one before is not decided.
    GapSkipped = "gap-skipped",
    /// A replica leaves a view without writing down that it did.
    ViewChangeNotPersisted = "view-change-not-persisted",
    /// A view change proposes the no-op everywhere, whatever the reports say was prepared.
    NewViewForgetsPrepared = "new-view-forgets-prepared",
    /// A new primary that lacks a payload proposes the no-op over the value that was prepared.
    NoopForMissingPayload = "noop-for-missing-payload",
    /// A new primary numbers its proposals from the stable slot on.
    NewPrimaryReusesSlots = "new-primary-reuses-slots",
    /// Who waits for the next view waits for its primary without end.
    NextPrimaryNotAwaited = "next-primary-not-awaited",
    /// A replica that starts again does not know what it voted for in this view.
    VotesForgottenAtRestart = "votes-forgotten-at-restart",
    /// Requests that came before a replica leads are not proposed when it does.
    RequestsLostOnViewChange = "requests-lost-on-view-change",
    /// The primary drops what other gateways hand on to it.
    ForwardsDropped = "forwards-dropped",
    /// A waiting request is known by its salt, whatever it asks.
    AnswersBySalt = "answers-by-salt",
    /// Half of the replicas execute a batch from its end.
    BatchOrderDiffers = "batch-order-differs",
    /// Two slots may have the same agreed time.
    TimeStandsStill = "time-stands-still",
    /// A request that was executed is executed again when it is retried.
    RetryExecutesAgain = "retry-executes-again",
    /// Another request under a used key is executed.
    ReusedKeyExecutes = "reused-key-executes",
    /// A client's signature holds for ever.
    OldSignatureAccepted = "old-signature-accepted",
    /// The replay table forgets a request one entry too early.
    ReplayForgetsEarly = "replay-forgets-early",
    /// The replay table forgets signed requests as soon as any others.
    SignedForgottenEarly = "signed-forgotten-early",
    /// A replay table that came with a snapshot forgets nothing.
    RestoredTableNeverForgets = "restored-table-never-forgets",
    /// A read does not see the write right before it.
    StaleRead = "stale-read",
    /// A compare-and-set does not compare.
    CasWithoutCompare = "cas-without-compare",
    /// A head is called certified with one cosignature too few.
    StableTooEarly = "stable-too-early",
    /// A repeated request is answered with an entry that is not certified yet.
    AnswersUncertified = "answers-uncertified",
    /// A snapshot holds an empty replay table.
    SnapshotWithoutReplayTable = "snapshot-without-replay-table",
    /// A snapshot is kept under the certificate of a later slot.
    SnapshotOfAnotherSlot = "snapshot-of-another-slot",
    /// A certificate that a peer offers is believed unverified.
    CertificateUnchecked = "certificate-unchecked",
    /// Slots are stored in state transfer whoever is said to have signed their requests.
    StoreUnopened = "store-unopened",
    /// A piece of a state is not held against the certified root.
    PieceUnchecked = "piece-unchecked",
    /// A transfer asks the same peer for ever.
    TransferNeverTurns = "transfer-never-turns",
    /// Who answers a question of state transfer late is called a liar.
    LateAnswerAccused = "late-answer-accused",
    /// A replica that lost its disk votes as soon as others have reported.
    RejoinWithoutBound = "rejoin-without-bound",
    /// The last slot on disk counts as whole, although a crash may have torn it.
    LastSlotNotCut = "last-slot-not-cut",
    /// A torn last slot is executed anew behind what is left of it.
    TruncationForgotten = "truncation-forgotten",
    /// A vote log that is gone counts as new, and the replica votes at once.
    LostDiskUnnoticed = "lost-disk-unnoticed",
    /// The log is not made durable before a snapshot relies on it.
    LogSyncSkipped = "log-sync-skipped",
    /// One replica's report of an answer is enough to agree on it.
    OneReportIsEnough = "one-report-is-enough",
    /// Reports of all count as alike without a look at them.
    UnanimousUnchecked = "unanimous-unchecked",
    /// A replica records its own copy's answer, whatever was agreed on.
    OwnAnswerKept = "own-answer-kept",
    /// A fetched answer is not held against its digest.
    AnswerUnchecked = "answer-unchecked",
    /// A report is sent without being kept.
    ReportNotKept = "report-not-kept",
    /// A primary never has an outcome ordered.
    OutcomeWithheld = "outcome-withheld",
    /// Nobody checks that an outcome rests on a quorum.
    OutcomeUnchecked = "outcome-unchecked",
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether this mistake is to be made: never, in anything that is not built to look for bugs.
#[cfg(not(feature = "seeded-bugs"))]
#[inline]
#[must_use]
pub const fn seeded(_: Bug) -> bool {
    false
}

#[cfg(feature = "seeded-bugs")]
pub use switch::{Seeded, seed, seeded};

#[cfg(feature = "seeded-bugs")]
mod switch {
    use super::Bug;
    use std::cell::Cell;

    thread_local! {
        static SEEDED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether this mistake is to be made, on this thread.
    #[must_use]
    pub fn seeded(bug: Bug) -> bool {
        SEEDED.get() == Some(bug)
    }

    /// Has this thread make a mistake, or none, until what this gives is dropped.
    #[must_use = "the mistake is made as long as this lives"]
    pub fn seed(bug: Option<Bug>) -> Seeded {
        Seeded { before: SEEDED.replace(bug) }
    }

    /// While it lives, its thread makes a mistake; then what it made before.
    #[derive(Debug)]
    pub struct Seeded {
        before: Option<Bug>,
    }

    impl Drop for Seeded {
        fn drop(&mut self) {
            SEEDED.set(self.before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_bug_has_a_name_of_its_own_and_says_what_is_wrong() {
        let names: BTreeSet<&str> = Bug::ALL.iter().map(|bug| bug.name()).collect();
        assert_eq!(names.len(), Bug::ALL.len());
        for bug in Bug::ALL {
            let variant = bug.name().split('-').map(|word| word[..1].to_uppercase() + &word[1..]);
            assert_eq!(variant.collect::<String>(), format!("{bug:?}"));
            assert!(bug.what().len() > 20 && bug.what().ends_with('.'), "{bug}: {}", bug.what());
        }
    }

    #[cfg(not(feature = "seeded-bugs"))]
    #[test]
    fn nothing_is_seeded_in_what_is_shipped() {
        assert!(Bug::ALL.iter().all(|bug| !seeded(*bug)));
    }

    #[cfg(feature = "seeded-bugs")]
    #[test]
    fn a_bug_is_made_on_one_thread_while_its_guard_lives() {
        let made = || Bug::ALL.iter().copied().filter(|bug| seeded(*bug)).collect::<Vec<_>>();
        let guard = seed(Some(Bug::QuorumMinusOne));
        assert_eq!(made(), [Bug::QuorumMinusOne]);
        assert_eq!(
            std::thread::spawn(move || Bug::ALL.iter().any(|b| seeded(*b))).join().ok(),
            Some(false)
        );
        drop(guard);
        assert!(made().is_empty());
    }
}
