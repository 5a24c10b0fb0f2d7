//! An entry point: discovery for those who know nobody yet. It holds addresses and passes on nothing else.

use std::sync::Arc;

use futures::StreamExt;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm, identify, swarm};
use tokio::sync::{mpsc, oneshot};

use crate::behaviour::{Common, CommonEvent, family_name};
use crate::listen::Listeners;
use crate::traffic::Counters;
use crate::{Error, Limits, NodeId, Tempo, Traffic, TransportKind, id, transport};

/// What an entry point needs to know.
#[derive(Clone)]
pub struct EntryConfig {
    /// The seed of its ed25519 key.
    pub secret: [u8; 32],
    /// Where to listen; the addresses decide which transports there are.
    pub listen: Vec<Multiaddr>,
    /// Connections and memory.
    pub limits: Limits,
    /// Pings, and when idle guests leave.
    pub tempo: Tempo,
}

impl std::fmt::Debug for EntryConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EntryConfig").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// A running entry point; it stops when this is dropped.
#[derive(Debug)]
pub struct Entry {
    id: NodeId,
    addrs: Vec<Multiaddr>,
    counters: Arc<Counters>,
    asks: mpsc::Sender<oneshot::Sender<usize>>,
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
        let carrier = transport::build(&key, &kinds, &counters)?;
        let common = Common::new(&key, &family_name(None), &config.limits, &config.tempo, false);
        let swarm_config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(config.tempo.idle);
        let mut swarm = Swarm::new(carrier, common, me, swarm_config);
        let mut listeners = Listeners::open(&mut swarm, &config.listen)?;
        while listeners.are_awaited() {
            let event = listeners.next(&mut swarm).await?;
            on_event(&mut swarm, event);
        }
        let addrs = swarm.listeners().filter_map(|addr| addr.clone().with_p2p(me).ok()).collect();
        let (asks, queue) = mpsc::channel(1);
        tokio::spawn(run(swarm, queue));
        Ok(Self { id: NodeId::of_secret(&config.secret)?, addrs, counters, asks })
    }

    /// Its key.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// Where it listens, each address with its `/p2p/` part: what members are to be given.
    #[must_use]
    pub fn addrs(&self) -> &[Multiaddr] {
        &self.addrs
    }

    /// How many peers are connected.
    pub async fn guests(&self) -> usize {
        let (reply, answer) = oneshot::channel();
        if self.asks.send(reply).await.is_err() {
            return 0;
        }
        answer.await.unwrap_or_default()
    }

    /// Bytes since the start.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.counters.read()
    }
}

async fn run(mut swarm: Swarm<Common>, mut asks: mpsc::Receiver<oneshot::Sender<usize>>) {
    loop {
        tokio::select! {
            event = swarm.select_next_some() => on_event(&mut swarm, event),
            ask = asks.recv() => match ask {
                None => return,
                Some(reply) => drop(reply.send(swarm.connected_peers().count())),
            },
        }
    }
}

fn on_event(swarm: &mut Swarm<Common>, event: SwarmEvent<CommonEvent>) {
    match event {
        SwarmEvent::Behaviour(CommonEvent::Identify(identify::Event::Received { peer_id, info, .. })) => {
            tracing::info!(peer = %peer_id, version = %info.protocol_version, addrs = info.listen_addrs.len(), "a guest");
            swarm.behaviour_mut().identified(peer_id, &info, |_| true);
        }
        SwarmEvent::Behaviour(CommonEvent::Ping(event)) => {
            if let Err(libp2p::ping::Failure::Timeout | libp2p::ping::Failure::Other { .. }) = event.result {
                swarm.close_connection(event.connection);
            }
        }
        SwarmEvent::ListenerClosed { addresses, reason, .. } => {
            tracing::warn!(?addresses, ?reason, "a listener closed")
        }
        SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a listener has trouble"),
        _ => {}
    }
}
