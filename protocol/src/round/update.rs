//! Phase 1: updates, and phase 2: this member's receipt for them.

use super::{Effect, Event, Fault, KnownUpdate, Out, Payload, STATEMENTS_PER_SLOT, State, Timer};
use crate::envelope::{Kind, Verified};
use crate::message::{Message, Receipt, UpdateHeader, UpdateRef};

impl State {
    /// Local training is done: publish, once per round.
    pub(super) fn on_trained(&mut self, round: u64, header: UpdateHeader, out: &mut Out) {
        if round != self.round.number || self.round.published || self.rules.me.is_none() {
            return;
        }
        self.round.published = true;
        out.push(Effect::Sign { slot: self.slot(Kind::Update, 0), message: Message::Update(header) });
    }

    /// The first header of an author counts; a second, different one proves equivocation, and neither is receipted.
    pub(super) fn on_update(&mut self, header: UpdateHeader, message: Verified, out: &mut Out) {
        let author = message.author();
        let key = (author, message.statement());
        if self.round.updates.contains_key(&key) {
            return;
        }
        let expected = (self.head_hash, self.rules.schema, self.rules.codec, self.rules.wire_len);
        if (header.base, header.schema, header.codec, header.wire_len) != expected {
            out.penalise(author, Fault::Invalid);
            return;
        }
        match self.updates_of(author).count() {
            0 => {}
            n if n < STATEMENTS_PER_SLOT => out.penalise(author, Fault::Equivocation),
            // One more statement of an equivocator: only if a proposal rests on it.
            _ if self.wanted().contains(&key) => {}
            _ => return,
        }
        let own = self.rules.me == Some(author);
        if own {
            self.round.published = true;
            out.emit(Event::UpdatePublished { round: self.round.number });
        }
        let payload = if own { Payload::Held } else { Payload::Wanted };
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
            out.penalise(key.0, Fault::Invalid);
        }
        self.after_update(out);
    }

    /// Signs a receipt at once when every voter's update is here; starts the wait for stragglers at a quorum.
    fn after_update(&mut self, out: &mut Out) {
        let held = self.receiptable().count();
        if held >= usize::from(self.rules.voters) {
            self.send_receipt(out);
        } else if held >= self.rules.quorum.quorum && !self.round.collecting {
            self.round.collecting = true;
            out.timer(Timer::Collect { round: self.round.number }, self.rules.timers.collect_ms);
        }
        self.try_propose(out);
        self.try_judge(out);
    }

    /// Signs for exactly the updates whose payload is stored and valid.
    pub(super) fn send_receipt(&mut self, out: &mut Out) {
        if self.round.receipt_sent || self.rules.me.is_none() {
            return;
        }
        self.round.receipt_sent = true;
        let items: Vec<UpdateRef> = self.receiptable().collect();
        out.emit(Event::ReceiptPublished { round: self.round.number, updates: items.len() });
        // The promise to serve a payload is worth nothing without the header that it belongs to.
        let others = items.iter().filter(|key| self.rules.me != Some(key.0));
        let headers = others.filter_map(|key| self.round.updates.get(key)).map(|u| u.message.bytes().to_vec());
        out.keep(self.round.number, headers.collect());
        out.push(Effect::Sign { slot: self.slot(Kind::Receipt, 0), message: Message::Receipt(Receipt { items }) });
    }

    /// Asks for a payload from its author and from every signer of a receipt that lists it.
    pub(super) fn fetch(&self, key: UpdateRef, out: &mut Out) {
        let Some(update) = self.round.updates.get(&key) else { return };
        if update.payload != Payload::Wanted {
            return;
        }
        let mut holders = vec![key.0];
        for ((signer, _), receipt) in &self.round.receipts {
            let lists = matches!(receipt.message(), Message::Receipt(r) if r.items.contains(&key));
            if lists && !holders.contains(signer) && self.rules.me != Some(*signer) {
                holders.push(*signer);
            }
        }
        out.push(Effect::Fetch { author: key.0, statement: key.1, header: update.header.clone(), holders });
    }

    fn updates_of(&self, author: u16) -> impl Iterator<Item = &UpdateRef> {
        self.round.updates.keys().filter(move |key| key.0 == author)
    }

    /// Held updates of authors that did not equivocate, by ascending author.
    fn receiptable(&self) -> impl Iterator<Item = UpdateRef> {
        self.round
            .updates
            .iter()
            .filter(|(key, update)| update.payload == Payload::Held && self.updates_of(key.0).count() == 1)
            .map(|(key, _)| *key)
    }
}
