//! Phase 3: receipts force the inputs.

use std::collections::BTreeMap;

use super::{Event, Out, Payload, STATEMENTS_PER_SLOT, State, Timer};
use crate::artefact::ArtefactRef;
use crate::derive;
use crate::envelope::Verified;
use crate::hash::Digest;
use crate::message::{Message, RecordBody, UpdateRef};

impl State {
    /// Keeps a receipt, learns from it who holds what, and starts view 0's timer at a quorum.
    pub(super) fn on_receipt(&mut self, message: Verified, out: &mut Out) {
        let author = message.author();
        let key = (author, message.statement());
        if self.round.receipts.contains_key(&key) {
            return;
        }
        let mut known = self.round.receipts.range((author, Digest::ZERO)..=(author, Digest([0xff; 32])));
        let first = known.next().map(|(_, receipt)| receipt.clone());
        // One more statement of an equivocator is taken only if a proposal rests on it.
        if known.count() + 1 >= STATEMENTS_PER_SLOT && !self.wanted().contains(&key) {
            return;
        }
        if let Some(first) = first {
            self.caught(&first, &message, out);
        }
        if self.me == Some(author) {
            self.round.receipt_sent = true;
        }
        let Message::Receipt(receipt) = message.message() else { return };
        let (items, artefacts) = (receipt.items.clone(), receipt.artefacts.len());
        self.round.receipts.insert(key, message);
        for item in items {
            if self.round.updates.get(&item).is_some_and(|u| u.payload == Payload::Wanted) {
                self.fetch(item, out);
            }
        }
        if artefacts > 0 {
            self.fetch_artefacts(out);
        }
        if !self.round.quorum_seen && self.receipt_signers() >= self.quorum.quorum {
            self.round.quorum_seen = true;
            let round = self.round.number;
            out.emit(Event::ReceiptQuorum { round });
            if self.round.view == 0 {
                out.timer(Timer::View { round, view: 0 }, self.view_ms(0));
            }
            self.try_complain(out);
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
        let mut by_signer: BTreeMap<u16, ((usize, usize), UpdateRef)> = BTreeMap::new();
        for (key, receipt) in &self.round.receipts {
            let Message::Receipt(body) = receipt.message() else { continue };
            by_signer.entry(key.0).or_insert(((body.items.len(), body.artefacts.len()), *key));
        }
        let mut all: Vec<((usize, usize), UpdateRef)> = by_signer.into_values().collect();
        all.sort_by_key(|(lists, key)| (std::cmp::Reverse(*lists), key.0));
        all.truncate(self.quorum.quorum);
        if all.len() < self.quorum.quorum {
            return None;
        }
        let mut chosen: Vec<UpdateRef> = all.into_iter().map(|(_, key)| key).collect();
        chosen.sort_unstable();
        Some(chosen)
    }

    /// What a body's receipts force: [`derive::forced_inputs`] and [`derive::Position::forced_artefact`]; nothing if one of them
    /// is not known here.
    pub(super) fn forced(&self, body: &RecordBody) -> Option<(Vec<UpdateRef>, Option<ArtefactRef>)> {
        let mut receipts = Vec::with_capacity(body.receipts.len());
        for key in &body.receipts {
            let Message::Receipt(receipt) = self.round.receipts.get(key)?.message() else { return None };
            receipts.push(receipt);
        }
        let places = derive::evicted_places(body, &self.committee);
        let inputs = derive::forced_inputs(receipts.iter().copied(), &self.quorum, &places);
        let keys = derive::evicted_keys(body);
        Some((inputs, self.position_in_chain().forced_artefact(receipts.into_iter(), &keys)))
    }
}
