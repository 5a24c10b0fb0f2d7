//! Who is let in whatever it does, and who is not let in at all: the operator's word.

use std::collections::BTreeSet;
use std::net::IpAddr;

use libp2p::PeerId;

use crate::{Error, NodeId, Subnet};

/// Lines that a list may have. Lower, and operators of large networks have to use ranges; it bounds what a wrong file costs.
const MAX_LINES: usize = 10_000;

/// An operator's lists of peers and addresses. A blocked peer is not talked to, a member included; an allowed one is never banned,
/// and finds room where others do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessLists {
    allowed: Side,
    blocked: Side,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Side {
    peers: BTreeSet<PeerId>,
    subnets: Vec<Subnet>,
}

impl AccessLists {
    /// Reads two lists. Each line is a public key in hex, a libp2p peer id (`12D3KooW...`), an IP address, or a range of addresses
    /// such as `203.0.113.0/24`.
    ///
    /// # Errors
    /// [`Error::Setting`]: the first line that is none of these, or one that stands in both lists.
    pub fn parse(allow: &[String], block: &[String]) -> Result<Self, Error> {
        let lists = Self { allowed: Side::parse("allow", allow)?, blocked: Side::parse("block", block)? };
        let peer = lists.allowed.peers.intersection(&lists.blocked.peers).next().map(ToString::to_string);
        let subnet = lists.allowed.subnets.iter().find(|s| lists.blocked.subnets.contains(s)).map(ToString::to_string);
        match peer.or(subnet) {
            Some(both) => Err(Error::Setting(format!("{both} is both allowed and blocked: take it out of one list"))),
            None => Ok(lists),
        }
    }

    /// How many lines there are: allowed, blocked.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        (self.allowed.len(), self.blocked.len())
    }

    /// Whether they say nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }

    pub(crate) fn allows(&self, peer: &PeerId, addr: Option<IpAddr>) -> bool {
        self.allowed.names(peer) || addr.is_some_and(|addr| self.allowed.covers(addr))
    }

    /// An allowed peer may come from a blocked range; an allowed range does not help a blocked peer.
    pub(crate) fn blocks(&self, peer: &PeerId, addr: Option<IpAddr>) -> bool {
        self.blocked.names(peer) || !self.allowed.names(peer) && addr.is_some_and(|addr| self.blocked.covers(addr))
    }

    /// Whether everybody at this address is allowed, before anybody has said who it is.
    pub(crate) fn allows_unseen(&self, addr: IpAddr) -> bool {
        self.allowed.covers(addr)
    }

    /// Whether everybody at this address is blocked, before anybody has said who it is.
    pub(crate) fn blocks_unseen(&self, addr: IpAddr) -> bool {
        self.blocked.covers(addr) && self.allowed.peers.is_empty()
    }
}

impl Side {
    fn parse(name: &str, lines: &[String]) -> Result<Self, Error> {
        if lines.len() > MAX_LINES {
            let text = format!("list {name} has {} lines, at most {MAX_LINES} are allowed; use ranges", lines.len());
            return Err(Error::Setting(text));
        }
        let mut side = Self::default();
        for line in lines {
            let line = line.trim();
            if let Some(peer) = peer(line) {
                side.peers.insert(peer);
                continue;
            }
            let subnet = line.parse().map_err(|reason| {
                let text = format!(
                    "list {name}, {line:?}: {reason}; expected a public key, a peer id (12D3KooW...), an IP address or \
                     a range such as 203.0.113.0/24"
                );
                Error::Setting(text)
            })?;
            side.subnets.push(subnet);
        }
        Ok(side)
    }

    fn len(&self) -> usize {
        self.peers.len() + self.subnets.len()
    }

    fn names(&self, peer: &PeerId) -> bool {
        self.peers.contains(peer)
    }

    fn covers(&self, addr: IpAddr) -> bool {
        self.subnets.iter().any(|subnet| subnet.contains(addr))
    }
}

fn peer(text: &str) -> Option<PeerId> {
    let hex = fedswarm_protocol::hash::Digest::from_hex(text);
    hex.map_or_else(|| text.parse().ok(), |key| NodeId(key.0).peer_id().ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn lists(allow: &[&str], block: &[&str]) -> Result<AccessLists, Error> {
        let lines = |list: &[&str]| list.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        AccessLists::parse(&lines(allow), &lines(block))
    }

    #[test]
    fn a_key_and_a_peer_id_name_the_same_peer() {
        let id = NodeId::of_secret(&[3; 32]).unwrap();
        let peer = id.peer_id().unwrap();
        for line in [id.to_string(), peer.to_string()] {
            let lists = lists(&[], &[&line]).unwrap();
            assert!(lists.blocks(&peer, None));
            assert!(!lists.blocks(&PeerId::random(), None));
        }
    }

    #[test]
    fn a_named_peer_may_come_from_a_blocked_range_and_nobody_else() {
        let friend = PeerId::random();
        let lists = lists(&[&friend.to_string()], &["203.0.113.0/24"]).unwrap();
        let there = Some("203.0.113.9".parse().unwrap());
        assert!(!lists.blocks(&friend, there) && lists.allows(&friend, there));
        assert!(lists.blocks(&PeerId::random(), there));
        assert!(!lists.blocks(&PeerId::random(), Some("203.0.114.9".parse().unwrap())));
        assert!(!lists.blocks_unseen("203.0.113.9".parse().unwrap()), "it may be the friend");
    }

    #[test]
    fn a_line_that_is_nothing_is_named_with_what_would_be_right() {
        let error = lists(&[], &["nonsense"]).unwrap_err().to_string();
        assert!(error.contains("block") && error.contains("nonsense") && error.contains("203.0.113.0/24"), "{error}");
        let error = lists(&["10.0.0.0/8"], &["10.0.0.0/8"]).unwrap_err().to_string();
        assert!(error.contains("both"), "{error}");
    }
}
