//! A simulation with a generator's host repeats, whatever the machine is busy with.

use fedswarm_simulations::progress::Silent;
use fedswarm_simulations::results::Results;
use fedswarm_simulations::scenario::{Cap, Scenario, Transport};
use fedswarm_simulations::swarm::{Options, run};

async fn go(threads: usize) -> Results {
    let scenario = Scenario {
        nodes: Some(4),
        rounds: 6,
        cap: Some(Cap::At { train: 40, test: 20 }),
        transport: Transport::Memory,
        threads: Some(threads),
        local_baseline: false,
        ..Scenario::default()
    };
    run(&scenario, &Options::default(), &mut Silent).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_default_method_repeats_its_bits_on_one_thread_and_on_three() {
    let first = go(1).await;
    assert!(first.summary.method.starts_with("moe-ktl"), "{}", first.summary.method);
    let artefacts = first.generated.as_ref().map_or(0, |g| g.artefacts.len());
    assert!(artefacts >= 3, "artefacts came into force in {artefacts} of 6 rounds");
    for threads in [3, 1] {
        let again = go(threads).await;
        assert_eq!(again.summary.state_hash, first.summary.state_hash, "{threads} threads");
        assert_eq!(again.summary.accuracy.by_round, first.summary.accuracy.by_round, "{threads} threads");
    }
}
