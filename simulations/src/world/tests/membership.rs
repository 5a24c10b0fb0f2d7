//! Members that come and go, invited, uninvited and evicted.

use fedswarm_protocol::membership::{Operation, Role};

use super::super::membership;
use super::*;
use crate::world::options::Churn;

/// Steps until `done`; false if an invariant breaks or an hour of virtual time does not suffice.
fn run_until(world: &mut World, mut done: impl FnMut(&World) -> bool) -> bool {
    let until = world.core.now + 3_600_000_000;
    while !done(world) {
        if world.core.now > until || world.core.monitor.broken().is_some() || !world.step() {
            return false;
        }
    }
    true
}

fn wish(world: &mut World, node: usize, operation: Operation) {
    world.nodes[node].request = Some(operation);
    world.nodes[node].submit(&mut world.core);
}

/// The members behind the newest committee's voters, ascending.
fn voters(world: &World) -> Vec<u16> {
    let committee = world.core.keys.newest().unwrap();
    let places = &world.core.keys.members(committee.epoch)[..committee.voters()];
    let mut voters: Vec<u16> = places.iter().map(|member| member.unwrap()).collect();
    voters.sort_unstable();
    voters
}

#[test]
fn two_machines_become_five_and_two_others_remain_while_all_of_them_crash() {
    for seed in 0..12 {
        let faults = Faults { crash: 0.2, restart: 0.3, ..Faults::default() };
        let mut options = Options { seed, members: 2, strangers: 3, rounds: 100_000, faults, ..Options::default() };
        (options.links.loss, options.disks.crash_in_write) = (0.05, 0.02);
        let mut world = World::new(&options).unwrap();
        assert!(run_until(&mut world, |world| world.core.monitor.height() >= 2));
        for (sponsor, who) in [(0, 2), (1, 3), (0, 4)] {
            let join = membership::invite(&mut world.core, sponsor, who, Role::Voter, 100_000).unwrap();
            wish(&mut world, usize::from(who), join);
        }
        assert!(run_until(&mut world, |world| voters(world).len() == 5), "seed {seed}: {:?}", voters(&world));
        let five = world.core.monitor.height();
        assert!(run_until(&mut world, |world| world.core.monitor.height() >= five + 3));
        assert_eq!(world.core.monitor.last().unwrap().1.quorum, 4, "five tolerate a liar");
        // Both founders go, and one of those that they invited.
        for who in [0, 1, 3] {
            let committee = Arc::clone(world.core.keys.newest().unwrap());
            let leave = membership::leave(&world.core.keys, &committee, who).unwrap();
            wish(&mut world, usize::from(who), leave);
        }
        assert!(run_until(&mut world, |world| voters(world).len() == 2), "seed {seed}: {:?}", voters(&world));
        assert_eq!(voters(&world), [2, 4]);
        let two = world.core.monitor.height();
        assert!(run_until(&mut world, |world| world.core.monitor.height() >= two + 5), "seed {seed}: it goes on");
        assert_eq!(world.core.monitor.broken(), None);
        assert!(world.core.tally.crashes > 0);
    }
}

#[test]
fn members_come_go_and_change_their_keys_while_everything_goes_wrong() {
    let (mut changes, mut tally) = (0, Tally::default());
    for seed in 0..20 {
        let faults = Faults { split: 0.01, crash: 0.01, ..Faults::default() };
        let options = Options {
            seed,
            members: 5,
            strangers: 5,
            rounds: 60,
            rounds_after: 10,
            epoch_length: 3,
            faults,
            churn: Churn { rate: 0.2, contributors: 0.3, sybil_voters: false },
            vices: vec![(seed as u16 % 5, Vice::ALL[seed as usize % Vice::ALL.len()])],
            ..Options::default()
        };
        let outcome = sound(&options);
        changes += outcome.changes;
        tally += outcome.tally;
    }
    assert!(changes > 200, "{changes}");
    assert!(tally.invitations > 20 && tally.departures > 20 && tally.rotations > 20, "{tally:?}");
}

#[test]
fn members_are_voted_in_and_out_while_everything_goes_wrong() {
    let (mut changes, mut tally) = (0, Tally::default());
    for seed in 0..20 {
        let faults = Faults { split: 0.01, crash: 0.01, ..Faults::default() };
        let options = Options {
            seed,
            vote: true,
            members: 7,
            strangers: 5,
            rounds: 60,
            rounds_after: 10,
            epoch_length: 3,
            faults,
            churn: Churn { rate: 0.2, contributors: 0.3, sybil_voters: false },
            vices: vec![(seed as u16 % 7, Vice::ALL[seed as usize % Vice::ALL.len()])],
            ..Options::default()
        };
        let outcome = sound(&options);
        changes += outcome.changes;
        tally += outcome.tally;
    }
    assert!(changes > 100, "{changes}");
    assert!(tally.invitations > 20 && tally.departures > 20 && tally.rotations > 20, "{tally:?}");
}

#[test]
fn no_vote_less_than_a_quorum_lets_in_or_sends_away_and_a_quorum_does() {
    for seed in 0..6 {
        let faults = Faults { crash: 0.1, restart: 0.3, ..Faults::default() };
        let mut options =
            Options { seed, vote: true, members: 4, strangers: 1, rounds: 100_000, faults, ..Options::default() };
        options.links.loss = 0.05;
        let mut world = World::new(&options).unwrap();
        assert!(run_until(&mut world, |world| world.core.monitor.height() >= 2));
        let join = membership::invite(&mut world.core, 0, 4, Role::Voter, 100_000).unwrap();
        wish(&mut world, 4, join.clone());
        let approve = |world: &mut World, voter: u16| {
            let ballot = membership::approve(&mut world.core, voter, &join, 100_000).unwrap();
            world.nodes[usize::from(voter)].cast(ballot, &mut world.core);
        };
        approve(&mut world, 1);
        approve(&mut world, 2);
        let before = world.core.monitor.height();
        assert!(run_until(&mut world, |world| world.core.monitor.height() >= before + 20));
        assert_eq!(voters(&world), [0, 1, 2, 3], "seed {seed}: two of three");
        approve(&mut world, 3);
        assert!(run_until(&mut world, |world| voters(world).len() == 5), "seed {seed}: {:?}", voters(&world));
        // Five decide by four; the one that is to go is the sponsor.
        for (i, voter) in [1, 2, 4, 3].into_iter().enumerate() {
            let before = world.core.monitor.height();
            assert_eq!(voters(&world).len(), 5, "seed {seed}: {i} votes");
            let committee = Arc::clone(world.core.keys.newest().unwrap());
            let vote = membership::vote_out(&mut world.core, &committee, voter, 0, 100_000).unwrap();
            world.nodes[usize::from(voter)].cast(vote, &mut world.core);
            assert!(run_until(&mut world, |world| world.core.monitor.height() >= before + 5));
        }
        assert!(run_until(&mut world, |world| voters(world) == [1, 2, 3, 4]), "seed {seed}: {:?}", voters(&world));
        assert_eq!(world.core.monitor.broken(), None);
    }
}

#[test]
fn a_forger_without_a_place_changes_nothing_whatever_it_sends() {
    for seed in 0..12 {
        let vices = vec![(4, Vice::InviteForger)];
        let options = Options {
            seed,
            vote: seed % 2 == 1,
            strangers: 1,
            rounds: 40,
            rounds_after: 5,
            lie_on: true,
            vices,
            ..Options::default()
        };
        let mut world = World::new(&options).unwrap();
        let outcome = world.run();
        assert_eq!((outcome.broken, outcome.changes, outcome.rounds), (None, 0, 40));
        assert!(outcome.tally.lies > 20, "{}", outcome.tally.lies);
        assert_eq!(voters(&world), [0, 1, 2, 3]);
    }
}

#[test]
fn a_sybil_sponsor_brings_in_as_many_as_its_cap_and_no_more() {
    for (sybil_voters, role) in [(true, Role::Voter), (false, Role::Contributor)] {
        let options = Options {
            members: 7,
            sponsor_cap: 1,
            rounds: 60,
            rounds_after: 5,
            vices: vec![(3, Vice::SybilSponsor)],
            lie_on: true,
            churn: Churn { sybil_voters, ..Churn::default() },
            ..Options::default()
        };
        let mut world = World::new(&options).unwrap();
        let outcome = world.run();
        assert_eq!((outcome.broken, outcome.rounds), (None, 60));
        assert!(outcome.tally.lies > 5);
        let committee = world.core.keys.newest().unwrap();
        let invented: Vec<_> =
            committee.members.iter().filter(|m| world.core.keys.holder(&m.key).is_none()).map(|m| m.role).collect();
        assert_eq!(invented, [role]);
    }
}

#[test]
fn an_equivocator_is_out_from_the_next_epoch_on_and_no_sponsor_brings_it_back() {
    let vices = vec![(1, Vice::Equivocator), (4, Vice::SybilSponsor)];
    let options = Options { members: 7, rounds: 60, rounds_after: 5, lie_on: true, vices, ..Options::default() };
    let mut world = World::new(&options).unwrap();
    let outcome = world.run();
    assert_eq!((outcome.broken, outcome.rounds), (None, 60));
    let committee = world.core.keys.newest().unwrap();
    let liar = world.core.keys.public(1).unwrap();
    assert!(committee.evicted.contains(liar));
    assert_eq!(committee.place(liar), None);
}

#[test]
fn contributors_are_merged_with_the_voters_and_sign_nothing_else() {
    let mut world = World::new(&Options { members: 70, rounds: 3, min_inputs: 70, ..Options::default() }).unwrap();
    let outcome = world.run();
    assert!(world.catch_up());
    assert_eq!((outcome.broken, outcome.rounds), (None, 3));
    let (_, record) = world.core.monitor.last().unwrap();
    assert_eq!((record.inputs, record.quorum), (70, 43));
    for node in &world.nodes[64..] {
        assert_eq!(node.disk.head().unwrap().record.round, record.round);
        let mut kinds: Vec<_> = node.disk.statements(record.round).iter().filter_map(packet::Packet::kind).collect();
        kinds.dedup();
        assert_eq!(kinds, [fedswarm_protocol::envelope::Kind::Update]);
    }
}

#[test]
fn a_log_with_a_wrong_bit_keeps_its_node_out() {
    for lot in [0, 12_345, u64::MAX] {
        let mut world = World::new(&Options { rounds: 50, ..Options::default() }).unwrap();
        assert!(run_until(&mut world, |world| world.core.monitor.height() >= 2));
        assert!(run_until(&mut world, |world| !world.nodes[1].disk.statements(3).is_empty()));
        world.nodes[1].crash(Tail::Lost, &mut world.core);
        assert!(world.nodes[1].disk.is_whole());
        assert!(world.nodes[1].disk.flip(lot));
        assert!(!world.nodes[1].start(&mut world.core));
        assert!(run_until(&mut world, |world| world.core.monitor.height() >= 6), "three go on");
        assert!(!world.core.up[1]);
    }
}

#[test]
fn blobs_that_are_read_wrong_are_read_again() {
    let mut options = Options { members: 5, min_inputs: 5, rounds: 10, ..Options::default() };
    options.timers.collect_ms = 60_000;
    options.disks.flip_blob = 0.2;
    let outcome = sound(&options);
    assert!(outcome.tally.blob_flips > 50, "{}", outcome.tally.blob_flips);
}
