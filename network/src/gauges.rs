//! What the network layer does at the moment, in numbers.

use crate::{Fault, NodeId};

/// How full the network layer is, and what it had to refuse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Open connections.
    pub connections: usize,
    /// Connections since the start, those that were closed again among them.
    pub opened: u64,
    /// Connections that others are setting up.
    pub half_open: usize,
    /// Connections with peers that are not members, entry points or on the allow list.
    pub guests: usize,
    /// Connections that were not let in, since the start.
    pub denied: u64,
    /// Who is banned at the moment, by key.
    pub banned: Vec<NodeId>,
    /// Bans since the start.
    pub bans: u64,
    /// Faults since the start, by kind.
    pub faults: Vec<(Fault, u64)>,
    /// Events that wait for the owner.
    pub events_waiting: usize,
    /// Direct messages that are on their way or wait for a connection.
    pub direct_open: usize,
    /// Blob requests of this node that are open.
    pub blobs_asked: usize,
    /// Blob requests of others that are being served.
    pub blobs_serving: usize,
    /// Gossip that waits for a first subscriber.
    pub unsent_gossip: usize,
}
