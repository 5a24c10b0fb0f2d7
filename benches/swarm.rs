//! The outer loops, with a member that trains at no cost: start to mesh, round latency, memory per node.
//!
//! `cargo bench --bench swarm`. Real nodes over TCP on loopback, all in this process; each figure is printed with what it is a
//! ratio to.

#![allow(clippy::unwrap_used, missing_docs, dead_code)]

use std::time::{Duration, Instant};

use fedswarm_network::NodeId;
use fedswarm_node::{NodeEvent, NodeHandle};
use fedswarm_protocol::manifest::Timers;
use fedswarm_protocol::round::Event;
use tokio::sync::mpsc;

#[path = "../tests/it/swarm.rs"]
mod swarm;

use swarm::{Swarm, wait_for};

/// Rounds that are timed.
const ROUNDS: u64 = 30;

fn main() {
    // `cargo test --benches` only wants to know that it builds and starts.
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        round_latency(10, 100).await;
        round_latency(10, 183_296).await;
        mesh(20).await;
    });
}

async fn start_all(swarm: &Swarm, nodes: u8) -> Vec<(NodeHandle, mpsc::Receiver<NodeEvent>)> {
    let mut all = Vec::new();
    for i in 0..usize::from(nodes) {
        all.push(swarm.start(i, nodes.into(), None).await);
    }
    all
}

/// From one certificate to the next, at one node, without any training.
async fn round_latency(nodes: u8, parameters: u32) {
    let swarm = Swarm::new(nodes, ROUNDS, parameters, Timers::default()).await;
    let mut all = start_all(&swarm, nodes).await;
    let mut last: Option<Instant> = None;
    let mut latencies = Vec::new();
    let (first, others) = all.split_first_mut().unwrap();
    for (_, events) in others {
        events.close();
    }
    while latencies.len() + 1 < ROUNDS as usize {
        wait_for(&mut first.1, |event| {
            matches!(event, NodeEvent::Round { event: Event::RoundCommitted { .. }, .. }).then_some(())
        })
        .await;
        let now = Instant::now();
        latencies.extend(last.replace(now).map(|before| (now - before).as_secs_f64() * 1e3));
    }
    latencies.sort_by(f64::total_cmp);
    let median = latencies[latencies.len() / 2];
    let rtt = round_trip(&first.0, first.0.id()).await;
    println!(
        "round latency, {nodes} nodes, {parameters} parameters: median {median:.1} ms, worst {:.1} ms; {:.0} round trips of {:.2} ms",
        latencies.last().unwrap(),
        median / rtt,
        rtt,
    );
    for (node, _) in &all {
        node.shutdown().await;
    }
}

/// A direct message with its acknowledgement between two nodes of the swarm, in milliseconds: the baseline of a round.
async fn round_trip(node: &NodeHandle, own: NodeId) -> f64 {
    let peer = node.network().peers().await.into_iter().find(|p| p.member && p.id != own).unwrap().id;
    let mut best = f64::INFINITY;
    for _ in 0..20 {
        let began = Instant::now();
        // Rubbish: the receiver acknowledges before it looks.
        node.network().send(peer, vec![0; 100]).await.unwrap();
        best = best.min(began.elapsed().as_secs_f64() * 1e3);
    }
    best
}

/// From the start of the first node until all are connected to all, and what each costs in memory.
async fn mesh(nodes: u8) {
    let before = rss();
    let swarm = Swarm::new(nodes, 1, 100, Timers::default()).await;
    let began = Instant::now();
    let mut all = start_all(&swarm, nodes).await;
    for (_, events) in &mut all {
        let mut connected = 0;
        wait_for(events, |event| {
            if let NodeEvent::Peer { connected: true, .. } = event {
                connected += 1;
            }
            (connected + 1 >= nodes).then_some(())
        })
        .await;
    }
    let seconds = began.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let per_node = (rss() - before) / f64::from(nodes);
    println!("start to mesh, {nodes} nodes over TCP: {seconds:.2} s");
    println!("memory, {nodes} connected nodes: {:.1} MiB a node", per_node / 1048576.0);
    for (node, _) in &all {
        node.shutdown().await;
    }
}

/// Resident bytes of this process now.
fn rss() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap_or_default() * 1024.0
}
