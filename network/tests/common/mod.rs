//! Swarms for tests: an entry point, and nodes that know nothing but it and each other's keys.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::sync::Arc;
use std::time::Duration;

use fedswarm_network::entry::{Entry, EntryConfig};
use fedswarm_network::{
    Acceptance, Config, Event, EventReceiver, Limits, MemoryBlobs, Network, NodeId, Tempo, Topic, TransportKind, start,
};
use fedswarm_protocol::hash::{Digest, hash};

/// Anything that takes longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn network_id() -> Digest {
    hash("test network", b"")
}

pub fn secret(index: usize) -> [u8; 32] {
    hash("test secret", &index.to_le_bytes()).0
}

pub fn id(index: usize) -> NodeId {
    NodeId::of_secret(&secret(index)).unwrap()
}

pub fn ids(count: usize) -> Vec<NodeId> {
    (0..count).map(id).collect()
}

pub struct Node {
    pub net: Network,
    pub events: EventReceiver,
    pub blobs: Arc<MemoryBlobs>,
}

pub async fn entry(kind: TransportKind) -> Entry {
    let config = EntryConfig {
        secret: secret(1_000_000),
        listen: vec![kind.any_port()],
        external: Vec::new(),
        relay: None,
        probe: false,
        lists: fedswarm_network::AccessLists::default(),
        limits: Limits::default(),
        tempo: Tempo::local(),
    };
    Entry::start(config).await.unwrap()
}

pub fn config(kind: TransportKind, index: usize, members: &[NodeId], entry: Option<&Entry>) -> Config {
    let mut config = Config::new(secret(index), network_id(), kind);
    config.bootstraps = entry.map(|e| e.addrs().to_vec()).unwrap_or_default();
    config.members = members.to_vec();
    config.tempo = Tempo::local();
    config
}

pub async fn start_with(config: Config) -> Node {
    let blobs = Arc::new(MemoryBlobs::new(64 << 20));
    let (net, events) = start(config, blobs.clone()).await.unwrap();
    Node { net, events, blobs }
}

pub async fn node(kind: TransportKind, index: usize, members: &[NodeId], entry: Option<&Entry>) -> Node {
    start_with(config(kind, index, members, entry)).await
}

/// `count` members of one network that know an entry point.
pub async fn swarm(kind: TransportKind, count: usize, entry: &Entry) -> Vec<Node> {
    let members = ids(count);
    let mut nodes = Vec::new();
    for index in 0..count {
        nodes.push(node(kind, index, &members, Some(entry)).await);
    }
    nodes
}

impl Node {
    /// Waits until all other members are connected and subscribed.
    pub async fn meets(&self, others: usize) {
        let meeting = async {
            loop {
                let ready = self.net.peers().await.iter().filter(|p| p.member && p.subscribed).count();
                if ready >= others {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let met = tokio::time::timeout(PATIENCE, meeting).await;
        assert!(met.is_ok(), "{:?} met only {:?}", self.net.id(), self.net.peers().await);
    }

    /// The next gossip message, accepted.
    pub async fn gossip(&mut self) -> (Topic, Vec<u8>) {
        loop {
            if let Event::Gossip { topic, token, data, .. } = self.next().await {
                self.net.report(token, Acceptance::Accept);
                return (topic, data);
            }
        }
    }

    /// The next direct message.
    pub async fn direct(&mut self) -> (NodeId, Vec<u8>) {
        loop {
            if let Event::Direct { from, data } = self.next().await {
                return (from, data);
            }
        }
    }

    pub async fn knock(&mut self) -> (NodeId, Vec<u8>) {
        loop {
            if let Event::Knock { from, data } = self.next().await {
                return (from, data);
            }
        }
    }

    pub async fn next(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("a running node")
    }
}
