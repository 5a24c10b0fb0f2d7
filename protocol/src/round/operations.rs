//! Changes of the membership: kept until a record takes them in. Those that are voted on are kept in [`super::motions`].

use std::collections::BTreeMap;

use super::{Effect, Out, Recipient, State};
use crate::codec;
use crate::envelope::{Kind, Slot};
use crate::membership::Operation;
use crate::message::{MAX_OPERATIONS, MAX_OPERATIONS_BYTES, Message};

/// Operations that wait for a record. Too low and newcomers have to ask again; the sponsors' caps keep it small in an honest
/// network.
pub(super) const MAX_POOL: usize = 128;

/// Where operations stand: nowhere, so that the same one is the same bytes from whoever passes it on.
pub(super) const SLOT: Slot = Slot { kind: Kind::Operation, epoch: 0, round: 0, view: 0 };

impl State {
    /// Keeps an operation that fits the membership, and passes it on once. For one subject an eviction goes before anything
    /// else; otherwise the first holds.
    pub(super) fn on_operation(&mut self, operation: Operation, out: &mut Out) {
        if self.is_motion(&operation) {
            return self.on_motion(&operation, out);
        }
        if !operation.ballots().is_empty() {
            return;
        }
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

    pub(super) fn fits(&self, operation: &Operation) -> bool {
        self.committee.check(operation, self.round.number, self.rules.constants.sponsor_cap).is_ok()
    }

    /// What this member would have the next record take in, as much as fits: proofs first, then what was voted for, then the
    /// others; one for each subject.
    pub(super) fn chosen_operations(&self) -> Vec<Operation> {
        let evicts = |op: &&Operation| matches!(op, Operation::Evict(_));
        let proofs = self.pool.values().filter(evicts).cloned();
        let others = self.pool.values().filter(|op| !evicts(op)).cloned();
        let mut chosen = BTreeMap::new();
        // The list's length comes before it.
        let mut bytes = size_of::<u64>();
        for operation in proofs.chain(self.carried_motions()).chain(others) {
            let size = codec::encode(&operation).map_or(MAX_OPERATIONS_BYTES, |encoded| encoded.len());
            let room = chosen.len() < MAX_OPERATIONS && bytes + size <= MAX_OPERATIONS_BYTES;
            if room && !chosen.contains_key(&operation.subject()) {
                bytes += size;
                chosen.insert(operation.subject(), operation);
            }
        }
        let chosen: Vec<Operation> = chosen.into_values().collect();
        self.position_in_chain().fitting(&chosen)
    }

    /// After a record: operations that were taken in, or no longer fit, go.
    pub(super) fn sweep_pool(&mut self) {
        let pool = std::mem::take(&mut self.pool);
        self.pool = pool.into_iter().filter(|(_, operation)| self.fits(operation)).collect();
    }
}
