//! One round after the other: the only protocol logic, shared by node, simulator and model checker.
//!
//! [`State::handle`] is pure: it takes an input and gives effects. No I/O, no clock, no randomness, no floats, no tensors.
//!
//! ```text
//! train -> update -> receipt -> proposal -> notarize -> finalize -> commit -> next round
//!                                  ^  |
//!          nullify (timer, lost aggregator, or a bad proposal): next view, next aggregator
//! ```
//!
//! The rules that carry safety, from section 2.4 of the design:
//! (a) at most one notarize vote per view; (b) never both nullify and finalize in one view; (c) a proposal in view `v` needs
//! a nullification for every earlier view, down to the latest notarization, whose record it must then repeat; (d) quorums
//! intersect in an honest voter; (e) votes survive a restart, because they are on disk before they are on the wire.
//!
//! The aggregator chooses almost nothing: a quorum of receipts forces the inputs, and every voter recomputes the merge
//! before it votes.

mod artefacts;
mod catch_up;
mod complaint;
mod effect;
mod equivocation;
mod held;
mod input;
mod motions;
mod operations;
mod proposal;
mod receipts;
mod rules;
mod shared;
mod timers;
mod update;
mod view;
mod votes;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use artefacts::ArtefactVerdict;
pub use effect::{Effect, Event, Fault, MergeInput, Recipient};
pub use held::Held;
pub use input::{Input, Tempo, Timer, Timestamp};
pub use rules::{GeneratorRules, Rules};
pub use shared::Shared;

use crate::certificate::{Certificate, Quorum};
use crate::derive::Position;
use crate::envelope::{Kind, Slot, Verified};
use crate::hash::Digest;
use crate::keys::PublicKey;
use crate::membership::{Committee, Operation};
use crate::merge::Merged;
use crate::message::{Committed, Complaint, Message, RecordBody, UpdateHeader, UpdateRef};
use crate::record::Record;

/// Messages of the next round that are kept per author until this member gets there. Too low and a member that is a
/// moment behind has to ask for them again.
const LATER_PER_AUTHOR: usize = 12;

/// How far ahead of this member's view votes and certificates are kept. Too low and a member that was away long asks
/// again; it bounds what a lying voter can make others store.
const VIEWS_AHEAD: u32 = 64;

/// Different statements of one author that are kept in one slot: the second proves equivocation, a third adds nothing.
const STATEMENTS_PER_SLOT: usize = 2;

/// State of the payload behind an update's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Payload {
    Wanted,
    Held,
    Bad,
}

/// An update that this member knows of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct KnownUpdate {
    header: UpdateHeader,
    payload: Payload,
    message: Verified,
}

/// Result of a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Merge {
    Running,
    Done(Option<Merged>),
}

/// What this member has voted in a view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct OwnVotes {
    notarize: Option<Digest>,
    nullify: bool,
    finalize: Option<Digest>,
}

/// A proposal with what was worked out about it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Known {
    record: Digest,
    /// Whether its inputs were found to be those that its receipts force.
    forced: bool,
    message: Verified,
}

/// Everything about the round in progress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Round {
    number: u64,
    published: bool,
    updates: BTreeMap<UpdateRef, KnownUpdate>,
    /// Authors with one update, whose payload is here: what a receipt would list.
    held: usize,
    receipts: BTreeMap<UpdateRef, Verified>,
    receipt_sent: bool,
    collecting: bool,
    quorum_seen: bool,
    view: u32,
    proposals: BTreeMap<u32, Known>,
    proposed: BTreeSet<u32>,
    /// What this member proposes, once chosen: later receipts do not make it merge again.
    chosen: Option<RecordBody>,
    repropose: bool,
    votes: BTreeMap<(Kind, u32), BTreeMap<u16, Verified>>,
    own: BTreeMap<u32, OwnVotes>,
    notarized: BTreeMap<u32, Certificate>,
    nullified: BTreeMap<u32, Certificate>,
    finalized: Option<Certificate>,
    merges: BTreeMap<Digest, Merge>,
    /// Who wants which view to end, this member among them; only of this view and later ones.
    complaints: BTreeMap<u32, BTreeMap<u16, Complaint>>,
    resends: u32,
    answered: BTreeSet<u16>,
}

/// A member's view of the network's agreement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    rules: Arc<Rules>,
    head: Record,
    head_hash: Digest,
    proof: Option<Arc<Committed>>,
    /// Who certified the head, and so holds its model; empty if that was before a restart.
    holders: Vec<PublicKey>,
    committee: Arc<Committee>,
    quorum: Quorum,
    /// This member's place in the committee.
    me: Option<u16>,
    /// Voters in the order in which they aggregate.
    order: Vec<u16>,
    /// Contributors whose turn it is.
    contributors: Vec<u16>,
    round: Round,
    later: BTreeMap<u16, Vec<Verified>>,
    /// Operations that wait for a record, by subject.
    pool: BTreeMap<PublicKey, Operation>,
    /// Voters that were connected and no longer are.
    lost: BTreeSet<PublicKey>,
    /// Operations that wait for votes, with those that are here, by subject.
    motions: BTreeMap<PublicKey, Operation>,
    artefacts: artefacts::Artefacts,
    tempo: Tempo,
    started: bool,
    halted: bool,
}

impl State {
    /// A member at the genesis, or at the last record that it has on disk, with the committee of the round after it: the
    /// founders at the genesis ([`Committee::founding`]), later what [`Effect::Commit`] said.
    #[must_use]
    pub fn new(rules: Arc<Rules>, head: Option<Arc<Committed>>, committee: Arc<Committee>) -> Self {
        let (record, proof) = match head {
            Some(committed) => (committed.record.clone(), Some(committed)),
            None => (rules.genesis.clone(), None),
        };
        let mut state = Self {
            head_hash: proof.as_ref().map_or(rules.genesis_hash, |p| p.certificate.record),
            rules,
            head: record,
            proof,
            holders: Vec::new(),
            quorum: committee.quorum(),
            me: None,
            committee,
            order: Vec::new(),
            contributors: Vec::new(),
            round: Round::default(),
            later: BTreeMap::new(),
            pool: BTreeMap::new(),
            lost: BTreeSet::new(),
            motions: BTreeMap::new(),
            artefacts: artefacts::Artefacts::default(),
            tempo: Tempo::default(),
            started: false,
            halted: false,
        };
        state.set_up_epoch();
        state.set_up_round();
        state.remember_job();
        state
    }

    /// The last final record.
    #[must_use]
    pub const fn head(&self) -> &Record {
        &self.head
    }

    /// Hash of the last final record.
    #[must_use]
    pub const fn head_hash(&self) -> Digest {
        self.head_hash
    }

    /// The last final record with its proof; nothing at the genesis.
    #[must_use]
    pub const fn proof(&self) -> Option<&Arc<Committed>> {
        self.proof.as_ref()
    }

    /// The committee of the round in progress.
    #[must_use]
    pub const fn committee(&self) -> &Arc<Committee> {
        &self.committee
    }

    /// This member's place in it; nothing for a key that is not, or not yet, or no longer a member.
    #[must_use]
    pub const fn me(&self) -> Option<u16> {
        self.me
    }

    /// The round in progress and its view.
    #[must_use]
    pub const fn position(&self) -> (u64, u32) {
        (self.round.number, self.round.view)
    }

    /// True once the manifest's last round is final.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.rules.rounds != 0 && self.head.round >= self.rules.rounds
    }

    /// Takes one step. Total: every input is legal in every state.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        let mut out = Out { now, effects: Vec::new() };
        if self.halted {
            return out.effects;
        }
        match input {
            Input::Start => self.on_start(&mut out),
            Input::Message(message) => self.on_message(message, &mut out),
            Input::Trained { round, header } => self.on_trained(round, header, &mut out),
            Input::Payload { author, statement, valid } => self.on_payload((author, statement), valid, &mut out),
            Input::Merged { inputs_root, merged } => self.on_merged(inputs_root, merged, &mut out),
            Input::Generated { job_round, artefact } => self.on_generated(job_round, artefact, &mut out),
            Input::Artefact { reference, verdict } => self.on_artefact_checked(&reference, verdict, &mut out),
            Input::Timer(timer) => self.on_timer(timer, &mut out),
            Input::Connected { key } => self.on_connected(&key, &mut out),
            Input::Disconnected { key } => self.on_disconnected(key, &mut out),
            Input::Tempo(tempo) => self.tempo = tempo,
        }
        out.effects
    }

    /// Routes a message by the round that it is about.
    fn on_message(&mut self, message: Verified, out: &mut Out) {
        let slot = *message.slot();
        match message.message() {
            // A place means something in its own epoch only; drivers answer members of others.
            Message::Status(status) if slot.epoch == self.committee.epoch => {
                return self.on_status(message.author(), &status.clone(), out);
            }
            Message::Status(_) => return,
            Message::Committed(committed) => return self.on_committed(committed, out),
            Message::Operation(operation) => return self.on_operation(operation.clone(), out),
            _ => {}
        }
        // An artefact's round is that of its job.
        if slot.kind == Kind::Artefact && slot.epoch == self.committee.epoch {
            return self.on_artefact(message, out);
        }
        // Places of another epoch's committee mean nothing here.
        if slot.round < self.round.number || slot.epoch != self.committee.epoch {
            return;
        }
        if slot.round > self.round.number {
            return self.on_later(message, out);
        }
        if self.is_finished() {
            return;
        }
        match message.message() {
            Message::Update(header) => self.on_update(header.clone(), message, out),
            Message::Receipt(_) => self.on_receipt(message, out),
            Message::Proposal(_) => self.on_proposal(message, out),
            Message::Vote(_) => self.on_vote(message, out),
            Message::Complaint(_) => self.on_complaint(&message, out),
            Message::Certificate(certificate) => self.on_certificate(certificate.clone(), out),
            Message::Artefact(_) | Message::Status(_) | Message::Committed(_) | Message::Operation(_) => {}
        }
    }

    fn on_start(&mut self, out: &mut Out) {
        if !self.started {
            self.started = true;
            self.begin_round(out);
            self.take_stock(out);
        }
    }

    /// What the log brought back may call for something already.
    fn take_stock(&mut self, out: &mut Out) {
        let notarized: Vec<(u32, Digest)> = self.round.notarized.iter().map(|(view, c)| (*view, c.record)).collect();
        for (view, record) in notarized {
            self.finalize(view, record, out);
        }
        self.after_update(out);
        self.try_complain(out);
        self.try_expire(out);
    }

    /// Works out what holds for a whole epoch.
    fn set_up_epoch(&mut self) {
        let (seed, _, _) = self.head.next_seeds();
        self.quorum = self.committee.quorum();
        self.me = self.committee.place(&self.rules.key);
        self.order = self.committee.order(&seed);
        let committee = &self.committee;
        self.lost.retain(|key| committee.place(key).is_some_and(|place| committee.voter(place).is_some()));
    }

    /// Prepares the round after the head; no effects.
    fn set_up_round(&mut self) {
        let number = self.head.round + 1;
        let (seed, _, _) = self.head.next_seeds();
        let contributors = || self.committee.contributors(&seed, number);
        self.contributors = self.rules.shared.contributors(&self.head_hash, contributors);
        self.round = Round { number, ..Round::default() };
    }

    /// Phase 0: train from the head's model.
    fn begin_round(&mut self, out: &mut Out) {
        if self.is_finished() {
            out.push(Effect::Finished);
            return;
        }
        let round = self.round.number;
        out.emit(Event::RoundStarted { round, leader: self.leader(0) });
        out.timer(Timer::Round { round }, self.round_ms());
        out.timer(Timer::Resend { round }, self.rules.timers.resend_ms);
        if !self.round.published && self.contributes() {
            let (base, model_root, holders) = (self.head_hash, self.head.model_root, self.holders.clone());
            out.push(Effect::Train { round, base, model_root, holders });
        }
        for message in std::mem::take(&mut self.later).into_values().flatten() {
            self.on_message(message, out);
        }
    }

    /// This member's place, if it votes. Nobody votes before it has heard all that it said in an earlier life: what comes later
    /// in its log may forbid what comes first.
    fn voter(&self) -> Option<u16> {
        self.me.filter(|me| self.started && usize::from(*me) < self.quorum.voters)
    }

    /// Whether this member's update is wanted in this round.
    fn contributes(&self) -> bool {
        self.me.is_some_and(|me| self.bit_of(me).is_some())
    }

    /// How many updates the round may take.
    fn expected(&self) -> usize {
        self.quorum.voters + self.contributors.len()
    }

    /// An author's number among those whose updates the round takes: voters by place, then its contributors.
    fn bit_of(&self, author: u16) -> Option<usize> {
        let voters = self.quorum.voters;
        if usize::from(author) < voters {
            return Some(usize::from(author));
        }
        self.contributors.binary_search(&author).ok().map(|i| crate::manifest::MAX_VOTERS + i)
    }

    fn position_in_chain(&self) -> Position<'_> {
        Position {
            constants: &self.rules.constants,
            head: &self.head,
            head_hash: self.head_hash,
            artefact: self.artefact(),
            committee: &self.committee,
            order: &self.order,
        }
    }

    /// Counts a fault. By key: the place may mean somebody else by the time that the effect is carried out.
    fn penalise(&self, author: u16, fault: Fault, out: &mut Out) {
        if let Some(member) = self.committee.key(author).copied() {
            out.push(Effect::Penalise { member, fault });
        }
    }

    fn leader(&self, view: u32) -> u16 {
        self.position_in_chain().leader(view)
    }

    fn slot(&self, kind: Kind, view: u32) -> Slot {
        Slot { kind, epoch: self.committee.epoch, round: self.round.number, view }
    }
}

/// Effects being collected.
struct Out {
    now: Timestamp,
    effects: Vec<Effect>,
}

impl Out {
    fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn emit(&mut self, event: Event) {
        self.effects.push(Effect::Emit { at: self.now, event });
    }

    fn keep(&mut self, round: u64, messages: Vec<Verified>) {
        if !messages.is_empty() {
            self.effects.push(Effect::Keep { round, messages });
        }
    }

    fn timer(&mut self, timer: Timer, after_ms: u64) {
        self.effects.push(Effect::SetTimer { timer, after_ms });
    }
}
