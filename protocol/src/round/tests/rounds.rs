//! Rounds of an unchanging membership.

use super::*;
use crate::membership::{Invite, Join, Role};
use crate::message::{Proposal, RecordBody};
use crate::record::{RecordKind, list_root};

#[test]
fn undisturbed_rounds_commit_in_view_zero_with_every_update() {
    for n in [1, 2, 3, 4, 7] {
        let mut world = World::new(n, 6);
        assert!(world.run_to(6), "{n} members");
        assert!(world.agreed());
        for Node { state, .. } in &world.nodes {
            assert_eq!(state.head().origin_view, 0);
            assert_eq!(state.head().inputs, u16::from(n));
            assert_eq!(state.head().kind, RecordKind::Normal);
        }
        assert_eq!(world.with_inputs, 6 * usize::from(n), "every member held what every record rests on");
        assert!(world.faults.is_empty(), "{:?}", world.faults);
        assert!(world.now < 1_000, "nothing but training may take time, took {} ms", world.now);
    }
}

#[test]
fn a_silent_aggregator_costs_one_view_and_the_next_in_line_takes_over() {
    let mut world = World::new(4, 1);
    let leader = world.aggregator(0);
    let next = world.state(0).leader(1);
    world.lost.insert((leader, Kind::Proposal));
    assert!(world.run_to(1));
    assert!(world.agreed());
    assert_eq!(world.state(0).head().proposer, next);
    assert_eq!(world.state(0).head().origin_view, 1);
    assert_eq!(world.state(0).head().skipped_leaders, 1 << leader);
}

#[test]
fn rounds_go_on_with_a_member_down_and_stop_without_a_quorum() {
    let mut world = World::new(4, 3);
    world.down.insert(2);
    assert!(world.run_to(3));
    assert!(world.agreed());
    assert_eq!(world.state(0).head().inputs, 3);
    let mut world = World::new(4, 3);
    world.down.extend([1, 2]);
    assert!(!world.run_to(1));
}

#[test]
fn a_straggler_is_waited_for_and_then_left_out() {
    let mut world = World::new(4, 1);
    world.untrained.insert(1);
    assert!(world.run_to(1));
    assert_eq!(world.state(0).head().inputs, 3);
    assert!(world.now >= Timers::default().collect_ms);
}

#[test]
fn too_few_updates_make_an_empty_record_that_carries_the_model() {
    let mut world = World::new(4, 1);
    world.untrained.extend([0, 1, 2]);
    assert!(world.run_to(1));
    let head = world.state(0).head();
    assert_eq!(head.kind, RecordKind::Empty);
    assert_eq!(head.model_root, world.state(0).rules.genesis.model_root);
}

#[test]
fn a_late_member_catches_up_from_the_last_certified_record() {
    let mut world = World::new(4, 9);
    world.down.insert(3);
    assert!(world.run_to(7));
    world.down.remove(&3);
    world.step(3, Input::Start);
    world.step(0, Input::Connected { key: world.nodes[3].secret.public() });
    assert!(world.run_to(9));
    assert!(world.agreed());
    let followed: Vec<u64> = world.nodes[3].committed.keys().copied().collect();
    assert_eq!(followed, [3, 7, 8, 9], "of the past only the records that close an epoch");
}

#[test]
fn an_author_that_says_two_things_is_left_out_and_named() {
    let mut world = World::new(4, 1);
    world.untrained.insert(3);
    let base = world.state(0).head_hash();
    let slot = Slot { kind: Kind::Update, epoch: 0, round: 1, view: 0 };
    for samples in [1, 2] {
        let header = UpdateHeader { samples, ..world.header(3, base) };
        let bytes = world.sealed(3, &slot, &Message::Update(header));
        world.deliver(3, Recipient::All, &bytes);
    }
    assert!(world.run_to(1));
    assert!(world.agreed());
    assert_eq!(world.state(0).head().inputs, 3);
    assert_eq!(world.faults[&(0, world.nodes[3].secret.public())], [Fault::Equivocation]);
}

#[test]
fn a_lying_aggregator_is_refused_and_replaced() {
    type Lie = fn(&mut Proposal);
    let lies: [(&str, Lie); 7] = [
        ("model", |p| p.record.model_root = Digest([1; 32])),
        ("dropped input", |p| {
            p.body.inputs.pop();
            p.record.inputs_root = list_root("inputs", &p.body.inputs);
            p.record.inputs -= 1;
        }),
        ("artefact", |p| {
            let host = PublicKey([1; 32]);
            let (statement, blob_root) = (Digest([2; 32]), Digest([3; 32]));
            let made_up = ArtefactRef { job_round: 0, host, statement, blob_root, blob_len: 4 };
            p.body.artefact = Some(made_up);
            p.record.artefact_root = crate::artefact::artefact_root(Some(&made_up));
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
        let leader = world.aggregator(0);
        world.lost.insert((leader, Kind::Proposal));
        // Run until the honest proposal exists, then send an altered one in its place.
        let honest = loop {
            let (i, input) = world.queue.pop_front().unwrap();
            world.step(i, input);
            if let Some(bytes) =
                world.nodes[leader].log.iter().find(|b| Verifier::peek(b).unwrap().0.kind == Kind::Proposal)
            {
                break bytes.clone();
            }
        };
        let slot = *world.open(0, &honest).slot();
        let Message::Proposal(mut proposal) = world.open(0, &honest).message().clone() else { panic!() };
        lie(&mut proposal);
        world.lost.remove(&(leader, Kind::Proposal));
        let bytes = world.sealed(leader, &slot, &Message::Proposal(proposal));
        world.deliver(leader, Recipient::All, &bytes);
        world.lost.insert((leader, Kind::Proposal));
        assert!(world.run_to(1), "{name}");
        assert!(world.agreed(), "{name}");
        assert_eq!(world.state(0).head().origin_view, 1, "{name}");
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
    let first = world.state(0).leader(0);
    while !world.events.iter().any(|(_, e)| matches!(e, Event::ViewEntered { view: 2, .. })) {
        assert!(world.advance());
    }
    world.lost.clear();
    assert!(world.run_to(1));
    assert!(world.agreed());
    assert_eq!((world.state(0).head().proposer, world.state(0).head().origin_view), (first, 0));
}

#[test]
fn a_restarted_member_never_votes_twice() {
    for steps in (0..220).step_by(3) {
        let mut world = World::new(4, 2);
        for _ in 0..steps {
            let Some((i, input)) = world.queue.pop_front() else { break };
            world.step(i, input);
        }
        world.restart(2);
        assert!(world.run_to(2), "restart after {steps} steps");
        assert!(world.agreed());
        let mut slots = BTreeMap::new();
        let log = world.nodes[2].log.iter().map(|bytes| world.open(2, bytes));
        for message in log.filter(|m| Some(m.author()) == world.state(2).me()) {
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
        let committed: Vec<_> = world.nodes.iter().map(|node| node.committed.clone()).collect();
        (world.events, committed)
    };
    assert_eq!(run(), run());
}

#[test]
fn replayed_messages_of_old_rounds_change_nothing() {
    let mut world = World::new(4, 3);
    assert!(world.run_to(2));
    let logs = world.nodes.iter().flat_map(|node| &node.log);
    let old: Vec<_> = logs.map(|bytes| world.open(0, bytes)).collect();
    let round = world.state(0).position().0;
    for message in old.into_iter().filter(|m| m.slot().round < round) {
        let before = world.state(0).clone();
        let effects = world.nodes[0].state.handle(Input::Message(message), Timestamp(0));
        assert!(effects.is_empty());
        assert_eq!(*world.state(0), before);
    }
}

#[test]
fn a_proposal_from_somebody_else_is_a_fault() {
    let mut world = World::new(4, 1);
    let (liar, target) = (world.aggregator(1), world.aggregator(0));
    let record = world.state(0).rules.genesis.clone();
    let proposal = Proposal { record, body: RecordBody::default(), notarized_in: None };
    let slot = Slot { kind: Kind::Proposal, epoch: 0, round: 1, view: 0 };
    let bytes = world.sealed(liar, &slot, &Message::Proposal(Box::new(proposal)));
    world.deliver(liar, Recipient::One(target as u16), &bytes);
    assert!(world.run_to(1));
    assert_eq!(world.faults[&(target, world.nodes[liar].secret.public())], [Fault::Invalid]);
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
    let key = world.nodes[1].secret.public();
    let ask = world.nodes[0].state.handle(Input::Connected { key }, Timestamp(0));
    let [Effect::Say { slot, message, .. }] = ask.as_slice() else { panic!("{ask:?}") };
    let bytes = world.sealed(0, slot, message);
    let status = world.open(0, &bytes);
    let answer = world.nodes[1].state.handle(Input::Message(status), Timestamp(0));
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
    while world.nodes.iter().any(|node| node.state.position().1 < 2) {
        assert!(world.advance());
    }
    world
}

#[test]
fn a_certificate_that_a_jump_left_out_is_asked_for_and_made_anew_if_all_forgot_it() {
    let world = in_view_two();
    let nullified = world.state(0).round.nullified[&1].clone();
    let message =
        |i: usize, slot: &Slot, message: &Message| Input::Message(world.open(0, &world.sealed(i, slot, message)));
    // Two members come back with their own statements alone, hear of view 1's nullification first, and jump over view 0.
    let fresh = |i: usize| State::new(world.state(i).rules.clone(), None, Arc::clone(world.state(i).committee()));
    let mut back = [fresh(2), fresh(3)];
    for (i, state) in [2, 3].into_iter().zip(&mut back) {
        let log = world.nodes[i].log.iter().map(|bytes| world.open(0, bytes));
        for statement in log.filter(|m| Some(m.author()) == world.state(i).me()) {
            state.handle(Input::Message(statement), Timestamp(0));
        }
        state.handle(Input::Start, Timestamp(0));
        let slot = Slot { kind: Kind::Certificate, epoch: 0, round: 1, view: 1 };
        state.handle(message(0, &slot, &Message::Certificate(nullified.clone())), Timestamp(0));
        assert_eq!(state.position(), (1, 2));
    }
    assert!(world.state(0).round.nullified[&0].votes.iter().any(|(voter, _)| *voter == 2), "member 2 voted");
    let ask = back[1].handle(Input::Connected { key: world.nodes[0].secret.public() }, Timestamp(0));
    let [Effect::Say { slot, message: status, .. }] = ask.as_slice() else { panic!("{ask:?}") };
    assert!(matches!(status, Message::Status(s) if (s.gap, s.view) == (0, 2)), "{status:?}");
    // Who has the certificate sends it.
    let mut other = world.state(0).clone();
    other.handle(Input::Connected { key: world.nodes[3].secret.public() }, Timestamp(0));
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
fn what_a_vote_rests_on_is_on_disk_before_it() {
    let mut world = World::new(4, 1);
    assert!(world.run_to(1));
    for (i, node) in world.nodes.iter().enumerate() {
        let log: Vec<_> = node.log.iter().map(|bytes| *world.open(0, bytes).slot()).map(|slot| slot.kind).collect();
        let at = |kind| log.iter().position(|k| *k == kind);
        assert!(at(Kind::Proposal).unwrap() < at(Kind::Notarize).unwrap(), "member {i}: {log:?}");
        assert!(at(Kind::Certificate).unwrap() < at(Kind::Finalize).unwrap(), "member {i}: {log:?}");
    }
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
    assert!(world.nodes.iter().all(|node| node.state.round.receipts.len() == 4), "everybody has every receipt");
    world.lost.clear();
    world.down.insert(3);
    for i in 0..3 {
        world.restart(i);
    }
    assert!(world.run_to(1));
    assert!(world.agreed());
    assert_eq!(world.state(0).head().inputs, 4);
}

#[test]
fn whoever_proposes_a_merge_is_asked_for_what_is_in_it() {
    let mut world = World::new(4, 1);
    let aggregator = world.aggregator(0);
    let others: Vec<usize> = (0..4).filter(|i| *i != aggregator).collect();
    let behind = others[0];
    // It reaches the aggregator alone, and nobody hears from that one what it holds.
    world.unreachable.extend(others[1..].iter().map(|other| (behind, *other)));
    world.lost.insert((aggregator, Kind::Receipt));
    assert!(world.run_to(1));
    assert_eq!(world.state(behind).head().inputs, 4);
    let voted = |bytes: &Vec<u8>| Verifier::peek(bytes).unwrap().0.kind == Kind::Notarize;
    assert!(world.nodes[behind].log.iter().any(voted), "it recomputed the merge");
}

#[test]
fn a_third_statement_of_an_equivocator_is_taken_if_a_proposal_rests_on_it() {
    let mut world = World::new(4, 1);
    world.untrained.insert(3);
    let base = world.state(0).head_hash();
    let slot = Slot { kind: Kind::Update, epoch: 0, round: 1, view: 0 };
    let statement = |world: &World, samples: u32| {
        world.sealed(3, &slot, &Message::Update(UpdateHeader { samples, ..world.header(3, base) }))
    };
    // Member 2 is told two other things than members 0 and 1, who then force an input that it does not know. The proof that
    // it has of the lie does not get through.
    world.lost.insert((2, Kind::Operation));
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
}

#[test]
fn a_proposal_that_is_final_already_is_committed_and_not_voted_on() {
    let mut world = World::new(4, 1);
    // Nothing to merge, so that a verdict takes no time.
    world.untrained.extend(0..4);
    let leader = world.aggregator(0);
    let other = (leader + 1) % 4;
    world.lost.insert((leader, Kind::Proposal));
    let is_proposal = |bytes: &&Vec<u8>| Verifier::peek(bytes).unwrap().0.kind == Kind::Proposal;
    let ready = |world: &World| world.state(other).round.receipts.len() == 4;
    while !(ready(&world) && world.nodes[leader].log.iter().any(|bytes| is_proposal(&bytes))) {
        assert!(world.advance());
    }
    let proposal = world.open(other, world.nodes[leader].log.iter().find(is_proposal).unwrap());
    let Message::Proposal(body) = proposal.message() else { panic!() };
    let record = Message::Vote(body.record.hash().unwrap());
    let mut state = world.state(other).clone();
    let mut undecided = state.clone();
    let slot = Slot { kind: Kind::Finalize, epoch: 0, round: 1, view: 0 };
    for i in (0..4).filter(|i| *i != other) {
        state.handle(Input::Message(world.open(other, &world.sealed(i, &slot, &record))), Timestamp(0));
    }
    let signs = |effects: &[Effect]| effects.iter().any(|e| matches!(e, Effect::Sign { .. }));
    assert!(signs(&undecided.handle(Input::Message(proposal.clone()), Timestamp(0))), "it would be voted on");
    let effects = state.handle(Input::Message(proposal), Timestamp(0));
    assert!(effects.iter().any(|e| matches!(e, Effect::Commit { .. })));
    assert!(!signs(&effects), "{effects:?}");
}

/// A lone voter is a quorum by itself: its own receipt, heard again, used to make it propose before it had heard its proposal.
#[test]
fn nobody_signs_anything_before_it_has_heard_all_that_it_said() {
    for n in [1, 2, 4] {
        let mut world = World::new(n, 3);
        while world.advance() {
            for node in &world.nodes {
                let (rules, head) = (node.state.rules.clone(), node.state.proof().cloned());
                let mut again = State::new(rules, head, Arc::clone(node.state.committee()));
                let log = node.log.iter().filter_map(|bytes| node.verifier.open(bytes).ok());
                let heard = log.flat_map(|message| again.handle(Input::Message(message), Timestamp(0)));
                let signs = |effect: &Effect| matches!(effect, Effect::Sign { .. });
                assert!(!heard.collect::<Vec<_>>().iter().any(signs), "{n} members");
            }
        }
        assert!(world.nodes.iter().all(|node| node.state.is_finished()));
    }
}

#[test]
fn a_lone_voter_that_restarts_at_any_moment_says_nothing_twice() {
    for moment in 0..60 {
        let mut world = World::new(1, 3);
        // No updates come, so there is nothing to merge and nothing to wait for.
        world.untrained.insert(0);
        // Somebody asks to be let in, which only its first life knows of.
        let (ticket, key) = (SecretKey::from_bytes(&[201; 32]), SecretKey::from_bytes(&[202; 32]));
        let invite = Invite::new(&world.network(), &world.nodes[0].secret, ticket.public(), Role::Contributor, 100);
        let join = Join::new(&world.network(), invite, &ticket, &key, "newcomer".into());
        world.nodes[0].state.pool.insert(key.public(), Operation::Join(Box::new(join)));
        for _ in 0..moment {
            world.advance();
        }
        world.restart(0);
        assert!(world.run_to(3), "restarted at step {moment}");
        assert!(world.nodes[0].evidence.is_empty() && world.faults.is_empty(), "restarted at step {moment}");
    }
}
