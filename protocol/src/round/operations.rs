//! Changes of the membership: kept until a record takes them in.

use super::{Effect, Out, Recipient, State};
use crate::envelope::{Kind, Slot};
use crate::membership::Operation;
use crate::message::{MAX_OPERATIONS, Message};

/// Operations that wait for a record. Too low and newcomers have to ask again; the sponsors' caps keep it small in an honest
/// network.
pub(super) const MAX_POOL: usize = 128;

/// Where operations stand: nowhere, so that the same one is the same bytes from whoever passes it on.
pub(super) const SLOT: Slot = Slot { kind: Kind::Operation, epoch: 0, round: 0, view: 0 };

impl State {
    /// Keeps an operation that fits the membership, and passes it on once. For one subject an eviction goes before anything
    /// else; otherwise the first holds.
    pub(super) fn on_operation(&mut self, operation: Operation, out: &mut Out) {
        let subject = operation.subject();
        let evicts = |op: &Operation| matches!(op, Operation::Evict(_));
        let known = self.pool.get(&subject);
        if known.is_some_and(|known| evicts(known) || !evicts(&operation)) || !self.fits(&operation) {
            return;
        }
        if known.is_none() && self.pool.len() >= MAX_POOL {
            return;
        }
        if let Operation::Join(join) = &operation {
            // A sponsor cannot fill the pool with more joins than it may sponsor.
            let sponsored =
                |op: &Operation| matches!(op, Operation::Join(j) if j.invite.sponsor == join.invite.sponsor);
            let waiting = self.pool.values().filter(|op| sponsored(op)).count();
            if waiting >= usize::from(self.rules.constants.sponsor_cap) {
                return;
            }
        }
        Self::keep_evidence(&operation, out);
        out.push(Effect::Say { to: Recipient::All, slot: SLOT, message: Message::Operation(operation.clone()) });
        self.pool.insert(subject, operation);
    }

    fn fits(&self, operation: &Operation) -> bool {
        self.committee.check(operation, self.round.number, self.rules.constants.sponsor_cap).is_ok()
    }

    /// What this member would have the next record take in: evictions first, then the others, as many as fit.
    pub(super) fn chosen_operations(&self) -> Vec<Operation> {
        let evicts = |op: &&Operation| matches!(op, Operation::Evict(_));
        let first = self.pool.values().filter(evicts).chain(self.pool.values().filter(|op| !evicts(op)));
        let mut chosen: Vec<Operation> = first.take(MAX_OPERATIONS).cloned().collect();
        chosen.sort_by_key(Operation::subject);
        self.position_in_chain().fitting(&chosen)
    }

    /// After a record: operations that were taken in, or no longer fit, go.
    pub(super) fn sweep_pool(&mut self) {
        let pool = std::mem::take(&mut self.pool);
        self.pool = pool.into_iter().filter(|(_, operation)| self.fits(operation)).collect();
    }
}
