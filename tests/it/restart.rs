//! A node that dies after it has published its update comes back with the same update and the same private state.

use std::time::Duration;

use fedswarm_node::{CrashPoint, NodeEvent, Storage};
use fedswarm_protocol::envelope::Kind;
use fedswarm_protocol::manifest::Timers;
use fedswarm_protocol::round::Event;

use crate::swarm::{Swarm, wait_for};

const ROUNDS: u64 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_where_it_was_and_never_trains_twice_for_a_round() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::Folder(folder.path().to_owned());
    // Two of three are a quorum: they must not decide a round before the third, whose disk may be slow, has had its say.
    let swarm = Swarm::new(3, ROUNDS, 100, Timers { collect_ms: 10_000, ..Timers::default() }).await;
    let crash = CrashPoint { round: 2, kind: Kind::Receipt };
    let (dead, mut its_events) = swarm.start_in(0, 3, Some(crash), storage.clone()).await;
    let mut others = vec![swarm.start(1, 3, None).await, swarm.start(2, 3, None).await];
    // It stops before its receipt of round 2, so after its update of that round.
    let dies = async { while its_events.recv().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(30), dies).await.expect("it came past the place where it was to die");
    let trained = dead.with_member(|member| member.parameters());
    assert_eq!(trained, 2);
    drop(dead);

    let (node, mut events) = swarm.start_in(0, 3, None, storage).await;
    assert_eq!(node.with_member(|member| member.parameters()), trained, "the private state came back");
    wait_for(&mut events, |event| matches!(event, NodeEvent::Finished { .. }).then_some(())).await;
    let mut inputs = Vec::new();
    for (other, events) in &mut others {
        wait_for(events, |event| {
            if let NodeEvent::Round { event: Event::RoundCommitted { round, inputs: n, .. }, .. } = &event {
                inputs.push((*round, *n));
            }
            matches!(event, NodeEvent::Finished { .. }).then_some(())
        })
        .await;
        assert_eq!(other.records().unwrap().last().unwrap().record, node.records().unwrap().last().unwrap().record);
    }
    assert!(inputs.contains(&(2, 3)), "its one update of round 2 counted: {inputs:?}");
    for (other, _) in &others {
        other.shutdown().await;
    }
    node.shutdown().await;
}
