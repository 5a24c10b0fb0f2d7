//! A peer that joins the mesh late catches up from the last certified record.

use fedswarm_node::NodeEvent;
use fedswarm_protocol::manifest::Timers;
use fedswarm_protocol::round::Event;

use crate::swarm::{Swarm, wait_for};

/// Enough for a joiner on a busy machine: with everybody there a round takes milliseconds.
const ROUNDS: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_takes_over_the_certified_state_and_its_updates_count() {
    let timers = Timers { collect_ms: 250, ..Timers::default() };
    let swarm = Swarm::new(4, ROUNDS, 1000, timers).await;
    let mut nodes = Vec::new();
    for i in 0..3 {
        nodes.push(swarm.start(i, 3, None).await);
    }
    let committed = |wanted: u64| {
        move |event| match event {
            NodeEvent::Round { event: Event::RoundCommitted { round, inputs, .. }, .. } if round >= wanted => {
                Some((round, inputs))
            }
            _ => None,
        }
    };
    let (_, inputs) = wait_for(&mut nodes[0].1, committed(3)).await;
    assert_eq!(inputs, 3);
    nodes.push(swarm.start(3, 3, None).await);
    let (from, to) = wait_for(&mut nodes[3].1, |event| match event {
        NodeEvent::Round { event: Event::CaughtUp { from, to }, .. } => Some((from, to)),
        _ => None,
    })
    .await;
    assert!(from == 0 && to >= 3, "from {from} to {to}");
    wait_for(&mut nodes[0].1, |event| match event {
        NodeEvent::Round { event: Event::RoundCommitted { inputs: 4, .. }, .. } => Some(()),
        _ => None,
    })
    .await;
    for (_, events) in &mut nodes {
        wait_for(events, |event| matches!(event, NodeEvent::Finished { .. }).then_some(())).await;
    }
    let records: Vec<_> = nodes.iter().map(|(node, _)| node.records().unwrap()).collect();
    assert!(
        records
            .iter()
            .all(|r| r.last() == records[0].last() || r.last().unwrap().record == records[0].last().unwrap().record)
    );
    assert!(records[3][0].record.round >= 3, "rounds that were over are not replayed");
    for (node, _) in &nodes {
        node.shutdown().await;
    }
}
