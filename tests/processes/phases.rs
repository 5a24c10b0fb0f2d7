//! The phases of a round at which an aggregator can be killed.

use crate::journal::Seen;

/// Where in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Its training has begun.
    Training,
    /// It has trained; nothing is signed.
    Trained,
    /// Its update is signed and on disk; nobody has it.
    UpdateKept,
    /// Its update is out, its receipt is not signed.
    Updated,
    /// A quorum of receipts is there, its proposal is made but not signed.
    Receipts,
    /// Its proposal is signed and on disk; nobody has it.
    ProposalKept,
    /// Its proposal is out; it has not voted.
    Proposed,
    /// Its own vote is on disk; nobody has it.
    VoteKept,
    /// A quorum has notarized; its vote to finalize is not signed.
    Notarized,
    /// It has committed.
    Certified,
}

impl Phase {
    pub(crate) const ALL: [Self; 10] = [
        Self::Training,
        Self::Trained,
        Self::UpdateKept,
        Self::Updated,
        Self::Receipts,
        Self::ProposalKept,
        Self::Proposed,
        Self::VoteKept,
        Self::Notarized,
        Self::Certified,
    ];

    /// Where `fedswarm run` is to stand still, for phases that would be over before a signal arrives.
    pub(crate) const fn hold(self) -> Option<&'static str> {
        match self {
            Self::Training | Self::Certified => None,
            Self::Trained => Some("update"),
            Self::UpdateKept => Some("update:kept"),
            Self::Updated => Some("receipt"),
            Self::Receipts => Some("proposal"),
            Self::ProposalKept => Some("proposal:kept"),
            Self::Proposed => Some("notarize"),
            Self::VoteKept => Some("notarize:kept"),
            Self::Notarized => Some("finalize"),
        }
    }

    /// The round, if this line says that the node is an aggregator in this phase.
    pub(crate) fn reached(self, seen: &Seen) -> Option<u64> {
        let place = Some(seen.node as u64);
        let here = match self {
            Self::Training => seen.is("round_started") && seen.number("aggregator") == place,
            Self::Certified => seen.is("certified") && seen.number("proposer") == place,
            _ => seen.is("held"),
        };
        here.then(|| seen.number("round")).flatten()
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Trained => "trained, update not signed",
            Self::UpdateKept => "update on disk, not sent",
            Self::Updated => "update sent, receipt not signed",
            Self::Receipts => "receipts in, proposal not signed",
            Self::ProposalKept => "proposal on disk, not sent",
            Self::Proposed => "proposal sent, no vote yet",
            Self::VoteKept => "own vote on disk, not sent",
            Self::Notarized => "notarized, finalize not signed",
            Self::Certified => "committed",
        }
    }
}
