//! The one task that owns the swarm. It never waits for anyone: whatever is full drops or refuses.

mod commands;
pub(crate) mod conduct;
mod connections;
mod discovery;
mod messages;
mod reach;
mod serve;
mod straight;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use commands::Command;
use discovery::Discovery;
use fedswarm_protocol::hash::Digest;
use futures::StreamExt;
use libp2p::core::upgrade::Version;
use libp2p::request_response::OutboundRequestId;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Swarm, gossipsub, identify, mdns, relay, swarm};
use reach::Reaching;
use serve::Serving;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::behaviour::{CommonEvent, Member, MemberEvent};
use crate::blobs::codec::Answer;
use crate::direct::DirectId;
use crate::direct_only::is_relayed;
use crate::driver::connections::Peer;
use crate::driver::messages::Unsent;
use crate::handle::peer_ties;
use crate::listen::{Listeners, outward};
use crate::peer_book::Keeper;
use crate::quality::Ledger;
use crate::traffic::Counters;
use crate::whereabouts::WhereEvent;
use crate::{
    Acceptance, BlobSource, Config, Error, Event, GossipToken, HolderFault, Limits, Relaying, TransportKind, id,
    transport,
};

/// A request on its way: whom to tell, and the permit that goes back when it ends.
struct Open<T> {
    reply: oneshot::Sender<T>,
    since: Instant,
    _permit: OwnedSemaphorePermit,
}

type DirectReply = Result<(), String>;
type BlobReply = Result<Answer, HolderFault>;

/// The task's state.
pub(crate) struct Driver {
    swarm: Swarm<Member>,
    network: Digest,
    transport: TransportKind,
    limits: Limits,
    discovery_tempo: Duration,
    listen: Vec<Multiaddr>,
    counters: Arc<Counters>,
    commands: mpsc::Receiver<Command>,
    reports: mpsc::Receiver<(GossipToken, Acceptance)>,
    events: mpsc::Sender<Event>,
    topics: HashMap<gossipsub::TopicHash, crate::Topic>,
    peers: HashMap<PeerId, Peer>,
    discovery: Discovery,
    keeper: Keeper,
    reaching: Reaching,
    serving: Serving,
    ledger: Ledger,
    /// Members and entry points, as the doorman knows them.
    introduced: HashSet<PeerId>,
    /// How long a holder may take for an answer.
    blob_timeout: Duration,
    unsent: VecDeque<Unsent>,
    direct: HashMap<DirectId, Open<DirectReply>>,
    questions: HashMap<OutboundRequestId, Open<BlobReply>>,
}

impl Driver {
    pub(crate) fn new(
        config: Config,
        blobs: Arc<dyn BlobSource>,
        counters: Arc<Counters>,
        commands: mpsc::Receiver<Command>,
        reports: mpsc::Receiver<(GossipToken, Acceptance)>,
        events: mpsc::Sender<Event>,
    ) -> Result<Self, Error> {
        let key = id::keypair(&config.secret)?;
        let me = key.public().to_peer_id();
        let relaying = config.reach.relay != Relaying::Never;
        let (relays, relay) = relaying.then(|| relay::client::new(me)).unzip();
        let carrier = transport::build(&key, &[config.transport], &counters, relays)?;
        let swarm_config = swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(config.tempo.idle)
            // What is said on a stream goes out with the name of its protocol, not a round trip later.
            .with_substream_upgrade_protocol_override(Version::V1Lazy);
        let mut swarm = Swarm::new(carrier, Member::new(&key, &config, relay)?, me, swarm_config);
        for addr in &config.reach.external {
            swarm.add_external_address(addr.clone());
        }
        let members = config.members.iter().map(|m| m.peer_id()).collect::<Result<Vec<_>, _>>()?;
        let mut discovery = Discovery::new(me, &config.bootstraps, &config.tempo, relaying);
        discovery.set_ties(peer_ties(config.ties)?);
        let reaching = Reaching::new(&config.reach);
        let keeper = Keeper::open(config.reach.book);
        let listen = if config.listen.is_empty() { vec![config.transport.any_port()] } else { config.listen };
        let topics = crate::Topic::ALL.iter().map(|t| (t.ident(&config.network).hash(), *t)).collect();
        let mut driver = Self {
            swarm,
            network: config.network,
            transport: config.transport,
            serving: Serving::new(blobs, &config.limits),
            limits: config.limits,
            discovery_tempo: config.tempo.discovery,
            listen,
            counters,
            commands,
            reports,
            events,
            topics,
            peers: HashMap::new(),
            discovery,
            keeper,
            reaching,
            ledger: Ledger::default(),
            introduced: HashSet::new(),
            blob_timeout: config.tempo.blob_timeout,
            unsent: VecDeque::new(),
            direct: HashMap::new(),
            questions: HashMap::new(),
        };
        driver.set_lists(config.lists);
        driver.want(members);
        Ok(driver)
    }

    /// Opens the listeners and waits until each has an address.
    pub(crate) async fn listen(&mut self) -> Result<(), Error> {
        let wanted = std::mem::take(&mut self.listen);
        let mut listeners = Listeners::open(&mut self.swarm, &wanted, &self.keeper.book)?;
        while listeners.are_awaited() {
            let event = listeners.next(&mut self.swarm).await?;
            self.on_swarm(event);
        }
        for (wanted, port) in listeners.ports() {
            let news = self.keeper.book.got_port(wanted, port);
            self.keeper.changed(news);
        }
        Ok(())
    }

    /// Runs until the last handle is gone or [`Command::Shutdown`] comes.
    pub(crate) async fn run(mut self) {
        let tick = sleep_until(Instant::now());
        tokio::pin!(tick);
        let mut looked = None;
        loop {
            let look = |looked| self.discovery.next_look(looked, self.discovery_tempo, self.keeper.due());
            let next = looked.map_or_else(Instant::now, look);
            if tick.deadline() != next && looked.is_some() {
                tick.as_mut().reset(next);
            }
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
                command = self.commands.recv() => match command {
                    None => break,
                    Some(Command::Shutdown(reply)) => {
                        _ = reply.send(());
                        break;
                    }
                    Some(command) => self.on_command(command),
                },
                Some((token, verdict)) = self.reports.recv() => self.judge(&token, verdict),
                served = self.serving.next() => self.answer(served),
                () = &mut tick => {
                    looked = Some(Instant::now());
                    self.tick();
                }
            }
        }
        self.keeper.close().await;
    }

    fn tick(&mut self) {
        self.discovery.tick(&mut self.swarm);
        self.tend_paths();
        self.straighten();
        self.tend_relays();
        self.give_up_questions();
        self.end_bans();
        self.keeper.tick();
    }

    fn on_swarm(&mut self, event: SwarmEvent<MemberEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::NewListenAddr { address, listener_id } => {
                self.reaching.opened(listener_id);
                self.tell(Event::Listening(address));
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, num_established, .. } => {
                self.connected(peer_id, connection_id, &endpoint, num_established.get());
                if endpoint.is_dialer() && !endpoint.is_relayed() && self.discovery.is_member(&peer_id) {
                    let news = self.keeper.book.worked(peer_id, endpoint.get_remote_address());
                    self.keeper.changed(news);
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, cause, .. } => {
                tracing::debug!(peer = %peer_id, ?cause, "connection closed");
                self.disconnected(peer_id, connection_id, num_established);
            }
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => {
                tracing::debug!(?peer_id, %error, "dial failed");
                if let Some(peer) = peer_id {
                    self.discovery.failed(peer, &error);
                }
            }
            SwarmEvent::IncomingConnectionError { error, .. } => tracing::debug!(%error, "incoming connection failed"),
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                let relay = self.reaching.closed(listener_id);
                if !relay {
                    tracing::warn!(?addresses, ?reason, "a listener closed");
                }
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a listener has trouble"),
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: MemberEvent) {
        match event {
            MemberEvent::Gossip(event) => self.on_gossip(event),
            MemberEvent::Direct(event) => self.on_direct(event),
            MemberEvent::Blobs(event) => self.on_blobs(event),
            MemberEvent::Common(CommonEvent::Identify(identify::Event::Received { peer_id, info, .. })) => {
                self.identified(peer_id, &info);
            }
            MemberEvent::Common(CommonEvent::Ping(event)) => self.on_ping(event),
            MemberEvent::Common(CommonEvent::Kad(event)) => self.on_kad(event),
            MemberEvent::Common(CommonEvent::Whereabouts(event)) => match event {
                WhereEvent::Told { found } => self.discovery.told(found, &mut self.swarm),
                WhereEvent::Misbehaved { peer, fault } => self.fault(peer, fault),
            },
            MemberEvent::Mdns(mdns::Event::Discovered(found)) => {
                for (peer, addr) in found {
                    self.reaching.heard_by_mdns += u64::from(self.discovery.is_member(&peer));
                    self.discovery.heard(peer, addr);
                }
            }
            MemberEvent::Through(event) => self.on_through(event),
            #[cfg(feature = "upnp")]
            MemberEvent::Upnp(event) => self.on_router(event),
            // The gates and the rest of identify have nothing to say; mDNS' expiry is no reason to forget an address.
            MemberEvent::Common(_) | MemberEvent::Mdns(mdns::Event::Expired(_)) => {}
        }
    }

    /// A peer says who it is and where it listens.
    fn identified(&mut self, peer: PeerId, info: &identify::Info) {
        let (kind, relays) = (self.transport, self.reaching.uses_relays());
        let useful = |addr: &Multiaddr| kind.carries(addr) && (relays || !is_relayed(addr));
        self.swarm.behaviour_mut().common.identified(peer, info, useful);
        let addrs: Vec<Multiaddr> = outward(&info.listen_addrs).filter(|addr| useful(addr)).cloned().collect();
        if self.discovery.is_member(&peer) {
            // A record is for the file; without one, its signature need not be checked again.
            let record = info.signed_peer_record.as_ref().filter(|_| self.keeper.is_kept());
            let news = self.keeper.book.told(peer, record, &addrs);
            self.keeper.changed(news);
        }
        if let Some(record) = info.signed_peer_record.as_ref().filter(|_| self.discovery.is_known(&peer)) {
            self.reaching.compare_clocks(peer, record);
        }
        self.discovery.learned(peer, addrs.into_iter(), &mut self.swarm);
        self.seen_by(peer, info);
    }

    /// Queues an event that must not be lost.
    fn tell(&self, event: Event) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            tracing::warn!(?event, "the queue of events is full; an event is lost");
        }
    }

    /// Queues a message, unless the queue is nearly full: the rest is kept for [`Driver::tell`].
    fn tell_message(&self, event: Event) -> bool {
        self.events.capacity() > self.limits.events / 8 && self.events.try_send(event).is_ok()
    }
}
