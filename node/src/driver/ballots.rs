//! Votes on members that this node's operator has cast, said until they are decided or lapse; and what is open, for people.

use fedswarm_network::NodeId;
use fedswarm_protocol::envelope::{Kind, NOBODY, Slot, seal};
use fedswarm_protocol::membership::{EvictVote, Operation};
use fedswarm_protocol::message::{Committed, Message};
use fedswarm_protocol::round::{Effect, Event, Input};

use super::Driver;
use crate::ballot_box::{self, MAX_BALLOTS};

const SLOT: Slot = Slot { kind: Kind::Operation, epoch: 0, round: 0, view: 0 };

impl Driver {
    /// The operator has cast a vote; a later one on the same key takes its place.
    pub(super) fn cast(&mut self, operation: Operation) {
        self.ballots.retain(|other| other.subject() != operation.subject());
        if self.ballots.len() < MAX_BALLOTS {
            self.say_ballot(&operation, None);
            self.ballots.push(operation);
        } else {
            tracing::warn!(key = %operation.subject(), "not voted: {MAX_BALLOTS} other votes are open");
        }
    }

    /// Says a vote to one peer; or to all voters, this node's own machine included, which gossips it if it is new.
    fn say_ballot(&mut self, operation: &Operation, to: Option<NodeId>) {
        let message = Message::Operation(operation.clone());
        let Ok(bytes) = seal(&self.secret, self.verifier.network(), &SLOT, NOBODY, &message) else { return };
        if let Some(peer) = to {
            return self.send_to(peer, bytes);
        }
        match self.verifier.open(&bytes) {
            Ok(message) => self.inputs.push_back(Input::Message(message)),
            Err(error) => tracing::error!(%error, "this node's own vote is not valid"),
        }
        let voters = self.state.committee().voters();
        for voter in self.members.iter().take(voters).filter(|voter| self.connected.contains(voter)) {
            self.send_to(*voter, bytes.clone());
        }
    }

    /// Says all votes again: to a member that has just been met; or to all voters with every round, since one that is a moment
    /// behind drops a vote on a member that it does not know yet. Nobody repeats the votes of others.
    pub(super) fn say_ballots(&mut self, to: Option<NodeId>) {
        for operation in self.ballots.clone() {
            self.say_ballot(&operation, to);
        }
    }

    /// After a record: a member that is to go and changes its key is the same one still, so this node votes again; what is
    /// settled is no longer said.
    pub(super) fn follow_ballots(&mut self, committed: &Committed) {
        for operation in &committed.body.operations {
            let Operation::Rotate(rotate) = operation else { continue };
            let old = self.ballots.iter().find_map(|ballot| match ballot {
                Operation::EvictVote(vote) if vote.key == rotate.old => vote.votes.first().map(|vote| vote.until),
                _ => None,
            });
            let Some(until) = old else { continue };
            let (network, since) = (*self.verifier.network(), committed.record.round + 1);
            let again = Operation::EvictVote(EvictVote::new(&network, rotate.new, since, &self.secret, until));
            tracing::info!(old = %rotate.old, new = %rotate.new, "a member that is to go has changed its key; voted again");
            if let Some(Err(error)) = self.folder.as_ref().map(|folder| ballot_box::save(folder, &again)) {
                tracing::warn!(%error, "the vote is not kept");
            }
            self.ballots.push(again);
        }
        let (committee, round) = (self.state.committee(), self.state.head().round);
        self.ballots.retain(|ballot| !ballot_box::is_settled(ballot, committee, round));
    }

    /// Tells the owner's side what is open, if that may have changed.
    pub(super) fn publish_motions(&self, effects: &[Effect]) {
        let changes =
            |e: &Effect| matches!(e, Effect::Commit { .. } | Effect::Emit { event: Event::Motion { .. }, .. });
        if effects.iter().any(changes) {
            let motions: Vec<Operation> = self.state.motions().cloned().collect();
            self.motions.send_if_modified(|known| std::mem::replace(known, motions.clone()) != motions);
        }
    }
}
