//! Finding members: whoever is connected is asked where the others are.
#![allow(clippy::unwrap_used)]

mod common;

use common::{config, entry, ids, node, start_with, swarm};
use fedswarm_network::{Tie, TransportKind};

const TCP: TransportKind = TransportKind::Tcp;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reaches_one_member_finds_the_others_through_it() {
    let members = ids(4);
    let known = {
        let entry = entry(TCP).await;
        let known = swarm(TCP, 3, &entry).await;
        // Two of them meet the third; the entry point is gone before the fourth comes.
        for node in &known {
            node.meets(2).await;
        }
        known
    };
    let newcomer = node(TCP, 3, &members, None).await;
    for node in &known {
        node.net.set_members(members.iter().copied()).await.unwrap();
    }
    newcomer.net.dial(known[0].net.full_addrs().await.remove(0)).await.unwrap();
    newcomer.meets(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_connected_with_members_that_it_does_not_want() {
    let (entry, members) = (entry(TCP).await, ids(12));
    let mut nodes = Vec::new();
    // All want the first two, and these want nobody.
    for index in 0..12 {
        let mut config = config(TCP, index, &members, Some(&entry));
        let tie = |other: usize| if other < 2 && index >= 2 { Tie::Eager } else { Tie::None };
        config.ties = (0..12).map(|other| (members[other], tie(other))).collect();
        nodes.push(start_with(config).await);
    }
    for node in &nodes[..2] {
        node.meets(10).await;
    }
    for node in &nodes[2..] {
        node.meets(2).await;
        let met = node.net.peers().await.iter().filter(|peer| peer.member).count();
        assert_eq!(met, 2, "looking for two members connects with two");
    }
}
