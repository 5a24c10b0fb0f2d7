//! Members that say two things: two contradictory statements are a proof that convinces anybody.

use super::{Effect, Event, Fault, Out, State};
use crate::envelope::{Kind, Verified};
use crate::evidence::EquivocationProof;
use crate::membership::Operation;

impl State {
    /// Two different statements of one member in one slot. The proof is kept, passed on, and evicts the member with the next
    /// record.
    pub(super) fn caught(&mut self, first: &Verified, second: &Verified, out: &mut Out) {
        let author = first.author();
        self.penalise(author, Fault::Equivocation, out);
        let Some(key) = self.committee.key(author).copied() else { return };
        if matches!(self.pool.get(&key), Some(Operation::Evict(_))) {
            return;
        }
        let Some(proof) = EquivocationProof::of(&key, first, second) else { return };
        out.emit(Event::Equivocated { round: self.round.number, member: author });
        self.on_operation(Operation::Evict(Box::new(proof)), out);
    }

    /// Rule (b): whoever votes to finalize in a view never votes to nullify it.
    pub(super) fn check_rule_b(&mut self, vote: &Verified, out: &mut Out) {
        let other = match vote.slot().kind {
            Kind::Nullify => Kind::Finalize,
            Kind::Finalize => Kind::Nullify,
            _ => return,
        };
        let votes = self.round.votes.get(&(other, vote.slot().view));
        if let Some(known) = votes.and_then(|votes| votes.get(&vote.author())).cloned() {
            self.caught(&known, vote, out);
        }
    }

    /// The proof goes to people, too.
    pub(super) fn keep_evidence(operation: &Operation, out: &mut Out) {
        if let Operation::Evict(proof) = operation {
            out.push(Effect::Evidence(proof.as_ref().clone()));
        }
    }
}
