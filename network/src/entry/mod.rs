//! An entry point: discovery for those who know nobody yet; and, for those behind a NAT, a relay and a probe that tells them how
//! others see them. It keeps addresses and passes on what is encrypted between others, a little of it.

mod relaying;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, autonat, identify, relay, swarm};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

pub use self::relaying::RelayLimits;
use crate::behaviour::{Common, CommonEvent, family_name};
use crate::driver::conduct::pollutes;
use crate::listen::{Listeners, is_local};
use crate::peer_book::PeerBook;
use crate::quality::Ledger;
use crate::traffic::Counters;
use crate::whereabouts::WhereEvent;
use crate::{AccessLists, Error, Fault, Limits, NodeId, Tempo, Traffic, TransportKind, id, transport};

/// What an entry point needs to know.
#[derive(Clone)]
pub struct EntryConfig {
    /// The seed of its ed25519 key.
    pub secret: [u8; 32],
    /// Where to listen; the addresses decide which transports there are.
    pub listen: Vec<Multiaddr>,
    /// Under which addresses others reach it; empty if they are those where it listens.
    pub external: Vec<Multiaddr>,
    /// How much it relays; `None` if it does not.
    pub relay: Option<RelayLimits>,
    /// Whether it dials guests that want to know whether they can be dialed. Each such dial is one of [`Limits::pending`].
    pub probe: bool,
    /// Whom the operator lets in or keeps out.
    pub lists: AccessLists,
    /// Connections and memory. All are guests here: [`Limits::connections`] is how many there may be, and [`Limits::strangers`] says
    /// nothing.
    pub limits: Limits,
    /// Pings, and when idle guests leave.
    pub tempo: Tempo,
}

impl std::fmt::Debug for EntryConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EntryConfig").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// What an entry point does at the moment, and has done since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryStats {
    /// Connected peers.
    pub guests: usize,
    /// Places at the relay that were given to guests, since the start.
    pub places: u64,
    /// Requests for a place that were denied, since the start.
    pub places_denied: u64,
    /// Pairs that talk through the relay.
    pub circuits: u64,
    /// All such pairs since the start, each as often as it began anew.
    pub circuits_opened: u64,
    /// Requests for a circuit that were denied, since the start.
    pub circuits_denied: u64,
    /// Probes for guests since the start: those whose outcome they were told, and those that broke off. Whether a guest was
    /// reached, libp2p does not say here.
    pub probes: (u64, u64),
    /// Connections that are being set up.
    pub half_open: usize,
    /// Connections that were not let in, since the start.
    pub denied: u64,
    /// Guests that are banned at the moment.
    pub banned: usize,
    /// Bans since the start.
    pub bans: u64,
}

#[derive(NetworkBehaviour)]
struct House {
    common: Common,
    relay: Toggle<relay::Behaviour>,
    probe: Toggle<autonat::v2::server::Behaviour>,
}

/// A running entry point; it stops when this is dropped.
#[derive(Debug)]
pub struct Entry {
    id: NodeId,
    addrs: Vec<Multiaddr>,
    counters: Arc<Counters>,
    asks: mpsc::Sender<Ask>,
}

impl Entry {
    /// Starts an entry point on the caller's tokio runtime and waits until its listeners are up.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Key`], [`Error::PortInUse`], [`Error::Listen`].
    pub async fn start(config: EntryConfig) -> Result<Self, Error> {
        let key = id::keypair(&config.secret)?;
        let me = key.public().to_peer_id();
        let kinds: Vec<TransportKind> = [TransportKind::Tcp, TransportKind::Quic, TransportKind::Memory]
            .into_iter()
            .filter(|kind| config.listen.iter().any(|addr| kind.carries(addr)))
            .collect();
        if kinds.is_empty() {
            return Err(Error::Setting("an entry point needs an address to listen on".into()));
        }
        let counters = Arc::new(Counters::default());
        let carrier = transport::build(&key, &kinds, &counters, None)?;
        let mut house = House {
            common: Common::new(&key, &family_name(None), &config.limits, &config.tempo, false),
            relay: Toggle::from(config.relay.map(|limits| limits.behaviour(me)).transpose()?),
            probe: Toggle::from(config.probe.then(autonat::v2::server::Behaviour::default)),
        };
        house.common.doorman.for_guests_only(config.limits.connections as usize);
        house.common.doorman.set_lists(config.lists);
        let swarm_config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(config.tempo.idle);
        let swarm = Swarm::new(carrier, house, me, swarm_config);
        let mut state = State { swarm, stats: EntryStats::default(), ledger: Ledger::default() };
        let mut listeners = Listeners::open(&mut state.swarm, &config.listen, &PeerBook::default())?;
        while listeners.are_awaited() {
            let event = listeners.next(&mut state.swarm).await?;
            state.on_event(event);
        }
        let listen: Vec<Multiaddr> = state.swarm.listeners().cloned().collect();
        // A relay names its addresses to its guests, who tell them to everybody.
        let outside = if !config.external.is_empty() {
            config.external
        } else if listen.iter().all(is_local) {
            listen.clone()
        } else {
            listen.iter().filter(|addr| !is_local(addr)).cloned().collect()
        };
        for addr in &outside {
            state.swarm.add_external_address(addr.clone());
        }
        let mut addrs = outside;
        addrs.extend(listen);
        let mut told: Vec<Multiaddr> = Vec::new();
        for addr in addrs.into_iter().filter_map(|addr| addr.with_p2p(me).ok()) {
            if !told.contains(&addr) {
                told.push(addr);
            }
        }
        let (asks, queue) = mpsc::channel(1);
        tokio::spawn(state.run(queue));
        Ok(Self { id: NodeId::of_secret(&config.secret)?, addrs: told, counters, asks })
    }

    /// Its key.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// Where it is reached, each address with its `/p2p/` part: what members are to be given. External addresses come first.
    #[must_use]
    pub fn addrs(&self) -> &[Multiaddr] {
        &self.addrs
    }

    /// How many peers are connected.
    pub async fn guests(&self) -> usize {
        self.stats().await.guests
    }

    /// What it does at the moment, and has done since its start.
    pub async fn stats(&self) -> EntryStats {
        let (reply, answer) = oneshot::channel();
        if self.asks.send(Ask::Stats(reply)).await.is_err() {
            return EntryStats::default();
        }
        answer.await.unwrap_or_default()
    }

    /// Puts other lists in force; guests that they block are disconnected.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn set_lists(&self, lists: AccessLists) -> Result<(), Error> {
        self.asks.send(Ask::SetLists(lists)).await.map_err(|_| Error::Closed)
    }

    /// Bytes since the start, those that were relayed among them.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.counters.read()
    }
}

/// What the handle asks of the task.
enum Ask {
    Stats(oneshot::Sender<EntryStats>),
    SetLists(AccessLists),
}

struct State {
    swarm: Swarm<House>,
    stats: EntryStats,
    ledger: Ledger,
}

/// How often bans that are over are ended.
const TICK: Duration = Duration::from_secs(1);

impl State {
    async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                ask = asks.recv() => match ask {
                    None => return,
                    Some(Ask::Stats(reply)) => _ = reply.send(self.stats()),
                    Some(Ask::SetLists(lists)) => self.swarm.behaviour_mut().common.doorman.set_lists(lists),
                },
                _ = tick.tick() => {
                    for peer in self.ledger.ended(Instant::now()) {
                        self.swarm.behaviour_mut().common.doorman.unban(&peer);
                    }
                }
            }
        }
    }

    fn stats(&self) -> EntryStats {
        let doorman = &self.swarm.behaviour().common.doorman;
        EntryStats {
            guests: self.swarm.connected_peers().count(),
            half_open: doorman.half_open(),
            denied: doorman.denied(),
            banned: self.ledger.banned().count(),
            bans: self.ledger.counts().1,
            ..self.stats
        }
    }

    fn fault(&mut self, peer: PeerId, fault: Fault) {
        let doorman = &mut self.swarm.behaviour_mut().common.doorman;
        if !doorman.is_allowed(&peer) && self.ledger.fault(peer, fault, false, Instant::now()) {
            tracing::info!(%peer, fault = fault.name(), "banned");
            doorman.ban(peer);
        }
    }

    fn on_event(&mut self, event: SwarmEvent<HouseEvent>) {
        match event {
            SwarmEvent::Behaviour(HouseEvent::Common(CommonEvent::Identify(identify::Event::Received {
                peer_id,
                info,
                ..
            }))) => {
                let addrs = info.listen_addrs.len();
                tracing::info!(peer = %peer_id, version = %info.protocol_version, addrs, "a guest");
                let common = &mut self.swarm.behaviour_mut().common;
                common.identified(peer_id, &info, |_| true);
                common.route_through(&peer_id);
            }
            SwarmEvent::Behaviour(HouseEvent::Common(CommonEvent::Whereabouts(WhereEvent::Misbehaved {
                peer,
                fault,
            }))) => self.fault(peer, fault),
            SwarmEvent::Behaviour(HouseEvent::Common(CommonEvent::Ping(event))) => {
                if let Err(libp2p::ping::Failure::Timeout | libp2p::ping::Failure::Other { .. }) = event.result {
                    self.swarm.close_connection(event.connection);
                }
            }
            SwarmEvent::Behaviour(HouseEvent::Common(CommonEvent::Kad(event))) => {
                // Here nobody stores anything.
                if let Some(peer) = pollutes(&event) {
                    self.fault(peer, Fault::ForeignRecord);
                }
            }
            SwarmEvent::Behaviour(HouseEvent::Relay(event)) => self.stats.count(&event),
            SwarmEvent::Behaviour(HouseEvent::Probe(event)) => {
                tracing::debug!(guest = %event.client, addr = %event.tested_addr, result = ?event.result, "probed");
                let which = if event.result.is_ok() { &mut self.stats.probes.0 } else { &mut self.stats.probes.1 };
                *which += 1;
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::warn!(?addresses, ?reason, "a listener closed");
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a listener has trouble"),
            _ => {}
        }
    }
}
