//! The phases of a round at which an aggregator can be killed.

use crate::journal::Seen;
use crate::network::Run;

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

/// Which phase each node's life is to end at.
pub(crate) struct Armed {
    phases: Vec<Option<Phase>>,
    cursor: usize,
}

/// An aggregator that is where its life is to end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) node: usize,
    pub(crate) phase: Phase,
    pub(crate) round: u64,
}

impl Armed {
    /// Each node with the next of these phases, as long as there are any.
    pub(crate) fn new(nodes: usize, phases: &mut impl Iterator<Item = Phase>) -> Self {
        Self { phases: (0..nodes).map(|_| phases.next()).collect(), cursor: 0 }
    }

    pub(crate) fn hold(&self, node: usize) -> Option<&'static str> {
        self.phases[node].and_then(Phase::hold)
    }

    /// Waits for the next aggregator at its phase.
    pub(crate) fn next(&mut self, run: &Run<'_>) -> Target {
        run.journal.next("an aggregator at its phase", &mut self.cursor, |seen| {
            // The entry point has a journal, too, and no phases.
            let phase = self.phases.get(seen.node).copied().flatten().filter(|_| seen.life == run.lives[seen.node])?;
            Some(Target { node: seen.node, phase, round: phase.reached(seen)? })
        })
    }

    /// Starts a killed node again, with another phase.
    pub(crate) fn restart(&mut self, run: &mut Run<'_>, node: usize, phase: Option<Phase>) {
        self.phases[node] = phase;
        run.restart(node, self.hold(node));
    }
}
