//! Where others are: whoever is connected can be asked, for many members at once.
//!
//! Everybody keeps the addresses that connected peers say of themselves, and tells them to whoever asks for these keys. A node
//! that starts needs one question to its entry point to know where all members are that have been there before it; Kademlia
//! would need a lookup for each, each of which connects the node with peers that it has no use for.

pub(crate) mod codec;

use std::collections::{HashMap, VecDeque};
use std::task::{Context, Poll};

use codec::WhereCodec;
use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::request_response::{self, Message, OutboundRequestId};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{PeerId, swarm};

use crate::bucket::{Bucket, bucket};
use crate::frame::Inbound;
use crate::{Fault, NodeId, Tempo};

/// Questions of one peer that are answered in a second. Too low, and a node that starts asks longer; each costs an answer of 64
/// KiB at most.
const QUESTIONS_PER_SECOND: u32 = 16;

type Inner = request_response::Behaviour<WhereCodec>;

/// What comes of questions.
#[derive(Debug)]
pub(crate) enum WhereEvent {
    /// Somebody, who may be anyone, says that these peers are at these addresses.
    Told { found: Vec<(PeerId, Vec<Multiaddr>)> },
    /// A peer asks what nobody may ask.
    Misbehaved { peer: PeerId, fault: Fault },
}

/// What a connected peer says of itself.
#[derive(Debug)]
struct Known {
    addrs: Vec<Multiaddr>,
    /// Whether it serves Kademlia.
    serves: bool,
}

/// See the module's text.
pub(crate) struct Whereabouts {
    inner: Inner,
    /// Connected peers, as many as there may be connections.
    known: HashMap<PeerId, Known>,
    allowances: HashMap<PeerId, Bucket>,
    open: HashMap<OutboundRequestId, (PeerId, Vec<PeerId>)>,
    events: VecDeque<WhereEvent>,
}

impl Whereabouts {
    pub(crate) fn new(tempo: &Tempo) -> Self {
        Self {
            inner: codec::behaviour(tempo),
            known: HashMap::new(),
            allowances: HashMap::new(),
            open: HashMap::new(),
            events: VecDeque::new(),
        }
    }

    /// A connected peer says where it is.
    pub(crate) fn learn(&mut self, peer: PeerId, addrs: Vec<Multiaddr>, serves: bool) {
        if self.inner.is_connected(&peer) {
            self.known.insert(peer, Known { addrs, serves });
        }
    }

    /// Connected peers that have said where they are: those that can be asked.
    pub(crate) fn known(&self) -> impl ExactSizeIterator<Item = PeerId> {
        self.known.keys().copied()
    }

    /// Where a connected peer serves Kademlia, if it does.
    pub(crate) fn serving(&self, peer: &PeerId) -> &[Multiaddr] {
        self.known.get(peer).filter(|known| known.serves).map_or(&[], |known| &known.addrs)
    }

    /// Whether an answer of this peer is awaited.
    pub(crate) fn awaits(&self, peer: &PeerId) -> bool {
        self.open.values().any(|(asked, _)| asked == peer)
    }

    /// Asks a connected peer where others are, as many as fit into one question.
    pub(crate) fn ask(&mut self, peer: PeerId, about: impl Iterator<Item = PeerId>) {
        let named = about.filter_map(|peer| Some((peer, NodeId::from_peer_id(&peer)?)));
        let (peers, keys): (Vec<PeerId>, Vec<NodeId>) = named.take(codec::MAX_KEYS).unzip();
        let id = self.inner.send_request(&peer, Inbound::Good(keys));
        self.open.insert(id, (peer, peers));
    }

    /// Of whom we know where they are, by their places in the question.
    fn answer(&self, keys: &[NodeId]) -> codec::Answer {
        let of = |key: &NodeId| Some(self.known.get(&key.peer_id().ok()?)?.addrs.clone());
        let known = keys.iter().enumerate().filter_map(|(place, key)| Some((place as u16, of(key)?)));
        known.filter(|(_, addrs)| !addrs.is_empty()).collect()
    }

    fn on_inner(&mut self, event: request_response::Event<Inbound<Vec<NodeId>>, codec::Answer>) {
        match event {
            request_response::Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                match request {
                    Inbound::Bad(fault) => self.events.push_back(WhereEvent::Misbehaved { peer, fault }),
                    Inbound::Good(keys) => {
                        let allowance = self.allowances.entry(peer).or_insert_with(|| bucket(QUESTIONS_PER_SECOND));
                        // Whoever asks too much gets no answer; if it is gone meanwhile, it needs none.
                        if allowance.check().is_ok() {
                            let answer = self.answer(&keys);
                            _ = self.inner.send_response(channel, answer);
                        }
                    }
                }
            }
            request_response::Event::Message { message: Message::Response { request_id, response }, .. } => {
                let Some((_, asked)) = self.open.remove(&request_id) else { return };
                let named = |(place, addrs)| Some((*asked.get(usize::from(place))?, addrs));
                self.events.push_back(WhereEvent::Told { found: response.into_iter().filter_map(named).collect() });
            }
            request_response::Event::OutboundFailure { peer, request_id, error, .. } => {
                tracing::debug!(%peer, %error, "no answer to where others are");
                self.open.remove(&request_id);
            }
            request_response::Event::InboundFailure { .. } | request_response::Event::ResponseSent { .. } => {}
        }
    }
}

impl NetworkBehaviour for Whereabouts {
    type ConnectionHandler = <Inner as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = WhereEvent;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(connection, peer, addr, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionClosed(swarm::behaviour::ConnectionClosed {
            peer_id,
            remaining_established: 0,
            ..
        }) = &event
        {
            self.known.remove(peer_id);
            self.allowances.remove(peer_id);
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<WhereEvent, THandlerInEvent<Self>>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(ToSwarm::GenerateEvent(event));
            }
            match self.inner.poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(ToSwarm::GenerateEvent(event)) => self.on_inner(event),
                // Only events have a type of their own here, and this is none.
                Poll::Ready(other) => {
                    return Poll::Ready(other.map_out(|_| WhereEvent::Told { found: Vec::new() }));
                }
            }
        }
    }
}
