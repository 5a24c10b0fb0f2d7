//! Phases 3 and 4: the aggregator proposes, and every voter recomputes before it votes.

use super::{Effect, Event, Fault, Known, Merge, MergeInput, Out, Payload, State};
use crate::envelope::{Kind, Verified};
use crate::hash::Digest;
use crate::merge::Merged;
use crate::message::{Complaint, Message, Proposal, RecordBody, UpdateRef};
use crate::record::{Record, list_root};

/// Whether the result of a merge is known.
enum Outcome {
    /// Not yet; effects that will bring it have been asked for.
    Wait,
    /// Nothing to merge, or a result that leaves its range.
    Carry,
    /// What the inputs merge to.
    Merged(Merged),
    /// An input is known to be no valid update.
    Impossible,
}

/// What a voter thinks of a proposal.
enum Verdict {
    Wait,
    Accept(Digest),
    Refuse(&'static str),
}

impl State {
    /// Phase 3. Called whenever something changes that a proposal of this member may be waiting for.
    pub(super) fn try_propose(&mut self, out: &mut Out) {
        let view = self.round.view;
        let mine = self.voter() == Some(self.leader(view));
        if !mine || self.round.proposed.contains(&view) || self.own_votes(view).nullify {
            return;
        }
        let proposal = match self.round.notarized.range(..view).next_back() {
            Some((&notarized, certificate)) => {
                // Right after a notarization its finalisation is on its way; the record is repeated only if it does not come.
                if notarized + 1 == view && !self.round.repropose {
                    return;
                }
                let hash = certificate.record;
                self.known_record(&hash).map(|(record, body)| Proposal { record, body, notarized_in: Some(notarized) })
            }
            None => self.fresh_proposal(view, out),
        };
        let Some(proposal) = proposal else { return };
        self.round.proposed.insert(view);
        out.emit(Event::Proposed { round: self.round.number, view });
        out.push(Effect::Sign {
            slot: self.slot(Kind::Proposal, view),
            message: Message::Proposal(Box::new(proposal)),
        });
        self.say_certificates(out);
    }

    fn fresh_proposal(&mut self, view: u32, out: &mut Out) -> Option<Proposal> {
        let me = self.voter()?;
        if self.round.chosen.is_none() {
            let (receipts, operations) = (self.chosen_receipts()?, self.chosen_operations());
            let mut body = RecordBody { receipts, inputs: Vec::new(), artefact: None, operations };
            (body.inputs, body.artefact) = self.forced(&body)?;
            self.round.chosen = Some(body);
        }
        let body = self.round.chosen.clone()?;
        let merged = match self.merged(&body.inputs, out) {
            Outcome::Wait => return None,
            // An input turned out not to be what its author signed for, whoever vouched for it: choose again.
            Outcome::Impossible => {
                self.round.chosen = None;
                return None;
            }
            Outcome::Carry => None,
            Outcome::Merged(merged) => Some(merged),
        };
        match self.position_in_chain().record(&body, merged.as_ref(), me, view) {
            Ok((record, _)) => Some(Proposal { record, body, notarized_in: None }),
            Err(_) => {
                self.round.chosen = None;
                None
            }
        }
    }

    /// Keeps the first proposal of a view's aggregator.
    pub(super) fn on_proposal(&mut self, message: Verified, out: &mut Out) {
        let (view, author) = (message.slot().view, message.author());
        if view > self.round.view.saturating_add(super::VIEWS_AHEAD) {
            return;
        }
        if author != self.leader(view) {
            self.penalise(author, Fault::Invalid, out);
            return;
        }
        if let Some(known) = self.round.proposals.get(&view) {
            if known.message.statement() != message.statement() {
                let known = known.message.clone();
                self.caught(&known, &message, out);
            }
            return;
        }
        let Message::Proposal(proposal) = message.message() else { return };
        let Ok(record) = proposal.record.hash() else { return };
        if self.me == Some(author) {
            self.round.proposed.insert(view);
        }
        let inputs = proposal.body.inputs.clone();
        self.round.proposals.insert(view, Known { record, forced: false, message });
        inputs.into_iter().for_each(|key| self.fetch(key, out));
        // A record that is final needs no vote any more; and one that is signed in the step that closes the epoch would be
        // sealed with the place of the next.
        self.try_commit(out);
        self.try_judge(out);
    }

    /// Phase 4. Called whenever something changes that a verdict may be waiting for.
    pub(super) fn try_judge(&mut self, out: &mut Out) {
        let view = self.round.view;
        let own = self.own_votes(view);
        if self.voter().is_none() || own.notarize.is_some() || own.nullify {
            return;
        }
        let Some(known) = self.round.proposals.get(&view).cloned() else { return };
        let (author, Message::Proposal(proposal)) = (known.message.author(), known.message.message()) else { return };
        match self.judge(view, &known, proposal, out) {
            Verdict::Wait => {}
            Verdict::Accept(hash) => self.notarize(view, hash, out),
            Verdict::Refuse(reason) => {
                let round = self.round.number;
                out.emit(Event::ProposalRefused { round, view, leader: author, reason });
                self.penalise(author, Fault::Invalid, out);
                self.complain(view, Complaint::Refused, out);
                self.nullify(view, out);
            }
        }
    }

    fn judge(&mut self, view: u32, known: &Known, proposal: &Proposal, out: &mut Out) -> Verdict {
        let hash = known.record;
        // Rule (c): nullifications for all views since the notarization that the proposal names, or since the first.
        let first = match proposal.notarized_in {
            Some(notarized) if notarized >= view => return Verdict::Refuse("it repeats a record of a later view"),
            Some(notarized) => match self.round.notarized.get(&notarized) {
                None => return Verdict::Wait,
                Some(c) if c.record != hash => return Verdict::Refuse("it does not repeat the notarized record"),
                Some(_) => notarized + 1,
            },
            None => 0,
        };
        if (first..view).any(|v| !self.round.nullified.contains_key(&v)) {
            return Verdict::Wait;
        }
        if proposal.notarized_in.is_some() {
            // A quorum has recomputed this record already; its hash is all that matters.
            return Verdict::Accept(hash);
        }
        let body = &proposal.body;
        if body.receipts.len() != self.quorum.quorum {
            return Verdict::Refuse("it does not rest on a quorum of receipts");
        }
        if !known.forced {
            let Some((inputs, artefact)) = self.forced(body) else { return Verdict::Wait };
            if inputs != body.inputs {
                return Verdict::Refuse("its inputs are not those that the receipts force");
            }
            if artefact != body.artefact {
                return Verdict::Refuse("its artefact is not the one that the receipts force");
            }
            if let Some(known) = self.round.proposals.get_mut(&view) {
                known.forced = true;
            }
        }
        let merged = match self.merged(&body.inputs, out) {
            Outcome::Wait => return Verdict::Wait,
            Outcome::Impossible => return Verdict::Refuse("an input is not a valid update"),
            Outcome::Carry => None,
            Outcome::Merged(merged) => Some(merged),
        };
        match self.position_in_chain().record(body, merged.as_ref(), known.message.author(), view) {
            Ok((record, _)) if record == proposal.record => Verdict::Accept(hash),
            Ok(_) => Verdict::Refuse("the record is not what its inputs give"),
            Err(_) => Verdict::Refuse("its operations do not fit the membership"),
        }
    }

    /// The merge of these inputs, asking for whatever is missing.
    fn merged(&mut self, inputs: &[UpdateRef], out: &mut Out) -> Outcome {
        if !self.rules.constants.is_enough(inputs.len(), &self.committee) {
            return Outcome::Carry;
        }
        let mut list = Vec::with_capacity(inputs.len());
        let mut missing = false;
        for key in inputs {
            match self.round.updates.get(key) {
                Some(u) if u.payload == Payload::Held => list.push(MergeInput {
                    author: key.0,
                    wire_root: u.header.wire_root,
                    payload_root: u.header.payload_root,
                    weight: self.rules.constants.weight(u.header.samples),
                }),
                Some(u) if u.payload == Payload::Bad => return Outcome::Impossible,
                // The fetch is under way, or the header comes with a resend.
                _ => missing = true,
            }
        }
        if missing {
            return Outcome::Wait;
        }
        let inputs_root = list_root("inputs", inputs);
        match self.round.merges.get(&inputs_root) {
            Some(Merge::Running) => Outcome::Wait,
            Some(Merge::Done(None)) => Outcome::Carry,
            Some(Merge::Done(Some(merged))) => Outcome::Merged(*merged),
            None => {
                self.round.merges.insert(inputs_root, Merge::Running);
                let (round, base) = (self.round.number, self.head.model_root);
                out.push(Effect::Merge { round, inputs_root, base, inputs: list });
                Outcome::Wait
            }
        }
    }

    /// A merge is done.
    pub(super) fn on_merged(&mut self, inputs_root: Digest, merged: Option<Merged>, out: &mut Out) {
        let Some(merge) = self.round.merges.get_mut(&inputs_root) else { return };
        if *merge == Merge::Running {
            *merge = Merge::Done(merged);
            self.try_propose(out);
            self.try_judge(out);
        }
    }

    /// The receipts and updates that this view's proposal rests on and that are not here.
    pub(super) fn wanted(&self) -> Vec<UpdateRef> {
        let round = &self.round;
        let Some(known) = round.proposals.get(&round.view) else { return Vec::new() };
        let Message::Proposal(proposal) = known.message.message() else { return Vec::new() };
        if proposal.notarized_in.is_some() {
            return Vec::new();
        }
        let receipts = proposal.body.receipts.iter().filter(|key| !round.receipts.contains_key(*key));
        let updates = proposal.body.inputs.iter().filter(|key| !round.updates.contains_key(*key));
        receipts.chain(updates).copied().collect()
    }

    /// A record that some proposal of this round carried, with its body.
    pub(super) fn known_record(&self, hash: &Digest) -> Option<(Record, RecordBody)> {
        let known = self.round.proposals.values().find(|known| known.record == *hash)?;
        let Message::Proposal(proposal) = known.message.message() else { return None };
        Some((proposal.record.clone(), proposal.body.clone()))
    }
}
