//! Views that end before their time, and those that do not.

use super::*;

/// What the aggregator of view 0 has, in milliseconds.
fn leader_ms() -> u64 {
    Timers::default().leader_ms
}

/// Members whose proposals never arrive, of which these others lose the connection.
fn silent_and_lost(world: &mut World, leader: usize, by: &[usize]) {
    world.lost.insert((leader, Kind::Proposal));
    let key = world.nodes[leader].secret.public();
    for i in by.iter().filter(|i| **i != leader) {
        world.step(*i, Input::Disconnected { key });
    }
}

fn nullifies(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Sign { slot, .. } if slot.kind == Kind::Nullify))
}

fn complains(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Say { message: Message::Complaint(_), .. }))
}

/// A complaint about a view of round 1, as somebody would hear it.
fn complaint(world: &World, author: usize, view: u32, complaint: Complaint) -> Input {
    let slot = Slot { kind: Kind::Complaint, epoch: 0, round: 1, view };
    Input::Message(world.open(0, &world.sealed(author, &slot, &Message::Complaint(complaint))))
}

/// Four members with all receipts and no proposal, as node 0 sees them: its aggregator, and two others.
fn awaiting() -> (World, usize, [usize; 2]) {
    let mut world = World::new(4, 1);
    let leader = world.aggregator(0);
    world.lost.insert((leader, Kind::Proposal));
    while !world.nodes.iter().all(|node| node.state.round.quorum_seen) {
        assert!(world.advance());
    }
    let others: Vec<usize> = (0..4).filter(|i| *i != leader).collect();
    (world, leader, [others[1], others[2]])
}

#[test]
fn a_lost_aggregator_is_replaced_without_waiting_for_its_time() {
    let mut world = World::new(4, 1);
    let leader = world.aggregator(0);
    silent_and_lost(&mut world, leader, &[0, 1, 2, 3]);
    assert!(world.run_to(1));
    assert!(world.agreed());
    assert_eq!(world.state(0).head().origin_view, 1);
    assert!(world.now < leader_ms(), "waited {} ms", world.now);
}

#[test]
fn one_lost_in_an_earlier_round_is_passed_over_at_once_too() {
    let mut world = World::new(4, 4);
    let gone = world.aggregator(0);
    silent_and_lost(&mut world, gone, &[0, 1, 2, 3]);
    assert!(world.run_to(4));
    assert!(world.now < leader_ms(), "waited {} ms", world.now);
    assert!(world.events.iter().any(|(_, e)| matches!(e, Event::ViewEntered { view: 1, round, .. } if *round > 1)));
}

#[test]
fn one_that_came_back_has_its_turn() {
    let mut world = World::new(4, 1);
    let leader = world.aggregator(0);
    silent_and_lost(&mut world, leader, &[0, 1, 2, 3]);
    world.lost.clear();
    let key = world.nodes[leader].secret.public();
    for i in (0..4).filter(|i| *i != leader) {
        world.step(i, Input::Connected { key });
    }
    assert!(world.run_to(1));
    assert_eq!(world.state(0).head().origin_view, 0);
}

#[test]
fn one_members_bad_link_ends_no_view() {
    let mut world = World::new(4, 1);
    let leader = world.aggregator(0);
    silent_and_lost(&mut world, leader, &[(leader + 1) % 4]);
    world.lost.clear();
    assert!(world.run_to(1));
    assert_eq!(world.state(0).head().origin_view, 0, "the others have its proposal");
    let mut world = World::new(4, 1);
    silent_and_lost(&mut world, leader, &[(leader + 1) % 4]);
    assert!(world.run_to(1));
    assert!(world.now >= leader_ms(), "one complaint in four is no proof of anything");
}

#[test]
fn a_liar_counts_once_however_it_complains() {
    let (mut world, leader, [liar, other]) = awaiting();
    let me = (0..4).find(|i| ![leader, liar, other].contains(i)).unwrap();
    for reason in [Complaint::Unreachable, Complaint::Refused, Complaint::Unreachable] {
        let heard = complaint(&world, liar, 0, reason);
        let effects = world.nodes[me].state.handle(heard, Timestamp(0));
        assert!(effects.is_empty(), "{effects:?}");
    }
    let heard = complaint(&world, other, 0, Complaint::Unreachable);
    let mut before = world.nodes[me].state.clone();
    let effects = world.nodes[me].state.handle(heard, Timestamp(0));
    assert!(nullifies(&effects), "more than f, so one of them is honest");
    let timer = Timer::View { round: 1, view: 0 };
    assert_eq!(effects, before.handle(Input::Timer(timer), Timestamp(0)), "what the timer would have done");
}

#[test]
fn complaints_from_a_view_ahead_wait_until_it_comes() {
    let (mut world, leader, others) = awaiting();
    let me = (0..4).find(|i| *i != leader && !others.contains(i)).unwrap();
    for other in others {
        let heard = complaint(&world, other, 1, Complaint::Unreachable);
        assert!(world.nodes[me].state.handle(heard, Timestamp(0)).is_empty());
    }
    let state = &mut world.nodes[me].state;
    let mut out = Out { now: Timestamp(0), effects: Vec::new() };
    state.enter_view(1, false, &mut out);
    assert!(nullifies(&out.effects));
}

#[test]
fn in_late_views_only_timers_count() {
    let (mut world, leader, others) = awaiting();
    let me = (0..4).find(|i| *i != leader && !others.contains(i)).unwrap();
    let late = 16;
    for other in others {
        let heard = complaint(&world, other, late, Complaint::Unreachable);
        assert!(world.nodes[me].state.handle(heard, Timestamp(0)).is_empty());
    }
    let state = &mut world.nodes[me].state;
    state.lost = state.committee.voter_keys().into_iter().collect();
    let mut out = Out { now: Timestamp(0), effects: Vec::new() };
    state.enter_view(late, false, &mut out);
    assert!(!nullifies(&out.effects) && !complains(&out.effects));
}

#[test]
fn an_aggregator_that_leaves_its_own_view_is_followed_at_once() {
    let (mut world, leader, [other, me]) = awaiting();
    let slot = Slot { kind: Kind::Nullify, epoch: 0, round: 1, view: 0 };
    let nullify = |i| Input::Message(world.open(0, &world.sealed(i, &slot, &Message::Vote(Digest::ZERO))));
    let (from_other, from_leader) = (nullify(other), nullify(leader));
    let state = &mut world.nodes[me].state;
    assert!(!nullifies(&state.handle(from_other, Timestamp(0))));
    assert!(nullifies(&state.handle(from_leader, Timestamp(0))));
}

#[test]
fn whoever_has_voted_to_finalize_stays_whatever_the_others_say() {
    let mut world = World::new(4, 1);
    let leader = world.aggregator(0);
    world.lost.extend((0..4).map(|i| (i, Kind::Finalize)));
    let me = (leader + 1) % 4;
    while world.nodes[me].state.own_votes(0).finalize.is_none() {
        assert!(world.advance());
    }
    // Back in the view that it voted in, as a late certificate may find it.
    world.nodes[me].state.round.view = 0;
    let key = world.nodes[leader].secret.public();
    let mut effects = world.nodes[me].state.handle(Input::Disconnected { key }, Timestamp(0));
    for other in (0..4).filter(|i| *i != me) {
        let heard = complaint(&world, other, 0, Complaint::Unreachable);
        effects.extend(world.nodes[me].state.handle(heard, Timestamp(0)));
    }
    assert!(!nullifies(&effects), "{effects:?}");
}

#[test]
fn a_complaint_is_repeated_until_its_view_is_over() {
    let (mut world, leader, [me, _]) = awaiting();
    let key = world.nodes[leader].secret.public();
    let state = &mut world.nodes[me].state;
    let first = state.handle(Input::Disconnected { key }, Timestamp(0));
    assert!(complains(&first) && !nullifies(&first), "{first:?}");
    let second = state.handle(Input::Disconnected { key }, Timestamp(0));
    assert!(second.is_empty(), "said once");
    let resend = Input::Timer(Timer::Resend { round: 1 });
    assert!(complains(&state.handle(resend.clone(), Timestamp(0))));
    let mut out = Out { now: Timestamp(0), effects: Vec::new() };
    state.enter_view(1, false, &mut out);
    assert!(!complains(&state.handle(resend, Timestamp(0))));
}
