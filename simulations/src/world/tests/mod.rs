#![allow(clippy::unwrap_used)]

mod hosts;
mod membership;
mod regressions;

use std::sync::atomic::AtomicBool;

use super::adversaries::Vice;
use super::disk::Tail;
use super::faults::Split;
use super::options::{Faults, Options};
use super::outcome::Outcome;
use super::*;

fn run(options: &Options) -> Outcome {
    World::new(options).unwrap().run()
}

fn sound(options: &Options) -> Outcome {
    let outcome = run(options);
    assert_eq!(outcome.broken, None, "{options:?}");
    assert_eq!(outcome.rounds, options.rounds);
    outcome
}

#[test]
fn a_calm_world_commits_every_round_in_its_first_view() {
    for members in [1, 2, 3, 4, 7, 16] {
        let outcome = sound(&Options { members, rounds: 20, ..Options::default() });
        assert_eq!((outcome.late_views, outcome.tally.total()), (0, 0), "{members} members");
    }
}

#[test]
fn one_seed_has_one_history_and_another_seed_another() {
    for seed in 1..40 {
        let options = draw::options(seed);
        if options.members > 10 {
            continue;
        }
        let (first, second) = (run(&options), run(&options));
        assert_eq!(first, second, "seed {seed}");
        let other = run(&Options { seed: seed + 1_000, ..options });
        assert_ne!(first.log, other.log, "seed {seed}");
    }
}

#[test]
fn real_signatures_make_no_difference_to_the_records() {
    let options = Options { members: 4, rounds: 5, ..Options::default() };
    let (fast, real) = (sound(&options), sound(&Options { signatures: keys::Signatures::Each, ..options }));
    assert_eq!((fast.record, fast.events), (real.record, real.events));
}

#[test]
fn every_vice_alone_is_survived_by_four_members() {
    for vice in Vice::ALL {
        for seed in 0..8 {
            let lie_on = seed % 2 == 0;
            let hosts = matches!(vice, Vice::LyingHost | Vice::AbsentHost).then_some(0..4).into_iter().flatten();
            let options = Options {
                seed,
                rounds: 12,
                rounds_after: 4,
                hosts: hosts.collect(),
                vices: vec![(seed as u16 % 4, *vice)],
                lie_on,
                ..Options::default()
            };
            let outcome = sound(&options);
            let quiet = matches!(vice, Vice::Twins | Vice::Withholder);
            assert!(quiet || outcome.tally.lies > 0, "{vice:?} never lied");
        }
    }
}

#[test]
fn every_split_heals() {
    for split in Split::ALL {
        for seed in 0..6 {
            let faults = Faults { split: 0.2, heal: 0.05, splits: vec![*split], ..Faults::default() };
            let options = Options { seed, members: 5, rounds: 60, rounds_after: 5, faults, ..Options::default() };
            assert!(sound(&options).tally.splits > 0, "{split:?}");
        }
    }
}

#[test]
fn nothing_is_decided_while_no_side_has_a_quorum() {
    let mut world = World::new(&Options { members: 4, rounds: 50, ..Options::default() }).unwrap();
    while world.core.monitor.height() < 3 {
        world.step();
    }
    for (a, b) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
        world.core.links.wall(a, b);
        world.core.links.wall(b, a);
    }
    // What was under way may still arrive, and decide one more round.
    let (from, latest) = (world.core.now, world.core.monitor.height() + 1);
    while world.core.now < from + 600_000_000 {
        world.step();
    }
    assert!(world.core.monitor.height() <= latest, "{} rounds", world.core.monitor.height());
    assert_eq!(world.core.monitor.broken(), None);
}

#[test]
fn a_member_whose_disk_is_damaged_does_not_come_back() {
    let mut world = World::new(&Options { rounds: 50, ..Options::default() }).unwrap();
    while world.core.monitor.height() < 2 {
        world.step();
    }
    world.nodes[1].crash(Tail::Lost, &mut world.core);
    world.nodes[1].disk.corrupt = true;
    assert!(!world.nodes[1].start(&mut world.core));
    while world.core.monitor.height() < 6 {
        assert!(world.step());
    }
    assert!(!world.core.up[1]);
}

/// What a disk must never do, and what happens if it does: the invariants notice.
#[test]
fn a_disk_that_forgets_synced_statements_is_noticed() {
    let mut noticed = 0;
    for seed in 0..40 {
        let mut options = Options { seed, rounds: 40, ..Options::default() };
        options.links.loss = 0.2;
        options.timers.collect_ms = 20;
        options.timers.leader_ms = 30;
        let mut world = World::new(&options).unwrap();
        while world.core.monitor.broken().is_none() && world.core.monitor.height() < 40 && world.step() {
            if world.core.log.count().is_multiple_of(97) {
                let place = (world.core.log.count() / 97 % 4) as usize;
                if world.core.up[place] {
                    world.nodes[place].crash(Tail::Lost, &mut world.core);
                    world.nodes[place].disk.forget_statements();
                    world.nodes[place].start(&mut world.core);
                }
            }
        }
        noticed += u64::from(world.core.monitor.broken().is_some());
    }
    assert!(noticed > 0);
}

/// With more liars than a network is made for there is no agreement: the monitor must see that, or it sees nothing.
#[test]
fn more_twins_than_a_network_is_made_for_are_noticed() {
    let vices = vec![(0, Vice::Twins), (1, Vice::Twins), (2, Vice::Twins)];
    let faults = Faults { split: 0.1, heal: 0.02, splits: vec![Split::Halves], ..Faults::default() };
    let forks = (0..60).filter(|seed| {
        let options = Options {
            seed: *seed,
            members: 5,
            rounds: 30,
            vices: vices.clone(),
            faults: faults.clone(),
            ..Options::default()
        };
        run(&options).broken.is_some_and(|broken| broken.rule.starts_with('I'))
    });
    assert!(forks.count() > 0);
}

#[test]
fn two_thousand_drawn_worlds_keep_every_invariant() {
    let plan = soak::Plan { first: 1, last: Some(2_000), time: None, threads: 2 };
    let report = soak::run(&plan, &AtomicBool::new(false), draw::options, |_| ()).unwrap();
    let named =
        |(seed, broken): &(u64, invariants::Break)| format!("{}: {} {}", soak::replay(*seed), broken.rule, broken.what);
    assert_eq!(report.broken, 0, "{}", report.breaks.iter().map(named).collect::<Vec<_>>().join("\n"));
    assert_eq!((report.seeds, report.rounds), (2_000, 2_000 * draw::ROUNDS));
    assert!(report.real_signatures >= 50, "{}", report.real_signatures);
    assert!(report.twice >= 40);
    assert!(report.changes >= 2_000, "{}", report.changes);
    assert!(report.tally.list().iter().all(|(_, count)| *count > 0), "{:?}", report.tally);
}
