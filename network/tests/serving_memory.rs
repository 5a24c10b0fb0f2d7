//! What serving payloads costs in memory when everybody asks at once. The holder is a process of its own: this test program,
//! started again for one test only.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{config, id, ids, start_with};
use fedswarm_network::{BlobId, BlobSource, CHUNK_BYTES, Limits, Multiaddr, Partial, TransportKind, chunk_hashes};
use fedswarm_protocol::hash::{Digest, Stream};
use tokio::sync::watch;

/// Where the inner run finds the payload.
const INSIDE: &str = "FEDSWARM_TEST_PAYLOAD";

/// A payload on disk, read chunk by chunk as it is served.
struct OnDisk {
    file: File,
    id: BlobId,
    hashes: Vec<Digest>,
    len: u64,
}

impl OnDisk {
    fn open(path: &PathBuf) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let hashes = chunk_hashes(&bytes);
        let len = bytes.len() as u64;
        Self { file: File::open(path).unwrap(), id: BlobId::of_chunks(len, &hashes), hashes, len }
    }
}

impl BlobSource for OnDisk {
    fn chunk_hashes(&self, id: &BlobId) -> Option<Vec<Digest>> {
        (*id == self.id).then(|| self.hashes.clone())
    }

    fn chunk(&self, id: &BlobId, index: u32) -> Option<Vec<u8>> {
        let start = u64::from(index) * CHUNK_BYTES as u64;
        let len = self.len.checked_sub(start).filter(|_| *id == self.id)?.min(CHUNK_BYTES as u64);
        let mut chunk = vec![0; len as usize];
        self.file.read_exact_at(&mut chunk, start).ok()?;
        Some(chunk)
    }
}

/// Bytes that this process has held at most, and holds, as the kernel counts them.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
}

/// The holder: serves until its input ends, then says what it held.
async fn hold(path: PathBuf, askers: usize) {
    let source = Arc::new(OnDisk::open(&path));
    let config = config(TransportKind::Tcp, 0, &ids(1 + askers), None);
    let (net, mut events) = fedswarm_network::start(config, source).await.unwrap();
    println!("\nAT {}", net.full_addrs().await.remove(0));
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    let line = |what: &str| println!("\n{what} {}", memory(if what == "IDLE" { "VmRSS" } else { "VmHWM" }));
    let mut input = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()).unwrap());
    (&mut input).await.unwrap();
    // The payload was read once, to name it; what counts is what serving adds.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    line("IDLE");
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()).unwrap()).await.unwrap();
    line("PEAK");
    println!("SERVED {}", net.traffic().blobs.sent);
}

/// So many members, each in this process, ask one holder for the same payload at once.
async fn measure(test: &str, askers: usize, mib: usize) {
    if let Some(path) = std::env::var_os(INSIDE) {
        return hold(path.into(), askers).await;
    }
    let mut stream = Stream::new("payload", &[]);
    let bytes: Vec<u8> = (0..(mib << 20) / 8).flat_map(|_| stream.next_u64().to_le_bytes()).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("payload");
    std::fs::write(&path, &bytes).unwrap();
    let (name, len) = (BlobId::of(&bytes), bytes.len() as u64);
    drop(bytes);
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--include-ignored", "--nocapture"])
        // What is asked is what serving holds, not what the allocator keeps for each thread that once held it.
        .env("MALLOC_ARENA_MAX", "1")
        .env(INSIDE, &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = holder.stdin.take().unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut next = |word: &str| lines.find_map(|line| line.strip_prefix(word).map(str::to_owned)).unwrap();
    let addr: Multiaddr = next("AT ").parse().unwrap();
    let mut nodes = Vec::new();
    for index in 1..=askers {
        let mut config = config(TransportKind::Tcp, index, &[id(0)], None);
        config.tempo.blob_timeout = Duration::from_secs(60);
        let node = start_with(config).await;
        node.net.dial(addr.clone()).await.unwrap();
        nodes.push(node);
    }
    for node in &nodes {
        node.meets(1).await;
    }
    writeln!(input).unwrap();
    let idle: u64 = next("IDLE ").parse().unwrap();
    let began = Instant::now();
    // What has arrived is checked and let go: this process would hold all of it at once otherwise.
    let fetches: Vec<_> = nodes
        .iter()
        .map(|node| {
            let net = node.net.clone();
            tokio::spawn(async move {
                // As a node does: whoever was told fifty times that the holder is busy asks again for what is missing.
                let (mut blob, mut given_up) = (Partial::new(name, len), 0_u32);
                let (_, holder) = watch::channel(vec![id(0)]);
                while net.fetch_rest(&mut blob, &holder).await.is_err() {
                    given_up += 1;
                    assert!(given_up < 20, "the holder never has time");
                }
                given_up
            })
        })
        .collect();
    let mut given_up = 0;
    for fetch in fetches {
        given_up += fetch.await.unwrap();
    }
    let took = began.elapsed();
    writeln!(input).unwrap();
    let peak: u64 = next("PEAK ").parse().unwrap();
    let served: u64 = next("SERVED ").parse().unwrap();
    assert!(holder.wait().unwrap().success());
    let in_mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{askers} members ask one for a payload of {mib} MiB at once: {:.0} MiB served in {:.1} s; its memory {:.0} MiB, at most {:.0} MiB; \
         {given_up} times it was too busy for somebody for 25 s",
        in_mib(served),
        took.as_secs_f64(),
        in_mib(idle),
        in_mib(peak)
    );
    assert!(served >= len * askers as u64);
    let bound = bound(askers);
    assert!(
        peak.saturating_sub(idle) <= bound,
        "serving took {:.0} MiB, more than {:.0}",
        in_mib(peak - idle),
        in_mib(bound)
    );
}

/// What serving may hold beside the payload itself: every chunk that is served at once twice, as it was read and as it is sent;
/// and 512 KiB for each connection: yamux' windows begin at 256, and what is encrypted waits once more for the socket.
fn bound(askers: usize) -> u64 {
    let limits = Limits::default();
    ((2 * limits.blob_requests_served + 8) * CHUNK_BYTES + askers * (512 << 10)) as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_that_ask_at_once_are_served_within_the_bound() {
    measure("sixteen_that_ask_at_once_are_served_within_the_bound", 16, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a minute, 4 GiB of memory for the askers: serving_memory --ignored --nocapture"]
async fn sixty_four_that_ask_for_the_largest_payload_are_served_within_the_bound() {
    measure("sixty_four_that_ask_for_the_largest_payload_are_served_within_the_bound", 64, 64).await;
}
