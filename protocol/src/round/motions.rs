//! Operations that take a quorum of votes: kept with the votes that have come, until a record takes them in.
//!
//! A vote travels as the operation with that one vote in it, so whoever hears it needs to know nothing else. Every member
//! gathers votes; the first aggregator that holds a quorum of them proposes.

use super::{Effect, Event, Out, Recipient, State};
use crate::keys::PublicKey;
use crate::manifest::MAX_VOTERS;
use crate::membership::{Admission, Ballot, Operation};
use crate::message::Message;

/// Votes to send members away that one voter may have open at a time. Too low and a voter that wants to send more away must
/// wait until some are decided or lapse; it bounds what a lying voter can make others store.
pub(super) const MAX_OPEN_VOTES: usize = 16;

/// Joins that wait for their approvals, shared equally among the voters as sponsors, at least one each. Too low and the
/// invited of one sponsor wait for each other; it bounds what lying sponsors can make others store.
pub(super) const MAX_WAITING_JOINS: usize = MAX_VOTERS;

impl State {
    /// Operations that wait for votes, with the votes that they have here.
    pub fn motions(&self) -> impl Iterator<Item = &Operation> {
        self.motions.values()
    }

    /// Keeps what is to be voted on and the votes that count, one for each voter, and passes on what is new. For one subject
    /// the first question holds.
    pub(super) fn on_motion(&mut self, operation: &Operation, out: &mut Out) {
        let subject = operation.subject();
        let known = self.motions.get(&subject);
        let unvoted = operation.with_ballots(Vec::new());
        let another = known.is_some_and(|known| known.with_ballots(Vec::new()) != unvoted);
        if another || !self.fits(operation) {
            return;
        }
        let mut votes = known.map_or_else(Vec::new, |known| known.ballots().to_vec());
        let new: Vec<Ballot> =
            operation.ballots().iter().filter(|vote| self.is_new(operation, vote)).copied().collect();
        let adds = match (known, operation) {
            (None, Operation::Join(join)) => self.waiting(&join.invite.sponsor) < self.most_waiting(),
            _ => !new.is_empty(),
        };
        if !adds {
            return;
        }
        votes.extend(&new);
        out.emit(Event::Motion { round: self.round.number, subject, votes: votes.len(), needed: self.quorum.quorum });
        out.push(Effect::Say {
            to: Recipient::All,
            slot: super::operations::SLOT,
            message: Message::Operation(unvoted.with_ballots(new)),
        });
        self.motions.insert(subject, unvoted.with_ballots(votes));
    }

    /// Whether a vote counts now and adds something to what is here.
    fn is_new(&self, operation: &Operation, vote: &Ballot) -> bool {
        let voted = |op: &Operation| op.ballots().iter().any(|other| other.voter == vote.voter);
        if !self.committee.counts(vote, self.round.number) || self.motions.get(&operation.subject()).is_some_and(voted)
        {
            return false;
        }
        let evicts = |op: &&Operation| matches!(op, Operation::EvictVote(_));
        let open = || self.motions.values().filter(evicts).filter(|op| voted(op)).count();
        !evicts(&operation) || open() < MAX_OPEN_VOTES
    }

    /// Joins by invitation of this sponsor that wait.
    fn waiting(&self, sponsor: &PublicKey) -> usize {
        let sponsored = |op: &&Operation| matches!(op, Operation::Join(join) if join.invite.sponsor == *sponsor);
        self.motions.values().filter(sponsored).count()
    }

    /// Joins of one sponsor that may wait.
    fn most_waiting(&self) -> usize {
        let share = (MAX_WAITING_JOINS / self.quorum.voters.max(1)).max(1);
        share.min(self.rules.constants.sponsor_cap.into())
    }

    /// Whether votes decide on this.
    pub(super) fn is_motion(&self, operation: &Operation) -> bool {
        operation.needs_votes(self.admission())
    }

    pub(super) fn admission(&self) -> Admission {
        self.rules.constants.admission
    }

    /// What a quorum has voted for, each with the votes that it takes and no more.
    pub(super) fn carried_motions(&self) -> impl Iterator<Item = Operation> {
        let quorum = self.quorum.quorum;
        let carried = self.motions.values().filter(move |motion| motion.ballots().len() >= quorum);
        carried.map(move |motion| motion.with_ballots(motion.ballots()[..quorum].to_vec()))
    }

    /// After a record: what was decided or no longer fits goes, and so do votes that have lapsed and those of keys that are
    /// no voters any more.
    pub(super) fn sweep_motions(&mut self) {
        for (subject, motion) in std::mem::take(&mut self.motions) {
            let counts = |vote: &&Ballot| self.committee.counts(vote, self.round.number);
            let votes: Vec<Ballot> = motion.ballots().iter().filter(counts).copied().collect();
            let waits = match &motion {
                // With more voters each has a smaller share.
                Operation::Join(join) => self.waiting(&join.invite.sponsor) < self.most_waiting(),
                _ => !votes.is_empty(),
            };
            if waits && self.fits(&motion) {
                self.motions.insert(subject, motion.with_ballots(votes));
            }
        }
    }
}
