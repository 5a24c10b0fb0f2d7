//! Being reached: is there a NAT, which relays help, which holes were punched.
//!
//! An entry point sees this node under some address. If that is none of its own, there is a NAT between, and the node asks
//! for a place at the relay at once. Otherwise it waits for what the entry point's probe finds: a firewall may be in the way,
//! too. A place that it has it keeps, also if a probe gets through: a mapping in a router may go any time.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use libp2p::core::transport::ListenerId;
use libp2p::core::{PeerRecord, SignedEnvelope};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{FromSwarm, NetworkBehaviour, NewExternalAddrCandidate};
#[cfg(feature = "upnp")]
use libp2p::upnp;
use libp2p::{Multiaddr, PeerId, Swarm, autonat, dcutr, identify, relay};
use tokio::time::Instant;

use super::Driver;
use crate::behaviour::{Member, ThroughEvent};
use crate::direct_only::is_relayed;
use crate::subnet::ip_of;
use crate::{NodeId, Reachability, Relaying, Router};

/// Relays at which a node has a place. Fewer, and one that goes takes members along until they have found another; more, and
/// every address that is told gets longer.
const MAX_RELAYS: usize = 3;

/// Pause before a relay that refused or went is asked again; doubles up to [`ASK_MAX`].
const ASK_FIRST: Duration = Duration::from_secs(1);
const ASK_MAX: Duration = Duration::from_secs(60);

/// Peers whose clocks are compared with ours. Fewer, and one that is wrong tells more.
const MAX_CLOCKS: usize = 9;

/// Addresses that are remembered as seen, probed, confirmed or refused, each. Fewer, and a report is not complete, and some of the
/// addresses of a host with many are neither probed nor used to punch holes.
const MAX_SEEN: usize = 16;

/// A relay that an entry point offers.
#[derive(Debug)]
struct Offer {
    /// The place there: a listener that is wanted or has an address.
    listener: Option<ListenerId>,
    held: bool,
    due: Instant,
    pause: Duration,
}

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Reaching {
    relaying: Relaying,
    offers: HashMap<PeerId, Offer>,
    behind_nat: Option<bool>,
    observed: BTreeSet<Multiaddr>,
    /// Addresses about which entry points were asked.
    probed: BTreeSet<Multiaddr>,
    confirmed: BTreeSet<Multiaddr>,
    refused: BTreeSet<Multiaddr>,
    router: Router,
    /// Seconds by which our clock was ahead of a peer's when it last said who it is.
    clocks: HashMap<PeerId, i64>,
    pub(super) heard_by_mdns: u64,
    punched: u64,
    not_punched: u64,
}

/// The same address with another IP address, if that is one of the same kind: loopback or not, too.
fn at_ip(addr: &Multiaddr, ip: IpAddr) -> Option<Multiaddr> {
    let old = ip_of(addr)?;
    if old.is_ipv4() != ip.is_ipv4() || old.is_loopback() != ip.is_loopback() {
        return None;
    }
    let part = |part| match part {
        Protocol::Ip4(_) | Protocol::Ip6(_) => Protocol::from(ip),
        other => other,
    };
    Some(addr.iter().map(part).collect())
}

fn note(set: &mut BTreeSet<Multiaddr>, addr: Multiaddr) {
    if set.len() < MAX_SEEN {
        set.insert(addr);
    }
}

impl Reaching {
    pub(super) fn new(reach: &crate::Reach) -> Self {
        let router = if reach.upnp { Router::Asked } else { Router::NotAsked };
        Self { relaying: reach.relay, router, ..Self::default() }
    }

    /// Whether this node can dial through relays.
    pub(super) fn uses_relays(&self) -> bool {
        self.relaying != Relaying::Never
    }

    /// Whether a place at a relay is of use.
    fn needs_relay(&self) -> bool {
        let unreachable = self.behind_nat == Some(true) || self.confirmed.is_empty() && !self.refused.is_empty();
        match self.relaying {
            Relaying::Never => false,
            Relaying::Auto => unreachable,
            Relaying::Always => true,
        }
    }

    /// Asks relays for a place, if there is need.
    fn tick(&mut self, swarm: &mut Swarm<Member>, address: impl Fn(&PeerId) -> Option<Multiaddr>) {
        if !self.needs_relay() {
            return;
        }
        let mut places = self.offers.values().filter(|offer| offer.listener.is_some()).count();
        for (peer, offer) in &mut self.offers {
            if places >= MAX_RELAYS || offer.listener.is_some() || offer.due > Instant::now() {
                continue;
            }
            let Some(address) = address(peer) else { continue };
            let circuit = match address.with_p2p(*peer) {
                Ok(address) | Err(address) => address.with(Protocol::P2pCircuit),
            };
            offer.due = Instant::now() + offer.pause;
            offer.pause = (2 * offer.pause).min(ASK_MAX);
            match swarm.listen_on(circuit) {
                Ok(listener) => {
                    offer.listener = Some(listener);
                    places += 1;
                }
                Err(error) => tracing::debug!(relay = %peer, %error, "a relay cannot be asked for a place"),
            }
        }
    }

    /// A listener has an address.
    pub(super) fn opened(&mut self, listener: ListenerId) {
        for (peer, offer) in &mut self.offers {
            if offer.listener == Some(listener) && !offer.held {
                (offer.held, offer.pause) = (true, ASK_FIRST);
                tracing::info!(relay = %peer, "reachable through a relay");
            }
        }
    }

    /// A listener is gone. True if it was a place at a relay.
    pub(super) fn closed(&mut self, listener: ListenerId) -> bool {
        for (peer, offer) in &mut self.offers {
            if offer.listener == Some(listener) {
                tracing::debug!(relay = %peer, held = offer.held, "no place at a relay any more");
                (offer.listener, offer.held, offer.due) = (None, false, Instant::now() + offer.pause);
                return true;
            }
        }
        false
    }

    /// A peer's record says when it was made, in whole seconds since 1970: just now.
    pub(super) fn compare_clocks(&mut self, peer: PeerId, record: &SignedEnvelope) {
        // Its signature is checked for this alone.
        if self.clocks.len() >= MAX_CLOCKS && !self.clocks.contains_key(&peer) {
            return;
        }
        let Ok(record) = PeerRecord::from_signed_envelope(record.clone()) else { return };
        let Ok(now) = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) else { return };
        let ahead = i128::from(now.as_secs()) - i128::from(record.seq());
        self.clocks.insert(peer, i64::try_from(ahead).unwrap_or(i64::MIN));
    }

    fn clock_ahead_s(&self) -> Option<i64> {
        let mut all: Vec<i64> = self.clocks.values().copied().collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied()
    }

    fn on_probe(&mut self, event: autonat::v2::client::Event) {
        let addr = event.tested_addr;
        match event.result {
            Ok(()) => {
                tracing::info!(%addr, "reachable from outside");
                self.refused.remove(&addr);
                note(&mut self.confirmed, addr);
            }
            Err(error) => {
                tracing::debug!(%addr, %error, "not reachable from outside");
                note(&mut self.refused, addr);
            }
        }
    }
}

impl Driver {
    /// An entry point says as what it sees this node, and whether it relays.
    pub(super) fn seen_by(&mut self, peer: PeerId, info: &identify::Info) {
        let relayed = !self.peers.get(&peer).is_some_and(super::connections::Peer::is_direct);
        if !self.reaching.uses_relays() || relayed || !self.discovery.is_entry(&peer) {
            return;
        }
        if info.protocols.contains(&relay::HOP_PROTOCOL_NAME) {
            let now = Instant::now();
            self.reaching.offers.entry(peer).or_insert(Offer {
                listener: None,
                held: false,
                due: now,
                pause: ASK_FIRST,
            });
        }
        if let Some(ip) = ip_of(&info.observed_addr) {
            let own = self.swarm.listeners().filter(|addr| !is_relayed(addr)).any(|addr| ip_of(addr) == Some(ip));
            // An entry point on this side of the NAT does not see it; one beyond does.
            let nat = !own || self.reaching.behind_nat == Some(true);
            if self.reaching.behind_nat != Some(nat) {
                tracing::info!(observed = %info.observed_addr, nat, "as an entry point sees this node");
            }
            self.reaching.behind_nat = Some(nat);
            note(&mut self.reaching.observed, info.observed_addr.clone());
            self.seen_at(ip);
        }
        self.tend_relays();
    }

    /// An entry point sees this node at `ip`: asks whether it is reached there at the ports where it listens, and punches holes from
    /// them. The port that was seen tells less: whatever this node dials with a transport on which it does not listen leaves from a
    /// port where nobody answers; and of the transports on which it listens, it has dialed one. Holes are punched with all of them:
    /// with TCP it fails if the other side's packet comes first and the router lets it in, for then both take themselves for the one
    /// that was called.
    fn seen_at(&mut self, ip: IpAddr) {
        let own = self.swarm.listeners().filter(|addr| !is_relayed(addr));
        let there: BTreeSet<Multiaddr> = own.filter_map(|addr| at_ip(addr, ip)).collect();
        let Some(through) = self.swarm.behaviour_mut().through.as_mut() else { return };
        for addr in there {
            if self.reaching.probed.len() < MAX_SEEN && self.reaching.probed.insert(addr.clone()) {
                through.probing.ask_about(&addr);
                let candidate = NewExternalAddrCandidate { addr: &addr };
                through.dcutr.on_swarm_event(FromSwarm::NewExternalAddrCandidate(candidate));
            }
        }
    }

    /// Asks relays for places, where there is need.
    pub(super) fn tend_relays(&mut self) {
        let peers = &self.peers;
        self.reaching.tick(&mut self.swarm, |peer| peers.get(peer)?.dialed().cloned());
    }

    pub(super) fn on_through(&mut self, event: ThroughEvent) {
        match event {
            ThroughEvent::Probing(event) => {
                self.reaching.on_probe(event);
                self.tend_relays();
            }
            ThroughEvent::Dcutr(dcutr::Event { remote_peer_id, result }) => match result {
                Ok(connection) => {
                    self.reaching.punched += 1;
                    let peer = self.peers.get_mut(&remote_peer_id);
                    if let Some(open) = peer.and_then(|peer| peer.connections.get_mut(&connection)) {
                        open.punched = true;
                    }
                }
                Err(error) => {
                    self.reaching.not_punched += 1;
                    if let Some(peer) = self.peers.get_mut(&remote_peer_id) {
                        peer.not_punched += 1;
                        peer.straight.not_punched(Instant::now());
                    }
                    tracing::debug!(peer = %remote_peer_id, %error, "no hole was punched");
                }
            },
            ThroughEvent::Relay(event) => tracing::debug!(?event, "relay"),
        }
    }

    #[cfg(feature = "upnp")]
    pub(super) fn on_router(&mut self, event: upnp::Event) {
        self.reaching.router = match event {
            upnp::Event::NewExternalAddr { external_addr, .. } => {
                tracing::info!(addr = %external_addr, "the router forwards a port");
                let mut addrs = match std::mem::take(&mut self.reaching.router) {
                    Router::Forwards(addrs) => addrs,
                    _ => Vec::new(),
                };
                if addrs.len() < MAX_SEEN && !addrs.contains(&external_addr) {
                    addrs.push(external_addr);
                }
                Router::Forwards(addrs)
            }
            upnp::Event::ExpiredExternalAddr { external_addr, .. } => match std::mem::take(&mut self.reaching.router) {
                Router::Forwards(mut addrs) => {
                    addrs.retain(|addr| *addr != external_addr);
                    Router::Forwards(addrs)
                }
                other => other,
            },
            upnp::Event::GatewayNotFound => Router::Absent,
            upnp::Event::NonRoutableGateway => Router::BehindAnother,
        };
    }

    pub(super) fn reachability(&self) -> Reachability {
        let routing = self.swarm.behaviour().common.whereabouts.known().len();
        let reaching = &self.reaching;
        let named = |which: &dyn Fn(&Offer) -> bool| {
            let mut ids: Vec<NodeId> = reaching
                .offers
                .iter()
                .filter(|(_, offer)| which(offer))
                .filter_map(|(peer, _)| NodeId::from_peer_id(peer))
                .collect();
            ids.sort();
            ids
        };
        let mut entries: Vec<NodeId> =
            self.peers.keys().filter(|peer| self.discovery.is_entry(peer)).filter_map(NodeId::from_peer_id).collect();
        entries.sort();
        Reachability {
            behind_nat: reaching.behind_nat,
            observed: reaching.observed.iter().cloned().collect(),
            confirmed: reaching.confirmed.iter().cloned().collect(),
            refused: reaching.refused.iter().cloned().collect(),
            entries,
            relays_offered: named(&|_| true),
            relays: named(&|offer| offer.held),
            router: reaching.router.clone(),
            heard_by_mdns: reaching.heard_by_mdns,
            routing,
            clock_ahead_s: reaching.clock_ahead_s(),
            punched: reaching.punched,
            not_punched: reaching.not_punched,
        }
    }
}
