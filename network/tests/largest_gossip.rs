//! The largest gossip messages, back to back: libp2p's receiver falls silent for good when a frame, and what it has read of the
//! next one, are over its limit; nobody is told.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::time::Instant;

use common::{Node, entry, swarm};
use fedswarm_network::{MAX_GOSSIP_BYTES, Topic, TransportKind};

const NODES: usize = 4;

/// Messages of each node on each topic.
const MESSAGES: u8 = 20;

/// Largest messages, each of its own kind.
fn message(from: usize, number: u8) -> Vec<u8> {
    let mut data = vec![number; MAX_GOSSIP_BYTES];
    data[0] = from as u8;
    data
}

async fn all_arrive(kind: TransportKind) {
    let entry = entry(kind).await;
    let mut nodes = swarm(kind, NODES, &entry).await;
    for node in &nodes {
        node.meets(NODES - 1).await;
    }
    let began = Instant::now();
    for number in 0..MESSAGES {
        for topic in Topic::ALL {
            for (from, node) in nodes.iter().enumerate() {
                node.net.publish(topic, message(from, number)).await.unwrap();
            }
        }
    }
    let heard = futures::future::join_all(nodes.iter_mut().map(hear_all)).await;
    let took = began.elapsed();
    for (node, heard) in heard.iter().enumerate() {
        let others = (0..NODES).filter(|from| *from != node);
        let all = others.flat_map(|from| {
            Topic::ALL.into_iter().flat_map(move |topic| (0..MESSAGES).map(move |n| (from as u8, topic, n)))
        });
        assert_eq!(*heard, all.collect(), "node {node}");
    }
    // And the connections still carry gossip afterwards.
    nodes[0].net.publish(Topic::Vote, b"still there".to_vec()).await.unwrap();
    for node in &mut nodes[1..] {
        assert_eq!(node.gossip().await.1, b"still there");
    }
    let sent = NODES * Topic::ALL.len() * usize::from(MESSAGES);
    println!(
        "{kind:?}: {sent} messages of {MAX_GOSSIP_BYTES} bytes, {MESSAGES} of each of {NODES} nodes on each of {} topics: all arrived at all \
         others in {:.2} s",
        Topic::ALL.len(),
        took.as_secs_f64()
    );
}

/// As many messages as the others send: who, where, which.
async fn hear_all(node: &mut Node) -> BTreeSet<(u8, Topic, u8)> {
    let mut heard = BTreeSet::new();
    for _ in 0..(NODES - 1) * Topic::ALL.len() * usize::from(MESSAGES) {
        let (topic, data) = node.gossip().await;
        assert_eq!(data.len(), MAX_GOSSIP_BYTES);
        heard.insert((data[0], topic, data[1]));
    }
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_back_to_back_on_every_topic_all_arrive_over_tcp() {
    all_arrive(TransportKind::Tcp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_back_to_back_on_every_topic_all_arrive_over_quic() {
    all_arrive(TransportKind::Quic).await;
}
