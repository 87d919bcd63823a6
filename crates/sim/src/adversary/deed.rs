//! The names of what Byzantine replicas do.

use crate::rng::Rng;
use serde::{Deserialize, Serialize};

/// What a Byzantine replica does.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// Tells some the truth and others its contradiction, both validly signed.
    Equivocate,
    /// Sends nothing; beside other deeds, leaves out one message in five.
    Mute,
    /// Sends everything late.
    Delay,
    /// Sends nothing of the order to those whom it deceives.
    Withhold,
    /// Changes one byte in one of eight messages.
    Corrupt,
    /// As primary, proposes batches that no correct primary proposes.
    ProposeOddly,
    /// Reports in view changes that it prepared nothing.
    Forget,
    /// Cosigns another root.
    CosignWrongly,
    /// Signs the right heads wrongly.
    CosignBadly,
    /// Its service gives wrong results now and then.
    ExecuteWrongly,
    /// Sends pages with other exchanges.
    ForgePages,
    /// Sends pages with other signatures of clients, which no entry covers.
    ForgeSignatures,
    /// Sends pages whose entries are not what was asked for.
    MisplacePages,
    /// Sends wrong pieces of state.
    ForgeState,
    /// Offers its first snapshot and certificate for ever.
    OfferOldSnapshots,
    /// Forwards requests and rejoins to some only.
    PassOnToFew,
    /// Claims to be far ahead.
    Boast,
    /// Reports a window's end that lies too far ahead.
    InflateReports,
    /// Says that it lost its disk, and has itself ordered back in.
    ClaimLoss,
    /// Sends old messages again.
    Replay,
    /// Forwards garbage.
    SendJunk,
    /// Gives clients answers that it made up.
    ForgeAnswers,
    /// Gives clients answers that were given before: to the same request, where it has no key, and
    /// else to another.
    ReplayAnswers,
    /// Passes on others' votes as if they had been cast in the view after.
    Relabel,
    /// Proposes where another one leads.
    Usurp,
    /// Passes on decisions that no quorum made, and other commands than decided ones.
    InventDecisions,
    /// Reports in view changes what nobody prepared.
    InventPrepared,
    /// Offers certified heads that no quorum cosigned.
    ForgeCertificates,
    /// Signs two reports on one slot.
    ReportTwice,
    /// Reports what its copy did not answer.
    ReportFalsely,
    /// As primary, has no outcome ordered.
    WithholdOutcome,
    /// As primary, proposes outcomes that no quorum's reports make.
    ForgeOutcome,
    /// Gives others wrong answers of its copy.
    AnswerWrongly,
}

impl Deed {
    /// All but those about the answers of copies.
    pub const ALL: [Self; 28] = [
        Self::Equivocate,
        Self::Mute,
        Self::Delay,
        Self::Withhold,
        Self::Corrupt,
        Self::ProposeOddly,
        Self::Forget,
        Self::CosignWrongly,
        Self::CosignBadly,
        Self::ExecuteWrongly,
        Self::ForgePages,
        Self::ForgeSignatures,
        Self::MisplacePages,
        Self::ForgeState,
        Self::OfferOldSnapshots,
        Self::PassOnToFew,
        Self::Boast,
        Self::InflateReports,
        Self::ClaimLoss,
        Self::Replay,
        Self::SendJunk,
        Self::ForgeAnswers,
        Self::ReplayAnswers,
        Self::Relabel,
        Self::Usurp,
        Self::InventDecisions,
        Self::InventPrepared,
        Self::ForgeCertificates,
    ];

    /// The name under which it is counted.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Equivocate => "equivocate",
            Self::Mute => "mute",
            Self::Delay => "delay",
            Self::Withhold => "withhold",
            Self::Corrupt => "corrupt",
            Self::ProposeOddly => "propose-oddly",
            Self::Forget => "forget",
            Self::CosignWrongly => "cosign-wrongly",
            Self::CosignBadly => "cosign-badly",
            Self::ExecuteWrongly => "execute-wrongly",
            Self::ForgePages => "forge-pages",
            Self::ForgeSignatures => "forge-signatures",
            Self::MisplacePages => "misplace-pages",
            Self::ForgeState => "forge-state",
            Self::OfferOldSnapshots => "offer-old-snapshots",
            Self::PassOnToFew => "pass-on-to-few",
            Self::Boast => "boast",
            Self::InflateReports => "inflate-reports",
            Self::ClaimLoss => "claim-loss",
            Self::Replay => "replay",
            Self::SendJunk => "send-junk",
            Self::ForgeAnswers => "forge-answers",
            Self::ReplayAnswers => "replay-answers",
            Self::Relabel => "relabel",
            Self::Usurp => "usurp",
            Self::InventDecisions => "invent-decisions",
            Self::InventPrepared => "invent-prepared",
            Self::ForgeCertificates => "forge-certificates",
            Self::ReportTwice => "report-twice",
            Self::ReportFalsely => "report-falsely",
            Self::WithholdOutcome => "withhold-outcome",
            Self::ForgeOutcome => "forge-outcome",
            Self::AnswerWrongly => "answer-wrongly",
        }
    }

    /// Those that lie to who lags or lost its disk.
    pub const TO_LAGGARDS: [Self; 8] = [
        Self::ForgePages,
        Self::ForgeSignatures,
        Self::MisplacePages,
        Self::ForgeState,
        Self::OfferOldSnapshots,
        Self::Boast,
        Self::InflateReports,
        Self::ForgeCertificates,
    ];

    /// Those about the answers of a service that runs outside.
    pub const ABOUT_ANSWERS: [Self; 5] = [
        Self::ReportTwice,
        Self::ReportFalsely,
        Self::WithholdOutcome,
        Self::ForgeOutcome,
        Self::AnswerWrongly,
    ];

    /// Draws one of some.
    #[must_use]
    pub fn draw(rng: &mut Rng, of: &[Self]) -> Self {
        *rng.pick(of).unwrap_or(&Self::Mute)
    }
}
