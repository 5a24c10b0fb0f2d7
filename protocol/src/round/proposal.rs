//! Phases 3 and 4: the aggregator proposes, and every voter recomputes before it votes.

use super::{Effect, Event, Fault, Merge, MergeInput, Out, Payload, State};
use crate::election::fold_seed;
use crate::envelope::{Kind, Verified};
use crate::hash::Digest;
use crate::manifest::PROTOCOL_VERSION;
use crate::message::{Message, Proposal, RecordBody, UpdateRef};
use crate::record::{Record, RecordKind, Rule, list_root};

/// Whether the result of a merge is known.
enum Outcome {
    /// Not yet; effects that will bring it have been asked for.
    Wait,
    /// Nothing to merge, or a result that leaves its range.
    Carry,
    /// The root of the merged model.
    Model(Digest),
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
        let mine = self.rules.me == Some(self.leader(view));
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
    }

    fn fresh_proposal(&mut self, view: u32, out: &mut Out) -> Option<Proposal> {
        let receipts = self.chosen_receipts()?;
        let inputs = self.forced_inputs(&receipts)?;
        let body = RecordBody { receipts, inputs };
        let me = self.rules.me?;
        match self.merged(&body.inputs, out) {
            Outcome::Wait | Outcome::Impossible => None,
            Outcome::Carry => Some(Proposal { record: self.derive(&body, None, me, view), body, notarized_in: None }),
            Outcome::Model(root) => {
                Some(Proposal { record: self.derive(&body, Some(root), me, view), body, notarized_in: None })
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
            out.penalise(author, Fault::Invalid);
            return;
        }
        if let Some(known) = self.round.proposals.get(&view) {
            if known.statement() != message.statement() {
                out.penalise(author, Fault::Equivocation);
            }
            return;
        }
        if self.rules.me == Some(author) {
            self.round.proposed.insert(view);
        }
        self.round.proposals.insert(view, message);
        self.try_judge(out);
        self.try_commit(out);
    }

    /// Phase 4. Called whenever something changes that a verdict may be waiting for.
    pub(super) fn try_judge(&mut self, out: &mut Out) {
        let view = self.round.view;
        let own = self.own_votes(view);
        if self.rules.me.is_none() || own.notarize.is_some() || own.nullify {
            return;
        }
        let Some(message) = self.round.proposals.get(&view) else { return };
        let (author, Message::Proposal(proposal)) = (message.author(), message.message().clone()) else { return };
        match self.judge(view, author, &proposal, out) {
            Verdict::Wait => {}
            Verdict::Accept(hash) => self.notarize(view, hash, out),
            Verdict::Refuse(reason) => {
                let round = self.round.number;
                out.emit(Event::ProposalRefused { round, view, leader: author, reason });
                out.penalise(author, Fault::Invalid);
                self.nullify(view, out);
            }
        }
    }

    fn judge(&mut self, view: u32, author: u16, proposal: &Proposal, out: &mut Out) -> Verdict {
        let Ok(hash) = proposal.record.hash() else { return Verdict::Refuse("the record cannot be encoded") };
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
        if body.receipts.len() != self.rules.quorum.quorum {
            return Verdict::Refuse("it does not rest on a quorum of receipts");
        }
        let Some(inputs) = self.forced_inputs(&body.receipts) else { return Verdict::Wait };
        if inputs != body.inputs {
            return Verdict::Refuse("its inputs are not those that the receipts force");
        }
        let model = match self.merged(&inputs, out) {
            Outcome::Wait => return Verdict::Wait,
            Outcome::Impossible => return Verdict::Refuse("an input is not a valid update"),
            Outcome::Carry => None,
            Outcome::Model(root) => Some(root),
        };
        if self.derive(body, model, author, view) == proposal.record {
            Verdict::Accept(hash)
        } else {
            Verdict::Refuse("the record is not what its inputs give")
        }
    }

    /// The merge of these inputs, asking for whatever is missing.
    fn merged(&mut self, inputs: &[UpdateRef], out: &mut Out) -> Outcome {
        if inputs.is_empty() || inputs.len() < self.rules.fewest_inputs {
            return Outcome::Carry;
        }
        let mut list = Vec::with_capacity(inputs.len());
        let mut missing = false;
        for key in inputs {
            match self.round.updates.get(key) {
                Some(u) if u.payload == Payload::Held => list.push(MergeInput {
                    author: key.0,
                    statement: key.1,
                    payload_root: u.header.payload_root,
                    weight: u.header.samples.min(self.rules.max_weight),
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
            Some(Merge::Done(Some(root))) => Outcome::Model(*root),
            None => {
                self.round.merges.insert(inputs_root, Merge::Running);
                let (round, base) = (self.round.number, self.head.model_root);
                out.push(Effect::Merge { round, inputs_root, base, inputs: list });
                Outcome::Wait
            }
        }
    }

    /// A merge is done.
    pub(super) fn on_merged(&mut self, inputs_root: Digest, model_root: Option<Digest>, out: &mut Out) {
        let Some(merge) = self.round.merges.get_mut(&inputs_root) else { return };
        if *merge == Merge::Running {
            *merge = Merge::Done(model_root);
            self.try_propose(out);
            self.try_judge(out);
        }
    }

    /// The record that a body gives: the same for everyone who holds the same inputs.
    fn derive(&self, body: &RecordBody, model: Option<Digest>, proposer: u16, origin_view: u32) -> Record {
        let head = &self.head;
        let inputs_root = list_root("inputs", &body.inputs);
        let (seed, seed_following, fold) = head.next_seeds(self.rules.epoch_length);
        let skipped = (0..origin_view.min(u32::from(self.rules.voters))).map(|view| 1u64 << (self.leader(view) % 64));
        Record {
            version: PROTOCOL_VERSION,
            network: self.rules.network,
            epoch: self.round.epoch,
            round: self.round.number,
            parent: self.head_hash,
            origin_view,
            proposer,
            kind: if model.is_some() { RecordKind::Normal } else { RecordKind::Empty },
            rule: Rule::Mean,
            members_root: self.rules.members_root,
            receipts_root: list_root("receipts", &body.receipts),
            inputs_root,
            // At most one input per voter, of which there are at most 64.
            inputs: body.inputs.len() as u16,
            model_root: model.unwrap_or(head.model_root),
            protos_root: head.protos_root,
            state_root: head.state_root,
            artefact_root: Digest::ZERO,
            ops_root: Digest::ZERO,
            next_members_root: self.rules.members_root,
            seed,
            seed_following,
            seed_fold: fold_seed(&fold, &inputs_root, self.round.number),
            skipped_leaders: skipped.fold(0, |bits, bit| bits | bit),
        }
    }

    /// The receipts and updates that this view's proposal rests on and that are not here.
    pub(super) fn wanted(&self) -> Vec<UpdateRef> {
        let round = &self.round;
        let Some(message) = round.proposals.get(&round.view) else { return Vec::new() };
        let Message::Proposal(proposal) = message.message() else { return Vec::new() };
        if proposal.notarized_in.is_some() {
            return Vec::new();
        }
        let receipts = proposal.body.receipts.iter().filter(|key| !round.receipts.contains_key(*key));
        let updates = proposal.body.inputs.iter().filter(|key| !round.updates.contains_key(*key));
        receipts.chain(updates).copied().collect()
    }

    /// A record that some proposal of this round carried, with its body.
    pub(super) fn known_record(&self, hash: &Digest) -> Option<(Record, RecordBody)> {
        self.round.proposals.values().find_map(|message| match message.message() {
            Message::Proposal(p) if p.record.hash().as_ref() == Ok(hash) => Some((p.record.clone(), p.body.clone())),
            _ => None,
        })
    }
}
