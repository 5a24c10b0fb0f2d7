//! Who is connected, and who may stay.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota};
use libp2p::core::ConnectedPoint;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, ping};

use super::Driver;
use crate::gossip::STRANGER_SCORE;
use crate::{Event, KNOCKS_PER_SECOND, NodeId, PeerInfo, Topic};

const KNOCKS: NonZeroU32 = NonZeroU32::MIN.saturating_add(KNOCKS_PER_SECOND - 1);

/// Pings that may fail in a row before a connection is given up. At 1, a machine that is busy for a moment loses its peers.
const LOST_PINGS: u32 = 2;

/// A connected peer.
#[derive(Debug)]
pub(super) struct Peer {
    id: NodeId,
    address: Multiaddr,
    /// Open connections, each with its pings lost in a row.
    connections: HashMap<ConnectionId, u32>,
    round_trip: Option<Duration>,
    pub(super) topics: HashSet<Topic>,
    /// What it may send while it is not a member.
    pub(super) knocks: DefaultDirectRateLimiter,
}

impl Driver {
    pub(super) fn connected(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint, count: u32) {
        let Some(id) = NodeId::from_peer_id(&peer) else {
            tracing::debug!(%peer, "its key is not an ed25519 one");
            self.swarm.close_connection(connection);
            return;
        };
        let address = endpoint.get_remote_address().clone();
        let entry = self.peers.entry(peer).or_insert_with(|| Peer {
            id,
            address,
            connections: HashMap::new(),
            round_trip: None,
            topics: HashSet::new(),
            knocks: DefaultDirectRateLimiter::direct(Quota::per_second(KNOCKS)),
        });
        entry.connections.insert(connection, 0);
        if count > 1 {
            return;
        }
        self.tell(Event::Connected(id));
        self.discovery.connected(peer, &mut self.swarm);
        if self.discovery.is_known(&peer) {
            return;
        }
        self.swarm.behaviour_mut().gossip.set_application_score(&peer, STRANGER_SCORE);
        let strangers = self.peers.keys().filter(|p| !self.discovery.is_known(p)).count();
        if strangers > self.limits.strangers {
            tracing::debug!(%peer, strangers, "too many strangers");
            self.swarm.close_connection(connection);
        }
    }

    pub(super) fn disconnected(&mut self, peer: PeerId, connection: ConnectionId, left: u32) {
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.connections.remove(&connection);
        }
        if left > 0 {
            return;
        }
        if let Some(entry) = self.peers.remove(&peer) {
            self.discovery.disconnected(peer);
            self.tell(Event::Disconnected(entry.id));
        }
    }

    /// libp2p reports lost pings and does nothing about them. A peer whose host lost its power would look connected for minutes.
    pub(super) fn on_ping(&mut self, event: ping::Event) {
        let Some(peer) = self.peers.get_mut(&event.peer) else { return };
        let Some(lost) = peer.connections.get_mut(&event.connection) else { return };
        match event.result {
            Ok(round_trip) => {
                *lost = 0;
                peer.round_trip = Some(round_trip);
            }
            Err(ping::Failure::Unsupported) => {}
            Err(failure) => {
                *lost += 1;
                if *lost >= LOST_PINGS {
                    tracing::debug!(peer = %event.peer, %failure, "connection is given up");
                    self.swarm.close_connection(event.connection);
                }
            }
        }
    }

    pub(super) fn set_members(&mut self, members: Vec<PeerId>) {
        self.discovery.set_members(members);
        for peer in self.peers.keys() {
            let score = if self.discovery.is_known(peer) { 0.0 } else { STRANGER_SCORE };
            self.swarm.behaviour_mut().gossip.set_application_score(peer, score);
        }
        for peer in self.peers.keys() {
            self.discovery.connected(*peer, &mut self.swarm);
        }
        self.discovery.tick(&mut self.swarm);
    }

    pub(super) fn peer_infos(&self) -> Vec<PeerInfo> {
        let gossip = &self.swarm.behaviour().gossip;
        let info = |(peer, entry): (&PeerId, &Peer)| PeerInfo {
            id: entry.id,
            member: self.discovery.is_member(peer),
            connections: entry.connections.len() as u32,
            address: entry.address.clone(),
            round_trip_us: entry.round_trip.map(|t| t.as_micros() as u64),
            score: gossip.peer_score(peer).unwrap_or_default(),
            subscribed: entry.topics.len() == Topic::ALL.len(),
        };
        let mut infos: Vec<PeerInfo> = self.peers.iter().map(info).collect();
        infos.sort_by_key(|info| info.id);
        infos
    }
}
