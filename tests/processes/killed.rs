//! Aggregators that are killed at every phase of a round, and come back.

use std::time::Duration;

use fedswarm_protocol::hash::Stream;

use crate::network::{Founded, Loopback, NODES};
use crate::outcome::update_of;
use crate::phases::{Armed, Phase, Target};

/// Everybody aggregates twice.
const ROUNDS: u64 = 2 * NODES as u64;

/// Longer than a restart takes: every update of every round counts.
const COLLECT_MS: u64 = 30_000;

#[test]
fn aggregators_killed_at_every_phase_come_back_and_the_state_is_that_of_the_undisturbed_run() {
    let mut founded = Founded::new(ROUNDS, COLLECT_MS);
    let undisturbed = founded.start(&Loopback, |_| None).finish();

    let mut phases = Phase::ALL.into_iter();
    let mut armed = Armed::new(NODES, &mut phases);
    let mut run = founded.start(&Loopback, |node| armed.hold(node));
    let mut kept = Vec::new();
    for _ in Phase::ALL {
        let Target { node, phase, round } = armed.next(&run);
        run.kill(node);
        let update = update_of(&run.statements(node, round)).cloned();
        assert!(update.is_some() || phase <= Phase::Trained || phase == Phase::Certified, "{phase:?}");
        kept.extend(update.map(|update| (phase, round, update)));
        armed.restart(&mut run, node, phases.next());
    }
    let disturbed = run.finish();

    for (phase, round, update) in &kept {
        assert!(disturbed.has_update(*round, update), "the update signed before {phase:?} is the one that counts");
    }
    for outcome in [&undisturbed, &disturbed] {
        assert!(outcome.rounds.keys().copied().eq(1..=ROUNDS), "{:?}", outcome.rounds.keys());
        assert!(outcome.rounds.values().all(|(_, inputs)| usize::from(*inputs) == NODES), "{:?}", outcome.rounds);
    }
    assert_eq!(disturbed.states, undisturbed.states);
}

#[test]
fn a_node_that_starts_again_while_the_entry_point_is_gone_is_found_by_the_others() {
    let mut founded = Founded::new(6, COLLECT_MS);
    let mut run = founded.start(&Loopback, |_| None);
    let all: Vec<usize> = (0..NODES).collect();
    run.journal.each("two rounds", &all, |seen| seen.certified() >= Some(2));
    run.kill_entry_point();
    run.keep_port(0);
    run.kill(0);
    run.restart(0, None);
    let outcome = run.finish();
    assert!(outcome.rounds.values().all(|(_, inputs)| usize::from(*inputs) == NODES), "{:?}", outcome.rounds);
}

/// Kills at any moment: while a node starts, while it writes, while it sends.
const KILLS: u64 = 150;

/// Shorter than a node takes to be back among the others: at times more are away than a quorum can spare.
const GAP_MS: u64 = 400;

#[test]
#[ignore = "three minutes; FEDSWARM_TEST_SEED picks another schedule; run it with --ignored"]
fn kills_at_any_moment_lose_nothing() {
    let seed = std::env::var("FEDSWARM_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1_u64);
    let mut schedule = Stream::new("kills", &[&seed.to_le_bytes()]);
    let mut founded = Founded::new(0, 500);
    let mut run = founded.start(&Loopback, |_| None);
    let all: Vec<usize> = (0..NODES).collect();
    for _ in 0..KILLS {
        // This is the fault itself, and waits for nothing.
        std::thread::sleep(Duration::from_millis(schedule.next_u64() % GAP_MS));
        let node = (schedule.next_u64() % NODES as u64) as usize;
        run.kill(node);
        std::thread::sleep(Duration::from_millis(schedule.next_u64() % GAP_MS));
        run.restart(node, None);
    }
    let (begun, from) = (run.frontier(), run.journal.len());
    run.journal.each("new rounds", &all, |seen| seen.certified() >= Some(begun + 3));
    let mut cursor = from;
    let whole = |seen: &crate::journal::Seen| (seen.number("inputs") == Some(NODES as u64)).then_some(());
    run.journal.next("a round with all updates", &mut cursor, whole);
    let outcome = run.interrupt();
    println!("seed {seed}: {KILLS} kills, {} rounds", outcome.rounds.len());
    assert!(outcome.rounds.keys().copied().eq(1..=outcome.rounds.len() as u64), "{:?}", outcome.rounds.keys());
}
