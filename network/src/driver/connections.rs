//! Who is connected, and who may stay.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use libp2p::core::ConnectedPoint;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, ping};
use tokio::time::Instant;

use super::Driver;
use super::straight::Straight;
use crate::gossip::STRANGER_SCORE;
use crate::quality::Allowance;
use crate::{Event, NodeId, Path, PeerInfo, Topic};

/// Pings that may fail in a row before a connection is given up. That a host is gone the system finds out by itself (`socket.rs`, and
/// QUIC); a lost ping tells of a program that hangs. Fewer, and a host on a link that is full loses its peers: its pings wait
/// behind payloads, and of several connections that share such a link one may get nothing through for half a minute.
const LOST_PINGS: u32 = 4;

/// How long a connection through a relay stays beside a direct one. Shorter, and what is on its way there is lost; longer, and
/// the relay carries what it need not.
const BESIDE: Duration = Duration::from_secs(3);

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    address: Multiaddr,
    relayed: bool,
    /// Whether this side opened it.
    dialed: bool,
    /// Whether a hole was punched for it.
    pub(super) punched: bool,
    since: Instant,
    /// Pings lost in a row.
    lost: u32,
}

/// A connected peer.
#[derive(Debug)]
pub(super) struct Peer {
    id: NodeId,
    pub(super) connections: HashMap<ConnectionId, Connection>,
    /// As last told.
    told: Option<Path>,
    round_trip: Option<Duration>,
    /// Attempts to punch a hole that failed.
    pub(super) not_punched: u32,
    /// Attempts to get off the relay.
    pub(super) straight: Straight,
    pub(super) topics: HashSet<Topic>,
    /// What it may send.
    pub(super) allowance: Allowance,
}

impl Peer {
    /// How it is reached: the best there is.
    pub(super) fn path(&self) -> Option<Path> {
        let of = |c: &Connection| match (c.relayed, c.punched) {
            (true, _) => Path::Relayed,
            (false, true) => Path::Punched,
            (false, false) => Path::Direct,
        };
        self.connections.values().map(of).max()
    }

    /// Whether there is a connection that carries blobs.
    pub(super) fn is_direct(&self) -> bool {
        self.connections.values().any(|c| !c.relayed)
    }

    /// An address of its own at which this side reached it.
    pub(super) fn dialed(&self) -> Option<&Multiaddr> {
        self.connections.values().find(|c| c.dialed && !c.relayed).map(|c| &c.address)
    }

    fn address(&self) -> Multiaddr {
        let best = self.connections.values().min_by_key(|c| (c.relayed, c.since));
        best.map_or_else(Multiaddr::empty, |c| c.address.clone())
    }

    /// Connections through relays, except the youngest.
    pub(super) fn older_circuits(&self) -> Vec<ConnectionId> {
        let circuits = || self.connections.iter().filter(|(_, c)| c.relayed);
        let youngest = circuits().max_by_key(|(_, c)| c.since).map(|(id, _)| *id);
        circuits().map(|(id, _)| *id).filter(|id| Some(*id) != youngest).collect()
    }

    /// Connections through relays that a direct one has made superfluous.
    fn superfluous(&self) -> Vec<ConnectionId> {
        if !self.connections.values().any(|c| !c.relayed && c.since.elapsed() >= BESIDE) {
            return Vec::new();
        }
        self.connections.iter().filter(|(_, c)| c.relayed).map(|(id, _)| *id).collect()
    }
}

impl Driver {
    pub(super) fn connected(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint, count: u32) {
        let Some(id) = NodeId::from_peer_id(&peer) else {
            tracing::debug!(%peer, "its key is not an ed25519 one");
            self.swarm.close_connection(connection);
            return;
        };
        let rates = &self.limits.rates;
        let entry = self.peers.entry(peer).or_insert_with(|| Peer {
            id,
            connections: HashMap::new(),
            told: None,
            round_trip: None,
            not_punched: 0,
            straight: Straight::new(),
            topics: HashSet::new(),
            allowance: Allowance::new(rates),
        });
        let (address, relayed, dialed) =
            (endpoint.get_remote_address().clone(), endpoint.is_relayed(), endpoint.is_dialer());
        let open = Connection { address, relayed, dialed, punched: false, since: Instant::now(), lost: 0 };
        entry.connections.insert(connection, open);
        if relayed {
            entry.straight.punching(Instant::now());
        }
        if count > 1 {
            return;
        }
        self.tell(Event::Connected(id));
        self.discovery.connected(peer, &mut self.swarm);
        if self.discovery.is_known(&peer) {
            return;
        }
        self.swarm.behaviour_mut().gossip.set_application_score(&peer, STRANGER_SCORE);
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
        let Some(connection) = peer.connections.get_mut(&event.connection) else { return };
        match event.result {
            Ok(round_trip) => {
                connection.lost = 0;
                peer.round_trip = Some(round_trip);
            }
            Err(ping::Failure::Unsupported) => {}
            Err(failure) => {
                connection.lost += 1;
                if connection.lost >= LOST_PINGS {
                    tracing::debug!(peer = %event.peer, %failure, "connection is given up");
                    self.swarm.close_connection(event.connection);
                }
            }
        }
    }

    /// Tells how members are reached where that has changed, and leaves relays that are needed no more.
    pub(super) fn tend_paths(&mut self) {
        let (mut news, mut superfluous) = (Vec::new(), Vec::new());
        for (id, peer) in &mut self.peers {
            superfluous.extend(peer.superfluous());
            if let Some(path) = peer.path().filter(|path| peer.told != Some(*path) && self.discovery.is_member(id)) {
                peer.told = Some(path);
                news.push(Event::Path { peer: peer.id, path });
            }
        }
        for connection in superfluous {
            self.swarm.close_connection(connection);
        }
        news.into_iter().for_each(|event| self.tell(event));
    }

    /// Says whom to look for; nobody is called yet.
    pub(super) fn want(&mut self, members: Vec<PeerId>) {
        self.discovery.set_members(members.clone());
        for peer in members {
            self.discovery.remembered(peer, self.keeper.book.addrs(&peer));
        }
        self.introduce();
    }

    pub(super) fn set_members(&mut self, members: Vec<PeerId>) {
        self.want(members);
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
        let (gossip, now) = (&self.swarm.behaviour().gossip, Instant::now());
        let info = |(peer, entry): (&PeerId, &Peer)| PeerInfo {
            id: entry.id,
            member: self.discovery.is_member(peer),
            connections: entry.connections.len() as u32,
            path: entry.path().unwrap_or(Path::Direct),
            address: entry.address(),
            not_punched: entry.not_punched,
            round_trip_us: entry.round_trip.map(|t| t.as_micros() as u64),
            score: gossip.peer_score(peer).unwrap_or_default(),
            demerits: self.ledger.demerits(peer, now),
            subscribed: entry.topics.len() == Topic::ALL.len(),
        };
        let mut infos: Vec<PeerInfo> = self.peers.iter().map(info).collect();
        infos.sort_by_key(|info| info.id);
        infos
    }
}
