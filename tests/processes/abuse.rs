//! Two hundred keys that nobody invited, at eight places, all at one node.

use std::path::Path;
use std::time::{Duration, Instant};

use fedswarm_protocol::envelope::{Kind, Slot, seal};
use fedswarm_protocol::hash::{Digest, Stream, hash};
use fedswarm_protocol::keys::SecretKey;
use fedswarm_protocol::message::{Message, UpdateHeader};
use fedswarm_protocol::update::UpdateCodec;
use futures::StreamExt;
use libp2p::kad::{Quorum, Record, RecordKey};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Swarm};
use tokio::io::AsyncWriteExt;

use crate::evil::{self, Attack};
use crate::links::{Link, plays, told};
use crate::network::{Founded, Place, Run};
use crate::scrape::{get, value, values};
use crate::world::{Needs, World, within_of};

const TEST: &str = "abuse::two_hundred_uninvited_keys_at_one_node_do_not_hold_up_the_others";

const NODES: usize = 5;
const ATTACKERS: u64 = 200;

/// Hosts from which they attack, each in a network of its own: neighbours are counted together.
const PLACES: usize = 8;

/// Rounds whose time is measured, before and during the attack.
const ROUNDS: usize = 25;

/// The attack lasts at least as long, so that whoever is banned has come back with nothing but its key.
const AT_LEAST: Duration = Duration::from_secs(30);

/// On a busy machine attackers take their time to get through.
const AT_MOST: Duration = Duration::from_secs(90);

const SLOWER: f64 = 1.5;
const MEMORY: u64 = 256 << 20;

/// The attackers' hosts, after the nodes' and the entry point's; there they have less of a right to the processor than nodes have.
struct Outside<'a>(&'a World);

impl Outside<'_> {
    const FIRST: usize = NODES + 1;

    /// Starts all attackers of one node.
    fn attack(&self, victim: &str, network: &Digest) -> Vec<Link> {
        let keys = ATTACKERS / PLACES as u64;
        let start = |place: usize| {
            let number = Self::FIRST + place;
            // From the block for measurements of networks, so that it is nobody's.
            self.0.renumber(number, &format!("198.18.{place}.1"));
            let first = (place as u64 * keys).to_string();
            let role = ["attackers", &first, &keys.to_string(), victim, &network.to_string()];
            Link::start(TEST, self, number, &role)
        };
        (0..PLACES).map(start).collect()
    }
}

impl Place for Outside<'_> {
    fn wrapper(&self, number: usize) -> Vec<String> {
        [self.0.wrapper(number), ["nice", "-n", "5"].map(str::to_owned).to_vec()].concat()
    }

    fn listen(&self, _: usize) -> Vec<String> {
        Vec::new()
    }
}

/// Reads the metrics of a node where it lives: nobody else can.
struct Reader(Link);

impl Reader {
    fn start(world: &World, run: &Run<'_>, node: usize) -> Self {
        Self(Link::start(TEST, world, node, &["reader", &run.metrics(node)]))
    }

    fn get(&mut self, path: &str) -> (u16, String) {
        self.0.tell(path);
        serde_json::from_str(&self.0.next("PAGE")).unwrap()
    }

    fn metrics(&mut self) -> String {
        self.get("/metrics").1
    }
}

/// The other side of it.
async fn read(addr: &str) {
    loop {
        let path = told().await;
        println!("PAGE {}", serde_json::to_string(&get(addr, &path)).unwrap());
    }
}

/// What a process holds for itself, in bytes: memory that it shares with others counts in parts.
fn memory(pid: u32) -> u64 {
    let file = Path::new("/proc").join(pid.to_string()).join("smaps_rollup");
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() << 10
}

/// The median time of at least so many rounds from here on, as a node certifies them, and the most memory of the node meanwhile.
fn measure(run: &Run<'_>, node: usize, mut go_on: impl FnMut() -> bool) -> (f64, u64) {
    let (mut cursor, mut most) = (run.journal.len(), 0);
    let (mut last, mut times) = (None, Vec::new());
    while times.len() < ROUNDS || go_on() {
        let at = run.journal.next("a certificate", &mut cursor, |seen| {
            (seen.node == node && seen.certified().is_some()).then_some(seen.at)
        });
        if let Some(last) = last.replace(at) {
            times.push(at.duration_since(last).as_secs_f64());
        }
        most = most.max(memory(run.pid(node)));
    }
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], most)
}

#[test]
#[ignore = "two minutes, compares times; makes docs/results/network.md: processes abuse::two --ignored --nocapture"]
fn two_hundred_uninvited_keys_at_one_node_do_not_hold_up_the_others() {
    if !plays(async |role| play(role).await) {
        within_of(Outside::FIRST + PLACES, TEST, Needs::Processes, do_not_hold_up_the_others);
    }
}

async fn play(role: &[&str]) {
    match role {
        ["reader", addr] => read(addr).await,
        ["attackers", first, keys, victim, network] => {
            let (first, keys): (u64, u64) = (first.parse().unwrap(), keys.parse().unwrap());
            attackers(first..first + keys, &victim.parse().unwrap(), Digest::from_hex(network).unwrap()).await;
        }
        _ => panic!("{role:?}"),
    }
}

fn do_not_hold_up_the_others(world: &World) {
    let mut founded = Founded::of(NODES, 0, 500).with("metrics = \"127.0.0.1:0\"");
    let run = founded.start(world, |_| None);
    let all: Vec<usize> = (0..NODES).collect();
    run.journal.each("a few rounds", &all, |seen| seen.certified() >= Some(4));
    let mut readers: Vec<Reader> = all.iter().map(|node| Reader::start(world, &run, *node)).collect();
    let (before, quiet) = measure(&run, 0, || false);

    let attackers = Outside(world).attack(&run.address(0), run.network());
    let began = Instant::now();
    let victim = &mut readers[0];
    while value(&victim.metrics(), "fedswarm_bans_total") < 1.0 {
        assert!(began.elapsed() < Duration::from_secs(60), "nobody attacks");
        std::thread::sleep(Duration::from_millis(100));
    }
    let sent_away = |page: &str| value(page, "fedswarm_bans_total") + value(page, "fedswarm_connections_denied_total");
    // Of all kinds of attack, the slow one is seen last: its streams have to time out first.
    let all_seen = |page: &str| {
        let faults = values(page, "fedswarm_faults_total");
        faults.iter().any(|(kind, count)| kind == "stalled" && *count > 0.0)
    };
    let began = Instant::now();
    let (during, most) = measure(&run, 0, || {
        let page = victim.metrics();
        let long = began.elapsed() >= AT_LEAST;
        !long || began.elapsed() < AT_MOST && (sent_away(&page) < ATTACKERS as f64 || !all_seen(&page))
    });
    let page = victim.metrics();
    assert!(sent_away(&page) >= ATTACKERS as f64 / 2.0, "that was no attack: {}", sent_away(&page));
    drop(attackers);

    let faults = values(&page, "fedswarm_faults_total");
    let of = |name| value(&page, name);
    println!(
        "round time {before:.3} s before and {during:.3} s during the attack ({:.2}x); memory {} MiB before, at most {} MiB; \
         {} bans, {} connections denied, faults {faults:?}",
        during / before,
        quiet >> 20,
        most >> 20,
        of("fedswarm_bans_total"),
        of("fedswarm_connections_denied_total"),
    );
    for (node, reader) in readers.iter_mut().enumerate() {
        let page = reader.metrics();
        assert_eq!(value(&page, "fedswarm_members_banned"), 0.0, "node {node} banned a member");
        assert_eq!(value(&page, "fedswarm_members_unheard"), 0.0, "node {node} does not hear a member");
        let connected: f64 = values(&page, "fedswarm_members_connected").iter().map(|(_, count)| count).sum();
        assert_eq!(connected, (NODES - 1) as f64, "node {node} lost a member");
        assert_eq!(reader.get("/health").0, 200, "node {node}");
    }
    for kind in ["bad_frame", "bad_message", "foreign_record", "not_a_member", "stalled"] {
        let seen = faults.iter().find(|(name, _)| name == kind).map(|(_, count)| *count);
        assert!(seen > Some(0.0), "the attack was to include {kind}: {faults:?}");
    }
    assert!(during <= SLOWER * before, "rounds take {during:.3} s instead of {before:.3} s");
    assert!(most <= quiet + MEMORY, "{} MiB instead of {} MiB", most >> 20, quiet >> 20);
    drop(readers);
    run.interrupt();
}

/// Attackers of one place.
async fn attackers(numbers: std::ops::Range<u64>, victim: &Multiaddr, network: Digest) {
    let mut tasks = tokio::task::JoinSet::new();
    for number in numbers {
        tasks.spawn(attack(number, victim.clone(), network));
        // More, and they would take every connection that may be half open, and the others could do nothing.
        if number.is_multiple_of(4) {
            tasks.spawn(half_open(number, victim.clone()));
        }
    }
    tasks.join_next().await;
}

/// One key's work: it connects, does its worst every now and then, and comes back when it is sent away.
async fn attack(number: u64, victim: Multiaddr, network: Digest) {
    let secret = hash("attacker", &number.to_le_bytes()).0;
    let to = evil::peer_of(&victim);
    let mut noise = Stream::new("garbage", &[&number.to_le_bytes()]);
    // Not all at once, which would be a test of this machine's processor.
    tokio::time::sleep(Duration::from_millis(20 * number)).await;
    loop {
        let mut swarm = evil::evil(secret, &network);
        swarm.add_external_address(format!("/ip4/203.0.113.{}/tcp/9", number % 250).parse().unwrap());
        swarm.dial(victim.clone()).unwrap();
        let mut tick = tokio::time::interval(Duration::from_millis(700));
        let mut connected = false;
        loop {
            tokio::select! {
                event = swarm.select_next_some() => match event {
                    SwarmEvent::ConnectionEstablished { peer_id, .. } if peer_id == to => connected = true,
                    SwarmEvent::ConnectionClosed { peer_id, .. } if peer_id == to => break,
                    // Others than the victim are dialed as well: the addresses that attackers put into its routing table.
                    SwarmEvent::OutgoingConnectionError { peer_id, .. } if peer_id == Some(to) => break,
                    _ => {}
                },
                _ = tick.tick() => if connected {
                    do_harm(number, &mut swarm, to, &network, &secret, &mut noise);
                }
            }
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}

fn do_harm(
    number: u64,
    swarm: &mut Swarm<Attack>,
    to: PeerId,
    network: &Digest,
    secret: &[u8; 32],
    noise: &mut Stream,
) {
    let attack = swarm.behaviour_mut();
    match number % 6 {
        0 => {
            let garbage: Vec<u8> = (0..20_000).map(|_| noise.next_u64() as u8).collect();
            attack.direct.send_request(&to, evil::frame(&garbage));
        }
        1 => {
            let raw = evil::oversized();
            attack.direct.send_request(&to, raw);
        }
        2 => {
            for _ in 0..8 {
                attack.direct.send_request(&to, evil::half_a_frame());
                // Never whole: a whole question of a key that is no member would end this at once.
                let half = evil::question().bytes[..5].to_vec();
                attack.blobs.send_request(&to, evil::Raw { bytes: half, hold: true });
            }
        }
        3 => {
            for _ in 0..2 {
                let key = RecordKey::new(&noise.next_u64().to_le_bytes());
                let record = Record::new(key, vec![7; 8_000]);
                attack.kad.put_record_to(record, [to].into_iter(), Quorum::One);
            }
        }
        4 => {
            for _ in 0..10 {
                let topic = evil::topic(network, "update");
                drop(attack.gossip.publish(topic, header(network, secret, noise)));
            }
        }
        _ => {
            for _ in 0..4 {
                attack.blobs.send_request(&to, evil::question());
            }
        }
    }
}

/// A header as a member would sign it, of a key that is none.
fn header(network: &Digest, secret: &[u8; 32], noise: &mut Stream) -> Vec<u8> {
    let mut digest = || hash("made up", &noise.next_u64().to_le_bytes());
    let header = UpdateHeader {
        base: digest(),
        schema: digest(),
        payload_root: digest(),
        wire_root: digest(),
        wire_len: 10_000,
        codec: UpdateCodec::Int8,
        samples: 100,
        norm2_q: 1,
    };
    let slot = Slot { kind: Kind::Update, epoch: 0, round: noise.next_u64() % 10_000, view: 0 };
    seal(&SecretKey::from_bytes(secret), network, &slot, (noise.next_u64() % 5) as u16, &Message::Update(header))
        .unwrap()
}

/// Connections that are opened and say nothing, or nothing that means anything.
async fn half_open(number: u64, victim: Multiaddr) {
    let ip = victim.iter().find_map(|part| if let Protocol::Ip4(ip) = part { Some(ip) } else { None }).unwrap();
    let port = victim.iter().find_map(|part| if let Protocol::Tcp(port) = part { Some(port) } else { None }).unwrap();
    loop {
        tokio::time::sleep(Duration::from_millis(2_000 + 37 * number)).await;
        let Ok(mut stream) = tokio::net::TcpStream::connect((ip, port)).await else { continue };
        if number.is_multiple_of(8) {
            drop(stream.write_all(&[b'x'; 1_000]).await);
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}
