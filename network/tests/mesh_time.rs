//! How long a swarm takes to form. Run with
//! `cargo test --release --workspace --test mesh_time -- --ignored --nocapture --test-threads 1`.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Instant;

use common::{config, entry, ids, start_with};
use fedswarm_network::{Tempo, TransportKind};

/// CPU seconds of this process so far, user and system, from Linux' accounting.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(f64::NAN);
    (ticks(11) + ticks(12)) / 100.0
}

async fn measure(kind: TransportKind, count: usize, tempo: Tempo, label: &str) {
    let (begin, cpu) = (Instant::now(), cpu_seconds());
    let entry = entry(kind).await;
    let members = ids(count);
    let mut nodes = Vec::new();
    for index in 0..count {
        let mut config = config(kind, index, &members, Some(&entry));
        config.tempo = tempo.clone();
        nodes.push(start_with(config).await);
    }
    let started = begin.elapsed();
    for node in &nodes {
        node.meets(count - 1).await;
    }
    let (met, formed_cpu) = (begin.elapsed(), cpu_seconds() - cpu);
    let mut connections = 0;
    let mut sent = 0;
    for node in &nodes {
        connections += node.net.peers().await.iter().filter(|p| p.member).map(|p| p.connections).sum::<u32>();
        sent += node.net.traffic().sent;
    }
    // Discovery has a last look round after a swarm has formed; what is measured is the time after that.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    let idle = cpu_seconds();
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    println!(
        "{kind:?} {label} {count} nodes: started {started:.2?}, all met {met:.2?}, CPU {formed_cpu:.2} s, \
         {:.2} connections per pair, {} kB sent, then {:.3} s CPU per second for all",
        f64::from(connections) / (count * (count - 1)) as f64,
        sent / 1000,
        (cpu_seconds() - idle) / 5.0,
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, not a claim"]
async fn time_to_mesh() {
    for kind in [TransportKind::Memory, TransportKind::Tcp, TransportKind::Quic] {
        for count in [10, 20] {
            measure(kind, count, Tempo::local(), "local tempo").await;
        }
        measure(kind, 20, Tempo::default(), "default tempo").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_nodes_in_one_process_meet_over_tcp() {
    let kind = TransportKind::Tcp;
    let entry = entry(kind).await;
    let nodes = common::swarm(kind, 20, &entry).await;
    for node in &nodes {
        node.meets(19).await;
    }
}
