//! One seed, one state: whatever carries the bytes, and however many threads train.

use fedswarm_simulations::progress::Silent;
use fedswarm_simulations::scenario::{Cap, Scenario, Transport};
use fedswarm_simulations::swarm::{Options, run};

async fn state_hash(scenario: Scenario) -> (String, Vec<f64>) {
    let folder = tempfile::tempdir().unwrap();
    let scenario = Scenario { out: Some(folder.path().join("run")), ..scenario };
    let results = run(&scenario, &Options::default(), &mut Silent).await.unwrap();
    assert_eq!(results.summary.distinct_record_hashes, 1);
    assert_eq!(results.summary.rounds_certified, scenario.rounds);
    assert!(results.rounds.iter().all(|r| r.inputs == results.summary.nodes), "full participation");
    (results.summary.state_hash, results.summary.accuracy.by_round)
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
