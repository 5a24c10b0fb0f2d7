//! Phase 7, and members that were away: a final record convinces anyone, whatever they missed.

use super::{Effect, Event, LATER_PER_AUTHOR, Out, Recipient, State};
use crate::envelope::{Kind, Slot, Verified};
use crate::message::{Committed, Message, Status, UpdateRef};

/// Views whose certificates one answer carries. Too low and a member that is many views behind asks more often.
const CERTIFICATES_PER_ANSWER: usize = 16;

/// Own votes of views without a certificate that one answer carries. Too low and a certificate that everybody has forgotten
/// takes longer to be made anew.
const VOTES_PER_ANSWER: usize = 32;

/// A voter as a bit; none for an index that no voter has.
fn bit(index: u16) -> u64 {
    1u64.checked_shl(index.into()).unwrap_or(0)
}

fn bits(indices: impl Iterator<Item = u16>) -> u64 {
    indices.fold(0, |set, index| set | bit(index))
}

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

    /// Tells where this member stands and what it has; whoever is ahead, or has more, answers.
    pub(super) fn ask(&self, to: Recipient, out: &mut Out) {
        if self.rules.me.is_none() {
            return;
        }
        let round = &self.round;
        let in_view = round.votes.iter().filter(|((_, view), _)| *view == round.view);
        let status = Status {
            finalized: self.head.round,
            record: self.head_hash,
            view: round.view,
            gap: self.gap(),
            updates: bits(round.updates.keys().map(|key| key.0)),
            receipts: bits(round.receipts.keys().map(|key| key.0)),
            votes: bits(in_view.flat_map(|(_, votes)| votes.keys().copied())),
            proposal: round.proposals.contains_key(&round.view),
            wanted: self.wanted(),
        };
        out.push(Effect::Say { to, slot: self.status_slot(), message: Message::Status(status) });
    }

    pub(super) fn on_connected(&mut self, member: u16, out: &mut Out) {
        self.round.answered.remove(&member);
        self.ask(Recipient::One(member), out);
    }

    /// Answers a member that is behind with the last final record, and one in the same round with what it lacks; at most once
    /// per member and resend interval.
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
            self.answer(to, status, out);
        }
    }

    /// What a member of the same round lacks. The others' updates and receipts too: whoever sent them may be gone.
    fn answer(&self, to: Recipient, status: &Status, out: &mut Out) {
        let round = &self.round;
        let lacks = |set: u64, index: u16| set & bit(index) == 0;
        let wants = |key: &UpdateRef| status.wanted.contains(key);
        let lacks_update = |key: &UpdateRef| lacks(status.updates, key.0) || wants(key);
        let lacks_receipt = |key: &UpdateRef| lacks(status.receipts, key.0) || wants(key);
        let updates = round.updates.iter().filter(|(key, _)| lacks_update(key)).map(|(_, u)| &u.message);
        let receipts = round.receipts.iter().filter(|(key, _)| lacks_receipt(key)).map(|(_, r)| r);
        let proposal = round.proposals.get(&status.view).filter(|_| !status.proposal);
        let own = self.rules.me.filter(|me| lacks(status.votes, *me));
        let in_view = round.votes.iter().filter(|((_, view), _)| *view == status.view);
        let votes = in_view.filter_map(|(_, votes)| votes.get(&own?));
        for message in updates.chain(receipts).chain(proposal).chain(votes) {
            out.push(Effect::Forward { to, message: message.clone() });
        }
        // Every certificate since the first view that it cannot account for: a proposal needs all nullifications before it.
        // Where this member has none either, its own votes: if all have forgotten a certificate, all make it anew.
        let (mut sent, mut mine) = (0, 0);
        for view in status.gap..round.view {
            let certificates = [round.nullified.get(&view), round.notarized.get(&view)];
            for certificate in certificates.into_iter().flatten() {
                if sent == CERTIFICATES_PER_ANSWER {
                    return;
                }
                sent += 1;
                let slot = self.slot(Kind::Certificate, view);
                out.push(Effect::Say { to, slot, message: Message::Certificate(certificate.clone()) });
            }
            if certificates == [None, None] && view != status.view && mine < VOTES_PER_ANSWER {
                for message in self.votes_of_mine(view) {
                    mine += 1;
                    out.push(Effect::Forward { to, message: message.clone() });
                }
            }
        }
    }

    /// Own votes of a view.
    fn votes_of_mine(&self, view: u32) -> impl Iterator<Item = &Verified> {
        let kinds = [Kind::Notarize, Kind::Nullify, Kind::Finalize];
        kinds.into_iter().filter_map(move |kind| self.round.votes.get(&(kind, view))?.get(&self.rules.me?))
    }

    /// The first view that this member cannot account for, or its own view.
    fn gap(&self) -> u32 {
        let round = &self.round;
        let first = round.notarized.last_key_value().map_or(0, |(view, _)| view + 1);
        (first..round.view).find(|view| !round.nullified.contains_key(view)).unwrap_or(round.view)
    }

    fn status_slot(&self) -> Slot {
        Slot { kind: Kind::Status, epoch: self.round.epoch, round: self.round.number, view: 0 }
    }
}
