//! Nodes that find each other and talk.
#![allow(clippy::unwrap_used)]

mod common;

use common::{PATIENCE, entry, id, ids, node, start_with, swarm};
use fedswarm_network::{Error, Event, MAX_DIRECT_BYTES, MAX_GOSSIP_BYTES, Topic, TransportKind};

async fn find_each_other_and_talk(kind: TransportKind) {
    let entry = entry(kind).await;
    let mut nodes = swarm(kind, 2, &entry).await;
    for node in &nodes {
        node.meets(1).await;
    }
    let (mut a, mut b) = (nodes.remove(0), nodes.remove(0));
    a.net.publish(Topic::Update, b"from a".to_vec()).await.unwrap();
    b.net.publish(Topic::Vote, b"from b".to_vec()).await.unwrap();
    assert_eq!(b.gossip().await, (Topic::Update, b"from a".to_vec()));
    assert_eq!(a.gossip().await, (Topic::Vote, b"from b".to_vec()));

    let long = vec![7; MAX_DIRECT_BYTES];
    a.net.send(b.net.id(), long.clone()).await.unwrap();
    assert_eq!(b.direct().await, (a.net.id(), long));

    let traffic = a.net.traffic();
    assert_eq!(traffic.direct.sent, MAX_DIRECT_BYTES as u64);
    assert_eq!((traffic.gossip.sent, traffic.gossip.received), (6, 6));
    assert!(traffic.sent > MAX_DIRECT_BYTES as u64, "{traffic:?}");
    assert!(b.net.traffic().received > MAX_DIRECT_BYTES as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_find_each_other_through_an_entry_point_and_talk_over_tcp() {
    find_each_other_and_talk(TransportKind::Tcp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_find_each_other_through_an_entry_point_and_talk_over_quic() {
    find_each_other_and_talk(TransportKind::Quic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_find_each_other_through_an_entry_point_and_talk_in_memory() {
    find_each_other_and_talk(TransportKind::Memory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gossip_published_before_anyone_is_there_reaches_the_first_who_comes() {
    let members = ids(2);
    let entry = entry(TransportKind::Memory).await;
    let early = node(TransportKind::Memory, 0, &members, Some(&entry)).await;
    early.net.publish(Topic::Update, b"anyone?".to_vec()).await.unwrap();
    let mut late = node(TransportKind::Memory, 1, &members, Some(&entry)).await;
    assert_eq!(late.gossip().await, (Topic::Update, b"anyone?".to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_messages_are_refused_before_they_are_sent() {
    let node = node(TransportKind::Memory, 0, &ids(2), None).await;
    let error = node.net.publish(Topic::Update, vec![0; MAX_GOSSIP_BYTES + 1]).await.unwrap_err();
    assert_eq!(error.to_string(), "gossip message of 16385 bytes is over the limit of 16384");
    let error = node.net.send(id(1), vec![0; MAX_DIRECT_BYTES + 1]).await.unwrap_err();
    assert_eq!(error.to_string(), "direct message of 65537 bytes is over the limit of 65536");
    assert_eq!(node.net.traffic().sent, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_to_nobody_fails_with_its_addressee() {
    let node = node(TransportKind::Memory, 0, &ids(2), None).await;
    let error = node.net.send(id(1), b"hello?".to_vec()).await.unwrap_err();
    assert!(matches!(error, Error::Send { to, .. } if to == id(1)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_sends_is_a_knock_and_not_for_long() {
    let kind = TransportKind::Tcp;
    let mut member = node(kind, 0, &ids(2), None).await;
    let stranger = node(kind, 7, &[id(0)], None).await;
    stranger.net.dial(member.net.full_addrs().await.remove(0)).await.unwrap();
    stranger.meets(1).await;
    stranger.net.send(id(0), b"let me in".to_vec()).await.unwrap();
    assert_eq!(member.knock().await, (id(7), b"let me in".to_vec()));
    let mut refused = None;
    for _ in 0..100 {
        refused = refused.or(stranger.net.send(id(0), b"let me in".to_vec()).await.err());
    }
    let error = refused.unwrap();
    assert!(error.to_string().contains("too many"), "{error}");

    member.net.set_members([id(1), id(7)]).await.unwrap();
    stranger.net.send(id(0), b"thank you".to_vec()).await.unwrap();
    assert_eq!(member.direct().await, (id(7), b"thank you".to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_peer_is_disconnected() {
    let kind = TransportKind::Memory;
    let entry = entry(kind).await;
    let mut nodes = swarm(kind, 2, &entry).await;
    nodes[0].meets(1).await;
    nodes[0].net.block(id(1)).await.unwrap();
    loop {
        if let Event::Disconnected(peer) = nodes[0].next().await {
            assert_eq!(peer, id(1));
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_joiner_is_connected_to_all() {
    let kind = TransportKind::Tcp;
    let members = ids(6);
    let entry = entry(kind).await;
    let mut nodes = Vec::new();
    for index in 0..5 {
        nodes.push(node(kind, index, &members, Some(&entry)).await);
    }
    for node in &nodes {
        node.meets(4).await;
    }
    let late = node(kind, 5, &members, Some(&entry)).await;
    late.meets(5).await;
    for node in &nodes {
        node.meets(5).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_member_is_found_again_at_another_port() {
    let kind = TransportKind::Tcp;
    let members = ids(3);
    let entry = entry(kind).await;
    let mut nodes = swarm(kind, 3, &entry).await;
    for node in &nodes {
        node.meets(2).await;
    }
    let gone = nodes.remove(2);
    gone.net.shutdown().await;
    assert!(matches!(gone.net.send(id(0), Vec::new()).await, Err(Error::Closed)));
    drop(gone);
    let back = node(kind, 2, &members, Some(&entry)).await;
    back.meets(2).await;
    back.net.publish(Topic::Receipt, b"back".to_vec()).await.unwrap();
    assert_eq!(nodes[0].gossip().await.1, b"back");
    assert_eq!(nodes[1].gossip().await.1, b"back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() {
    for kind in [TransportKind::Tcp, TransportKind::Quic, TransportKind::Memory] {
        let first = node(kind, 0, &[], None).await;
        let addr = first.net.listen_addrs().await.remove(0);
        let mut config = common::config(kind, 1, &[], None);
        config.listen = vec![addr.clone()];
        let blobs = std::sync::Arc::new(fedswarm_network::MemoryBlobs::new(0));
        let error = fedswarm_network::start(config, blobs).await.unwrap_err();
        assert!(matches!(&error, Error::PortInUse { addr: named } if *named == addr), "{kind:?}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_another_kind_is_refused_with_its_name() {
    let mut config = common::config(TransportKind::Tcp, 0, &[], None);
    config.listen = vec![TransportKind::Quic.any_port()];
    let blobs = std::sync::Arc::new(fedswarm_network::MemoryBlobs::new(0));
    let error = fedswarm_network::start(config, blobs).await.unwrap_err();
    assert!(error.to_string().contains("/udp/0/quic-v1"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_answers_busy_instead_of_waiting() {
    let kind = TransportKind::Memory;
    let entry = entry(kind).await;
    let members = ids(2);
    let mut small = common::config(kind, 0, &members, Some(&entry));
    small.limits.events = 32;
    let receiver = start_with(small).await;
    let sender = node(kind, 1, &members, Some(&entry)).await;
    sender.meets(1).await;
    let flood = async {
        loop {
            if let Err(error) = sender.net.send(id(0), b"more".to_vec()).await {
                return error;
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, flood).await.unwrap();
    assert!(error.to_string().contains("too many messages waiting"), "{error}");
    assert_eq!(receiver.net.peers().await.len(), 2, "the task behind the full queue still answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_speaks_tcp_and_quic() {
    let entry = entry(TransportKind::Tcp).await;
    let mut both = common::config(TransportKind::TcpAndQuic, 0, &ids(3), Some(&entry));
    both.listen = vec![TransportKind::Tcp.any_port(), TransportKind::Quic.any_port()];
    let both = start_with(both).await;
    let _tcp = node(TransportKind::Tcp, 1, &ids(3), Some(&entry)).await;
    let quic = node(TransportKind::Quic, 2, &ids(3), None).await;
    // By name: names must be resolved for the second transport as well.
    let addr = quic.net.full_addrs().await.remove(0).to_string().replace("/ip4/127.0.0.1/", "/dns4/localhost/");
    both.net.dial(addr.parse().unwrap()).await.unwrap();
    both.meets(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_start_again_without_an_entry_point_find_each_other_by_their_books() {
    let folder = tempfile::tempdir().unwrap();
    let with_book = |index: usize, entry: Option<&fedswarm_network::entry::Entry>| {
        let mut config = common::config(TransportKind::Tcp, index, &ids(3), entry);
        config.reach.book = Some(folder.path().join(index.to_string()));
        start_with(config)
    };
    let entry = entry(TransportKind::Tcp).await;
    let mut nodes = Vec::new();
    for index in 0..3 {
        nodes.push(with_book(index, Some(&entry)).await);
    }
    for node in &nodes {
        node.meets(2).await;
    }
    let mut addrs = Vec::new();
    for node in nodes {
        addrs.push(node.net.listen_addrs().await);
        node.net.shutdown().await;
    }
    drop(entry);
    let mut again = Vec::new();
    for index in 0..3 {
        again.push(with_book(index, None).await);
    }
    for (node, addrs) in again.iter().zip(&addrs) {
        node.meets(2).await;
        assert_eq!(node.net.listen_addrs().await, *addrs, "a node keeps its ports");
    }
}
