//! The largest gossip messages, back to back: libp2p's receiver falls silent for good when a frame, and what it has read of the
//! next one, are over its limit; nobody is told.

use std::collections::BTreeSet;
use std::time::Instant;

use fedswarm_network::{MAX_GOSSIP_BYTES, Topic, TransportKind};

use crate::common::{Node, start_with};
use crate::links::{Link, member, plays, told_to_go};
use crate::network::Place;
use crate::world::{Needs, World, address, within};

const HOSTS: usize = 4;

/// Messages of each node on each topic.
const MESSAGES: u8 = 20;

/// Largest messages, each of its own kind.
fn message(from: usize, number: u8) -> Vec<u8> {
    let mut data = vec![number; MAX_GOSSIP_BYTES];
    data[0] = from as u8;
    data
}

/// One of the hosts: says everything, hears everything.
async fn host(index: usize, kind: TransportKind) {
    let mut config = member(kind, index, HOSTS);
    config.mdns = true;
    let mut node = start_with(config).await;
    node.meets(HOSTS - 1).await;
    println!("MET");
    told_to_go().await;
    let began = Instant::now();
    for number in 0..MESSAGES {
        for topic in Topic::ALL {
            node.net.publish(topic, message(index, number)).await.unwrap();
        }
    }
    let heard = hear_all(&mut node).await;
    let others = (0..HOSTS).filter(|from| *from != index);
    let all = others.flat_map(|from| {
        Topic::ALL.into_iter().flat_map(move |topic| (0..MESSAGES).map(move |number| (from as u8, topic, number)))
    });
    assert_eq!(heard, all.collect());
    println!("HEARD {}", began.elapsed().as_secs_f64());
    told_to_go().await;
    // The connections still carry gossip afterwards.
    if index == 0 {
        node.net.publish(Topic::Vote, b"still there".to_vec()).await.unwrap();
    } else {
        assert_eq!(node.gossip().await.1, b"still there");
    }
    println!("STILL");
    told_to_go().await;
}

/// As many messages as the others send: who, where, which.
async fn hear_all(node: &mut Node) -> BTreeSet<(u8, Topic, u8)> {
    let mut heard = BTreeSet::new();
    for _ in 0..(HOSTS - 1) * Topic::ALL.len() * usize::from(MESSAGES) {
        let (topic, data) = node.gossip().await;
        assert_eq!(data.len(), MAX_GOSSIP_BYTES);
        heard.insert((data[0], topic, data[1]));
    }
    heard
}

/// Hosts on a switch that speak QUIC alone.
struct OverQuic<'a>(&'a World);

impl Place for OverQuic<'_> {
    fn wrapper(&self, number: usize) -> Vec<String> {
        self.0.wrapper(number)
    }

    fn listen(&self, number: usize) -> Vec<String> {
        vec![format!("/ip4/{}/udp/0/quic-v1", address(number))]
    }
}

fn all_arrive(test: &str, kind: TransportKind, place: &impl Place) {
    let start = |number: usize| Link::start(test, place, number, &[&number.to_string()]);
    let mut hosts: Vec<Link> = (0..HOSTS).map(start).collect();
    for word in ["MET", "HEARD", "STILL"] {
        let said: Vec<String> = hosts.iter_mut().map(|host| host.next(word)).collect();
        if word == "HEARD" {
            let last = said.iter().map(|text| text.parse::<f64>().unwrap()).fold(0.0, f64::max);
            let (sent, topics) = (HOSTS * Topic::ALL.len() * usize::from(MESSAGES), Topic::ALL.len());
            println!(
                "{kind:?}: {sent} messages of {MAX_GOSSIP_BYTES} bytes, {MESSAGES} of each of {HOSTS} hosts on each of {topics} topics: all \
                 arrived at all others in {last:.2} s"
            );
        }
        hosts.iter_mut().for_each(Link::go);
    }
    hosts.into_iter().for_each(Link::ends);
}

#[test]
fn twenty_back_to_back_on_every_topic_all_arrive_over_tcp() {
    let test = "largest_gossip::twenty_back_to_back_on_every_topic_all_arrive_over_tcp";
    if !plays(async |role| host(role[0].parse().unwrap(), TransportKind::Tcp).await) {
        within(test, Needs::Namespaces, |world| all_arrive(test, TransportKind::Tcp, world));
    }
}

#[test]
fn twenty_back_to_back_on_every_topic_all_arrive_over_quic() {
    let test = "largest_gossip::twenty_back_to_back_on_every_topic_all_arrive_over_quic";
    if !plays(async |role| host(role[0].parse().unwrap(), TransportKind::Quic).await) {
        within(test, Needs::Namespaces, |world| all_arrive(test, TransportKind::Quic, &OverQuic(world)));
    }
}
