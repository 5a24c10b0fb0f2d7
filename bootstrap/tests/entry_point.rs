//! An entry point that members of two networks use over TCP and QUIC.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use fedswarm_bootstrap::{Config, Error, start};
use fedswarm_network::{Event, EventReceiver, MemoryBlobs, Multiaddr, Network, NodeId, Tempo, TransportKind};
use fedswarm_protocol::hash::hash;

async fn node(network: &str, secret: u8, other: u8, kind: TransportKind, entry: Multiaddr) -> (Network, EventReceiver) {
    let mut config = fedswarm_network::Config::new([secret; 32], hash("test network", network.as_bytes()), kind);
    config.bootstraps = vec![entry];
    config.members = vec![NodeId::of_secret(&[other; 32]).unwrap()];
    config.tempo = Tempo::local();
    fedswarm_network::start(config, Arc::new(MemoryBlobs::new(0))).await.unwrap()
}

async fn meets(events: &mut EventReceiver, peer: NodeId) {
    let meeting = async { while !matches!(events.recv().await, Some(Event::Connected(who)) if who == peer) {} };
    tokio::time::timeout(Duration::from_secs(30), meeting).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_entry_point_serves_two_networks_on_two_transports() {
    let dir = tempfile::tempdir().unwrap();
    let listen = vec![TransportKind::Tcp.any_port(), TransportKind::Quic.any_port()];
    let entry = start(Config::new(dir.path().join("key"), listen)).await.unwrap();
    let with = |part: &str| entry.addrs().iter().find(|a| a.to_string().contains(part)).unwrap().clone();
    let (tcp, quic) = (with("/tcp/"), with("/quic-v1"));
    assert!(tcp.to_string().contains("/p2p/12D3KooW"), "{tcp}");

    let (a, mut a_events) = node("one", 1, 2, TransportKind::Tcp, tcp.clone()).await;
    let (b, _b_events) = node("one", 2, 1, TransportKind::Tcp, tcp).await;
    let (c, mut c_events) = node("two", 3, 4, TransportKind::Quic, quic.clone()).await;
    let (d, _d_events) = node("two", 4, 3, TransportKind::Quic, quic).await;
    meets(&mut a_events, b.id()).await;
    meets(&mut c_events, d.id()).await;
    assert_eq!(entry.guests().await, 4);
    assert!(a.peers().await.iter().all(|p| p.id != c.id()), "nobody dials another network's members");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_point_keeps_its_id_and_says_when_its_port_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    let first = start(Config::new(key.clone(), vec![TransportKind::Tcp.any_port()])).await.unwrap();
    let again = start(Config::new(key.clone(), vec![TransportKind::Tcp.any_port()])).await.unwrap();
    assert_eq!(first.id(), again.id());

    let taken: Multiaddr = first.addrs()[0].iter().take(2).collect();
    let error = start(Config::new(key.clone(), vec![taken.clone()])).await.unwrap_err();
    assert!(matches!(error, Error::Network(fedswarm_network::Error::PortInUse { .. })), "{error}");
    assert!(error.to_string().contains(&taken.to_string()), "{error}");

    let error = start(Config::new(key, Vec::new())).await.unwrap_err();
    assert!(error.to_string().contains("needs an address"), "{error}");
}
