//! Phase 1: updates, and phase 2: this member's receipt for them.

use super::{Effect, Event, Fault, KnownUpdate, Out, Payload, STATEMENTS_PER_SLOT, State, Timer};
use crate::certificate::Quorum;
use crate::envelope::{Kind, Verified};
use crate::hash::Digest;
use crate::message::{Message, Receipt, UpdateHeader, UpdateRef};

impl State {
    /// Local training is done: publish, once per round.
    pub(super) fn on_trained(&mut self, round: u64, header: UpdateHeader, out: &mut Out) {
        if round != self.round.number || self.round.published || !self.contributes() {
            return;
        }
        self.round.published = true;
        out.push(Effect::Sign { slot: self.slot(Kind::Update, 0), message: Message::Update(header) });
    }

    /// The first header of an author counts; a second, different one proves equivocation, and neither is receipted.
    pub(super) fn on_update(&mut self, header: UpdateHeader, message: Verified, out: &mut Out) {
        let author = message.author();
        let key = (author, message.statement());
        if self.round.updates.contains_key(&key) || self.bit_of(author).is_none() {
            return;
        }
        let expected = (self.head_hash, self.rules.schema, self.rules.codec);
        if (header.base, header.schema, header.codec) != expected || !self.rules.wire_len.allows(header.wire_len) {
            self.penalise(author, Fault::Invalid, out);
            return;
        }
        let mut known = self.updates_of(author);
        let first = known.next().map(|(_, update)| (update.payload == Payload::Held, update.message.clone()));
        // One more statement of an equivocator is taken only if a proposal rests on it.
        if known.count() + 1 >= STATEMENTS_PER_SLOT && !self.wanted().contains(&key) {
            return;
        }
        let second = first.is_some();
        if let Some((held, first)) = first {
            self.caught(&first, &message, out);
            self.round.held -= usize::from(held);
        }
        let own = self.me == Some(author);
        if own {
            self.round.published = true;
            out.emit(Event::UpdatePublished { round: self.round.number });
        }
        let payload = if own { Payload::Held } else { Payload::Wanted };
        self.round.held += usize::from(own && !second);
        self.round.updates.insert(key, KnownUpdate { header, payload, message });
        if !own {
            self.fetch(key, out);
        }
        self.after_update(out);
    }

    /// The payload of an update is here and checked.
    pub(super) fn on_payload(&mut self, key: UpdateRef, valid: bool, out: &mut Out) {
        let Some(update) = self.round.updates.get_mut(&key) else { return };
        if update.payload != Payload::Wanted {
            return;
        }
        update.payload = if valid { Payload::Held } else { Payload::Bad };
        if !valid {
            self.penalise(key.0, Fault::Invalid, out);
        } else if self.updates_of(key.0).count() == 1 {
            self.round.held += 1;
        }
        self.after_update(out);
    }

    /// Signs a receipt at once when every update is here that the round takes; starts the wait for stragglers when as large
    /// a part of them is here as a quorum is of the voters.
    pub(super) fn after_update(&mut self, out: &mut Out) {
        let (held, expected) = (self.round.held, self.expected());
        if held >= expected {
            self.send_receipt(out);
        } else if held >= Quorum::of(expected).quorum && !self.round.collecting {
            self.round.collecting = true;
            out.timer(Timer::Collect { round: self.round.number }, self.rules.timers.collect_ms);
        }
        self.try_propose(out);
        self.try_judge(out);
    }

    /// Signs for exactly the updates whose payload is stored and valid.
    pub(super) fn send_receipt(&mut self, out: &mut Out) {
        if self.round.receipt_sent || self.voter().is_none() {
            return;
        }
        self.round.receipt_sent = true;
        let items: Vec<UpdateRef> = self.receiptable().collect();
        // The promise to serve a payload is worth nothing without the header that it belongs to.
        let others = items.iter().filter(|key| self.me != Some(key.0));
        let headers = others.filter_map(|key| self.round.updates.get(key)).map(|update| update.message.clone());
        out.keep(self.round.number, headers.collect());
        out.emit(Event::ReceiptPublished { round: self.round.number, updates: items.len() });
        let receipt = Receipt { items, artefacts: self.listed_artefacts() };
        out.push(Effect::Sign { slot: self.slot(Kind::Receipt, 0), message: Message::Receipt(receipt) });
    }

    /// Asks for a payload from its author, from every signer of a receipt that lists it, and from every aggregator that proposes a
    /// merge with it.
    pub(super) fn fetch(&self, key: UpdateRef, out: &mut Out) {
        let Some(update) = self.round.updates.get(&key) else { return };
        if update.payload != Payload::Wanted {
            return;
        }
        let mut holders = vec![key.0];
        for ((signer, _), receipt) in &self.round.receipts {
            // Items are ascending by author, at most one each.
            let lists = matches!(receipt.message(), Message::Receipt(r) if r.items.binary_search(&key).is_ok());
            if lists && !holders.contains(signer) && self.me != Some(*signer) {
                holders.push(*signer);
            }
        }
        for known in self.round.proposals.values() {
            let proposer = known.message.author();
            let merges = matches!(known.message.message(), Message::Proposal(p) if p.body.inputs.contains(&key));
            if merges && !holders.contains(&proposer) && self.me != Some(proposer) {
                holders.push(proposer);
            }
        }
        out.push(Effect::Fetch { author: key.0, statement: key.1, header: update.header.clone(), holders });
    }

    fn updates_of(&self, author: u16) -> impl Iterator<Item = (&UpdateRef, &KnownUpdate)> {
        self.round.updates.range((author, Digest::ZERO)..=(author, Digest([0xff; 32])))
    }

    /// Held updates of authors that did not equivocate, by ascending author.
    fn receiptable(&self) -> impl Iterator<Item = UpdateRef> {
        let alone = |key: &UpdateRef| self.updates_of(key.0).count() == 1;
        let held = self.round.updates.iter().filter(|(_, update)| update.payload == Payload::Held);
        held.map(|(key, _)| *key).filter(alone)
    }
}
