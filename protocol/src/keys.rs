//! Keys and signatures of members: ed25519, one key for the protocol and for libp2p.

use std::fmt;

use ed25519_dalek::Signer as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::hash::Digest;

/// A member's public key, which is also its identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// Checks a signature with `verify_strict`: one predicate everywhere, so that no two members disagree on a crafted one.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        ed25519_dalek::VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(&signature.0)).is_ok())
    }

    /// True if the bytes are a point that a signature can be checked against, in its one canonical spelling; weak keys of
    /// small order are refused.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let key = ed25519_dalek::VerifyingKey::from_bytes(&self.0);
        key.is_ok_and(|key| !key.is_weak() && key.to_edwards().compress().0 == self.0)
    }

    /// The first eight hexadecimal digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        Digest(self.0).short()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Digest(self.0), f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// An ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

// serde has arrays up to 32 elements only; two halves give the same 64 bytes on the wire.
impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (a, b) = self.0.split_at(32);
        (to_array(a), to_array(b)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (a, b) = <([u8; 32], [u8; 32])>::deserialize(deserializer)?;
        let bytes: Vec<u8> = a.into_iter().chain(b).collect();
        bytes.try_into().map(Self).map_err(|_| de::Error::custom("a signature has 64 bytes"))
    }
}

fn to_array(half: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(half);
    out
}

/// How statements are signed and checked. There is one scheme, [`Ed25519`]; the trait lets simulations check a signature once
/// for all their members. A node never uses another.
pub trait Scheme: fmt::Debug + Send + Sync {
    /// Signs.
    fn sign(&self, key: &SecretKey, message: &[u8]) -> Signature;
    /// Checks; must agree with every other implementation about what was signed with [`Scheme::sign`].
    fn verifies(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool;
}

/// ed25519 with `verify_strict`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ed25519;

impl Scheme for Ed25519 {
    fn sign(&self, key: &SecretKey, message: &[u8]) -> Signature {
        key.sign(message)
    }

    fn verifies(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        key.verifies(message, signature)
    }
}

/// A member's secret key. It is wiped from memory when dropped, and never printed.
#[derive(Clone)]
pub struct SecretKey(ed25519_dalek::SigningKey);

impl SecretKey {
    /// From 32 secret bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(bytes))
    }

    /// The 32 secret bytes, for the key file and for libp2p's identity.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs; the same message always gives the same bytes.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey of {}", self.public().short())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_signature_holds_for_its_message_and_key_only() {
        let (a, b) = (SecretKey::from_bytes(&[1; 32]), SecretKey::from_bytes(&[2; 32]));
        let s = a.sign(b"x");
        assert!(a.public().verifies(b"x", &s));
        assert!(!a.public().verifies(b"y", &s));
        assert!(!b.public().verifies(b"x", &s));
    }

    #[test]
    fn the_first_vector_of_rfc_8032_holds() {
        let hex = |t: &str| Digest::from_hex(t).unwrap().0;
        let key = SecretKey::from_bytes(&hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"));
        assert_eq!(key.public().to_string(), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        let s = key.sign(b"");
        assert_eq!(s.0[..32], hex("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"));
    }

    #[test]
    fn a_second_spelling_of_a_point_is_no_key() {
        let mut canonical = [0; 32];
        canonical[0] = 3;
        assert!(PublicKey(canonical).is_valid(), "y = 3 is on the curve");
        // y = p + 3 = 2^255 - 16.
        let mut beyond = [0xff; 32];
        (beyond[0], beyond[31]) = (0xf0, 0x7f);
        assert!(ed25519_dalek::VerifyingKey::from_bytes(&beyond).is_ok(), "the library reads it");
        assert!(!PublicKey(beyond).is_valid());
    }

    #[test]
    fn keys_of_small_order_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert!(!PublicKey(identity).is_valid());
        assert!(SecretKey::from_bytes(&[7; 32]).public().is_valid());
    }
}
