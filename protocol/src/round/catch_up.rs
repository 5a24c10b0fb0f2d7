//! Phase 7, and members that were away: a final record convinces anyone, whatever they missed.

use super::{Effect, Event, LATER_PER_AUTHOR, Out, Recipient, State};
use crate::envelope::{Kind, Slot, Verified};
use crate::message::{Committed, Message, Status};

impl State {
    /// Phase 7: record and finalization are both here.
    pub(super) fn try_commit(&mut self, out: &mut Out) {
        let Some(certificate) = &self.round.finalized else { return };
        let Some((record, body)) = self.known_record(&certificate.record) else { return };
        let committed = Committed { record, body, certificate: certificate.clone() };
        self.commit(Box::new(committed), out);
    }

    /// A final record from somebody else: checked by the verifier, so it holds for whoever brings it.
    pub(super) fn on_committed(&mut self, committed: Box<Committed>, out: &mut Out) {
        let (round, hash) = (committed.record.round, committed.certificate.record);
        if round == self.head.round && hash != self.head_hash {
            // More than a third of the voters signed both: nothing that follows can be trusted, and no rule picks a side.
            self.halted = true;
            out.emit(Event::Fork { round, records: (self.head_hash, hash) });
            return;
        }
        if round <= self.head.round {
            return;
        }
        if round > self.round.number {
            out.emit(Event::CaughtUp { from: self.head.round, to: round });
        }
        self.commit(committed, out);
    }

    fn commit(&mut self, committed: Box<Committed>, out: &mut Out) {
        if !self.round.published {
            out.push(Effect::CancelTraining { round: self.round.number });
        }
        let record = &committed.record;
        out.push(Effect::Commit(committed.clone()));
        out.emit(Event::RoundCommitted {
            round: record.round,
            view: committed.certificate.view,
            proposer: record.proposer,
            inputs: record.inputs,
            record: committed.certificate.record,
        });
        self.head = record.clone();
        self.head_hash = committed.certificate.record;
        self.proof = Some(committed);
        self.later.retain(|_, messages| {
            messages.retain(|m| m.slot().round > self.head.round);
            !messages.is_empty()
        });
        self.set_up_round();
        if self.started {
            self.begin_round(out);
        }
    }

    /// A message of a round that this member has not reached: kept if it is the next one, and its sender is asked for the
    /// records between, once per resend interval.
    pub(super) fn on_later(&mut self, message: Verified, out: &mut Out) {
        let author = message.author();
        let next = message.slot().round == self.round.number + 1;
        if self.round.answered.insert(author) {
            self.ask(Recipient::One(author), out);
        }
        if next {
            let kept = self.later.entry(author).or_default();
            if kept.len() < LATER_PER_AUTHOR && kept.iter().all(|m| m.statement() != message.statement()) {
                kept.push(message);
            }
        }
    }

    /// Tells where this member stands; whoever is ahead answers with its last final record.
    pub(super) fn ask(&self, to: Recipient, out: &mut Out) {
        if self.rules.me.is_some() {
            let status = Status { finalized: self.head.round, record: self.head_hash };
            out.push(Effect::Say { to, slot: self.status_slot(), message: Message::Status(status) });
        }
    }

    pub(super) fn on_connected(&mut self, member: u16, out: &mut Out) {
        self.round.answered.remove(&member);
        self.ask(Recipient::One(member), out);
    }

    /// Answers a member that is behind with the last final record, and one in the same round with what this member knows
    /// of it; at most once per member and resend interval.
    pub(super) fn on_status(&mut self, from: u16, status: &Status, out: &mut Out) {
        let to = Recipient::One(from);
        if self.rules.me == Some(from) {
            return;
        }
        if status.finalized > self.head.round {
            if self.round.answered.insert(from) {
                self.ask(to, out);
            }
            return;
        }
        if !self.is_finished() && !self.round.answered.insert(from) {
            return;
        }
        if status.finalized < self.head.round {
            let Some(proof) = &self.proof else { return };
            let record = &proof.record;
            let slot = Slot { kind: Kind::Committed, epoch: record.epoch, round: record.round, view: 0 };
            out.push(Effect::Say { to, slot, message: Message::Committed(proof.clone()) });
        } else if !self.is_finished() {
            // The others' updates and receipts too: whoever sent them may be gone.
            let me = self.rules.me;
            let updates = self.round.updates.iter().filter(|(key, _)| Some(key.0) != me).map(|(_, u)| &u.message);
            let receipts = self.round.receipts.iter().filter(|(key, _)| Some(key.0) != me).map(|(_, r)| r);
            let proposal = self.round.proposals.get(&self.round.view).filter(|p| Some(p.author()) != me);
            for message in updates.chain(receipts).chain(proposal) {
                out.push(Effect::Forward { to, message: Box::new(message.clone()) });
            }
            self.repeat_own(to, out);
        }
    }

    fn status_slot(&self) -> Slot {
        Slot { kind: Kind::Status, epoch: self.round.epoch, round: self.round.number, view: 0 }
    }
}
