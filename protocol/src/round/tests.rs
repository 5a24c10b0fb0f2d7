//! A small world over the real machine: signed messages, a queue, and timers that fire only when nothing else can happen.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::*;
use crate::envelope::{Verifier, seal};
use crate::hash::hash;
use crate::keys::SecretKey;
use crate::manifest::{Founder, Manifest, PROTOCOL_VERSION, TaskSpec, Timers};
use crate::message::{Proposal, RecordBody};
use crate::record::{RecordKind, list_root};
use crate::tensor::{Schema, TensorSpec};
use crate::update::UpdateCodec;

struct World {
    secrets: Vec<SecretKey>,
    verifier: Verifier,
    states: Vec<State>,
    queue: VecDeque<(usize, Input)>,
    timers: BTreeSet<(u64, usize, Timer)>,
    now: u64,
    /// Members that neither hear nor act.
    down: BTreeSet<usize>,
    /// Slots whose messages are lost, by sender.
    lost: BTreeSet<(usize, Kind)>,
    /// Does a member's training never end?
    untrained: BTreeSet<usize>,
    logs: Vec<Vec<Vec<u8>>>,
    /// What those rest on.
    kept: Vec<Vec<Vec<u8>>>,
    events: Vec<(usize, Event)>,
    faults: BTreeMap<(usize, u16), Vec<Fault>>,
    committed: Vec<BTreeMap<u64, Digest>>,
}

fn manifest(n: u8, rounds: u64) -> (Manifest, Vec<SecretKey>) {
    let schema = Schema { tensors: vec![TensorSpec::new("w", &[4], 4)] };
    let seed = hash("test", b"genesis");
    let mut secrets: Vec<_> = (0..n).map(|i| SecretKey::from_bytes(&[i + 1; 32])).collect();
    secrets.sort_by_key(SecretKey::public);
    let founders = secrets.iter().map(|s| Founder { key: s.public(), name: s.public().short() }).collect();
    let manifest = Manifest {
        version: PROTOCOL_VERSION,
        name: "test".into(),
        method: "fedmoe".into(),
        task: TaskSpec { channels: 1, height: 2, width: 2, classes: vec!["a".into(), "b".into()] },
        genesis_root: crate::blob::root(&schema.genesis(&seed).to_bytes()),
        genesis_seed: seed,
        schema,
        codec: UpdateCodec::I32,
        founders,
        epoch_length: 4,
        max_weight: 1000,
        min_inputs: 0,
        rounds,
        timers: Timers::default(),
    };
    manifest.check().unwrap();
    (manifest, secrets)
}

impl World {
    fn new(n: u8, rounds: u64) -> Self {
        let (manifest, secrets) = manifest(n, rounds);
        let rules = |s: &SecretKey| Arc::new(Rules::new(&manifest, &s.public()).unwrap());
        let states: Vec<_> = secrets.iter().map(|s| State::new(rules(s), None)).collect();
        let verifier = Verifier {
            network: manifest.network_id().unwrap(),
            voters: manifest.founders.iter().map(|f| f.key).collect(),
        };
        let count = secrets.len();
        Self {
            secrets,
            verifier,
            states,
            queue: (0..count).map(|i| (i, Input::Start)).collect(),
            timers: BTreeSet::new(),
            now: 0,
            down: BTreeSet::new(),
            lost: BTreeSet::new(),
            untrained: BTreeSet::new(),
            logs: vec![Vec::new(); count],
            kept: vec![Vec::new(); count],
            events: Vec::new(),
            faults: BTreeMap::new(),
            committed: vec![BTreeMap::new(); count],
        }
    }

    fn sealed(&self, author: usize, slot: &Slot, message: &Message) -> Vec<u8> {
        seal(&self.secrets[author], &self.verifier.network, slot, author as u16, message).unwrap()
    }

    fn header(&self, author: usize, base: Digest) -> UpdateHeader {
        let rules = &self.states[author].rules;
        let root = hash("payload", &[author as u8]);
        UpdateHeader {
            base,
            schema: rules.schema,
            payload_root: root,
            wire_root: root,
            wire_len: rules.wire_len,
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
        let message = self.verifier.open(bytes).unwrap();
        for i in 0..self.states.len() {
            let meant = match to {
                Recipient::All => i != from,
                Recipient::One(one) => usize::from(one) == i,
            };
            if meant {
                self.queue.push_back((i, Input::Message(message.clone())));
            }
        }
    }

    fn step(&mut self, i: usize, input: Input) {
        if self.down.contains(&i) {
            return;
        }
        for effect in self.states[i].handle(input, Timestamp(self.now)) {
            match effect {
                Effect::Train { round, base, .. } => {
                    if !self.untrained.contains(&i) {
                        let header = self.header(i, base);
                        self.queue.push_back((i, Input::Trained { round, header }));
                    }
                }
                Effect::Fetch { author, statement, holders, .. } => {
                    if holders.iter().any(|h| !self.down.contains(&usize::from(*h))) {
                        self.queue.push_back((i, Input::Payload { author, statement, valid: true }));
                    }
                }
                Effect::Merge { inputs_root, inputs, .. } => {
                    let parts: Vec<u8> = inputs.iter().flat_map(|x| [x.author as u8, x.weight as u8]).collect();
                    let model_root = Some(hash("model", &parts));
                    self.queue.push_back((i, Input::Merged { inputs_root, model_root }));
                }
                Effect::Keep { messages, .. } => self.kept[i].extend(messages),
                Effect::Sign { slot, message } => {
                    let bytes = self.sealed(i, &slot, &message);
                    self.logs[i].push(bytes.clone());
                    self.queue.push_back((i, Input::Message(self.verifier.open(&bytes).unwrap())));
                    self.deliver(i, Recipient::All, &bytes);
                }
                Effect::Say { to, slot, message } => {
                    let bytes = self.sealed(i, &slot, &message);
                    self.deliver(i, to, &bytes);
                }
                Effect::Forward { to, message } => self.deliver(i, to, message.bytes()),
                Effect::SetTimer { timer, after_ms } => {
                    self.timers.insert((self.now + after_ms, i, timer));
                }
                Effect::Commit(c) => {
                    let known = self.committed[i].insert(c.record.round, c.certificate.record);
                    assert!(known.is_none(), "round {} committed twice by {i}", c.record.round);
                }
                Effect::Emit { event, .. } => self.events.push((i, event)),
                Effect::Penalise { member, fault } => self.faults.entry((i, member)).or_default().push(fault),
                Effect::CancelTraining { .. } | Effect::Finished => {}
            }
        }
    }

    /// Runs until every living member is at `round`; false if that takes more than a generous number of steps.
    fn run_to(&mut self, round: u64) -> bool {
        for _ in 0..200_000 {
            let there = |(i, s): (usize, &State)| self.down.contains(&i) || s.head().round >= round;
            if self.states.iter().enumerate().all(there) {
                return true;
            }
            if let Some((i, input)) = self.queue.pop_front() {
                self.step(i, input);
            } else if let Some((at, i, timer)) = self.timers.pop_first() {
                self.now = at;
                self.step(i, Input::Timer(timer));
            } else {
                return false;
            }
        }
        false
    }

    fn agreed(&self) -> bool {
        let mut by_round: BTreeMap<u64, Digest> = BTreeMap::new();
        self.committed.iter().flatten().all(|(round, hash)| by_round.entry(*round).or_insert(*hash) == hash)
    }

    fn restart(&mut self, i: usize) {
        let rules = self.states[i].rules.clone();
        let head = self.states[i].proof.clone();
        self.states[i] = State::new(rules, head);
        self.queue.retain(|(to, _)| *to != i);
        self.timers.retain(|(_, to, _)| *to != i);
        for bytes in self.kept[i].iter().chain(&self.logs[i]).cloned().collect::<Vec<_>>() {
            let message = self.verifier.open(&bytes).unwrap();
            self.step(i, Input::Message(message));
        }
        self.step(i, Input::Start);
    }
}

#[test]
fn undisturbed_rounds_commit_in_view_zero_with_every_update() {
    for n in [1, 2, 3, 4, 7] {
        let mut world = World::new(n, 6);
        assert!(world.run_to(6), "{n} members");
        assert!(world.agreed());
        for state in &world.states {
            assert_eq!(state.head().origin_view, 0);
            assert_eq!(state.head().inputs, u16::from(n));
            assert_eq!(state.head().kind, RecordKind::Normal);
        }
        assert!(world.faults.is_empty(), "{:?}", world.faults);
        assert!(world.now < 1_000, "nothing but training may take time, took {} ms", world.now);
    }
}

#[test]
fn a_silent_aggregator_costs_one_view_and_the_next_in_line_takes_over() {
    let mut world = World::new(4, 1);
    let leader = usize::from(world.states[0].leader(0));
    let next = world.states[0].leader(1);
    world.lost.insert((leader, Kind::Proposal));
    assert!(world.run_to(1));
    assert!(world.agreed());
    assert_eq!(world.states[0].head().proposer, next);
    assert_eq!(world.states[0].head().origin_view, 1);
    assert_eq!(world.states[0].head().skipped_leaders, 1 << leader);
}

#[test]
fn rounds_go_on_with_a_member_down_and_stop_without_a_quorum() {
    let mut world = World::new(4, 3);
    world.down.insert(2);
    assert!(world.run_to(3));
    assert!(world.agreed());
    assert_eq!(world.states[0].head().inputs, 3);
    let mut world = World::new(4, 3);
    world.down.extend([1, 2]);
    assert!(!world.run_to(1));
}

#[test]
fn a_straggler_is_waited_for_and_then_left_out() {
    let mut world = World::new(4, 1);
    world.untrained.insert(1);
    assert!(world.run_to(1));
    assert_eq!(world.states[0].head().inputs, 3);
    assert!(world.now >= Timers::default().collect_ms);
}

#[test]
fn too_few_updates_make_an_empty_record_that_carries_the_model() {
    let mut world = World::new(4, 1);
    world.untrained.extend([0, 1, 2]);
    assert!(world.run_to(1));
    let head = world.states[0].head();
    assert_eq!(head.kind, RecordKind::Empty);
    assert_eq!(head.model_root, world.states[0].rules.genesis.model_root);
}

#[test]
fn a_late_member_catches_up_from_the_last_certified_record() {
    let mut world = World::new(4, 9);
    world.down.insert(3);
    assert!(world.run_to(7));
    world.down.remove(&3);
    world.step(3, Input::Start);
    world.step(0, Input::Connected { member: 3 });
    assert!(world.run_to(9));
    assert!(world.agreed());
    assert_eq!(world.committed[3].len() as u64 + 6, 9, "rounds 1 to 6 are skipped, not replayed");
}

#[test]
fn an_author_that_says_two_things_is_left_out_and_named() {
    let mut world = World::new(4, 1);
    world.untrained.insert(3);
    let base = world.states[0].head_hash();
    let slot = Slot { kind: Kind::Update, epoch: 0, round: 1, view: 0 };
    for samples in [1, 2] {
        let header = UpdateHeader { samples, ..world.header(3, base) };
        let bytes = world.sealed(3, &slot, &Message::Update(header));
        world.deliver(3, Recipient::All, &bytes);
    }
    assert!(world.run_to(1));
    assert!(world.agreed());
    assert_eq!(world.states[0].head().inputs, 3);
    assert_eq!(world.faults[&(0, 3)], [Fault::Equivocation]);
}

#[test]
fn a_lying_aggregator_is_refused_and_replaced() {
    type Lie = fn(&mut Proposal);
    let lies: [(&str, Lie); 6] = [
        ("model", |p| p.record.model_root = Digest([1; 32])),
        ("dropped input", |p| {
            p.body.inputs.pop();
            p.record.inputs_root = list_root("inputs", &p.body.inputs);
            p.record.inputs -= 1;
        }),
        ("parent", |p| p.record.parent = Digest([1; 32])),
        ("seed", |p| p.record.seed_fold = Digest([1; 32])),
        ("skipped", |p| p.record.skipped_leaders = 1),
        ("too few receipts", |p| {
            p.body.receipts.pop();
            p.record.receipts_root = list_root("receipts", &p.body.receipts);
        }),
    ];
    for (name, lie) in lies {
        let mut world = World::new(4, 1);
        let leader = usize::from(world.states[0].leader(0));
        world.lost.insert((leader, Kind::Proposal));
        // Run until the honest proposal exists, then send an altered one in its place.
        let honest = loop {
            let (i, input) = world.queue.pop_front().unwrap();
            world.step(i, input);
            if let Some(bytes) = world.logs[leader].iter().find(|b| Verifier::peek(b).unwrap().0.kind == Kind::Proposal)
            {
                break bytes.clone();
            }
        };
        let slot = *world.verifier.open(&honest).unwrap().slot();
        let Message::Proposal(mut proposal) = world.verifier.open(&honest).unwrap().message().clone() else { panic!() };
        lie(&mut proposal);
        world.lost.remove(&(leader, Kind::Proposal));
        let bytes = world.sealed(leader, &slot, &Message::Proposal(proposal));
        world.deliver(leader, Recipient::All, &bytes);
        world.lost.insert((leader, Kind::Proposal));
        assert!(world.run_to(1), "{name}");
        assert!(world.agreed(), "{name}");
        assert_eq!(world.states[0].head().origin_view, 1, "{name}");
        let refused = |(_, e): &(usize, Event)| matches!(e, Event::ProposalRefused { view: 0, .. });
        assert!(world.events.iter().any(refused), "{name}");
    }
}

#[test]
fn a_notarized_record_that_did_not_become_final_is_proposed_again_unchanged() {
    let mut world = World::new(4, 1);
    // Finalize votes of the first view are lost until the next aggregator has repeated the record.
    for i in 0..4 {
        world.lost.insert((i, Kind::Finalize));
    }
    let first = world.states[0].leader(0);
    while !world.events.iter().any(|(_, e)| matches!(e, Event::ViewEntered { view: 2, .. })) {
        match world.queue.pop_front() {
            Some((i, input)) => world.step(i, input),
            None => {
                let (at, i, timer) = world.timers.pop_first().unwrap();
                world.now = at;
                world.step(i, Input::Timer(timer));
            }
        }
    }
    world.lost.clear();
    assert!(world.run_to(1));
    assert!(world.agreed());
    assert_eq!((world.states[0].head().proposer, world.states[0].head().origin_view), (first, 0));
}

#[test]
fn a_restarted_member_never_votes_twice() {
    for steps in 0..220 {
        let mut world = World::new(4, 2);
        for _ in 0..steps {
            let Some((i, input)) = world.queue.pop_front() else { break };
            world.step(i, input);
        }
        world.restart(2);
        assert!(world.run_to(2), "restart after {steps} steps");
        assert!(world.agreed());
        let mut slots = BTreeMap::new();
        for bytes in &world.logs[2] {
            let message = world.verifier.open(bytes).unwrap();
            let said = slots.entry(*message.slot()).or_insert(message.statement());
            assert_eq!(
                *said,
                message.statement(),
                "restart after {steps} steps: two statements in {:?}",
                message.slot()
            );
        }
    }
}

#[test]
fn the_same_inputs_give_the_same_effects() {
    let run = || {
        let mut world = World::new(4, 5);
        assert!(world.run_to(5));
        (world.events, world.committed)
    };
    assert_eq!(run(), run());
}

#[test]
fn replayed_messages_of_old_rounds_change_nothing() {
    let mut world = World::new(4, 3);
    assert!(world.run_to(2));
    let old: Vec<_> = world.logs.iter().flatten().map(|b| world.verifier.open(b).unwrap()).collect();
    let round = world.states[0].position().0;
    for message in old.into_iter().filter(|m| m.slot().round < round) {
        let before = world.states[0].clone();
        let effects = world.states[0].handle(Input::Message(message), Timestamp(0));
        assert!(effects.is_empty());
        assert_eq!(world.states[0], before);
    }
}

#[test]
fn a_proposal_from_somebody_else_is_a_fault() {
    let mut world = World::new(4, 1);
    let liar = usize::from(world.states[0].leader(1));
    let target = usize::from(world.states[0].leader(0));
    let record = world.states[0].rules.genesis.clone();
    let proposal = Proposal { record, body: RecordBody::default(), notarized_in: None };
    let slot = Slot { kind: Kind::Proposal, epoch: 0, round: 1, view: 0 };
    let bytes = world.sealed(liar, &slot, &Message::Proposal(Box::new(proposal)));
    world.deliver(liar, Recipient::One(target as u16), &bytes);
    assert!(world.run_to(1));
    assert_eq!(world.faults[&(target, liar as u16)], [Fault::Invalid]);
}

#[test]
fn every_member_aggregates_in_turn() {
    let mut world = World::new(4, 12);
    assert!(world.run_to(12));
    let mut turns = BTreeMap::new();
    for (i, event) in &world.events {
        if let (0, Event::RoundCommitted { proposer, .. }) = (i, event) {
            *turns.entry(*proposer).or_insert(0) += 1;
        }
    }
    assert_eq!(turns.len(), 4, "{turns:?}");
}

#[test]
fn a_member_that_lost_messages_is_sent_what_it_lacks_and_nothing_else() {
    let mut world = World::new(4, 1);
    world.untrained.insert(3);
    // Everything that member 1 says of its update is lost to the others, until they ask.
    world.lost.insert((1, Kind::Update));
    while let Some((i, input)) = world.queue.pop_front() {
        world.step(i, input);
    }
    world.lost.clear();
    let ask = world.states[0].handle(Input::Connected { member: 1 }, Timestamp(0));
    let [Effect::Say { slot, message, .. }] = ask.as_slice() else { panic!("{ask:?}") };
    let bytes = world.sealed(0, slot, message);
    let status = world.verifier.open(&bytes).unwrap();
    let answer = world.states[1].handle(Input::Message(status), Timestamp(0));
    let kinds: Vec<_> = answer
        .iter()
        .map(|effect| match effect {
            Effect::Forward { to: Recipient::One(0), message } => (message.slot().kind, message.author()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, [(Kind::Update, 1)]);
}

/// A world in which everybody passed views 0 and 1, whose aggregators said nothing.
fn in_view_two() -> World {
    let mut world = World::new(4, 1);
    for i in 0..4 {
        world.lost.insert((i, Kind::Proposal));
    }
    while world.states.iter().any(|s| s.position().1 < 2) {
        match world.queue.pop_front() {
            Some((i, input)) => world.step(i, input),
            None => {
                let (at, i, timer) = world.timers.pop_first().unwrap();
                world.now = at;
                world.step(i, Input::Timer(timer));
            }
        }
    }
    world
}

#[test]
fn a_certificate_that_a_jump_left_out_is_asked_for_and_made_anew_if_all_forgot_it() {
    let world = in_view_two();
    let nullified = world.states[0].round.nullified[&1].clone();
    let fresh = |i: usize| State::new(world.states[i].rules.clone(), None);
    let message = |i: usize, slot: &Slot, message: &Message| {
        Input::Message(world.verifier.open(&world.sealed(i, slot, message)).unwrap())
    };
    // Two members come back with their vote logs, hear of view 1's nullification first, and jump over view 0.
    let mut back = [fresh(2), fresh(3)];
    for (state, log) in back.iter_mut().zip(&world.logs[2..]) {
        for bytes in log {
            state.handle(Input::Message(world.verifier.open(bytes).unwrap()), Timestamp(0));
        }
        state.handle(Input::Start, Timestamp(0));
        let slot = Slot { kind: Kind::Certificate, epoch: 0, round: 1, view: 1 };
        state.handle(message(0, &slot, &Message::Certificate(nullified.clone())), Timestamp(0));
        assert_eq!(state.position(), (1, 2));
    }
    assert!(world.states[0].round.nullified[&0].votes.iter().any(|(voter, _)| *voter == 2), "member 2 voted");
    let ask = back[1].handle(Input::Connected { member: 0 }, Timestamp(0));
    let [Effect::Say { slot, message: status, .. }] = ask.as_slice() else { panic!("{ask:?}") };
    assert!(matches!(status, Message::Status(s) if (s.gap, s.view) == (0, 2)), "{status:?}");
    // Who has the certificate sends it.
    let mut other = world.states[0].clone();
    other.handle(Input::Connected { member: 3 }, Timestamp(0));
    let answer = other.handle(message(3, slot, status), Timestamp(0));
    let sends = |effect: &Effect| matches!(effect, Effect::Say { message: Message::Certificate(c), .. } if c.view == 0);
    assert!(answer.iter().any(sends), "{answer:?}");
    // Who has forgotten it as well sends the vote that is needed to make it anew.
    let answer = back[0].handle(message(3, slot, status), Timestamp(0));
    let votes = |effect: &Effect| match effect {
        Effect::Forward { message, .. } => (message.slot().kind, message.slot().view) == (Kind::Nullify, 0),
        _ => false,
    };
    assert!(answer.iter().any(votes), "{answer:?}");
}

#[test]
fn an_update_that_was_receipted_is_not_forgotten_when_its_author_is_gone_and_its_holders_restart() {
    let mut world = World::new(4, 1);
    for i in 0..4 {
        world.lost.insert((i, Kind::Proposal));
    }
    while let Some((i, input)) = world.queue.pop_front() {
        world.step(i, input);
    }
    assert!(world.states.iter().all(|s| s.round.receipts.len() == 4), "everybody has every receipt");
    world.lost.clear();
    world.down.insert(3);
    for i in 0..3 {
        world.restart(i);
    }
    assert!(world.run_to(1));
    assert!(world.agreed());
    assert_eq!(world.states[0].head().inputs, 4);
}

#[test]
fn a_finalize_vote_is_kept_with_its_notarization_and_a_notarize_vote_with_its_proposal() {
    let mut world = World::new(4, 1);
    assert!(world.run_to(1));
    let proposer = usize::from(world.states[0].head().proposer);
    for (i, kept) in world.kept.iter().enumerate() {
        let kinds: Vec<Kind> = kept.iter().map(|bytes| world.verifier.open(bytes).unwrap().slot().kind).collect();
        assert!(kinds.contains(&Kind::Certificate), "{kinds:?}");
        assert_eq!(kinds.contains(&Kind::Proposal), i != proposer, "{kinds:?}");
    }
}

#[test]
fn a_third_statement_of_an_equivocator_is_taken_if_a_proposal_rests_on_it() {
    let mut world = World::new(4, 1);
    world.untrained.insert(3);
    let base = world.states[0].head_hash();
    let slot = Slot { kind: Kind::Update, epoch: 0, round: 1, view: 0 };
    let statement = |world: &World, samples: u32| {
        world.sealed(3, &slot, &Message::Update(UpdateHeader { samples, ..world.header(3, base) }))
    };
    // Member 2 is told two other things than members 0 and 1, who then force an input that it does not know.
    for samples in [1, 2] {
        let bytes = statement(&world, samples);
        world.deliver(3, Recipient::One(2), &bytes);
    }
    let third = statement(&world, 3);
    for to in [0, 1] {
        world.deliver(3, Recipient::One(to), &third);
    }
    while let Some((i, input)) = world.queue.pop_front() {
        world.step(i, input);
    }
    world.down.insert(3);
    assert!(world.run_to(1), "three honest members of four go on");
    assert!(world.agreed());
    assert_eq!(world.states[2].head().inputs, 4);
}
