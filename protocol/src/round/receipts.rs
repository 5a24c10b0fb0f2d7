//! Phase 3: receipts force the inputs.

use std::collections::BTreeMap;

use super::{Event, Fault, Out, Payload, STATEMENTS_PER_SLOT, State, Timer};
use crate::envelope::Verified;
use crate::message::{Message, UpdateRef};

impl State {
    /// Keeps a receipt, learns from it who holds what, and starts view 0's timer at a quorum.
    pub(super) fn on_receipt(&mut self, message: Verified, out: &mut Out) {
        let author = message.author();
        let key = (author, message.statement());
        if self.round.receipts.contains_key(&key) {
            return;
        }
        match self.round.receipts.keys().filter(|k| k.0 == author).count() {
            0 => {}
            n if n < STATEMENTS_PER_SLOT => out.penalise(author, Fault::Equivocation),
            // One more statement of an equivocator: only if a proposal rests on it.
            _ if self.wanted().contains(&key) => {}
            _ => return,
        }
        if self.rules.me == Some(author) {
            self.round.receipt_sent = true;
        }
        let Message::Receipt(receipt) = message.message() else { return };
        let items = receipt.items.clone();
        self.round.receipts.insert(key, message);
        for item in items {
            if self.round.updates.get(&item).is_some_and(|u| u.payload == Payload::Wanted) {
                self.fetch(item, out);
            }
        }
        if !self.round.quorum_seen && self.receipt_signers() >= self.rules.quorum.quorum {
            self.round.quorum_seen = true;
            let round = self.round.number;
            out.emit(Event::ReceiptQuorum { round });
            if self.round.view == 0 {
                out.timer(Timer::View { round, view: 0 }, self.rules.view_ms(0));
            }
        }
        self.try_propose(out);
        self.try_judge(out);
    }

    fn receipt_signers(&self) -> usize {
        let mut signers: Vec<u16> = self.round.receipts.keys().map(|key| key.0).collect();
        signers.dedup();
        signers.len()
    }

    /// The quorum of receipts that an aggregator proposes with: those that list the most, so that late receipts of slow
    /// members exclude nobody. One per signer, in ascending order.
    pub(super) fn chosen_receipts(&self) -> Option<Vec<UpdateRef>> {
        let mut by_signer: BTreeMap<u16, (usize, UpdateRef)> = BTreeMap::new();
        for (key, receipt) in &self.round.receipts {
            let Message::Receipt(body) = receipt.message() else { continue };
            by_signer.entry(key.0).or_insert((body.items.len(), *key));
        }
        let mut all: Vec<(usize, UpdateRef)> = by_signer.into_values().collect();
        all.sort_by_key(|(items, key)| (std::cmp::Reverse(*items), key.0));
        all.truncate(self.rules.quorum.quorum);
        if all.len() < self.rules.quorum.quorum {
            return None;
        }
        let mut chosen: Vec<UpdateRef> = all.into_iter().map(|(_, key)| key).collect();
        chosen.sort_unstable();
        Some(chosen)
    }

    /// The inputs that a quorum of receipts forces: updates that at least `f + 1` of them list, so that at least one honest
    /// member holds each. An author with two such updates is left out. Nothing if a receipt is not known here.
    pub(super) fn forced_inputs(&self, receipts: &[UpdateRef]) -> Option<Vec<UpdateRef>> {
        let mut counts: BTreeMap<UpdateRef, usize> = BTreeMap::new();
        for key in receipts {
            let Message::Receipt(receipt) = self.round.receipts.get(key)?.message() else { return None };
            for item in &receipt.items {
                *counts.entry(*item).or_default() += 1;
            }
        }
        let forced: Vec<UpdateRef> =
            counts.into_iter().filter(|(_, n)| *n > self.rules.quorum.faulty).map(|(key, _)| key).collect();
        let alone = |key: &UpdateRef| forced.iter().filter(|other| other.0 == key.0).count() == 1;
        Some(forced.iter().filter(|key| alone(key)).copied().collect())
    }
}
