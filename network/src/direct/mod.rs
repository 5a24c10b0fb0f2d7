//! Direct messages: one stream each way on a connection for all of them, opened with the first.
//!
//! ```text
//! there: length u32 LE | message, again and again        back: one byte for each message, in the same order
//! ```
//!
//! A stream for each message, as libp2p's request-response has it, costs six packets beside the message and most of the time that
//! a round of many members takes.

mod handler;
pub(crate) mod incoming;
mod outgoing;

use std::collections::{HashMap, HashSet, VecDeque};
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent, ToSwarm,
};
use libp2p::{PeerId, StreamProtocol};

use self::handler::{Handler, Order, Report};
use crate::{Fault, Tempo, frame};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/fedswarm/direct/1");

/// What becomes of a direct message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ack {
    /// Its addressee has it.
    Taken,
    /// Its addressee takes messages from members only.
    Refused,
    /// Its addressee has too many waiting.
    Busy,
}

impl Ack {
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Taken => 0,
            Self::Refused => 1,
            Self::Busy => 2,
        }
    }

    pub(crate) const fn of(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Taken),
            1 => Some(Self::Refused),
            2 => Some(Self::Busy),
            _ => None,
        }
    }
}

/// A message that this node has sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct DirectId(u64);

/// Where a message came in, and where its acknowledgement goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Channel {
    peer: PeerId,
    connection: ConnectionId,
    stream: u64,
}

/// What happens.
#[derive(Debug)]
pub(crate) enum DirectEvent {
    /// A message came in, and wants to be answered before the next one of its stream is.
    Message { peer: PeerId, channel: Channel, message: Vec<u8> },
    /// A stream carried what no honest peer writes, or stopped in the middle. It is ended.
    Bad { peer: PeerId, fault: Fault },
    /// What became of a message.
    Answered { id: DirectId, outcome: Result<Ack, String> },
}

/// An open connection.
#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    relayed: bool,
    /// Messages without an answer.
    open: HashSet<DirectId>,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// From handing over a message to its acknowledgement.
    answer: Duration,
    /// From the first byte of a message to its last.
    message: Duration,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Direct {
    patience: Patience,
    next: u64,
    connections: HashMap<PeerId, Vec<Connection>>,
    actions: VecDeque<ToSwarm<DirectEvent, Order>>,
}

impl Direct {
    pub(crate) fn new(tempo: &Tempo) -> Self {
        let (answer, message) = (tempo.direct_timeout, frame::patience(tempo.direct_timeout));
        Self { patience: Patience { answer, message }, next: 0, connections: HashMap::new(), actions: VecDeque::new() }
    }

    /// Sends a message on the connection that has the fewest unanswered ones, rather not through a relay. How many may be open is
    /// for the caller to bound.
    pub(crate) fn send(&mut self, peer: PeerId, message: Vec<u8>) -> DirectId {
        let id = DirectId(self.next);
        self.next += 1;
        let connections = self.connections.get_mut(&peer).into_iter().flatten();
        match connections.min_by_key(|connection| (connection.open.len(), connection.relayed)) {
            Some(connection) => {
                connection.open.insert(id);
                let handler = NotifyHandler::One(connection.id);
                let event = Order::Send(id, message);
                self.actions.push_back(ToSwarm::NotifyHandler { peer_id: peer, handler, event });
            }
            None => self.answered(id, Err("is not connected".to_owned())),
        }
        id
    }

    /// Answers a message. If the peer is gone, nothing happens.
    pub(crate) fn answer(&mut self, channel: Channel, ack: Ack) {
        let Channel { peer, connection, stream } = channel;
        let (handler, event) = (NotifyHandler::One(connection), Order::Answer(stream, ack));
        self.actions.push_back(ToSwarm::NotifyHandler { peer_id: peer, handler, event });
    }

    fn answered(&mut self, id: DirectId, outcome: Result<Ack, String>) {
        self.actions.push_back(ToSwarm::GenerateEvent(DirectEvent::Answered { id, outcome }));
    }
}

impl NetworkBehaviour for Direct {
    type ConnectionHandler = Handler;
    type ToSwarm = DirectEvent;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.patience))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.patience))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                let (id, relayed) = (event.connection_id, event.endpoint.is_relayed());
                let connection = Connection { id, relayed, open: HashSet::new() };
                self.connections.entry(event.peer_id).or_default().push(connection);
            }
            FromSwarm::ConnectionClosed(event) => {
                let Some(connections) = self.connections.get_mut(&event.peer_id) else { return };
                let gone = connections.iter().position(|connection| connection.id == event.connection_id);
                let gone = gone.map(|at| connections.swap_remove(at));
                if connections.is_empty() {
                    self.connections.remove(&event.peer_id);
                }
                for id in gone.into_iter().flat_map(|connection| connection.open) {
                    self.answered(id, Err("the connection closed".to_owned()));
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, report: Report) {
        match report {
            Report::Message { stream, message } => {
                let channel = Channel { peer, connection, stream };
                self.actions.push_back(ToSwarm::GenerateEvent(DirectEvent::Message { peer, channel, message }));
            }
            Report::Bad(fault) => self.actions.push_back(ToSwarm::GenerateEvent(DirectEvent::Bad { peer, fault })),
            Report::Answered(id, outcome) => {
                let connections = self.connections.get_mut(&peer).into_iter().flatten();
                for open in connections.filter(|open| open.id == connection) {
                    open.open.remove(&id);
                }
                self.answered(id, outcome);
            }
        }
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<DirectEvent, THandlerInEvent<Self>>> {
        // Whoever owns the swarm polls it again after it has called one of the methods above.
        self.actions.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
