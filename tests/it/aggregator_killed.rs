//! An aggregator that dies between receipts and proposal costs one view.

use fedswarm_node::{CrashPoint, NodeEvent};
use fedswarm_protocol::election;
use fedswarm_protocol::envelope::Kind;
use fedswarm_protocol::manifest::Timers;
use fedswarm_protocol::round::Event;

use crate::swarm::{Swarm, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_in_line_takes_over_and_the_round_is_certified() {
    let timers = Timers { leader_ms: 300, ..Timers::default() };
    let swarm = Swarm::new(4, 3, 100, timers).await;
    let network = swarm.manifest.network_id().unwrap();
    let order = election::order(&election::first_seed(&network, 0), (0..4).collect());
    let dead = election::leader(&order, 1, 0).unwrap();
    let next = election::leader(&order, 1, 1).unwrap();
    let mut nodes = Vec::new();
    for i in 0..4 {
        let crash = (i == usize::from(dead)).then_some(CrashPoint { round: 1, kind: Kind::Proposal });
        nodes.push(swarm.start(i, 4, crash).await);
    }
    let mut last = Vec::new();
    for (i, (node, events)) in nodes.iter_mut().enumerate() {
        if i == usize::from(dead) {
            continue;
        }
        let (view, proposer, inputs) = wait_for(events, |event| match event {
            NodeEvent::Round { event: Event::RoundCommitted { round: 1, view, proposer, inputs, .. }, .. } => {
                Some((view, proposer, inputs))
            }
            _ => None,
        })
        .await;
        assert_eq!((view, proposer), (1, next));
        assert_eq!(inputs, 4, "the dead aggregator's update was received by all and counts");
        wait_for(events, |event| matches!(event, NodeEvent::Finished { .. }).then_some(())).await;
        last.push(node.records().unwrap().last().unwrap().certificate.record);
    }
    assert!(last.windows(2).all(|pair| pair[0] == pair[1]), "{last:?}");
    for (node, _) in &nodes {
        node.shutdown().await;
    }
}
