//! Hosts of a generator: honest, lying, absent and dying.

use super::*;

/// The artefact that each round's first final record names, from the first round on that has one.
fn artefacts(options: &Options) -> Vec<(u64, Option<u64>)> {
    let mut world = World::new(options).unwrap();
    let mut seen = Vec::new();
    while world.core.monitor.height() < options.rounds && world.step() {
        let height = world.core.monitor.height();
        if seen.last().is_none_or(|(round, _)| *round < height) {
            seen.push((height, world.core.monitor.artefact_of(height).map(|artefact| artefact.job_round)));
        }
    }
    assert_eq!(world.core.monitor.broken(), None);
    assert_eq!(world.core.monitor.height(), options.rounds);
    seen
}

/// How many different jobs' artefacts came into force.
fn jobs(seen: &[(u64, Option<u64>)]) -> usize {
    let mut jobs: Vec<u64> = seen.iter().filter_map(|(_, job)| *job).collect();
    jobs.dedup();
    jobs.len()
}

#[test]
fn what_hosts_make_comes_into_force_and_costs_no_round_anything() {
    for (members, hosts) in [(1, vec![0]), (3, vec![1]), (4, vec![2]), (7, vec![0, 3, 6]), (10, (0..10).collect())] {
        let options = Options { members, rounds: 20, hosts, ..Options::default() };
        let outcome = sound(&options);
        assert_eq!((outcome.late_views, outcome.tally.total()), (0, 0), "{members} members");
        assert!(jobs(&artefacts(&options)) >= 3, "{members} members: {:?}", artefacts(&options));
    }
    assert_eq!(jobs(&artefacts(&Options { rounds: 5, ..Options::default() })), 0);
}

#[test]
fn an_honest_host_is_heard_through_the_lies_of_another_and_nothing_of_the_liars_comes_into_force() {
    for vice in [Vice::LyingHost, Vice::AbsentHost] {
        for seed in 0..32 {
            // In short epochs, since whoever is refused is not heard again before the next; and for long, since which of the
            // two is asked is drawn: in 40 rounds one world of 64 heard the honest one not once.
            let options = Options {
                seed,
                rounds: 120,
                epoch_length: 3,
                hosts: vec![1],
                vices: vec![(0, vice)],
                lie_on: true,
                ..Options::default()
            };
            let outcome = sound(&options);
            assert!(outcome.tally.lies > 10, "{vice:?} {seed}");
            assert!(jobs(&artefacts(&options)) >= 3, "{vice:?} {seed}: {:?}", artefacts(&options));
        }
    }
}

#[test]
fn without_its_host_a_network_goes_on_with_what_it_has_and_takes_up_again_when_it_is_back() {
    // Nobody comes back by itself.
    let faults = Faults { restart: 0.0, ..Faults::default() };
    let mut world = World::new(&Options { rounds: 60, hosts: vec![2], faults, ..Options::default() }).unwrap();
    let job = |world: &World| world.core.monitor.artefact_of(world.core.monitor.height()).map(|a| a.job_round);
    while job(&world).is_none() {
        assert!(world.step() && world.core.monitor.height() < 20);
    }
    world.nodes[2].crash(Tail::Lost, &mut world.core);
    let (height, last) = (world.core.monitor.height(), job(&world));
    while world.core.monitor.height() < height + 15 {
        assert!(world.step());
    }
    // One that was on its way may still have come.
    assert!(job(&world) <= last.map(|job| job + 1), "{:?} after {last:?}", job(&world));
    assert!(job(&world).is_some(), "it stays in force");
    world.nodes[2].start(&mut world.core);
    while job(&world) <= last.map(|job| job + 10) {
        assert!(world.step() && world.core.monitor.height() < 60);
    }
    assert_eq!(world.core.monitor.broken(), None);
}

#[test]
fn a_host_that_dies_then_lies_then_returns_is_refused_when_it_lies_and_heard_when_it_is_back() {
    use crate::world::deeds::{Deed, Plan};
    let plan = |from, to, does| Plan { host: 0, from, to, does };
    let plans = vec![
        plan(10, 14, Deed::Dies),
        plan(15, 19, Deed::NotANumber),
        plan(20, 24, Deed::WrongSize),
        plan(25, 29, Deed::TenTimes),
    ];
    for seed in 0..4 {
        let options =
            Options { seed, rounds: 50, epoch_length: 3, hosts: vec![0], plans: plans.clone(), ..Options::default() };
        let seen = artefacts(&options);
        let job = |round: u64| seen.iter().find(|(r, _)| *r == round).and_then(|(_, job)| *job);
        assert!(job(10).is_some_and(|job| job < 10), "{seen:?}");
        assert!(job(30).is_some_and(|job| job < 15), "what was in force stays: {seen:?}");
        assert!(job(50).is_some_and(|job| job > 40), "{seen:?}");
        assert!(sound(&options).tally.crashes > 0);
    }
}
