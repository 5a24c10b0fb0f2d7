#![allow(clippy::unwrap_used)]

use std::path::Path;

use crate::progress::Silent;
use crate::results::Results;
use crate::scenario::{Cap, Scenario, Timers, Transport, VirtualTime};
use crate::swarm::{Options, run};
use crate::world::scale;

async fn results(scenario: Scenario) -> Results {
    let folder = tempfile::tempdir().unwrap();
    let scenario = Scenario { out: Some(folder.path().join("run")), ..scenario };
    run(&scenario, &Options::default(), &mut Silent).await.unwrap()
}

/// The shipped scenario, and the same without anything that goes wrong.
fn pair() -> (Scenario, Scenario) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/virtual_crashes.toml");
    let stormy = Scenario::load(&path).unwrap();
    let world = stormy.virtual_time.clone().unwrap();
    let calm = VirtualTime { min_inputs: world.min_inputs, ..VirtualTime::default() };
    (Scenario { virtual_time: Some(calm), ..stormy.clone() }, stormy)
}

#[tokio::test]
async fn a_run_with_crashes_ends_in_the_same_bits_as_the_undisturbed_run() {
    let (calm, stormy) = pair();
    let (calm, stormy) = (results(calm).await, results(stormy).await);
    assert!(calm.rounds.iter().chain(&stormy.rounds).all(|round| round.inputs == 5), "full participation");
    assert_ne!(calm.summary.record_hash, stormy.summary.record_hash, "the storm must have changed who proposes when");
    assert_eq!(calm.summary.state_hash, stormy.summary.state_hash);
    assert_eq!(stormy.summary.distinct_record_hashes, 1);
}

#[tokio::test]
async fn one_seed_fixes_the_record_hash_of_a_virtual_run() {
    let (_, stormy) = pair();
    let (first, second) = (results(stormy.clone()).await, results(stormy).await);
    assert_eq!(first.summary.record_hash, second.summary.record_hash);
    assert_eq!(first.rounds, second.rounds);
}

#[test]
fn ninety_members_agree_while_they_come_and_go_and_everything_goes_wrong() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/virtual_large.toml");
    let scenario = Scenario::load(&path).unwrap();
    scenario.validate().unwrap();
    assert!(!scenario.trains());
    let (outcome, figures) = scale::run(&VirtualTime::untrained(&scenario)).unwrap();
    assert_eq!((outcome.broken, outcome.rounds, figures.voters), (None, 12, 64));
    assert!(outcome.tally.crashes > 0 && outcome.tally.lies > 0 && outcome.changes > 0, "{:?}", outcome.tally);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn virtual_and_real_nodes_end_in_the_same_bits() {
    let scenario = Scenario {
        nodes: Some(3),
        rounds: 2,
        method: "fedavg:model=mlp".into(),
        cap: Some(Cap::At { train: 40, test: 20 }),
        local_baseline: false,
        timers: Timers::default(),
        transport: Transport::Memory,
        ..Scenario::default()
    };
    let real = results(scenario.clone()).await;
    let virtual_one = results(Scenario { transport: Transport::Virtual, ..scenario }).await;
    assert_eq!(real.summary.state_hash, virtual_one.summary.state_hash);
    assert_eq!(real.summary.accuracy.by_round, virtual_one.summary.accuracy.by_round);
}
