//! A fetcher that is killed half-way: what it had is not fetched again.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fedswarm_network::{BlobId, CHUNK_BYTES, MemoryBlobs, Multiaddr, Partial, TransportKind};
use fedswarm_protocol::hash::Stream;
use tokio::sync::watch;

use crate::common::{id, start_with};
use crate::links::{Link, member, plays, told_to_go};
use crate::world::{Needs, World, within};

const TEST: &str = "resumed::a_fetcher_that_is_killed_half_way_fetches_the_rest_only";

/// The largest blob there may be.
const LEN: usize = 64 << 20;

const HOLDERS: usize = 4;

fn blob() -> Vec<u8> {
    let mut stream = Stream::new("64 MiB", &[]);
    (0..LEN / 8).flat_map(|_| stream.next_u64().to_le_bytes()).collect()
}

/// Serves the blob until it is told to go.
async fn holder(index: usize) {
    let blobs = Arc::new(MemoryBlobs::new(2 * LEN));
    let name = blobs.insert(blob()).unwrap();
    let (net, _events) = fedswarm_network::start(member(TransportKind::Tcp, index, 1 + HOLDERS), blobs).await.unwrap();
    println!("HOLDS {} {}", name.0, net.full_addrs().await.remove(0));
    told_to_go().await;
    println!("SENT {}", net.traffic().blobs.sent);
}

/// Fetches it, and prints how much it has as it goes.
async fn fetcher(part: &str, name: &str, holders: &[&str]) {
    let name = BlobId(fedswarm_protocol::hash::Digest::from_hex(name).unwrap());
    let mut config = member(TransportKind::Tcp, 0, 1 + HOLDERS);
    config.limits.fetch_window = 4;
    let node = start_with(config).await;
    for addr in holders {
        node.net.dial(addr.parse::<Multiaddr>().unwrap()).await.unwrap();
    }
    node.meets(HOLDERS).await;
    let mut blob = Partial::kept(name, LEN as u64, Path::new(part));
    println!("HAS {}", blob.fetched());
    let (_, holders) = watch::channel((1..=HOLDERS).map(id).collect());
    let fetched = {
        let fetching = node.net.fetch_rest(&mut blob, &holders);
        let mut fetching = std::pin::pin!(fetching);
        loop {
            tokio::select! {
                done = &mut fetching => break done,
                () = tokio::time::sleep(Duration::from_millis(2)) => println!("GOT {}", node.net.traffic().blobs.received),
            }
        }
    };
    fetched.unwrap();
    println!("DONE {}", node.net.traffic().blobs.received);
    assert_eq!(BlobId::of(&blob.into_bytes().unwrap()), name);
}

async fn play(role: &[&str]) {
    match role {
        ["holder", index] => holder(index.parse().unwrap()).await,
        ["fetcher", part, name, holders @ ..] => fetcher(part, name, holders).await,
        _ => panic!("{role:?}"),
    }
}

#[test]
fn a_fetcher_that_is_killed_half_way_fetches_the_rest_only() {
    if !plays(async |role| play(role).await) {
        within(TEST, Needs::Namespaces, is_resumed);
    }
}

fn is_resumed(world: &World) {
    let number = |text: String| text.parse::<u64>().unwrap();
    let start = |index: usize| Link::start(TEST, world, index, &["holder", &index.to_string()]);
    let mut holders: Vec<Link> = (1..=HOLDERS).map(start).collect();
    let held: Vec<String> = holders.iter_mut().map(|holder| holder.next("HOLDS")).collect();
    let (names, addrs): (Vec<&str>, Vec<&str>) = held.iter().filter_map(|text| text.split_once(' ')).unzip();
    let folder = tempfile::tempdir().unwrap();
    let part = folder.path().join("part");
    let role = [&["fetcher", part.to_str().unwrap(), names[0]], &addrs[..]].concat();

    let mut killed = Link::start(TEST, world, 0, &role);
    let half = killed.after("GOT").map(number).find(|got| *got >= LEN as u64 / 2).expect("half of it");
    killed.kill();
    let began = Instant::now();
    let mut again = Link::start(TEST, world, 0, &role);
    let (had, rest) = (number(again.next("HAS")), number(again.next("DONE")));
    again.ends();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "64 MiB from {HOLDERS} holders: killed at {:.1} MiB, {:.1} MiB were here after it, {:.1} MiB fetched in {:.1} s",
        mib(half),
        mib(had),
        mib(rest),
        began.elapsed().as_secs_f64()
    );
    // What was on its way when the kill came may be lost: four chunks of the window, and one in each hand.
    assert!(had + 6 * CHUNK_BYTES as u64 >= half, "{had} of {half} bytes were here after the kill");
    assert!(had + rest <= LEN as u64 + (4 * CHUNK_BYTES) as u64, "{rest} bytes were fetched after {had} were here");
    holders.iter_mut().for_each(Link::go);
    let sent: u64 = holders.iter_mut().map(|holder| number(holder.next("SENT"))).sum();
    assert!(sent <= LEN as u64 + (12 * CHUNK_BYTES) as u64, "{sent} bytes were served in all");
}
