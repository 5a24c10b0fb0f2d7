//! Blobs over real connections, with holders that lie or say nothing.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{Arc, Mutex};

use common::{Node, config, entry, id, ids, swarm};
use fedswarm_network::{BlobId, BlobSource, CHUNK_BYTES, Error, HolderFault, MemoryBlobs, Partial, TransportKind};
use fedswarm_protocol::hash::{Digest, Stream};
use tokio::sync::{Notify, watch};

/// 3.5 MiB that do not repeat.
fn blob() -> Vec<u8> {
    let mut stream = Stream::new("test blob", &[]);
    (0..7 * CHUNK_BYTES / 16).flat_map(|_| stream.next_u64().to_le_bytes()).collect()
}

/// Has the right list and wrong chunks.
struct Liar(MemoryBlobs);

impl BlobSource for Liar {
    fn chunk_hashes(&self, id: &BlobId) -> Option<Vec<Digest>> {
        self.0.chunk_hashes(id)
    }

    fn chunk(&self, id: &BlobId, index: u32) -> Option<Vec<u8>> {
        let mut chunk = self.0.chunk(id, index)?;
        chunk[0] ^= 1;
        Some(chunk)
    }
}

/// Has all hashes, and the chunks of one half.
struct Half {
    blobs: MemoryBlobs,
    even: bool,
}

impl BlobSource for Half {
    fn chunk_hashes(&self, id: &BlobId) -> Option<Vec<Digest>> {
        self.blobs.chunk_hashes(id)
    }

    fn chunk(&self, id: &BlobId, index: u32) -> Option<Vec<u8>> {
        (index.is_multiple_of(2) == self.even).then(|| self.blobs.chunk(id, index)).flatten()
    }
}

/// Never answers until the other end is dropped; says when it is asked.
struct Silent {
    held: Mutex<std::sync::mpsc::Receiver<()>>,
    asked: Arc<Notify>,
}

impl Silent {
    fn new() -> (std::sync::mpsc::SyncSender<()>, Self) {
        let (release, held) = std::sync::mpsc::sync_channel(1);
        (release, Self { held: Mutex::new(held), asked: Arc::default() })
    }

    fn wait(&self) {
        self.asked.notify_one();
        _ = self.held.lock().unwrap().recv();
    }
}

impl BlobSource for Silent {
    fn chunk_hashes(&self, _: &BlobId) -> Option<Vec<Digest>> {
        self.wait();
        None
    }

    fn chunk(&self, _: &BlobId, _: u32) -> Option<Vec<u8>> {
        self.wait();
        None
    }
}

async fn with_source(
    index: usize,
    source: Arc<dyn BlobSource>,
    members: usize,
    entry: &fedswarm_network::entry::Entry,
) -> Node {
    let config = config(TransportKind::Tcp, index, &ids(members), Some(entry));
    let (net, events) = fedswarm_network::start(config, source).await.unwrap();
    Node { net, events, blobs: Arc::new(MemoryBlobs::new(0)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_is_named_during_a_fetch_is_asked_at_once() {
    let bytes = blob();
    let entry = entry(TransportKind::Tcp).await;
    let nodes = swarm(TransportKind::Tcp, 2, &entry).await;
    for node in &nodes {
        node.net.set_members(ids(3)).await.unwrap();
    }
    let (release, silent) = Silent::new();
    let asked = Arc::clone(&silent.asked);
    let _silent = with_source(2, Arc::new(silent), 3, &entry).await;
    let name = nodes[1].blobs.insert(bytes.clone()).unwrap();
    nodes[0].meets(2).await;

    let (told, holders) = watch::channel(vec![id(2)]);
    let mut blob = Partial::new(name, bytes.len() as u64);
    let named_later = async {
        asked.notified().await;
        told.send_replace(vec![id(2), id(1)]);
    };
    let (fetched, ()) = tokio::join!(nodes[0].net.fetch_rest(&mut blob, &holders), named_later);
    fetched.unwrap();
    assert!(blob.into_bytes().unwrap() == bytes);
    drop(release);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_arrives_although_one_holder_lies_and_one_is_silent() {
    let bytes = blob();
    let entry = entry(TransportKind::Tcp).await;
    let nodes = swarm(TransportKind::Tcp, 2, &entry).await;
    for node in &nodes {
        node.net.set_members(ids(4)).await.unwrap();
    }
    let liar = MemoryBlobs::new(8 << 20);
    liar.insert(bytes.clone()).unwrap();
    let (release, silent) = Silent::new();
    let _liar = with_source(2, Arc::new(Liar(liar)), 4, &entry).await;
    let _silent = with_source(3, Arc::new(silent), 4, &entry).await;
    let name = nodes[1].blobs.insert(bytes.clone()).unwrap();
    nodes[0].meets(3).await;

    let holders = vec![id(3), id(2), id(1)];
    let got = nodes[0].net.fetch(name, bytes.len() as u64, holders).await.unwrap();
    assert!(got == bytes);
    assert!(nodes[0].net.traffic().blobs.received >= bytes.len() as u64);
    assert!(nodes[1].net.traffic().blobs.sent >= bytes.len() as u64, "only the honest holder's chunks count");

    let error = nodes[0].net.fetch(name, bytes.len() as u64, vec![id(2)]).await.unwrap_err();
    let Error::Fetch { faults, .. } = &error else { panic!("{error}") };
    assert!(matches!(faults[0], (who, HolderFault::BadChunk(_)) if who == id(2)), "{error}");
    drop(release);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrived_before_its_holders_were_gone_is_not_fetched_again() {
    let bytes = blob();
    let entry = entry(TransportKind::Tcp).await;
    let mut halves = Vec::new();
    let mut name = None;
    for (index, even) in [(1, true), (2, false)] {
        let blobs = MemoryBlobs::new(8 << 20);
        name = blobs.insert(bytes.clone());
        halves.push(with_source(index, Arc::new(Half { blobs, even }), 3, &entry).await);
    }
    let name = name.unwrap();
    let node = common::node(TransportKind::Tcp, 0, &ids(3), Some(&entry)).await;
    node.meets(2).await;

    let mut blob = Partial::new(name, bytes.len() as u64);
    node.net.fetch_rest(&mut blob, &watch::channel(vec![id(1)]).1).await.unwrap_err();
    let first = halves[0].net.traffic().blobs.sent;
    assert!(first >= 2 * CHUNK_BYTES as u64, "{first}");
    node.net.fetch_rest(&mut blob, &watch::channel(vec![id(1), id(2)]).1).await.unwrap();
    assert!(blob.into_bytes().unwrap() == bytes);
    assert_eq!(halves[0].net.traffic().blobs.sent, first, "what was here was asked for again");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_honest_holders_share_the_work() {
    let bytes = blob();
    let entry = entry(TransportKind::Quic).await;
    let nodes = swarm(TransportKind::Quic, 3, &entry).await;
    let name = nodes[1].blobs.insert(bytes.clone()).unwrap();
    nodes[2].blobs.insert(bytes.clone()).unwrap();
    nodes[0].meets(2).await;
    let got = nodes[0].net.fetch(name, bytes.len() as u64, vec![id(1), id(2)]).await.unwrap();
    assert!(got == bytes);
    for holder in &nodes[1..] {
        let sent = holder.net.traffic().blobs.sent;
        assert!(sent >= CHUNK_BYTES as u64, "{:?} served only {sent} bytes", holder.net.id());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_no_blob_until_it_is_a_member() {
    let entry = entry(TransportKind::Memory).await;
    let member = common::node(TransportKind::Memory, 0, &[], Some(&entry)).await;
    let name = member.blobs.insert(b"ours".to_vec()).unwrap();
    let stranger = common::node(TransportKind::Memory, 1, &[id(0)], Some(&entry)).await;
    stranger.meets(1).await;
    let error = stranger.net.fetch(name, 4, vec![id(0)]).await.unwrap_err();
    let Error::Fetch { faults, .. } = &error else { panic!("{error}") };
    assert_eq!(faults, &[(id(0), HolderFault::Refused)]);
    assert_eq!(member.net.traffic().blobs.sent, 0);

    member.net.set_members([id(1)]).await.unwrap();
    assert_eq!(stranger.net.fetch(name, 4, vec![id(0)]).await.unwrap(), b"ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_nobody_has_fails_with_each_holders_reason() {
    let entry = entry(TransportKind::Memory).await;
    let nodes = swarm(TransportKind::Memory, 2, &entry).await;
    nodes[0].meets(1).await;
    let name = BlobId::of(b"never seen");
    let error = nodes[0].net.fetch(name, 10, vec![id(1), id(8)]).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("{} does not have it", id(1).short())), "{text}");
    assert!(text.contains(&id(8).short()), "{text}");
    let error = nodes[0].net.fetch(name, 10, Vec::new()).await.unwrap_err();
    assert!(error.to_string().contains("no holder is known"), "{error}");
    let error = nodes[0].net.fetch(name, (64 << 20) + 1, vec![id(1)]).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_fetches_at_once_queue_up_and_all_succeed() {
    let entry = entry(TransportKind::Tcp).await;
    let nodes = swarm(TransportKind::Tcp, 2, &entry).await;
    nodes[0].meets(1).await;
    nodes[1].meets(1).await;
    let names: Vec<_> = (0..24u8).map(|i| nodes[1].blobs.insert(vec![i; 300_000]).unwrap()).collect();
    let fetches = names.iter().map(|name| nodes[0].net.fetch(*name, 300_000, vec![id(1)]));
    for (i, got) in futures::future::join_all(fetches).await.into_iter().enumerate() {
        assert!(got.unwrap().iter().all(|b| usize::from(*b) == i));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_of_one_chunk_is_fetched_without_the_list_of_its_chunks() {
    let entry = entry(TransportKind::Memory).await;
    let nodes = swarm(TransportKind::Memory, 2, &entry).await;
    nodes[0].meets(1).await;
    let bytes = vec![7; 1000];
    let name = nodes[1].blobs.insert(bytes.clone()).unwrap();
    assert_eq!(nodes[0].net.fetch(name, 1000, vec![id(1)]).await.unwrap(), bytes);
    assert_eq!(nodes[0].net.traffic().blobs.received, 1000);
}
