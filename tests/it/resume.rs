//! A simulation that was stopped goes on where it was, and ends where it would have ended.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fedswarm_simulations::Error;
use fedswarm_simulations::progress::{Progress, RoundSummary, RunStart, Silent};
use fedswarm_simulations::results::{Results, Summary};
use fedswarm_simulations::scenario::{Cap, Scenario, Timers, Transport};
use fedswarm_simulations::swarm::{Options, run};

/// Asks for a stop once a round is told.
struct StopAfter(u64, Arc<AtomicBool>);

impl Progress for StopAfter {
    fn started(&mut self, _: &RunStart) {}
    fn round(&mut self, round: &RoundSummary) {
        if round.round >= self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
    }
    fn note(&mut self, _: &str) {}
    fn finished(&mut self, _: &Summary) {}
}

fn scenario(out: &Path) -> Scenario {
    Scenario {
        nodes: Some(4),
        rounds: 6,
        // A host that starts again makes another artefact: a stopped run with one goes on, but not in the same bits.
        method: "fedmoe".to_owned(),
        cap: Some(Cap::At { train: 40, test: 20 }),
        transport: Transport::Memory,
        // On a machine that has much else to do, nobody is left out for being late.
        timers: Timers { t_collect_ms: 600_000, ..Timers::default() },
        out: Some(out.to_owned()),
        ..Scenario::default()
    }
}

async fn go(scenario: &Scenario, progress: &mut dyn Progress, stop: Arc<AtomicBool>) -> Result<Results, Error> {
    run(scenario, &Options { resume: true, stop, ..Options::default() }, progress).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_run_goes_on_and_ends_in_the_bits_of_the_undisturbed_one() {
    let folder = tempfile::tempdir().unwrap();
    let undisturbed = run(&scenario(&folder.path().join("whole")), &Options::default(), &mut Silent).await.unwrap();
    let out = folder.path().join("stopped");
    let scenario = scenario(&out);
    for round in [1, 3] {
        let stop = Arc::new(AtomicBool::new(false));
        let error = go(&scenario, &mut StopAfter(round, Arc::clone(&stop)), stop).await.unwrap_err();
        assert!(matches!(error, Error::Interrupted { kept: true, .. }), "{error}");
        assert!(!out.join("results.json").exists());
    }
    let other = Scenario { rounds: 7, ..scenario.clone() };
    let error = go(&other, &mut Silent, Arc::default()).await.unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains("another scenario"), "{error}");

    let results = go(&scenario, &mut Silent, Arc::default()).await.unwrap();
    // A round that lacks an update ends in another state, which would say nothing about how the run was gone on with.
    let inputs = |results: &Results| results.rounds.iter().map(|round| round.inputs).collect::<Vec<_>>();
    assert_eq!((inputs(&undisturbed), inputs(&results)), (vec![4; 6], vec![4; 6]));
    let losses = |results: &Results| results.rounds.iter().map(|round| round.loss).collect::<Vec<_>>();
    assert_eq!(losses(&results), losses(&undisturbed));
    assert_eq!(results.summary.state_hash, undisturbed.summary.state_hash);
    assert_eq!(results.summary.accuracy.by_round, undisturbed.summary.accuracy.by_round);
    assert_eq!(results.summary.local_accuracy, undisturbed.summary.local_accuracy);
    assert_eq!((results.summary.rounds_certified, results.summary.distinct_record_hashes), (6, 1));
    assert!(!out.join("unfinished").exists(), "nothing is left of the nodes");

    let again = go(&scenario, &mut Silent, Arc::default()).await.unwrap();
    assert_eq!(again.summary.record_hash, results.summary.record_hash, "a finished run is not run again");
}
