//! Nodes behind routers that translate addresses, each a process in a network namespace of its own: which pairs punch a hole,
//! how long it takes, and what reaches those that cannot. The nodes are this test program, started again.
//!
//! `tests/processes/nat.rs` and `symmetric_nat.rs` do the same with whole nodes and rounds.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "../../tests/processes/internet.rs"]
mod internet;
#[path = "common/places.rs"]
mod network;
#[path = "../../tests/processes/world.rs"]
#[allow(dead_code)]
mod world;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use common::{Node, config, id, ids, secret, start_with};
use fedswarm_network::entry::{Entry, EntryConfig, RelayLimits};
use fedswarm_network::{BlobId, Event, Limits, NodeId, Relaying, Tempo, Topic, TransportKind};
use internet::{Internet, Nat};
use network::Place as _;
use world::{Needs, alone};

/// Which process this is: `entry`, or a node's number and how many there are.
const ROLE: &str = "FEDSWARM_TEST_ROLE";
/// Where it listens, and where the entry point is.
const LISTEN: &str = "FEDSWARM_TEST_LISTEN";
const ENTRY: &str = "FEDSWARM_TEST_ENTRY";

/// Lines that wait to be read; more, and the processes wait.
const LINES: usize = 4096;

/// Anything that takes longer has failed.
const LONG: Duration = Duration::from_secs(90);

fn addresses(name: &str) -> Vec<fedswarm_network::Multiaddr> {
    let text = std::env::var(name).unwrap();
    text.split(',').filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()).collect()
}

/// A payload of this node: more than a relay would like to carry.
fn payload(index: usize) -> Vec<u8> {
    (0..2_500_000_u32).map(|i| (i / 3) as u8 ^ index as u8).collect()
}

async fn entry() {
    let config = EntryConfig {
        secret: secret(1_000_000),
        listen: addresses(LISTEN),
        external: Vec::new(),
        relay: Some(RelayLimits::default()),
        probe: true,
        lists: fedswarm_network::AccessLists::default(),
        limits: Limits::default(),
        tempo: Tempo::default(),
    };
    let entry = Entry::start(config).await.unwrap();
    let addrs: Vec<String> = entry.addrs().iter().map(ToString::to_string).collect();
    println!("ENTRY {}", addrs.join(","));
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        println!("STATS {:?} received {}", entry.stats().await, entry.traffic().received);
    }
}

/// A node: tells how it reaches the others, gossips its number every second, and fetches everybody's payload from whoever has
/// it; what it has it serves.
async fn node(index: usize, count: usize) {
    let mut config = config(TransportKind::TcpAndQuic, index, &ids(count), None);
    config.listen = addresses(LISTEN);
    config.bootstraps = addresses(ENTRY);
    config.reach.relay = Relaying::Auto;
    config.tempo = Tempo::default();
    let mut node = start_with(config).await;
    println!("STARTED");
    node.blobs.insert(payload(index)).unwrap();
    for author in (0..count).filter(|author| *author != index) {
        tokio::spawn(fetch(node.net.clone(), node.blobs.clone(), author, count));
    }
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut beat = 0_u64;
    loop {
        tokio::select! {
            _ = tick.tick() => {
                beat += 1;
                drop(node.net.publish(Topic::Update, format!("{index} {beat}").into_bytes()).await);
                let reach = node.net.reachability().await;
                println!("REACH {}: punched {}, not punched {}, relayed {:?}",
                    reach.verdict(), reach.punched, reach.not_punched, node.net.traffic().relayed);
                for other in (0..count).filter(|other| *other != index) {
                    let net = node.net.clone();
                    tokio::spawn(async move { drop(net.send(id(other), format!("{index} {beat}").into_bytes()).await) });
                }
            }
            event = node.events.recv() => tell(&node, event.unwrap(), count),
        }
    }
}

fn place(peer: NodeId, count: usize) -> Option<usize> {
    (0..count).find(|index| id(*index) == peer)
}

fn tell(node: &Node, event: Event, count: usize) {
    match event {
        Event::Path { peer, path } => println!("PATH {} {}", place(peer, count).unwrap(), path.name()),
        Event::Disconnected(peer) => place(peer, count).into_iter().for_each(|other| println!("GONE {other}")),
        Event::Gossip { token, data, .. } => {
            node.net.report(token, fedswarm_network::Acceptance::Accept);
            println!("GOSSIP {}", String::from_utf8_lossy(&data));
        }
        Event::Direct { data, .. } => println!("DIRECT {}", String::from_utf8_lossy(&data)),
        _ => {}
    }
}

async fn fetch(
    net: fedswarm_network::Network,
    blobs: std::sync::Arc<fedswarm_network::MemoryBlobs>,
    author: usize,
    count: usize,
) {
    let bytes = payload(author);
    let (name, len) = (BlobId::of(&bytes), bytes.len() as u64);
    // The author is asked first, as in a round; later, whoever has it as well.
    loop {
        let mut holders = vec![id(author)];
        holders.extend(ids(count));
        match net.fetch(name, len, holders).await {
            Ok(bytes) => {
                blobs.insert(bytes).unwrap();
                return println!("BLOB {author}");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(300)).await,
        }
    }
}

/// Whether this run is one of the processes; then it never comes back.
fn is_process() -> bool {
    let Ok(role) = std::env::var(ROLE) else { return false };
    // The test program has begun a line with its name.
    println!();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match role.split_once(' ') {
        Some((index, count)) => runtime.block_on(node(index.parse().unwrap(), count.parse().unwrap())),
        None => runtime.block_on(entry()),
    }
    true
}

struct Swarm {
    processes: Vec<Child>,
    lines: Receiver<(usize, Instant, String)>,
    seen: Vec<(usize, Instant, String)>,
}

impl Drop for Swarm {
    fn drop(&mut self) {
        for process in &mut self.processes {
            drop(process.kill());
            drop(process.wait());
        }
    }
}

impl Swarm {
    /// An entry point, and a node on every host; the entry point is the last process.
    fn start(test: &str, internet: &Internet, count: usize) -> Self {
        let (sender, lines) = sync_channel(LINES);
        let mut swarm = Self { processes: Vec::new(), lines, seen: Vec::new() };
        let entry = swarm.spawn(test, internet, count, &[(ROLE, "entry".to_owned())], &sender);
        let addrs = swarm.wait("an entry point", |node, line| {
            (node == count).then(|| line.strip_prefix("ENTRY ")).flatten().map(str::to_owned)
        });
        for index in 0..count {
            let role = [(ROLE, format!("{index} {count}")), (ENTRY, addrs.clone())];
            let process = swarm.spawn(test, internet, index, &role, &sender);
            swarm.processes.push(process);
        }
        swarm.processes.push(entry);
        swarm
    }

    fn spawn(
        &self,
        test: &str,
        internet: &Internet,
        number: usize,
        env: &[(&str, String)],
        sender: &SyncSender<(usize, Instant, String)>,
    ) -> Child {
        let wrapper = internet.wrapper(number);
        let mut command = Command::new(&wrapper[0]);
        command.args(&wrapper[1..]).arg(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--include-ignored", "--nocapture", "--test-threads", "1"]);
        command.env(LISTEN, internet.listen(number).join(",")).envs(env.iter().map(|(name, value)| (*name, value)));
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdout, sender) = (process.stdout.take().unwrap(), sender.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send((number, Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        process
    }

    /// Reads lines until this makes something of one.
    fn wait<T>(&mut self, what: &str, mut pick: impl FnMut(usize, &str) -> Option<T>) -> T {
        let until = Instant::now() + LONG;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else { panic!("waited in vain for {what}: {}", self.last()) };
            let picked = pick(line.0, &line.2);
            self.seen.push(line);
            if let Some(picked) = picked {
                return picked;
            }
        }
    }

    /// Reads lines until this holds of all, at most so long. True if it does.
    fn until(&mut self, patience: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let until = Instant::now() + patience;
        while !holds(self) {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                Err(_) => return false,
            }
        }
        true
    }

    /// The last words of each process.
    fn last(&self) -> String {
        let of = |number: usize| self.seen.iter().rev().filter(move |(n, ..)| *n == number).take(4);
        let told = |number: usize| of(number).map(|(_, _, line)| format!("\n  {number}: {line}")).collect::<String>();
        (0..=self.processes.len()).map(told).collect()
    }

    /// How each node reaches each other one, since when.
    fn paths(&self) -> BTreeMap<(usize, usize), (String, Instant)> {
        let mut paths = BTreeMap::new();
        for (node, at, line) in &self.seen {
            let mut words = line.split(' ');
            match (words.next(), words.next().and_then(|word| word.parse::<usize>().ok()), words.next()) {
                (Some("PATH"), Some(other), Some(path)) => _ = paths.insert((*node, other), (path.to_owned(), *at)),
                (Some("GONE"), Some(other), _) => _ = paths.remove(&(*node, other)),
                _ => {}
            }
        }
        paths
    }

    /// The path of a pair, when both have said so, and since when.
    fn path(&self, (a, b): (usize, usize)) -> Option<(String, Instant)> {
        let paths = self.paths();
        let (one, other) = (paths.get(&(a, b))?, paths.get(&(b, a))?);
        let worst = ["relayed", "punched", "direct"].into_iter().find(|path| one.0 == *path || other.0 == *path)?;
        Some((worst.to_owned(), one.1.max(other.1)))
    }

    /// Lines of this kind since a moment, as (who says it, the number in it).
    fn heard(&self, word: &str, since: usize) -> Vec<(usize, usize)> {
        let number = |line: &str| line.strip_prefix(word)?.trim().split(' ').next()?.parse().ok();
        self.seen[since..].iter().filter_map(|(node, _, line)| Some((*node, number(line)?))).collect()
    }

    /// Whether everybody has heard everybody by this kind of line since then.
    fn all_heard(&self, word: &str, since: usize, count: usize) -> bool {
        let heard = self.heard(word, since);
        (0..count).all(|a| (0..count).all(|b| a == b || heard.contains(&(a, b))))
    }

    fn started(&self, number: usize) -> Instant {
        self.seen.iter().find(|(node, _, line)| *node == number && line == "STARTED").unwrap().1
    }

    fn print(&self, pairs: &[(usize, usize)]) {
        let mut table: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for pair in pairs {
            let (path, at) = self.path(*pair).unwrap_or(("none".to_owned(), Instant::now()));
            let start = self.started(pair.0).max(self.started(pair.1));
            table.entry(path).or_default().push(at.saturating_duration_since(start).as_secs_f64());
        }
        println!("| path | pairs | median, s after the later start | last, s |\n| --- | --- | --- | --- |");
        for (path, times) in &mut table {
            times.sort_by(f64::total_cmp);
            println!("| {path} | {} | {:.1} | {:.1} |", times.len(), times[times.len() / 2], times[times.len() - 1]);
        }
        for number in 0..self.processes.len() {
            let last = self.seen.iter().rev().find(|(n, _, line)| *n == number && line.contains(": punched"));
            last.iter().for_each(|(_, _, line)| println!("node {number}: {line}"));
        }
        let stats = self.seen.iter().rev().find(|(_, _, line)| line.starts_with("STATS"));
        stats.iter().for_each(|(_, _, line)| println!("{line}"));
    }
}

#[test]
#[ignore = "a hole may take a minute to punch; cargo test --release --workspace --test nat -- --ignored --nocapture"]
fn holes_are_punched_between_three_sites_and_the_relay_may_go() {
    if is_process() {
        return;
    }
    let test = "holes_are_punched_between_three_sites_and_the_relay_may_go";
    alone(test, Needs::Translation, || {
        let internet = Internet::new(&[(Nat::FullCone, 2), (Nat::PortRestricted, 2), (Nat::PortRestricted, 2)]);
        let count = 6;
        let pairs = internet.pairs();
        let mut swarm = Swarm::start(test, &internet, count);
        let straight = |swarm: &Swarm| {
            pairs.iter().filter(|pair| swarm.path(**pair).is_some_and(|(path, _)| path != "relayed")).count()
        };
        swarm.until(LONG, |swarm| straight(swarm) == pairs.len());
        swarm.until(LONG, |swarm| swarm.all_heard("BLOB ", 0, count));
        swarm.print(&pairs);
        assert!(swarm.all_heard("BLOB ", 0, count), "{}", swarm.last());
        assert_eq!(straight(&swarm), pairs.len(), "not all pairs were punched: {}", swarm.last());
        let mut entry = swarm.processes.pop().unwrap();
        entry.kill().unwrap();
        entry.wait().unwrap();
        // A relayed connection stays beside a punched one for some seconds; what counts is what comes afterwards.
        std::thread::sleep(Duration::from_secs(5));
        swarm.until(Duration::ZERO, |_| false);
        let since = swarm.seen.len();
        assert!(swarm.until(LONG, |swarm| swarm.all_heard("DIRECT ", since, count)), "{}", swarm.last());
        assert!(swarm.until(LONG, |swarm| swarm.all_heard("GOSSIP ", since, count)), "{}", swarm.last());
        assert_eq!(straight(&swarm), pairs.len(), "without the relay, pairs are apart");
        println!("without the relay, everybody still hears everybody");
    });
}

#[test]
#[ignore = "a hole may take a minute to punch; cargo test --release --workspace --test nat -- --ignored --nocapture"]
fn sites_behind_symmetric_nats_stay_relayed_and_get_payloads_another_way() {
    if is_process() {
        return;
    }
    let test = "sites_behind_symmetric_nats_stay_relayed_and_get_payloads_another_way";
    alone(test, Needs::Translation, || {
        let internet = Internet::new(&[(Nat::Symmetric, 2), (Nat::Symmetric, 2), (Nat::Public, 1)]);
        let count = 5;
        let pairs = internet.pairs();
        let mut swarm = Swarm::start(test, &internet, count);
        let met = |swarm: &Swarm| pairs.iter().all(|pair| swarm.path(*pair).is_some());
        assert!(swarm.until(LONG, met), "they have not all met: {}", swarm.last());
        let whole = swarm.until(LONG, |swarm| swarm.all_heard("BLOB ", 0, count));
        swarm.print(&pairs);
        assert!(whole, "not all payloads arrived: {}", swarm.last());
        let since = swarm.seen.len();
        assert!(swarm.until(LONG, |swarm| swarm.all_heard("DIRECT ", since, count)), "{}", swarm.last());
        assert!(swarm.until(LONG, |swarm| swarm.all_heard("GOSSIP ", since, count)), "{}", swarm.last());
        // With the public host, whoever was met through the relay gets off it; between symmetric NATs that is not to be had.
        let as_it_should = |swarm: &Swarm, pair: &(usize, usize)| {
            let both = [pair.0, pair.1].iter().all(|node| internet.nat_of(*node) == Nat::Symmetric);
            swarm.path(*pair).is_some_and(|(path, _)| (path == "relayed") == both)
        };
        swarm.until(LONG, |swarm| pairs.iter().all(|pair| as_it_should(swarm, pair)));
        for pair in &pairs {
            assert!(as_it_should(&swarm, pair), "{pair:?}: {:?}", swarm.path(*pair));
        }
    });
}
