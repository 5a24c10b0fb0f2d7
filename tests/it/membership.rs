//! A network that changes while it runs, over real sockets.

use fedswarm_node::{NodeEvent, Request};
use fedswarm_protocol::keys::SecretKey;
use fedswarm_protocol::manifest::Timers;
use fedswarm_protocol::membership::{Invite, Join, OperationError, Role};
use fedswarm_protocol::round::Event;

use crate::swarm::{Swarm, wait_for};

fn merged(wanted: u16) -> impl FnMut(NodeEvent) -> Option<u64> {
    move |event| match event {
        NodeEvent::Round { event: Event::RoundCommitted { inputs, round, .. }, .. } if inputs == wanted => Some(round),
        _ => None,
    }
}

/// A key with the request to join that a founder's invitation allows it.
fn newcomer(swarm: &Swarm, i: u8, sponsor: usize) -> (SecretKey, Join) {
    let network = swarm.manifest.network_id().unwrap();
    let (ticket, secret) = (SecretKey::from_bytes(&[200 + i; 32]), SecretKey::from_bytes(&[100 + i; 32]));
    let invite = Invite::new(&network, swarm.secret(sponsor), ticket.public(), Role::Voter, 1_000_000);
    let join = Join::new(&network, invite, &ticket, &secret, format!("newcomer {i}"));
    (secret, join)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_machines_become_five_and_two_again_without_being_founded_anew() {
    let timers = Timers { collect_ms: 500, ..Timers::default() };
    let swarm = Swarm::new(2, 0, 1000, timers).await;
    let mut founders = vec![swarm.start(0, 2, None).await, swarm.start(1, 2, None).await];
    wait_for(&mut founders[0].1, merged(2)).await;
    let mut newcomers = Vec::new();
    for (i, sponsor) in [(0u8, 0), (1, 1), (2, 0)] {
        let (secret, join) = newcomer(&swarm, i, sponsor);
        newcomers.push(swarm.join(secret, join).await);
    }
    for (_, events) in &mut newcomers {
        wait_for(events, |event| matches!(event, NodeEvent::RequestDone { ends: false, .. }).then_some(())).await;
    }
    wait_for(&mut founders[0].1, merged(5)).await;
    for (node, events) in &mut newcomers {
        node.request(Request::Leave).await.unwrap();
        wait_for(events, |event| matches!(event, NodeEvent::RequestDone { ends: true, .. }).then_some(())).await;
        node.shutdown().await;
    }
    let from = wait_for(&mut founders[0].1, merged(2)).await;
    let to = wait_for(&mut founders[0].1, merged(2)).await;
    assert!(to > from);
    wait_for(&mut founders[1].1, |event| match event {
        NodeEvent::Round { event: Event::RoundCommitted { round, .. }, .. } => (round >= to).then_some(()),
        _ => None,
    })
    .await;
    let records: Vec<_> = founders.iter().map(|(node, _)| node.records().unwrap()).collect();
    for (a, b) in records[0].iter().zip(&records[1]) {
        assert_eq!(a.record, b.record);
    }
    let sizes: Vec<u16> = records[0].iter().map(|c| c.record.quorum).collect();
    assert!(sizes.contains(&4), "five voters decide by four: {sizes:?}");
    for (node, _) in &founders {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_whose_sponsor_has_invited_enough_is_told_why_it_waits() {
    let timers = Timers { collect_ms: 500, ..Timers::default() };
    let swarm = Swarm::new(2, 0, 1000, timers).await;
    let founders = [swarm.start(0, 2, None).await, swarm.start(1, 2, None).await];
    let mut newcomers = Vec::new();
    let cap = u8::try_from(swarm.manifest.sponsor_cap).unwrap();
    for i in 0..=cap {
        let (secret, join) = newcomer(&swarm, i, 0);
        let mut joining = swarm.join(secret, join).await;
        let told = wait_for(&mut joining.1, |event| match event {
            NodeEvent::RequestDone { .. } => Some(None),
            NodeEvent::RequestHindered { reason, .. } => Some(Some(reason)),
            _ => None,
        });
        let expected = OperationError::SponsorCap.to_string();
        assert_eq!(told.await, (i == cap).then_some(expected));
        newcomers.push(joining);
    }
    for (node, _) in founders.iter().chain(&newcomers) {
        node.shutdown().await;
    }
}
