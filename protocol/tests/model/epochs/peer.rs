//! One member over several rounds: the shipped machine, its verifier, and what its driver keeps.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use fedswarm_protocol::certificate::{Certificate, Quorum};
use fedswarm_protocol::election;
use fedswarm_protocol::envelope::{Kind, NOBODY, Slot, Verified};
use fedswarm_protocol::hash::{Digest, hash};
use fedswarm_protocol::keys::{PublicKey, Signature};
use fedswarm_protocol::membership::{Committee, Operation};
use fedswarm_protocol::merge::Merged;
use fedswarm_protocol::message::{Committed, Message};
use fedswarm_protocol::round::{Effect, Event, Input, State, Timestamp};

use super::claims::Wrongs;
use super::world::{NEWCOMER, ROUNDS, World};

/// A rule that the wrapper breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// A vote of whoever was a voter in the epoch before counts, too.
    OldVotes,
    /// As many votes decide as in the epoch before.
    OldQuorum,
    /// A record with operations takes effect when it is notarized.
    EarlyBoundary,
    /// The newcomer takes its place as soon as it is invited.
    EarlyNewcomer,
    /// An evicted member keeps its place.
    EvictedStays,
}

/// A statement, as it is counted.
pub(super) type Said = (Slot, Digest);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peer {
    pub(super) who: usize,
    pub(super) machine: State,
    /// Committees by epoch, up to the present one.
    pub(super) committees: Vec<Arc<Committee>>,
    /// Keys that vote, by epoch, worked out from the operations of the records.
    pub(super) voters: Vec<BTreeSet<usize>>,
    /// Votes that it signed.
    pub(super) votes: BTreeSet<Said>,
    /// Proposals that it signed.
    pub(super) proposals: Vec<Verified>,
    /// Views of the present round whose proposal it has heard.
    pub(super) heard: BTreeSet<u32>,
    /// Final records, by round, with the slot of their finalization.
    pub(super) committed: Vec<(u64, Said)>,
    pub(super) wrongs: Wrongs,
    /// Operations that come within the present step.
    waiting: Vec<Operation>,
}

impl Peer {
    /// A member at the genesis, to which these operations come before anything else.
    pub(super) fn new(world: &World, who: usize, operations: &[&Operation]) -> Self {
        let mut founding = Arc::clone(&world.founding);
        if world.mutant == Some(Mutant::EarlyNewcomer) && who == NEWCOMER {
            let mut early = founding.as_ref().clone();
            let mut member = early.members[0].clone();
            member.key = world.key(who);
            early.members.push(member);
            founding = Arc::new(early);
        }
        let mut peer = Self {
            who,
            machine: State::new(Arc::clone(world.rules(who)), None, founding),
            committees: vec![Arc::clone(&world.founding)],
            voters: vec![(0..4).collect()],
            votes: BTreeSet::new(),
            proposals: Vec::new(),
            heard: BTreeSet::new(),
            committed: Vec::new(),
            wrongs: Wrongs::default(),
            waiting: Vec::new(),
        };
        peer.hear_operations(world, operations);
        peer.drive(world, Input::Start);
        peer
    }

    /// The same with another key, at the same point of the chain, before the round begins: what a liar can propose there.
    pub(super) fn as_another(&self, world: &World, who: usize, operations: &[&Operation]) -> Self {
        let committee = Arc::clone(self.machine.committee());
        let machine = State::new(Arc::clone(world.rules(who)), self.machine.proof().cloned(), committee);
        let (votes, proposals, heard) = <_>::default();
        let mut peer = Self { who, machine, votes, proposals, heard, ..self.clone() };
        peer.hear_operations(world, operations);
        peer.drive(world, Input::Start);
        peer
    }

    pub(super) fn committee(&self) -> &Arc<Committee> {
        self.committees.last().expect("the founding one")
    }

    pub(super) fn quorum(&self) -> Quorum {
        Quorum::of(self.voters.last().expect("the founders").len())
    }

    /// Whether somebody votes in the present epoch.
    pub(super) fn is_voter(&self, who: usize) -> bool {
        self.voters.last().expect("the founders").contains(&who)
    }

    /// Whether it has said and decided the same, and stands at the same place.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        let of = |peer: &Self| (peer.machine.position(), peer.machine.head_hash(), peer.wrongs, peer.proposals.len());
        of(self) == of(other) && self.votes == other.votes && self.committed == other.committed
    }

    /// The aggregator of a view of the present round.
    pub(super) fn leader(&self, view: u32) -> Option<PublicKey> {
        let order = self.machine.committee().order(&self.machine.head().next_seeds().0);
        let place = election::leader(&order, self.machine.position().0, view)?;
        self.machine.committee().key(place).copied()
    }

    /// Takes a step with operations that come to it before it, and again when a round has begun with it: what fits the new
    /// members may not have fitted the old ones.
    pub(super) fn with_operations(&mut self, world: &World, operations: &[&Operation], step: impl FnOnce(&mut Self)) {
        self.hear_operations(world, operations);
        self.waiting = operations.iter().map(|operation| (*operation).clone()).collect();
        step(self);
        self.waiting.clear();
    }

    fn hear_operations(&mut self, world: &World, operations: &[&Operation]) {
        for operation in operations {
            let slot = Slot { kind: Kind::Operation, epoch: 0, round: 0, view: 0 };
            self.hear(world, &world.proof(&slot, &Message::Operation((*operation).clone())));
        }
    }

    /// Hands bytes to the verifier and what it makes of them to the machine.
    pub(super) fn hear(&mut self, world: &World, bytes: &[u8]) {
        if let Some(message) = world.open(&self.committees, bytes) {
            self.hear_opened(world, message);
        }
    }

    pub(super) fn hear_opened(&mut self, world: &World, message: Verified) {
        if message.slot().kind == Kind::Proposal {
            self.heard.insert(message.slot().view);
        }
        self.drive(world, Input::Message(message));
    }

    /// Everything that the liar can say for a record in a slot: its vote under every place of this epoch and of the one
    /// before, and a certificate with the votes of these others and its own.
    pub(super) fn hear_impostor(&mut self, world: &World, slot: &Slot, record: Digest, others: &[usize]) {
        let (committee, vote) = (Arc::clone(self.committee()), Message::Vote(record));
        for place in 0..=committee.members.len() as u16 {
            for epoch in [slot.epoch.checked_sub(1), Some(slot.epoch), Some(slot.epoch + 1)].into_iter().flatten() {
                self.hear(world, &world.seal(world.liar, place, &Slot { epoch, ..*slot }, &vote));
            }
        }
        for place in 0..=committee.members.len() as u16 {
            let mut certificate = world.certificate(&committee, others, slot, record);
            if certificate.votes.iter().all(|(taken, _)| *taken != place) {
                let forged = world.seal(world.liar, place, slot, &vote);
                let signature = forged[19..83].try_into().unwrap();
                certificate.votes.push((place, Signature(signature)));
                certificate.votes.sort_by_key(|vote| vote.0);
                let slot = Slot { kind: Kind::Certificate, ..*slot };
                self.hear(world, &world.proof(&slot, &Message::Certificate(certificate)));
            }
        }
    }

    /// A final record with its proof.
    pub(super) fn hear_committed(&mut self, world: &World, committed: Committed) {
        let slot =
            Slot { kind: Kind::Committed, view: 0, epoch: committed.record.epoch, round: committed.record.round };
        self.hear(world, &world.proof(&slot, &Message::Committed(Box::new(committed))));
    }

    pub(super) fn drive(&mut self, world: &World, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.handle(world, input) {
                match effect {
                    Effect::Train { round, base, .. } if round <= ROUNDS => {
                        let waiting = std::mem::take(&mut self.waiting);
                        self.hear_operations(world, &waiting.iter().collect::<Vec<_>>());
                        let header = world.header(self.who, round, base);
                        inputs.push_back(Input::Trained { round, header });
                        let committee = Arc::clone(self.machine.committee());
                        let others = world.first_phases(&committee, round, base).into_iter();
                        inputs.extend(others.filter(|m| Some(m.author()) != self.machine.me()).map(Input::Message));
                    }
                    Effect::Sign { slot, message } if slot.round <= ROUNDS && slot.view < world.views => {
                        // The machine may be in the next epoch by the time that its last words in this one are signed.
                        let now = self.machine.committee();
                        let known = self.committees.get(slot.epoch as usize).filter(|_| now.epoch != slot.epoch);
                        let committee = [Arc::clone(known.unwrap_or(now))];
                        let place = world.place(&committee[0], self.who).unwrap_or(NOBODY);
                        let bytes = world.seal(self.who, place, &slot, &message);
                        let signed = world.open(&committee, &bytes).expect("nobody takes what it says");
                        self.note(&signed);
                        inputs.push_back(Input::Message(signed));
                    }
                    Effect::Fetch { author, statement, .. } => {
                        inputs.push_back(Input::Payload { author, statement, valid: true });
                    }
                    Effect::Merge { inputs_root, .. } => {
                        let merged = Some(Merged::model(hash("merged", inputs_root.as_bytes())));
                        inputs.push_back(Input::Merged { inputs_root, merged });
                    }
                    Effect::Keep { messages, .. } => {
                        for message in messages {
                            if let Message::Certificate(certificate) = message.message() {
                                self.check(world, certificate);
                            }
                        }
                    }
                    Effect::Commit { committed, next, .. } => self.commit(world, &committed, next),
                    Effect::Penalise { member, .. } => self.wrongs.blames_honest |= member != world.key(world.liar),
                    Effect::Emit { event: Event::Halted { .. } | Event::Fork { .. }, .. } => self.wrongs.halted = true,
                    // What is said again, or in answer to somebody, is there already; timers fire at any time.
                    _ => {}
                }
            }
        }
    }

    /// What the machine does with an input. If the input completes a proof against the liar, the machine has the one that
    /// stands for all of them: which two statements it is about makes a difference to nothing but a hash.
    fn handle(&mut self, world: &World, input: Input) -> Vec<Effect> {
        let liar = world.place(self.machine.committee(), world.liar);
        let from_liar = matches!(&input, Input::Message(m) if Some(m.author()) == liar);
        let before = from_liar.then(|| self.machine.clone());
        let effects = self.machine.handle(input.clone(), Timestamp(0));
        let proves = effects.iter().any(|effect| matches!(effect, Effect::Evidence(_)));
        let Some(before) = before.filter(|_| proves) else { return effects };
        self.machine = before;
        self.hear_operations(world, &[&world.operations[1]]);
        self.machine.handle(input, Timestamp(0))
    }

    fn note(&mut self, signed: &Verified) {
        match (signed.slot().kind, signed.message()) {
            (Kind::Proposal, _) => self.proposals.push(signed.clone()),
            (_, Message::Vote(record)) => {
                let slot = *signed.slot();
                self.wrongs.second |= self.votes.iter().any(|(said, other)| *said == slot && other != record);
                self.wrongs.early |= !self.voters[slot.epoch as usize].contains(&self.who);
                self.votes.insert((slot, *record));
            }
            _ => {}
        }
    }

    /// Whether a certificate is one: as many different voters of its epoch as decide in it, and nobody else.
    fn check(&mut self, world: &World, certificate: &Certificate) {
        let epoch = certificate.epoch as usize;
        let (Some(voters), Some(committee)) = (self.voters.get(epoch), self.committees.get(epoch)) else {
            self.wrongs.mixed = true;
            return;
        };
        let known: BTreeSet<_> = voters.iter().map(|who| world.key(*who)).collect();
        let of_voters = certificate.votes.iter().all(|(p, _)| committee.voter(*p).is_some_and(|k| known.contains(k)));
        let enough = certificate.votes.len() >= Quorum::of(voters.len()).quorum;
        let signed = certificate.is_valid_with(&world.network, &committee.voter_keys(), &crate::network::Seals);
        self.wrongs.mixed |= !(of_voters && enough && signed);
    }

    fn commit(&mut self, world: &World, committed: &Committed, next: Option<Arc<Committee>>) {
        let certificate = &committed.certificate;
        self.check(world, certificate);
        let Certificate { kind, epoch, round, view, record, .. } = *certificate;
        self.committed.push((committed.record.round, (Slot { kind, epoch, round, view }, record)));
        self.heard.clear();
        if committed.body.operations.is_empty() {
            return;
        }
        let mut voters = self.voters.last().expect("the founders").clone();
        for operation in &committed.body.operations {
            match operation {
                Operation::Join(_) => voters.insert(NEWCOMER),
                Operation::Evict(_) => voters.remove(&world.liar),
                _ => unreachable!("nobody leaves or rotates"),
            };
        }
        self.voters.push(voters);
        if world.mutant == Some(Mutant::EvictedStays) && !self.is_voter(world.liar) {
            let mut next = self.committees.last().expect("the founding one").as_ref().clone();
            next.epoch += 1;
            let head = Some(Arc::new(committed.clone()));
            self.machine = State::new(Arc::clone(world.rules(self.who)), head, Arc::new(next));
        }
        self.committees.extend(next);
    }
}
