//! Two hundred keys that nobody invited, all at one node.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fedswarm_protocol::envelope::{Kind, Slot, seal};
use fedswarm_protocol::hash::{Digest, Stream, hash};
use fedswarm_protocol::keys::SecretKey;
use fedswarm_protocol::message::{Message, UpdateHeader};
use fedswarm_protocol::update::UpdateCodec;
use futures::StreamExt;
use libp2p::kad::{Quorum, Record, RecordKey};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Swarm, multiaddr};
use tokio::io::AsyncWriteExt;

use crate::evil::{self, Attack};
use crate::network::{Founded, Loopback, Run};
use crate::scrape::{get, value, values};

const NODES: usize = 5;
const ATTACKERS: u64 = 200;

/// Rounds whose time is measured, before and during the attack.
const ROUNDS: usize = 25;

/// The attack lasts at least as long, so that whoever is banned has come back with nothing but its key.
const AT_LEAST: Duration = Duration::from_secs(30);

/// On a busy machine attackers take their time to get through.
const AT_MOST: Duration = Duration::from_secs(90);

const SLOWER: f64 = 1.5;
const MEMORY: u64 = 256 << 20;

/// Whom to attack, and in which network; set for the process of the attackers.
const VICTIM: &str = "FEDSWARM_TEST_VICTIM";
const NETWORK: &str = "FEDSWARM_TEST_NETWORK";

/// The attackers: this program, started again, with less of a right to the processor than the nodes have.
struct Attackers(Child);

impl Attackers {
    fn start(victim: &str, network: &Digest) -> Self {
        let me = std::env::current_exe().unwrap();
        let mut command = Command::new("nice");
        command.args(["-n", "5"]).arg(me).args(["--exact", "abuse::attackers", "--ignored", "--nocapture"]);
        command.env(VICTIM, victim).env(NETWORK, network.to_string()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
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
    let mut founded = Founded::of(NODES, 0, 500).with("metrics = \"127.0.0.1:0\"");
    let run = founded.start(&Loopback, |_| None);
    let all: Vec<usize> = (0..NODES).collect();
    run.journal.each("a few rounds", &all, |seen| seen.certified() >= Some(4));
    let metrics: Vec<String> = all.iter().map(|node| run.metrics(*node)).collect();
    let (before, quiet) = measure(&run, 0, || false);

    let attackers = Attackers::start(&run.address(0), run.network());
    let began = Instant::now();
    while value(&get(&metrics[0], "/metrics").1, "fedswarm_bans_total") < 1.0 {
        assert!(began.elapsed() < Duration::from_secs(60), "nobody attacks");
        std::thread::sleep(Duration::from_millis(100));
    }
    let sent_away = || {
        let page = get(&metrics[0], "/metrics").1;
        value(&page, "fedswarm_bans_total") + value(&page, "fedswarm_connections_denied_total")
    };
    // Of all kinds of attack, the slow one is seen last: its streams have to time out first.
    let all_seen = || {
        let faults = values(&get(&metrics[0], "/metrics").1, "fedswarm_faults_total");
        faults.iter().any(|(kind, count)| kind == "stalled" && *count > 0.0)
    };
    let began = Instant::now();
    let (during, most) = measure(&run, 0, || {
        let long = began.elapsed() >= AT_LEAST;
        !long || began.elapsed() < AT_MOST && (sent_away() < ATTACKERS as f64 || !all_seen())
    });
    assert!(sent_away() >= ATTACKERS as f64 / 2.0, "that was no attack: {}", sent_away());
    let page = get(&metrics[0], "/metrics").1;
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
    for (node, at) in metrics.iter().enumerate() {
        let page = get(at, "/metrics").1;
        assert_eq!(value(&page, "fedswarm_members_banned"), 0.0, "node {node} banned a member");
        assert_eq!(value(&page, "fedswarm_members_unheard"), 0.0, "node {node} does not hear a member");
        let connected: f64 = values(&page, "fedswarm_members_connected").iter().map(|(_, count)| count).sum();
        assert_eq!(connected, (NODES - 1) as f64, "node {node} lost a member");
        assert_eq!(get(at, "/health").0, 200, "node {node}");
    }
    for kind in ["bad_frame", "bad_message", "foreign_record", "not_a_member", "stalled"] {
        let seen = faults.iter().find(|(name, _)| name == kind).map(|(_, count)| *count);
        assert!(seen > Some(0.0), "the attack was to include {kind}: {faults:?}");
    }
    assert!(during <= SLOWER * before, "rounds take {during:.3} s instead of {before:.3} s");
    assert!(most <= quiet + MEMORY, "{} MiB instead of {} MiB", most >> 20, quiet >> 20);
    run.interrupt();
}

#[test]
#[ignore = "the other side of two_hundred_uninvited_keys_at_one_node_do_not_hold_up_the_others, which starts it"]
fn attackers() {
    let (Ok(victim), Ok(network)) = (std::env::var(VICTIM), std::env::var(NETWORK)) else { return };
    let (victim, network) = (victim.parse().unwrap(), Digest::from_hex(&network).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..ATTACKERS {
            tasks.spawn(attack(number, Multiaddr::clone(&victim), network));
            // More, and they would take every connection that may be half open, and the others could do nothing.
            if number.is_multiple_of(4) {
                tasks.spawn(half_open(number, Multiaddr::clone(&victim)));
            }
        }
        tasks.join_next().await;
    });
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
    let port = victim.iter().find_map(|part| if let multiaddr::Protocol::Tcp(port) = part { Some(port) } else { None });
    let port = port.unwrap();
    loop {
        tokio::time::sleep(Duration::from_millis(2_000 + 37 * number)).await;
        let Ok(mut stream) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else { continue };
        if number.is_multiple_of(8) {
            drop(stream.write_all(&[b'x'; 1_000]).await);
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}
