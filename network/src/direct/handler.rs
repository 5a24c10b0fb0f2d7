//! Direct messages on one connection.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::{Context, Poll};

use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound, StreamUpgradeError,
};
use libp2p::swarm::{ConnectionHandler, ConnectionHandlerEvent, Stream, StreamProtocol, SubstreamProtocol};

use super::incoming::{Incoming, News};
use super::outgoing::Outgoing;
use super::{Ack, DirectId, PROTOCOL, Patience};
use crate::Fault;

/// Streams that a peer may have open to us on one connection; more are dropped. An honest one has one. Too low, and one whose
/// stream broke is not heard; times [`crate::MAX_DIRECT_BYTES`] is what a connection can make us hold.
const MAX_STREAMS: usize = 64;

/// What a handler is to do.
#[derive(Debug)]
pub(crate) enum Order {
    Send(DirectId, Vec<u8>),
    /// The next answer on this stream.
    Answer(u64, Ack),
}

/// What a handler tells.
#[derive(Debug)]
pub(crate) enum Report {
    Message { stream: u64, message: Vec<u8> },
    Bad(Fault),
    Answered(DirectId, Result<Ack, String>),
}

/// The stream for own messages.
enum Out {
    None,
    Requested,
    Open(Box<Outgoing<Stream>>),
}

/// See the module's text.
pub(crate) struct Handler {
    patience: Patience,
    out: Out,
    /// Messages for a stream that is not open yet. As many as the caller lets be open.
    waiting: VecDeque<(DirectId, Vec<u8>)>,
    incoming: Vec<(u64, Incoming<Stream>)>,
    next: u64,
    reports: VecDeque<Report>,
}

impl Handler {
    pub(super) fn new(patience: Patience) -> Self {
        Self {
            patience,
            out: Out::None,
            waiting: VecDeque::new(),
            incoming: Vec::new(),
            next: 0,
            reports: VecDeque::new(),
        }
    }

    fn fail_waiting(&mut self, why: &str) {
        self.out = Out::None;
        let failed = self.waiting.drain(..).map(|(id, _)| Report::Answered(id, Err(why.to_owned())));
        self.reports.extend(failed);
    }

    /// Moves own messages and their answers along.
    fn poll_out(&mut self, context: &mut Context<'_>) {
        let Out::Open(out) = &mut self.out else { return };
        for (id, message) in self.waiting.drain(..) {
            out.push(id, &message, self.patience.answer);
        }
        let ended = out.poll(context, &mut |id, ack| {
            self.reports.push_back(Report::Answered(id, Ok(ack)));
        });
        if let Poll::Ready(why) = ended {
            let failed = out.unanswered().map(|id| Report::Answered(id, Err(why.to_string())));
            self.reports.extend(failed);
            self.out = Out::None;
        }
    }

    /// Reads others' messages and writes the answers.
    fn poll_incoming(&mut self, context: &mut Context<'_>) {
        let (patience, reports) = (self.patience.message, &mut self.reports);
        self.incoming.retain_mut(|(stream, incoming)| {
            loop {
                match incoming.poll(context, patience) {
                    Poll::Pending => return true,
                    Poll::Ready(News::Message(message)) => {
                        reports.push_back(Report::Message { stream: *stream, message });
                    }
                    Poll::Ready(News::Bad(fault)) => {
                        reports.push_back(Report::Bad(fault));
                        return false;
                    }
                    Poll::Ready(News::End) => return false,
                }
            }
        });
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Order;
    type ToBehaviour = Report;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ())
    }

    fn on_behaviour_event(&mut self, order: Order) {
        match order {
            Order::Send(id, message) => self.waiting.push_back((id, message)),
            Order::Answer(stream, ack) => {
                for (_, incoming) in self.incoming.iter_mut().filter(|(id, _)| *id == stream) {
                    incoming.answer(ack);
                }
            }
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Report>> {
        if let Some(report) = self.reports.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(report));
        }
        self.poll_out(context);
        self.poll_incoming(context);
        if let Some(report) = self.reports.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(report));
        }
        if matches!(self.out, Out::None) && !self.waiting.is_empty() {
            self.out = Out::Requested;
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ());
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: mut stream, .. })
                if self.incoming.len() < MAX_STREAMS =>
            {
                // Connections stay for other reasons than this.
                stream.ignore_for_keep_alive();
                self.incoming.push((self.next, Incoming::new(stream)));
                self.next += 1;
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: mut stream, .. }) => {
                stream.ignore_for_keep_alive();
                self.out = Out::Open(Box::new(Outgoing::new(stream)));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => match error {
                StreamUpgradeError::NegotiationFailed => self.fail_waiting("it takes no direct messages"),
                StreamUpgradeError::Timeout => self.fail_waiting("no stream was opened in time"),
                StreamUpgradeError::Io(error) => self.fail_waiting(&error.to_string()),
                StreamUpgradeError::Apply(never) => {
                    let never: Infallible = never;
                    match never {}
                }
            },
            _ => {}
        }
    }
}
