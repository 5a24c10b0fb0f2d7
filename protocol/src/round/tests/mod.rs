//! A small world over the real machine: signed messages, a queue, and timers that fire only when nothing else can happen.

#![allow(clippy::unwrap_used)]

mod artefacts;
mod complaints;
mod membership;
mod motions;
mod rounds;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::*;
use crate::artefact::ArtefactRef;
use crate::envelope::{EnvelopeError, Verifier, seal};
use crate::hash::hash;
use crate::keys::SecretKey;
use crate::manifest::{Manifest, Timers};
use crate::merge::Merged;
use crate::message::{Receipt, Status};
use crate::prototypes::ListName;
use crate::record::RecordKind;
use crate::tensor::TensorSpec;
use crate::testing;

/// A member as a driver would run it.
struct Node {
    secret: SecretKey,
    state: State,
    verifier: Verifier,
    /// What it signed, in order.
    log: Vec<Vec<u8>>,
    /// Committed records that close epochs, and committees.
    chain: Vec<Arc<Committed>>,
    committed: BTreeMap<u64, Digest>,
    records: BTreeMap<u64, Record>,
    evidence: Vec<crate::evidence::EquivocationProof>,
}

struct World {
    manifest: Manifest,
    nodes: Vec<Node>,
    /// Records that came with all their inputs.
    with_inputs: usize,
    queue: VecDeque<(usize, Input)>,
    timers: BTreeSet<(u64, usize, Timer)>,
    now: u64,
    /// Members that neither hear nor act.
    down: BTreeSet<usize>,
    /// Kinds of message that are lost, by sender.
    lost: BTreeSet<(usize, Kind)>,
    /// Members whose training never ends.
    /// Who cannot fetch from whom.
    unreachable: BTreeSet<(usize, usize)>,
    untrained: BTreeSet<usize>,
    /// Who makes an artefact of which round.
    hosting: BTreeSet<(usize, u64)>,
    /// What comes out of checking the blobs of a host, if anything; they are valid unless this says otherwise.
    blobs: BTreeMap<usize, Option<ArtefactVerdict>>,
    /// Artefacts that were asked for, each once.
    fetched: BTreeSet<(usize, ArtefactRef)>,
    events: Vec<(usize, Event)>,
    /// By who noticed, and whose fault it is.
    faults: BTreeMap<(usize, PublicKey), Vec<Fault>>,
}

impl World {
    fn new(n: u8, rounds: u64) -> Self {
        let (manifest, secrets) = testing::network(n, vec![TensorSpec::new("w", &[4], 4)]);
        Self::of(Manifest { rounds, ..manifest }, secrets)
    }

    fn of(manifest: Manifest, secrets: Vec<SecretKey>) -> Self {
        let mut world = Self {
            manifest,
            nodes: Vec::new(),
            with_inputs: 0,
            queue: VecDeque::new(),
            timers: BTreeSet::new(),
            now: 0,
            down: BTreeSet::new(),
            lost: BTreeSet::new(),
            unreachable: BTreeSet::new(),
            untrained: BTreeSet::new(),
            hosting: BTreeSet::new(),
            blobs: BTreeMap::new(),
            fetched: BTreeSet::new(),
            events: Vec::new(),
            faults: BTreeMap::new(),
        };
        for secret in secrets {
            world.add(secret);
        }
        world
    }

    /// A node that knows the manifest and nothing else.
    fn add(&mut self, secret: SecretKey) -> usize {
        let rules = Arc::new(Rules::new(&self.manifest, &secret.public()).unwrap());
        let committee = Arc::new(Committee::founding(&self.manifest));
        let verifier = Verifier::new(rules.constants.network, Arc::clone(&committee));
        let state = State::new(rules, None, committee);
        let (log, chain, committed, records, evidence) = <_>::default();
        self.nodes.push(Node { secret, state, verifier, log, chain, committed, records, evidence });
        let i = self.nodes.len() - 1;
        self.queue.push_back((i, Input::Start));
        i
    }

    fn state(&self, i: usize) -> &State {
        &self.nodes[i].state
    }

    fn network(&self) -> Digest {
        self.nodes[0].state.rules.constants.network
    }

    fn node_at(&self, committee: &Committee, place: u16) -> Option<usize> {
        let key = committee.key(place)?;
        self.nodes.iter().position(|node| node.secret.public() == *key)
    }

    /// The node that aggregates in a view of the round in progress, as node 0 sees it.
    fn aggregator(&self, view: u32) -> usize {
        let state = self.state(0);
        self.node_at(state.committee(), state.leader(view)).unwrap()
    }

    fn sealed(&self, author: usize, slot: &Slot, message: &Message) -> Vec<u8> {
        let node = &self.nodes[author];
        seal(&node.secret, &self.network(), slot, node.state.me.unwrap_or(u16::MAX), message).unwrap()
    }

    fn open(&self, i: usize, bytes: &[u8]) -> Verified {
        self.nodes[i].verifier.open(bytes).unwrap()
    }

    fn header(&self, author: usize, base: Digest) -> UpdateHeader {
        let rules = &self.state(author).rules;
        let root = hash("payload", &[author as u8]);
        UpdateHeader {
            base,
            schema: rules.schema,
            payload_root: root,
            wire_root: root,
            wire_len: rules.wire_len.least(),
            codec: rules.codec,
            samples: 10 + author as u32,
            norm2_q: 0,
        }
    }

    fn deliver(&mut self, from: usize, to: Recipient, bytes: &[u8]) {
        let kind = Verifier::peek(bytes).unwrap().0.kind;
        if self.lost.contains(&(from, kind)) {
            return;
        }
        let committee = Arc::clone(self.state(from).committee());
        for i in 0..self.nodes.len() {
            let place = committee.place(&self.nodes[i].secret.public());
            let meant = match to {
                Recipient::All => i != from,
                Recipient::Contributors => place.is_some_and(|p| usize::from(p) >= committee.voters()),
                Recipient::One(one) => place == Some(one),
            };
            if meant {
                self.hear(i, from, bytes);
            }
        }
    }

    /// What a driver does with bytes that come in.
    fn hear(&mut self, i: usize, from: usize, bytes: &[u8]) {
        if self.down.contains(&i) {
            return;
        }
        let theirs = Verifier::peek(bytes).unwrap().0.epoch;
        match self.nodes[i].verifier.open(bytes) {
            Ok(message) => self.queue.push_back((i, Input::Message(message))),
            Err(EnvelopeError::Epoch(_)) if theirs > self.state(i).committee().epoch => self.serve(from, i),
            Err(EnvelopeError::Epoch(_) | EnvelopeError::Author(_)) => {
                if Verifier::anonymous_status(bytes).is_some() {
                    self.serve(i, from);
                }
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends the records that lead from one member's epoch to the other's, and the last record.
    fn serve(&mut self, holder: usize, asker: usize) {
        let epoch = self.state(asker).committee().epoch;
        let chain = self.nodes[holder].chain.iter().filter(|c| c.record.epoch >= epoch).cloned();
        let head = self.state(holder).proof().cloned();
        for committed in chain.chain(head).collect::<Vec<_>>() {
            let record = &committed.record;
            let slot = Slot { kind: Kind::Committed, epoch: record.epoch, round: record.round, view: 0 };
            let bytes = self.sealed(holder, &slot, &Message::Committed(Box::new(committed.as_ref().clone())));
            if let Ok(message) = self.nodes[asker].verifier.open(&bytes) {
                self.step(asker, Input::Message(message));
            }
        }
    }

    fn step(&mut self, i: usize, input: Input) {
        if self.down.contains(&i) {
            return;
        }
        for effect in self.nodes[i].state.handle(input, Timestamp(self.now)) {
            match effect {
                Effect::Train { round, base, .. } => {
                    if !self.untrained.contains(&i) {
                        let header = self.header(i, base);
                        self.queue.push_back((i, Input::Trained { round, header }));
                    }
                }
                Effect::Fetch { author, statement, holders, .. } => {
                    let committee = Arc::clone(self.state(i).committee());
                    let serves = |n: usize| !self.down.contains(&n) && !self.unreachable.contains(&(i, n));
                    let up = |place: &u16| self.node_at(&committee, *place).is_some_and(serves);
                    if holders.iter().any(up) {
                        self.queue.push_back((i, Input::Payload { author, statement, valid: true }));
                    }
                }
                Effect::Merge { inputs_root, inputs, .. } => {
                    let parts: Vec<u8> = inputs.iter().flat_map(|x| [x.author as u8, x.weight as u8]).collect();
                    let mut merged = Merged::model(hash("model", &parts));
                    if self.manifest.prototypes.is_some() {
                        let root = hash("prototypes", &[parts.as_slice(), &inputs_root.0].concat());
                        merged.prototypes = ListName { root, count: inputs.len() as u32 };
                    }
                    let merged = Some(merged);
                    self.queue.push_back((i, Input::Merged { inputs_root, merged }));
                }
                Effect::FetchArtefact { reference, holders, .. } => self.on_fetch(i, reference, &holders),
                Effect::Sign { slot, message } => {
                    let bytes = self.sealed(i, &slot, &message);
                    self.nodes[i].log.push(bytes.clone());
                    self.queue.push_back((i, Input::Message(self.open(i, &bytes))));
                    self.deliver(i, Recipient::All, &bytes);
                }
                Effect::Keep { messages, .. } => {
                    self.nodes[i].log.extend(messages.iter().map(|message| message.bytes().to_vec()));
                }
                Effect::Say { to, slot, message } => {
                    let bytes = self.sealed(i, &slot, &message);
                    self.deliver(i, to, &bytes);
                }
                Effect::Forward { to, message } => self.deliver(i, to, message.bytes()),
                Effect::SetTimer { timer, after_ms } => {
                    self.timers.insert((self.now + after_ms, i, timer));
                }
                Effect::Commit { committed, inputs, next } => {
                    let named = committed.body.inputs.iter().chain(&committed.body.receipts);
                    let all = inputs.iter().map(|m| (m.author(), m.statement())).eq(named.copied());
                    assert!(inputs.is_empty() || all);
                    self.with_inputs += usize::from(!inputs.is_empty());
                    let round = committed.record.round;
                    if self.hosting.contains(&(i, round)) {
                        let artefact = artefacts::made(self, i);
                        self.queue.push_back((i, Input::Generated { job_round: round, artefact }));
                    }
                    let node = &mut self.nodes[i];
                    node.records.insert(round, committed.record.clone());
                    let known = node.committed.insert(committed.record.round, committed.certificate.record);
                    assert!(known.is_none(), "round {} committed twice by {i}", committed.record.round);
                    if let Some(next) = next {
                        node.chain.push(committed);
                        node.verifier.advance(next);
                    }
                }
                Effect::AskChain => {
                    let status = Status { epoch: self.state(i).committee().epoch, ..Status::default() };
                    let slot = Slot { kind: Kind::Status, epoch: status.epoch, round: 0, view: 0 };
                    let bytes = self.sealed(i, &slot, &Message::Status(status));
                    self.hear(usize::from(i == 0), i, &bytes);
                }
                Effect::Evidence(proof) => self.nodes[i].evidence.push(proof),
                Effect::Emit { event, .. } => self.events.push((i, event)),
                Effect::Penalise { member, fault } => {
                    self.faults.entry((i, member)).or_default().push(fault);
                }
                Effect::CancelTraining { .. } | Effect::Finished => {}
            }
        }
    }

    fn on_fetch(&mut self, i: usize, reference: ArtefactRef, holders: &[u16]) {
        assert!(!holders.is_empty());
        let host = self.nodes.iter().position(|node| node.secret.public() == reference.host).unwrap();
        let verdict = self.blobs.get(&host).copied().unwrap_or(Some(ArtefactVerdict::Valid));
        if let (true, Some(verdict)) = (self.fetched.insert((i, reference)), verdict) {
            self.queue.push_back((i, Input::Artefact { reference, verdict }));
        }
    }

    /// Takes the next input, or lets the next timer fire; false if there is nothing left to do.
    fn advance(&mut self) -> bool {
        if let Some((i, input)) = self.queue.pop_front() {
            self.step(i, input);
        } else if let Some((at, i, timer)) = self.timers.pop_first() {
            self.now = at;
            self.step(i, Input::Timer(timer));
        } else {
            return false;
        }
        true
    }

    /// Runs until every living member is at `round`; false if that takes more than a generous number of steps.
    fn run_to(&mut self, round: u64) -> bool {
        for _ in 0..200_000 {
            let there = |(i, node): (usize, &Node)| self.down.contains(&i) || node.state.head().round >= round;
            if self.nodes.iter().enumerate().all(there) {
                return true;
            }
            if !self.advance() {
                return false;
            }
        }
        false
    }

    fn agreed(&self) -> bool {
        let mut by_round: BTreeMap<u64, Digest> = BTreeMap::new();
        let all = self.nodes.iter().flat_map(|node| &node.committed);
        all.into_iter().all(|(round, hash)| by_round.entry(*round).or_insert(*hash) == hash)
    }

    fn restart(&mut self, i: usize) {
        let (rules, head) = (self.state(i).rules.clone(), self.state(i).proof().cloned());
        let committee = Arc::clone(self.state(i).committee());
        self.nodes[i].state = State::new(rules, head, committee);
        self.queue.retain(|(to, _)| *to != i);
        self.timers.retain(|(_, to, _)| *to != i);
        for bytes in self.nodes[i].log.clone() {
            // What was signed in an epoch long past cannot be checked any more, and does not matter.
            if let Ok(message) = self.nodes[i].verifier.open(&bytes) {
                self.step(i, Input::Message(message));
            }
        }
        self.step(i, Input::Start);
    }
}
