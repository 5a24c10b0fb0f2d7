//! A fetcher that is killed half-way: what it had is not fetched again.
//!
//! The fetcher is a process of its own: this test program, started again for one test only.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{config, id, ids, start_with};
use fedswarm_network::{BlobId, CHUNK_BYTES, MemoryBlobs, Multiaddr, Partial, TransportKind};
use fedswarm_protocol::hash::{Digest, Stream};
use tokio::sync::watch;

/// The largest blob there may be.
const LEN: usize = 64 << 20;

const HOLDERS: usize = 4;

/// What the inner run needs to know: where to keep the part, the blob's name, and the holders' addresses.
const INSIDE: [&str; 3] = ["FEDSWARM_TEST_PART", "FEDSWARM_TEST_BLOB", "FEDSWARM_TEST_HOLDERS"];

/// The fetcher: prints how much it has as it goes.
async fn fetch(part: &str) {
    let [_, name, addrs] = INSIDE.map(|name| std::env::var(name).unwrap());
    let id_of = BlobId(Digest::from_hex(&name).unwrap());
    let mut config = config(TransportKind::Tcp, 0, &ids(1 + HOLDERS), None);
    config.limits.fetch_window = 4;
    let node = start_with(config).await;
    for addr in addrs.split(',') {
        node.net.dial(addr.parse::<Multiaddr>().unwrap()).await.unwrap();
    }
    node.meets(HOLDERS).await;
    let mut blob = Partial::kept(id_of, LEN as u64, Path::new(part));
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
    assert_eq!(BlobId::of(&blob.into_bytes().unwrap()), id_of);
}

fn fetcher(part: &Path, name: BlobId, addrs: &[String]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_fetcher_that_is_killed_half_way_fetches_the_rest_only", "--nocapture"]);
    command.env(INSIDE[0], part).env(INSIDE[1], name.0.to_string()).env(INSIDE[2], addrs.join(","));
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// The numbers behind this word, as the fetcher prints them.
fn numbers<'a>(lines: &'a mut impl Iterator<Item = String>, word: &'a str) -> impl Iterator<Item = u64> + 'a {
    lines.filter_map(move |line| line.split_once(word)?.1.trim().parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetcher_that_is_killed_half_way_fetches_the_rest_only() {
    if let Ok(part) = std::env::var(INSIDE[0]) {
        return fetch(&part).await;
    }
    let mut stream = Stream::new("64 MiB", &[]);
    let bytes: Vec<u8> = (0..LEN / 8).flat_map(|_| stream.next_u64().to_le_bytes()).collect();
    let name = BlobId::of(&bytes);
    let (mut holders, mut addrs) = (Vec::new(), Vec::new());
    for index in 1..=HOLDERS {
        let blobs = std::sync::Arc::new(MemoryBlobs::new(2 * LEN));
        blobs.insert(bytes.clone()).unwrap();
        let config = config(TransportKind::Tcp, index, &ids(1 + HOLDERS), None);
        let (net, events) = fedswarm_network::start(config, blobs).await.unwrap();
        addrs.push(net.full_addrs().await.remove(0).to_string());
        holders.push((net, events));
    }
    let folder = tempfile::tempdir().unwrap();
    let part = folder.path().join("part");
    let told = part.clone();
    let (first, second, took) = tokio::task::spawn_blocking(move || {
        let mut killed = fetcher(&told, name, &addrs);
        let mut lines = BufReader::new(killed.stdout.take().unwrap()).lines().map_while(Result::ok);
        let half = numbers(&mut lines, "GOT ").find(|got| *got >= LEN as u64 / 2).expect("half of it");
        killed.kill().unwrap();
        killed.wait().unwrap();
        let began = Instant::now();
        let mut again = fetcher(&told, name, &addrs);
        let mut lines = BufReader::new(again.stdout.take().unwrap()).lines().map_while(Result::ok);
        let had = numbers(&mut lines, "HAS ").next().expect("what is here");
        let rest = numbers(&mut lines, "DONE ").next().expect("the rest");
        assert!(again.wait().unwrap().success());
        (half, (had, rest), began.elapsed())
    })
    .await
    .unwrap();
    let (had, rest) = second;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "64 MiB from {HOLDERS} holders: killed at {:.1} MiB, {:.1} MiB were here after it, {:.1} MiB fetched in {:.1} s",
        mib(first),
        mib(had),
        mib(rest),
        took.as_secs_f64()
    );
    // What was on its way when the kill came may be lost: four chunks of the window, and one in each hand.
    assert!(had + 6 * CHUNK_BYTES as u64 >= first, "{had} of {first} bytes were here after the kill");
    assert!(had + rest <= LEN as u64 + (4 * CHUNK_BYTES) as u64, "{rest} bytes were fetched after {had} were here");
    let sent: u64 = holders.iter().map(|(net, _)| net.traffic().blobs.sent).sum();
    assert!(sent <= LEN as u64 + (12 * CHUNK_BYTES) as u64, "{sent} bytes were served in all");
}
