//! Nodes that cannot reach each other, and a relay. One speaks TCP only, the other QUIC only; the entry point speaks both.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Node, PATIENCE, config, id, ids, secret, start_with};
use fedswarm_network::entry::{Entry, EntryConfig, RelayLimits};
use fedswarm_network::{Error, HolderFault, Limits, Path, Relaying, Tempo, Topic, TransportKind};

async fn relay(limits: RelayLimits) -> Entry {
    let config = EntryConfig {
        secret: secret(1_000_000),
        listen: vec![TransportKind::Tcp.any_port(), TransportKind::Quic.any_port()],
        external: Vec::new(),
        relay: Some(limits),
        probe: true,
        lists: fedswarm_network::AccessLists::default(),
        limits: Limits::default(),
        tempo: Tempo::local(),
    };
    Entry::start(config).await.unwrap()
}

async fn member(index: usize, kind: TransportKind, members: usize, entry: &Entry) -> Node {
    let mut config = config(kind, index, &ids(members), None);
    let speaks = |text: &str| match kind {
        TransportKind::Tcp => text.contains("/tcp/"),
        TransportKind::Quic => text.contains("/quic-v1"),
        _ => true,
    };
    config.bootstraps = entry.addrs().iter().filter(|addr| speaks(&addr.to_string())).cloned().collect();
    config.reach.relay = Relaying::Always;
    start_with(config).await
}

impl Node {
    async fn path_to(&self, index: usize, path: Path) {
        let reached = async {
            while !self.net.peers().await.iter().any(|peer| peer.id == id(index) && peer.path == path) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let met = tokio::time::timeout(PATIENCE, reached).await;
        assert!(met.is_ok(), "{:?} {:?}", self.net.peers().await, self.net.reachability().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_through_a_relay_and_blobs_go_another_way() {
    let entry = relay(RelayLimits::default()).await;
    let mut tcp = member(0, TransportKind::Tcp, 3, &entry).await;
    let mut quic = member(1, TransportKind::Quic, 3, &entry).await;
    tcp.path_to(1, Path::Relayed).await;
    quic.path_to(0, Path::Relayed).await;
    tcp.meets(1).await;
    quic.meets(1).await;
    tcp.net.publish(Topic::Update, b"gossip".to_vec()).await.unwrap();
    assert_eq!(quic.gossip().await, (Topic::Update, b"gossip".to_vec()));
    quic.net.send(id(0), vec![7; 60_000]).await.unwrap();
    assert_eq!(tcp.direct().await, (id(1), vec![7; 60_000]));
    assert!(quic.net.traffic().relayed.sent > 60_000);

    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i / 5) as u8).collect();
    let name = tcp.blobs.insert(bytes.clone()).unwrap();
    let relayed = quic.net.traffic().relayed;
    let error = quic.net.fetch(name, bytes.len() as u64, vec![id(0)]).await.unwrap_err();
    let Error::Fetch { faults, .. } = &error else { panic!("{error}") };
    assert_eq!(faults, &[(id(0), HolderFault::Relayed)]);

    // Somebody whom both reach has fetched it meanwhile.
    let both = member(2, TransportKind::TcpAndQuic, 3, &entry).await;
    both.path_to(0, Path::Direct).await;
    both.path_to(1, Path::Direct).await;
    let got = both.net.fetch(name, bytes.len() as u64, vec![id(0), id(1)]).await.unwrap();
    both.blobs.insert(got).unwrap();
    let got = quic.net.fetch(name, bytes.len() as u64, vec![id(0), id(2)]).await.unwrap();
    assert!(got == bytes);
    let after = quic.net.traffic().relayed;
    assert!(after.received - relayed.received < 100_000, "the blob went through the relay: {relayed:?} {after:?}");
    let stats = entry.stats().await;
    assert!(stats.circuits >= 1 && stats.places >= 2, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_whose_allowance_is_used_up_begins_anew() {
    let entry = relay(RelayLimits { circuit_bytes: 128 << 10, ..RelayLimits::default() }).await;
    let tcp = member(0, TransportKind::Tcp, 2, &entry).await;
    let mut quic = member(1, TransportKind::Quic, 2, &entry).await;
    quic.path_to(0, Path::Relayed).await;
    let mut delivered = 0;
    for _ in 0..20 {
        // Those that are on their way when the relay hangs up are lost; the machine above repeats what matters.
        tcp.path_to(1, Path::Relayed).await;
        if tcp.net.send(id(1), vec![1; 32 << 10]).await.is_ok() {
            assert_eq!(quic.direct().await.1.len(), 32 << 10);
            delivered += 1;
        }
    }
    let stats = entry.stats().await;
    assert!(delivered >= 10, "{delivered} of 20 messages arrived; {stats:?}");
    assert!(stats.circuits_opened >= 3, "{stats:?}");
}

/// It listens over TCP alone. That its connection to the entry point leaves from a UDP port tells nothing of where it is reached.
async fn is_reached_without_help(dials: &str) {
    let entry = relay(RelayLimits::default()).await;
    let mut config = config(TransportKind::TcpAndQuic, 0, &ids(1), Some(&entry));
    config.listen = vec![TransportKind::Tcp.any_port()];
    config.bootstraps.retain(|addr| addr.to_string().contains(dials));
    config.reach.relay = Relaying::Auto;
    let node = start_with(config).await;
    let found = async {
        while !node.net.reachability().await.is_public() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap();
    let known = node.net.reachability().await;
    assert_eq!((known.behind_nat, known.verdict()), (Some(false), "reachable from outside"));
    assert_eq!(known.confirmed, node.net.listen_addrs().await);
    assert!(known.refused.is_empty(), "{known:?}");
    assert_eq!(known.relays_offered, [entry.id()]);
    assert!(known.relays.is_empty());
    assert_eq!(entry.stats().await.places, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_reached_without_help_takes_no_place_at_the_relay() {
    is_reached_without_help("/tcp/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_probed_where_it_listens_and_not_where_it_dials_from() {
    is_reached_without_help("/quic-v1").await;
}
