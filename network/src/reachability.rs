//! What a node knows of how others reach it.

use libp2p::Multiaddr;

use crate::NodeId;

/// What a router said to a request to forward ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Router {
    /// It was not asked.
    #[default]
    NotAsked,
    /// There is no answer yet.
    Asked,
    /// It forwards these addresses to this node.
    Forwards(Vec<Multiaddr>),
    /// There is none that understands the question.
    Absent,
    /// It is itself behind another one: what it forwards helps nobody outside.
    BehindAnother,
}

/// What a node knows of how others reach it, as of now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reachability {
    /// Whether an entry point sees this node under another address than its own: then there is a NAT between.
    pub behind_nat: Option<bool>,
    /// As what entry points see it.
    pub observed: Vec<Multiaddr>,
    /// Addresses at which an entry point, when asked, has reached it.
    pub confirmed: Vec<Multiaddr>,
    /// Addresses at which it was not reached.
    pub refused: Vec<Multiaddr>,
    /// Entry points that are connected.
    pub entries: Vec<NodeId>,
    /// Those of them that offer to relay.
    pub relays_offered: Vec<NodeId>,
    /// Those through whom it can be reached now.
    pub relays: Vec<NodeId>,
    /// What the router said.
    pub router: Router,
    /// Addresses of members that were heard of in the local network, since the start.
    pub heard_by_mdns: u64,
    /// Connected peers that can be asked where others are.
    pub routing: usize,
    /// Seconds by which this host's clock is ahead of those of members and entry points, the median of them, once one was met.
    pub clock_ahead_s: Option<i64>,
    /// Holes that were punched, since the start.
    pub punched: u64,
    /// Attempts to punch a hole that failed, each after three tries.
    pub not_punched: u64,
}

impl Reachability {
    /// Whether somebody outside has reached this node at an address of its own.
    #[must_use]
    pub fn is_public(&self) -> bool {
        !self.confirmed.is_empty()
    }

    /// In a few words.
    #[must_use]
    pub const fn verdict(&self) -> &'static str {
        match (self.confirmed.is_empty(), self.behind_nat, self.relays.is_empty()) {
            (false, ..) => "reachable from outside",
            (true, Some(true), false) => "behind a NAT, reachable through a relay",
            (true, Some(true), true) => "behind a NAT, and no relay helps",
            (true, Some(false), false) => "not reachable at its own address, reachable through a relay",
            (true, Some(false), true) => "not known to be reachable from outside",
            (true, None, _) => "unknown: no entry point has answered",
        }
    }
}
