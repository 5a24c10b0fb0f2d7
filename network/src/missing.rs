//! Members and entry points that are not connected, and what came of the attempts to reach them.

use std::error::Error;

use libp2p::Multiaddr;
use libp2p::swarm::DialError;

use crate::NodeId;

/// Text that is kept of one failure, in bytes. Shorter, and the cause at its end may be cut off.
const MAX_TEXT: usize = 200;

/// Somebody who is wanted and not connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its key.
    pub id: NodeId,
    /// Whether it is an entry point; otherwise it is a member.
    pub entry: bool,
    /// Where it is said to be, at most 16 addresses. If there are none, nobody who was asked knows any.
    pub addresses: Vec<Multiaddr>,
    /// Addresses that were dialed, and what came of the last attempt.
    pub failures: Vec<(Multiaddr, DialFailure)>,
    /// How often others were asked where it is.
    pub lookups: u64,
}

/// Why an address was not reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialFailure {
    /// Nobody listens there.
    Refused,
    /// Nothing came back.
    Silent,
    /// Somebody with another key answers there.
    Stranger(Option<NodeId>),
    /// It is this node itself.
    Ourselves,
    /// Anything else, in libp2p's words.
    Other(String),
}

impl std::fmt::Display for DialFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::Silent => f.write_str("no answer"),
            Self::Stranger(Some(id)) => write!(f, "somebody else answers, with key {id}"),
            Self::Stranger(None) => f.write_str("somebody else answers"),
            Self::Ourselves => f.write_str("this node itself answers"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// What a failed dial says about addresses. What says nothing about any is left out.
pub(crate) fn failures(error: &DialError) -> Vec<(Multiaddr, DialFailure)> {
    match error {
        DialError::Transport(all) => all.iter().map(|(addr, error)| (bare(addr), cause(error))).collect(),
        DialError::WrongPeerId { obtained, address } => {
            vec![(bare(address), DialFailure::Stranger(NodeId::from_peer_id(obtained)))]
        }
        DialError::LocalPeerId { address } => vec![(bare(address), DialFailure::Ourselves)],
        DialError::NoAddresses
        | DialError::DialPeerConditionFalse(_)
        | DialError::Aborted
        | DialError::Denied { .. } => Vec::new(),
    }
}

/// Without the key at its end, which is the same in all.
fn bare(addr: &Multiaddr) -> Multiaddr {
    let mut addr = addr.clone();
    if matches!(addr.iter().last(), Some(libp2p::multiaddr::Protocol::P2p(_))) {
        addr.pop();
    }
    addr
}

fn cause(error: &(dyn Error + 'static)) -> DialFailure {
    let mut last = error;
    loop {
        match last.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(std::io::ErrorKind::ConnectionRefused) => return DialFailure::Refused,
            Some(std::io::ErrorKind::TimedOut) => return DialFailure::Silent,
            _ => {}
        }
        match last.source() {
            Some(source) => last = source,
            None => break,
        }
    }
    // Some layers wrap their errors in ways that only the text tells.
    let text = last.to_string();
    let lower = text.to_lowercase();
    if lower.contains("refused") {
        DialFailure::Refused
    } else if lower.contains("timed out") || lower.contains("timeout") {
        DialFailure::Silent
    } else {
        DialFailure::Other(text.chars().take(MAX_TEXT).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io;

    use libp2p::TransportError;

    use super::*;

    fn transport(error: io::Error) -> DialError {
        DialError::Transport(vec![("/ip4/192.0.2.1/tcp/1".parse().unwrap(), TransportError::Other(error))])
    }

    #[test]
    fn causes_are_found_under_what_wraps_them() {
        let inner = io::Error::from(io::ErrorKind::ConnectionRefused);
        let all = failures(&transport(io::Error::other(io::Error::other(inner))));
        assert_eq!(all, [("/ip4/192.0.2.1/tcp/1".parse().unwrap(), DialFailure::Refused)]);
        let all = failures(&transport(io::Error::other("Handshake timed out.")));
        assert_eq!(all[0].1, DialFailure::Silent);
        let all = failures(&transport(io::Error::other("x".repeat(1000))));
        assert_eq!(all[0].1, DialFailure::Other("x".repeat(MAX_TEXT)));
    }

    #[test]
    fn another_key_at_an_address_is_told_without_the_key_that_was_expected() {
        let other = libp2p::identity::Keypair::generate_ed25519().public().to_peer_id();
        let address: Multiaddr = format!("/ip4/192.0.2.1/tcp/1/p2p/{other}").parse().unwrap();
        let all = failures(&DialError::WrongPeerId { obtained: other, address });
        assert_eq!(all[0].0, "/ip4/192.0.2.1/tcp/1".parse().unwrap());
        assert_eq!(all[0].1, DialFailure::Stranger(NodeId::from_peer_id(&other)));
    }
}
