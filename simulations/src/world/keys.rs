//! Keys, committees, signatures and the check of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use fedswarm_protocol::envelope::{Kind, Slot, Verified, Verifier, seal_with};
use fedswarm_protocol::hash::{Digest, hash};
use fedswarm_protocol::keys::{Ed25519, PublicKey, Scheme, SecretKey, Signature};
use fedswarm_protocol::membership::Committee;
use fedswarm_protocol::message::Message;

/// A stand-in for ed25519, some fifty times cheaper. Anyone could forge it, so adversaries here sign with their own key only.
#[derive(Clone, Copy, Debug)]
struct StandIn;

fn stand_in(key: &PublicKey, message: &[u8]) -> Signature {
    let half = hash("stand-in signature", &[key.0.as_slice(), message].concat());
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(half.as_bytes());
    Signature(bytes)
}

impl Scheme for StandIn {
    fn sign(&self, key: &SecretKey, message: &[u8]) -> Signature {
        stand_in(&key.public(), message)
    }

    fn verifies(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        stand_in(key, message) == *signature
    }
}

/// The members' keys, the committees that there were, and how signatures are made and checked.
#[derive(Debug)]
pub struct Keys {
    secrets: Vec<SecretKey>,
    publics: Vec<PublicKey>,
    network: Digest,
    verifiers: BTreeMap<u32, Verifier>,
    scheme: Arc<dyn Scheme>,
    /// True: ed25519, and every node checks for itself, as a real one does. False: the stand-in, checked once in the world.
    pub real: bool,
}

impl Keys {
    pub(super) fn new(secrets: Vec<SecretKey>, network: Digest, founders: Arc<Committee>, real: bool) -> Self {
        let scheme: Arc<dyn Scheme> = if real { Arc::new(Ed25519) } else { Arc::new(StandIn) };
        let publics = secrets.iter().map(SecretKey::public).collect();
        let mut keys = Self { secrets, publics, network, verifiers: BTreeMap::new(), scheme, real };
        keys.learn(founders);
        keys
    }

    /// Somebody has made a record final that begins an epoch.
    pub fn learn(&mut self, committee: Arc<Committee>) {
        let (network, scheme) = (self.network, Arc::clone(&self.scheme));
        let epoch = committee.epoch;
        self.verifiers.entry(epoch).or_insert_with(|| Verifier::new(network, committee).with_scheme(scheme));
    }

    /// The committee of an epoch, if it has begun for anybody.
    #[must_use]
    pub fn committee(&self, epoch: u32) -> Option<&Arc<Committee>> {
        self.verifiers.get(&epoch).map(Verifier::committee)
    }

    /// The member at a place of an epoch's committee.
    #[must_use]
    pub fn member(&self, epoch: u32, place: u16) -> Option<u16> {
        let key = self.committee(epoch)?.key(place)?;
        self.publics.iter().position(|k| k == key).map(|member| member as u16)
    }

    /// A member's place in a committee.
    #[must_use]
    pub fn place(&self, committee: &Committee, member: u16) -> Option<u16> {
        committee.place(self.publics.get(usize::from(member))?)
    }

    /// The member with this key.
    #[must_use]
    pub fn holder(&self, key: &PublicKey) -> Option<u16> {
        self.publics.iter().position(|k| k == key).map(|member| member as u16)
    }

    /// Signs for a member; nothing if it does not exist or the message is too large.
    #[must_use]
    pub fn seal(&self, signer: u16, author: u16, slot: &Slot, message: &Message) -> Option<Vec<u8>> {
        let secret = self.secrets.get(usize::from(signer))?;
        seal_with(self.scheme.as_ref(), secret, &self.network, slot, author, message).ok()
    }

    /// Checks and decodes; nothing for bytes that are no message of the network.
    #[must_use]
    pub fn open(&self, bytes: &[u8]) -> Option<Verified> {
        let (slot, _) = Verifier::peek(bytes)?;
        let verifier = match slot.kind {
            Kind::Operation => self.verifiers.values().next_back(),
            _ => self.verifiers.get(&slot.epoch),
        };
        verifier?.open(bytes).ok()
    }
}
