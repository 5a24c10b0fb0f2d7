//! Who a peer is: its ed25519 public key, and nothing else.

use std::fmt;

use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use crate::Error;

/// What precedes the 32 bytes of an ed25519 key in a libp2p peer id: identity multihash of 36 bytes, protobuf key type 1, data.
const PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// A peer's ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 32]);

impl NodeId {
    /// The public key that belongs to a secret seed.
    ///
    /// # Errors
    /// [`Error::Key`] if libp2p refuses the seed; 32 bytes are always accepted by today's.
    pub fn of_secret(secret: &[u8; 32]) -> Result<Self, Error> {
        Self::from_peer_id(&keypair(secret)?.public().to_peer_id())
            .ok_or_else(|| Error::Key("the key pair is not an ed25519 one".into()))
    }

    /// The libp2p peer id of this key.
    ///
    /// # Errors
    /// [`Error::Key`] if libp2p refuses it; the layout is fixed, so today's never does.
    pub fn peer_id(&self) -> Result<PeerId, Error> {
        let mut bytes = [0; 38];
        bytes[..6].copy_from_slice(&PREFIX);
        bytes[6..].copy_from_slice(&self.0);
        PeerId::from_bytes(&bytes).map_err(|e| Error::Key(format!("{self} gives no peer id: {e}")))
    }

    /// The key inside a peer id; `None` if its owner uses another kind of key, or only its hash.
    #[must_use]
    pub fn from_peer_id(peer: &PeerId) -> Option<Self> {
        let bytes = peer.to_bytes();
        let key = bytes.strip_prefix(&PREFIX)?;
        Some(Self(key.try_into().ok()?))
    }

    /// The key at the end of an address: whom it leads to.
    #[must_use]
    pub fn at_end_of(addr: &Multiaddr) -> Option<Self> {
        match addr.iter().last()? {
            Protocol::P2p(peer) => Self::from_peer_id(&peer),
            _ => None,
        }
    }

    /// The first eight digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// One seed serves libp2p and the protocol's signatures.
pub(crate) fn keypair(secret: &[u8; 32]) -> Result<Keypair, Error> {
    Keypair::ed25519_from_bytes(*secret).map_err(|e| Error::Key(e.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_node_id_and_a_peer_id_name_the_same_key() {
        let pair = keypair(&[7; 32]).unwrap();
        let public = pair.public().try_into_ed25519().unwrap().to_bytes();
        let id = NodeId::of_secret(&[7; 32]).unwrap();
        assert_eq!(id.0, public);
        assert_eq!(id.peer_id().unwrap(), pair.public().to_peer_id());
        assert_eq!(NodeId::from_peer_id(&id.peer_id().unwrap()), Some(id));
    }

    #[test]
    fn a_hashed_peer_id_is_no_node_id() {
        let mut bytes = vec![0x12, 0x20];
        bytes.extend_from_slice(&[9; 32]);
        assert_eq!(NodeId::from_peer_id(&PeerId::from_bytes(&bytes).unwrap()), None);
    }
}
