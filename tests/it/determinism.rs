//! One seed, one state: whatever carries the bytes, however many threads train, in whatever order things arrive.

use std::collections::BTreeSet;

use fedswarm_simulations::progress::Silent;
use fedswarm_simulations::results::Summary;
use fedswarm_simulations::scenario::{Cap, Scenario, Transport, VirtualTime};
use fedswarm_simulations::swarm::{Options, run};

async fn summary(scenario: Scenario) -> Summary {
    let folder = tempfile::tempdir().unwrap();
    let scenario = Scenario { out: Some(folder.path().join("run")), ..scenario };
    let results = run(&scenario, &Options::default(), &mut Silent).await.unwrap();
    assert_eq!(results.summary.distinct_record_hashes, 1);
    assert_eq!(results.summary.rounds_certified, scenario.rounds);
    assert!(results.rounds.iter().all(|r| r.inputs == results.summary.nodes), "full participation");
    results.summary
}

async fn state_hash(scenario: Scenario) -> (String, Vec<f64>) {
    let summary = summary(scenario).await;
    (summary.state_hash, summary.accuracy.by_round)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_and_arrival_order_make_no_difference() {
    let scenario = Scenario {
        nodes: Some(4),
        rounds: 2,
        cap: Some(Cap::At { train: 40, test: 20 }),
        local_baseline: false,
        transport: Transport::Memory,
        threads: Some(1),
        ..Scenario::default()
    };
    let one = state_hash(scenario.clone()).await;
    let three = state_hash(Scenario { threads: Some(3), transport: Transport::Tcp, ..scenario.clone() }).await;
    assert_eq!(one, three);
    let other = state_hash(Scenario { seed: 2, ..scenario }).await;
    assert_ne!(one.0, other.0, "another seed is another run");
}

/// Reruns with each number of threads.
const RERUNS: u64 = 20;

/// Small enough to be run eighty times.
fn small() -> Scenario {
    Scenario {
        nodes: Some(4),
        rounds: 2,
        method: "fedavg:model=mlp".to_owned(),
        cap: Some(Cap::At { train: 10, test: 10 }),
        local_baseline: false,
        ..Scenario::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reruns_on_one_two_and_four_threads_end_in_one_state_with_real_and_virtual_links() {
    let mut states = BTreeSet::new();
    let mut records = BTreeSet::new();
    for rerun in 0..RERUNS {
        for threads in [1, 2, 4] {
            let scenario = Scenario { threads: Some(threads), transport: Transport::Memory, ..small() };
            states.insert(state_hash(scenario).await.0);
        }
        // Links that are slow in other places: updates, receipts and votes arrive in another order each time.
        let mut world = VirtualTime { min_inputs: 4, ..VirtualTime::default() };
        world.links.latency_us = (1_000 * (1 + rerun % 7), 40_000 + 9_000 * rerun);
        world.links.jitter_us = 2_000 * rerun;
        let scenario = Scenario { transport: Transport::Virtual, virtual_time: Some(world), ..small() };
        states.insert(state_hash(scenario).await.0);
        let scenario = Scenario { transport: Transport::Virtual, ..small() };
        records.insert(summary(scenario).await.record_hash);
    }
    assert_eq!(states.len(), 1, "{states:?}");
    assert_eq!(records.len(), 1, "{records:?}");
}
