//! Phase 7, and members that were away: a final record convinces anyone, whatever they missed.

use std::sync::Arc;

use super::{Effect, Event, LATER_PER_AUTHOR, Out, Payload, Recipient, State};
use crate::envelope::{Kind, Slot, Verified};
use crate::keys::PublicKey;
use crate::membership::Committee;
use crate::message::{Committed, Message, RecordBody, Status, UpdateRef};

/// Views whose certificates one answer carries. Too low and a member that is many views behind asks more often.
const CERTIFICATES_PER_ANSWER: usize = 16;

/// Own votes of views without a certificate that one answer carries. Too low and a certificate that everybody has forgotten
/// takes longer to be made anew.
const VOTES_PER_ANSWER: usize = 32;

/// A voter as a bit; none for a place that no voter has.
fn bit(place: u16) -> u64 {
    1u64.checked_shl(place.into()).unwrap_or(0)
}

fn bits(places: impl Iterator<Item = u16>) -> u64 {
    places.fold(0, |set, place| set | bit(place))
}

/// Whether a set of updates has this one; true for a number that the round does not take.
fn has(set: &[u64; 4], number: Option<usize>) -> bool {
    number.and_then(|n| set.get(n / 64).map(|word| word >> (n % 64) & 1 == 1)).unwrap_or(true)
}

impl State {
    /// Phase 7: record and finalization are both here.
    pub(super) fn try_commit(&mut self, out: &mut Out) {
        let Some(certificate) = &self.round.finalized else { return };
        let Some((record, body)) = self.known_record(&certificate.record) else { return };
        let committed = Committed { record, body, certificate: certificate.clone() };
        self.commit(Arc::new(committed), out);
    }

    /// A final record from somebody else: checked by the verifier, so it holds for whoever brings it.
    pub(super) fn on_committed(&mut self, committed: &Committed, out: &mut Out) {
        let (round, hash) = (committed.record.round, committed.certificate.record);
        if round == self.head.round && hash != self.head_hash {
            // More than a third of the voters signed both: nothing that follows can be trusted, and no rule picks a side.
            self.halted = true;
            out.emit(Event::Fork { round, records: (self.head_hash, hash) });
            return;
        }
        // A record of another epoch rests on another committee; those that close the epochs between come first.
        if round <= self.head.round || committed.record.epoch != self.committee.epoch {
            return;
        }
        if round > self.round.number {
            out.emit(Event::CaughtUp { from: self.head.round, to: round });
        }
        self.commit(Arc::new(committed.clone()), out);
    }

    /// The committee that a certified record makes, if it closes its epoch.
    fn next_committee(&self, committed: &Committed) -> Result<Option<Arc<Committee>>, &'static str> {
        let record = &committed.record;
        if self
            .rules
            .checkpoint
            .is_some_and(|(round, hash)| round == record.round && hash != committed.certificate.record)
        {
            return Err("it is not the record that the invitation named");
        }
        if !record.closes_epoch {
            return Ok(None);
        }
        let work_out = || {
            let closing = self.rules.constants.closing(record.round, &record.misses);
            match self.committee.next(&closing, &committed.body.operations) {
                Ok(next) if next.root() == record.next_members_root => Ok(Arc::new(next)),
                _ => Err("its operations do not give the members that it certifies"),
            }
        };
        self.rules.shared.committee(&committed.certificate.record, work_out).map(Some)
    }

    fn commit(&mut self, committed: Arc<Committed>, out: &mut Out) {
        let record = &committed.record;
        let next = match self.next_committee(&committed) {
            Ok(next) => next,
            Err(reason) => {
                self.halted = true;
                out.emit(Event::Halted { round: record.round, reason });
                return;
            }
        };
        if !self.round.published {
            out.push(Effect::CancelTraining { round: self.round.number });
        }
        let inputs = self.evidence_of(&committed.body).unwrap_or_default();
        out.push(Effect::Commit { committed: Arc::clone(&committed), inputs, next: next.clone() });
        out.emit(Event::RoundCommitted {
            round: record.round,
            view: committed.certificate.view,
            proposer: record.proposer,
            inputs: record.inputs,
            record: committed.certificate.record,
        });
        self.announce(&committed, out);
        if let Some(new) = committed.body.artefact.filter(|new| self.artefact() != Some(new)) {
            let (round, job_round, host) = (record.round, new.job_round, new.host);
            out.emit(Event::ArtefactCertified { round, job_round, host });
        }
        let voters = committed.certificate.votes.iter();
        self.holders = voters.filter_map(|(place, _)| self.committee.key(*place).copied()).collect();
        self.head = record.clone();
        self.head_hash = committed.certificate.record;
        self.proof = Some(committed);
        let new_epoch = next.is_some();
        if let Some(next) = next {
            // Places have changed: what was kept of later rounds was signed for the old ones.
            self.later.clear();
            self.committee = next;
            self.set_up_epoch();
            out.emit(Event::EpochStarted {
                epoch: self.committee.epoch,
                voters: self.quorum.voters,
                members: self.committee.members.len(),
                me: self.me,
            });
        }
        self.later.retain(|_, messages| {
            messages.retain(|m| m.slot().round > self.head.round);
            !messages.is_empty()
        });
        self.set_up_round();
        self.sweep_pool();
        self.sweep_motions();
        self.move_artefacts(new_epoch, out);
        if self.started {
            self.begin_round(out);
        }
    }

    /// The signed inputs of a record of the round in progress, updates before receipts; nothing if one is not here or its
    /// payload is not.
    fn evidence_of(&self, body: &RecordBody) -> Option<Vec<Verified>> {
        let updates = body.inputs.iter().map(|key| {
            let update = self.round.updates.get(key).filter(|update| update.payload == Payload::Held);
            update.map(|update| update.message.clone())
        });
        let receipts = body.receipts.iter().map(|key| self.round.receipts.get(key).cloned());
        updates.chain(receipts).collect()
    }

    /// Contributors take no part in the votes: the aggregator whose record it is tells them.
    fn announce(&self, committed: &Arc<Committed>, out: &mut Out) {
        let record = &committed.record;
        let others = self.committee.members.len() > self.quorum.voters;
        if others && self.me == Some(record.proposer) && record.round == self.round.number {
            let slot = Slot { kind: Kind::Committed, epoch: record.epoch, round: record.round, view: 0 };
            let message = Message::Committed(Box::new(committed.as_ref().clone()));
            out.push(Effect::Say { to: Recipient::Contributors, slot, message });
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
        if self.me.is_none() {
            out.push(Effect::AskChain);
            return;
        }
        let round = &self.round;
        let mut updates = [0; 4];
        for number in round.updates.keys().filter_map(|key| self.bit_of(key.0)) {
            updates[number / 64] |= 1 << (number % 64);
        }
        let in_view = round.votes.iter().filter(|((_, view), _)| *view == round.view);
        let status = Status {
            finalized: self.head.round,
            record: self.head_hash,
            epoch: self.committee.epoch,
            view: round.view,
            gap: self.gap(),
            updates,
            receipts: bits(round.receipts.keys().map(|key| key.0)),
            votes: bits(in_view.flat_map(|(_, votes)| votes.keys().copied())),
            proposal: round.proposals.contains_key(&round.view),
            wanted: self.wanted(),
        };
        out.push(Effect::Say { to, slot: self.status_slot(), message: Message::Status(status) });
    }

    pub(super) fn on_connected(&mut self, key: &PublicKey, out: &mut Out) {
        self.lost.remove(key);
        let Some(member) = self.committee.place(key) else { return };
        self.round.answered.remove(&member);
        self.ask(Recipient::One(member), out);
    }

    /// Answers a member that is behind with the last final record, and one in the same round with what it lacks; at most once
    /// per member and resend interval.
    pub(super) fn on_status(&mut self, from: u16, status: &Status, out: &mut Out) {
        let to = Recipient::One(from);
        if self.me == Some(from) {
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
            out.push(Effect::Say { to, slot, message: Message::Committed(Box::new(proof.as_ref().clone())) });
        } else if !self.is_finished() && usize::from(from) < self.quorum.voters {
            // A contributor has no use for what a round decides on; its record will come.
            self.answer(to, status, out);
        }
    }

    /// What a member of the same round lacks. The others' updates and receipts too: whoever sent them may be gone.
    fn answer(&self, to: Recipient, status: &Status, out: &mut Out) {
        let round = &self.round;
        let lacks = |set: u64, place: u16| set & bit(place) == 0;
        let wants = |key: &UpdateRef| status.wanted.contains(key);
        let lacks_update = |key: &UpdateRef| !has(&status.updates, self.bit_of(key.0)) || wants(key);
        let lacks_receipt = |key: &UpdateRef| lacks(status.receipts, key.0) || wants(key);
        let updates = round.updates.iter().filter(|(key, _)| lacks_update(key)).map(|(_, update)| &update.message);
        let receipts = round.receipts.iter().filter(|(key, _)| lacks_receipt(key)).map(|(_, r)| r);
        let proposal = round.proposals.get(&status.view).filter(|_| !status.proposal).map(|known| &known.message);
        let own = self.me.filter(|me| lacks(status.votes, *me));
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
        kinds.into_iter().filter_map(move |kind| self.round.votes.get(&(kind, view))?.get(&self.me?))
    }

    /// The first view that this member cannot account for, or its own view.
    fn gap(&self) -> u32 {
        let round = &self.round;
        let first = round.notarized.last_key_value().map_or(0, |(view, _)| view + 1);
        (first..round.view).find(|view| !round.nullified.contains_key(view)).unwrap_or(round.view)
    }

    fn status_slot(&self) -> Slot {
        Slot { kind: Kind::Status, epoch: self.committee.epoch, round: self.round.number, view: 0 }
    }
}
