//! What the network tells its owner.

use libp2p::gossipsub::MessageId;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::mpsc;

use crate::{NodeId, Topic};

/// Something happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A listener is up at this address.
    Listening(Multiaddr),
    /// The first connection to this peer stands. Any peer, not only members.
    Connected(NodeId),
    /// The last connection to this peer is gone.
    Disconnected(NodeId),
    /// A message was gossiped. Check it, then hand the token to [`crate::Network::report`] within five seconds.
    Gossip {
        /// Where it was published.
        topic: Topic,
        /// Who passed it on to us; not its author, about whom libp2p says nothing.
        from: NodeId,
        /// To be reported on, once.
        token: GossipToken,
        /// The message, at most [`crate::MAX_GOSSIP_BYTES`].
        data: Vec<u8>,
    },
    /// A member sent us a message; it has been acknowledged.
    Direct {
        /// Who sent it: proved by the connection.
        from: NodeId,
        /// The message, at most [`crate::MAX_DIRECT_BYTES`].
        data: Vec<u8>,
    },
    /// Someone who is not a member sent us a message: it may want to join, or to follow. At most
    /// [`crate::KNOCKS_PER_SECOND`] from one peer are passed on.
    Knock {
        /// Who sent it: proved by the connection.
        from: NodeId,
        /// The message, at most [`crate::MAX_DIRECT_BYTES`].
        data: Vec<u8>,
    },
    /// A member is reached in another way than before.
    Path {
        /// Who.
        peer: NodeId,
        /// How.
        path: Path,
    },
    /// A peer will now get what we publish on this topic.
    Subscribed {
        /// The peer.
        peer: NodeId,
        /// What it subscribed to.
        topic: Topic,
    },
}

/// The queue of events. Let it fill up, and gossip is dropped and direct messages are answered "busy": the network never waits.
pub type EventReceiver = mpsc::Receiver<Event>;

/// Stands for one gossiped message until it is reported on. Not `Clone`: a message is judged once. One that is dropped is like
/// "ignore": the message is not passed on.
#[derive(Debug)]
#[must_use = "a message that is not reported on is not passed on"]
pub struct GossipToken {
    pub(crate) id: MessageId,
    pub(crate) from: PeerId,
}

/// What we think of a gossiped message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acceptance {
    /// Good: pass it on.
    Accept,
    /// Not for now, and nobody's fault: do not pass it on.
    Ignore,
    /// Invalid: do not pass it on, and think less of whoever did.
    Reject,
}

/// How a peer is reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Path {
    /// Through a relay only: messages travel, blobs do not.
    Relayed,
    /// Straight, by a hole that both punched into their NATs.
    Punched,
    /// Straight.
    Direct,
}

impl Path {
    /// Its name, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relayed => "relayed",
            Self::Punched => "punched",
            Self::Direct => "direct",
        }
    }
}

/// What is known of a connected peer.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerInfo {
    /// Its key.
    pub id: NodeId,
    /// Whether it is a member, as last set.
    pub member: bool,
    /// How many connections there are, at most four.
    pub connections: u32,
    /// How it is reached.
    pub path: Path,
    /// The address of one of them, as we see it; of a direct one if there is any.
    pub address: Multiaddr,
    /// Attempts to punch a hole to it that failed while it was connected, each after three tries.
    pub not_punched: u32,
    /// The last round trip, in microseconds, once there was one.
    pub round_trip_us: Option<u64>,
    /// Gossipsub's opinion; below -10 it gets no gossip, below -80 it is not heard.
    pub score: f64,
    /// What it has against it for its faults, of 100; with 95 it is banned.
    pub demerits: f64,
    /// Whether it subscribed to all four topics.
    pub subscribed: bool,
}
