//! What becomes of peers that misbehave, and of honest ones that only say little.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/evil.rs"]
mod evil;

use std::time::Duration;

use common::{PATIENCE, entry, id, ids, network_id, node, secret, start_with, swarm};
use evil::{Attack, AttackEvent, Raw, frame, half_a_frame, oversized, peer_of, question};
use fedswarm_network::entry::{Entry, EntryConfig};
use fedswarm_network::{AccessLists, Event, Fault, Gauges, Limits, Multiaddr, Network, Tempo, Topic, TransportKind};
use futures::StreamExt;
use libp2p::kad::{Quorum, Record, RecordKey};
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId, Swarm, request_response};

const TCP: TransportKind = TransportKind::Tcp;

/// Connects an attacker: whether it was let in.
async fn connect(swarm: &mut Swarm<Attack>, addr: &Multiaddr) -> bool {
    swarm.dial(addr.clone()).unwrap();
    let opened = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } => return true,
                SwarmEvent::OutgoingConnectionError { .. } => return false,
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, opened).await.unwrap()
}

/// Lets an attacker do its work until its connection is gone: whether it went in time.
async fn is_sent_away(swarm: &mut Swarm<Attack>, patience: Duration) -> bool {
    let closed = async { while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionClosed { .. }) {} };
    tokio::time::timeout(patience, closed).await.is_ok()
}

async fn until(net: &Network, what: &str, will_do: impl Fn(&Gauges) -> bool) -> Gauges {
    let waiting = async {
        loop {
            let gauges = net.gauges().await;
            if will_do(&gauges) {
                return gauges;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(gauges) => gauges,
        Err(_) => panic!("{what}: {:?}", net.gauges().await),
    }
}

fn count(gauges: &Gauges, fault: Fault) -> u64 {
    gauges.faults.iter().find(|(f, _)| *f == fault).unwrap().1
}

/// An attacker that is connected to a new node.
async fn pair() -> (common::Node, Multiaddr, PeerId, Swarm<Attack>) {
    let victim = node(TCP, 0, &ids(2), None).await;
    let addr = victim.net.full_addrs().await.remove(0);
    let mut attacker = evil::evil(secret(66), &network_id());
    assert!(connect(&mut attacker, &addr).await);
    (victim, addr.clone(), peer_of(&addr), attacker)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_oversized_frame_is_enough_to_be_banned() {
    for blobs in [false, true] {
        let (victim, addr, to, mut attacker) = pair().await;
        if blobs {
            let unknown = Raw { bytes: vec![9; 37], hold: false };
            attacker.behaviour_mut().blobs.send_request(&to, unknown);
        } else {
            attacker.behaviour_mut().direct.send_request(&to, oversized());
        }
        assert!(is_sent_away(&mut attacker, PATIENCE).await);
        let gauges = victim.net.gauges().await;
        assert_eq!(gauges.banned, [id(66)]);
        assert_eq!(count(&gauges, Fault::BadFrame), 1);
        // libp2p shakes hands before it looks at the list: the connection opens and closes.
        if connect(&mut attacker, &addr).await {
            assert!(is_sent_away(&mut attacker, PATIENCE).await, "it is still banned");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_stalls_is_ended_and_noted() {
    let mut config = common::config(TCP, 0, &ids(2), None);
    config.tempo = Tempo {
        direct_timeout: Duration::from_millis(500),
        blob_timeout: Duration::from_millis(500),
        ..Tempo::local()
    };
    let victim = start_with(config).await;
    let addr = victim.net.full_addrs().await.remove(0);
    let mut attacker = evil::evil(secret(66), &network_id());
    assert!(connect(&mut attacker, &addr).await);
    let to = peer_of(&addr);
    for _ in 0..30 {
        attacker.behaviour_mut().direct.send_request(&to, half_a_frame());
        attacker.behaviour_mut().blobs.send_request(&to, Raw { bytes: vec![0; 5], hold: true });
    }
    assert!(is_sent_away(&mut attacker, PATIENCE).await, "fifty are too many");
    let gauges = victim.net.gauges().await;
    assert!((48..=60).contains(&count(&gauges, Fault::Stalled)), "{gauges:?}");
    assert_eq!(gauges.banned, [id(66)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_stores_records_in_the_routing_table_is_banned_by_members_and_entry_points() {
    let (victim, _, to, mut attacker) = pair().await;
    let entry = entry(TCP).await;
    let door = entry.addrs()[0].clone();
    let mut other = evil::evil(secret(67), &network_id());
    assert!(connect(&mut other, &door).await);
    for (swarm, to) in [(&mut attacker, to), (&mut other, peer_of(&door))] {
        for i in 0..10_u8 {
            let record = Record::new(RecordKey::new(&[i; 32]), vec![i; 1000]);
            swarm.behaviour_mut().kad.put_record_to(record, [to].into_iter(), Quorum::One);
        }
        assert!(is_sent_away(swarm, PATIENCE).await);
    }
    let gauges = victim.net.gauges().await;
    assert_eq!(gauges.banned, [id(66)]);
    assert!(count(&gauges, Fault::ForeignRecord) >= 5, "{gauges:?}");
    let stats = entry.stats().await;
    assert_eq!((stats.banned, stats.bans), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_that_asks_for_blobs_is_refused_and_at_last_banned() {
    let (victim, _, to, mut attacker) = pair().await;
    // One after the other: of many at once libp2p drops most unread.
    let mut asked = 0;
    let asking = async {
        attacker.behaviour_mut().blobs.send_request(&to, question());
        loop {
            match attacker.select_next_some().await {
                SwarmEvent::Behaviour(AttackEvent::Blobs(request_response::Event::Message { .. })) => {
                    asked += 1;
                    attacker.behaviour_mut().blobs.send_request(&to, question());
                }
                SwarmEvent::ConnectionClosed { .. } => return,
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap();
    println!("banned after {asked} questions");
    let gauges = victim.net.gauges().await;
    assert!((48..=52).contains(&count(&gauges, Fault::NotAMember)), "{gauges:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_refused_at_the_rate_and_noted_once_a_second() {
    let (mut victim, _, to, mut attacker) = pair().await;
    for _ in 0..90 {
        attacker.behaviour_mut().direct.send_request(&to, frame(b"let me in"));
    }
    let flood = tokio::spawn(async move { is_sent_away(&mut attacker, PATIENCE).await });
    let gauges = until(&victim.net, "a flood", |gauges| count(gauges, Fault::Flood) > 0).await;
    assert_eq!(count(&gauges, Fault::Flood), 1);
    let mut knocks = 0;
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(500), victim.events.recv()).await {
        knocks += usize::from(matches!(event, Event::Knock { .. }));
    }
    assert!((16..40).contains(&knocks), "{knocks} of 90 came through");
    flood.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_member_is_accused_of_bans_it_for_a_while_and_an_allowed_peer_never() {
    let entry = entry(TCP).await;
    let nodes = swarm(TCP, 3, &entry).await;
    for node in &nodes {
        node.meets(2).await;
    }
    let lists = AccessLists::parse(&[id(2).to_string()], &[]).unwrap();
    nodes[0].net.set_lists(lists).await.unwrap();
    for _ in 0..4 {
        nodes[0].net.accuse(id(1), Fault::BadMessage);
        nodes[0].net.accuse(id(2), Fault::BadMessage);
    }
    let demerits = |peers: Vec<fedswarm_network::PeerInfo>, who| {
        peers.iter().find(|peer| peer.id == id(who)).map(|peer| peer.demerits as u32)
    };
    until(&nodes[0].net, "four faults", |gauges| count(gauges, Fault::BadMessage) == 4).await;
    let peers = nodes[0].net.peers().await;
    assert_eq!((demerits(peers.clone(), 1), demerits(peers, 2)), (Some(79), Some(0)));
    nodes[0].net.accuse(id(1), Fault::BadMessage);
    nodes[0].net.accuse(id(2), Fault::BadFrame);
    let gauges = until(&nodes[0].net, "a ban", |gauges| !gauges.banned.is_empty()).await;
    assert_eq!((gauges.banned, gauges.bans), (vec![id(1)], 1));
    let gone = async { while nodes[0].net.peers().await.iter().any(|peer| peer.id == id(1)) {} };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    // A change of members that does not concern it lets nobody back in, and taking it in anew does.
    nodes[0].net.set_members([id(2)]).await.unwrap();
    assert_eq!(nodes[0].net.gauges().await.banned, [id(1)]);
    nodes[0].net.set_members([id(1), id(2)]).await.unwrap();
    assert_eq!(nodes[0].net.gauges().await.banned, []);
    nodes[0].meets(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_lists_send_a_blocked_peer_away_and_let_it_back_in() {
    let entry = entry(TCP).await;
    let nodes = swarm(TCP, 2, &entry).await;
    nodes[0].meets(1).await;
    for line in [id(1).to_string(), "127.0.0.0/8".to_owned()] {
        nodes[0].net.set_lists(AccessLists::parse(&[], &[line]).unwrap()).await.unwrap();
        let gone = async { while nodes[0].net.peers().await.iter().any(|peer| peer.id == id(1)) {} };
        tokio::time::timeout(PATIENCE, gone).await.unwrap();
        nodes[0].net.set_lists(AccessLists::default()).await.unwrap();
        nodes[0].meets(1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_point_has_room_for_so_many_and_its_own_lists() {
    let blocked = AccessLists::parse(&[], &[id(5).to_string()]).unwrap();
    let config = EntryConfig {
        secret: secret(1_000_001),
        listen: vec![TCP.any_port()],
        external: Vec::new(),
        relay: None,
        probe: false,
        lists: blocked,
        limits: Limits { connections: 4, ..Limits::default() },
        tempo: Tempo::local(),
    };
    let entry = Entry::start(config).await.unwrap();
    let door = entry.addrs()[0].clone();
    let mut guests = Vec::new();
    for index in [5, 10, 11, 12, 13, 14] {
        let mut guest = evil::evil(secret(index), &network_id());
        let stays = connect(&mut guest, &door).await && !is_sent_away(&mut guest, Duration::from_millis(300)).await;
        assert_eq!(stays, (10..14).contains(&index), "guest {index}");
        guests.push(guest);
    }
    let stats = entry.stats().await;
    assert_eq!((stats.guests, stats.denied), (4, 2));
    entry.set_lists(AccessLists::parse(&[], &[id(10).to_string()]).unwrap()).await.unwrap();
    assert!(is_sent_away(&mut guests[1], PATIENCE).await, "it is on the list now");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_peer_that_says_nothing_keeps_its_good_name() {
    let entry = entry(TCP).await;
    let mut nodes = swarm(TCP, 4, &entry).await;
    for node in &nodes {
        node.meets(3).await;
    }
    // The last one only listens, and accepts what it hears; ten seconds are ten heartbeats, and twice as long as gossipsub's own
    // defaults take to graylist it (design: libraries.md, section 2).
    let mut quiet = nodes.pop().unwrap();
    let heard = tokio::spawn(async move {
        let mut heard = 0;
        while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(3), quiet.events.recv()).await {
            if let Event::Gossip { token, .. } = event {
                quiet.net.report(token, fedswarm_network::Acceptance::Accept);
                heard += 1;
            }
        }
        heard
    });
    let (mut least, mut demerits, mut said) = (f64::MAX, 0.0_f64, 0);
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        for (topic, node) in Topic::ALL.iter().zip(nodes.iter().cycle()) {
            node.net.publish(*topic, format!("message {said}").into_bytes()).await.unwrap();
            said += 1;
        }
        for node in &mut nodes {
            while let Ok(event) = node.events.try_recv() {
                if let Event::Gossip { token, .. } = event {
                    node.net.report(token, fedswarm_network::Acceptance::Accept);
                }
            }
            for peer in node.net.peers().await.iter().filter(|peer| peer.member) {
                if peer.id == id(3) {
                    least = least.min(peer.score);
                }
                demerits = demerits.max(peer.demerits);
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let heard = heard.await.unwrap();
    println!("a quiet peer's least score in {:?}: {least:.2}; {heard} of {said} messages heard", began.elapsed());
    assert!(least >= 0.0, "it was thought less of: {least}");
    assert_eq!(demerits, 0.0);
    assert_eq!(heard, said);
    for node in &nodes {
        assert_eq!(node.net.gauges().await.bans, 0);
    }
}
