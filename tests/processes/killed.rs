//! Aggregators that are killed at every phase of a round, and come back.

use crate::network::{Founded, Loopback, NODES, update_of};
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
    assert_eq!(disturbed.state, undisturbed.state);
}
