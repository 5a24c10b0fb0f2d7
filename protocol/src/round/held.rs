//! What a member keeps of the round in progress, counted.

use super::artefacts::ARTEFACTS_PER_HOST;
use super::complaint::VIEWS_WITH_COMPLAINTS;
use super::motions::{MAX_OPEN_VOTES, MAX_WAITING_JOINS};
use super::operations::MAX_POOL;
use super::{LATER_PER_AUTHOR, STATEMENTS_PER_SLOT, State, VIEWS_AHEAD};
use crate::membership::{Committee, MAX_INPUTS};

/// How much a member keeps. Everything here is made by others, so each count has a bound ([`Held::most`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Held {
    /// Headers of updates.
    pub updates: usize,
    /// Receipts.
    pub receipts: usize,
    /// Proposals.
    pub proposals: usize,
    /// Votes of all kinds, views and voters.
    pub votes: usize,
    /// Notarizations and nullifications.
    pub certificates: usize,
    /// Merges asked for.
    pub merges: usize,
    /// Members answered since the last resend.
    pub answered: usize,
    /// Messages of the next round.
    pub later: usize,
    /// Complaints of voters.
    pub complaints: usize,
    /// Operations that wait for a record.
    pub operations: usize,
    /// Operations that wait for votes.
    pub motions: usize,
    /// Votes for them.
    pub ballots: usize,
    /// Artefacts that can still be certified.
    pub artefacts: usize,
}

impl Held {
    /// The most that a member can keep in this view, whatever the members of this committee send.
    #[must_use]
    pub fn most(committee: &Committee, view: u32) -> Self {
        let (voters, members) = (committee.voters(), committee.members.len());
        let views = view.saturating_add(VIEWS_AHEAD).saturating_add(1) as usize;
        let statements = voters * STATEMENTS_PER_SLOT;
        Self {
            // Each proposal can name one more statement of a member that has said two things already.
            updates: members.min(MAX_INPUTS) * (STATEMENTS_PER_SLOT + views),
            receipts: voters * (STATEMENTS_PER_SLOT + views),
            proposals: views,
            votes: 3 * views * voters,
            certificates: 2 * views,
            // One for each proposal that is judged, and one for each set of receipts that this member could propose with.
            merges: views + statements,
            // One more place is nobody's: that of messages that prove themselves.
            answered: members + 1,
            later: (members + 1) * LATER_PER_AUTHOR,
            complaints: voters * VIEWS_WITH_COMPLAINTS as usize,
            operations: MAX_POOL,
            motions: MAX_WAITING_JOINS + voters * MAX_OPEN_VOTES,
            ballots: MAX_WAITING_JOINS * voters + voters * MAX_OPEN_VOTES,
            artefacts: members * ARTEFACTS_PER_HOST,
        }
    }

    /// True if every count is at most the other's.
    #[must_use]
    pub const fn fits(&self, most: &Self) -> bool {
        self.updates <= most.updates
            && self.receipts <= most.receipts
            && self.proposals <= most.proposals
            && self.votes <= most.votes
            && self.certificates <= most.certificates
            && self.merges <= most.merges
            && self.answered <= most.answered
            && self.later <= most.later
            && self.complaints <= most.complaints
            && self.operations <= most.operations
            && self.motions <= most.motions
            && self.ballots <= most.ballots
            && self.artefacts <= most.artefacts
    }
}

impl State {
    /// Counts what is kept.
    #[must_use]
    pub fn held(&self) -> Held {
        let round = &self.round;
        Held {
            updates: round.updates.len(),
            receipts: round.receipts.len(),
            proposals: round.proposals.len(),
            votes: round.votes.values().map(|votes| votes.len()).sum(),
            certificates: round.notarized.len() + round.nullified.len(),
            merges: round.merges.len(),
            answered: round.answered.len(),
            later: self.later.values().map(Vec::len).sum(),
            complaints: round.complaints.values().map(std::collections::BTreeMap::len).sum(),
            operations: self.pool.len(),
            motions: self.motions.len(),
            ballots: self.motions().map(|motion| motion.ballots().len()).sum(),
            artefacts: self.artefacts.len(),
        }
    }
}
