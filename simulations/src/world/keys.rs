//! Keys, committees, signatures and the check of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use fedswarm_protocol::envelope::{Kind, Slot, Verified, Verifier, seal_with};
use fedswarm_protocol::hash::{Digest, hash};
use fedswarm_protocol::keys::{Ed25519, PublicKey, Scheme, SecretKey, Signature};
use fedswarm_protocol::membership::Committee;
use fedswarm_protocol::message::Message;
use serde::{Deserialize, Serialize};

/// How signatures are made and checked in a world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signatures {
    /// A cheap stand-in, checked once.
    #[default]
    StandIn,
    /// ed25519; each signature is checked once in the world, and the answer serves all nodes.
    Once,
    /// ed25519, checked by every node that gets it, as a real one does.
    Each,
}

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

/// Signatures that a world remembers to be good. Too low and some are checked again.
const MOST_REMEMBERED: usize = 1 << 16;

/// Operations that a world remembers. Too low and some are opened again.
const MOST_OPERATIONS: usize = 1 << 10;

/// ed25519 that remembers what it found to be good. The votes in a certificate are checked when they are cast.
#[derive(Debug, Default)]
struct Remembering(Mutex<BTreeSet<Digest>>);

impl Scheme for Remembering {
    fn sign(&self, key: &SecretKey, message: &[u8]) -> Signature {
        Ed25519.sign(key, message)
    }

    fn verifies(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        let name = hash("remembered signature", &[key.0.as_slice(), &signature.0, message].concat());
        let mut good = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if good.contains(&name) {
            return true;
        }
        let holds = Ed25519.verifies(key, message, signature);
        if holds {
            if good.len() >= MOST_REMEMBERED {
                good.clear();
            }
            good.insert(name);
        }
        holds
    }
}

/// An epoch that has begun for somebody.
#[derive(Debug)]
struct Epoch {
    verifier: Verifier,
    /// The member at each place; nothing for a key that no node holds.
    members: Vec<Option<u16>>,
}

/// The members' keys, the committees that there were, and how signatures are made and checked.
#[derive(Debug)]
pub struct Keys {
    secrets: Vec<SecretKey>,
    publics: Vec<PublicKey>,
    holders: BTreeMap<PublicKey, u16>,
    network: Digest,
    epochs: BTreeMap<u32, Epoch>,
    scheme: Arc<dyn Scheme>,
    /// What became of operations that were opened.
    operations: Mutex<BTreeMap<Digest, Option<Verified>>>,
    /// True if every node checks for itself.
    pub each: bool,
}

impl Keys {
    pub(crate) fn new(secrets: Vec<SecretKey>, network: Digest, signatures: Signatures) -> Self {
        let scheme: Arc<dyn Scheme> = match signatures {
            Signatures::StandIn => Arc::new(StandIn),
            Signatures::Once => Arc::new(Remembering::default()),
            Signatures::Each => Arc::new(Ed25519),
        };
        let publics: Vec<PublicKey> = secrets.iter().map(SecretKey::public).collect();
        let holders = publics.iter().zip(0u16..).map(|(key, member)| (*key, member)).collect();
        let each = signatures == Signatures::Each;
        Self { secrets, publics, holders, network, epochs: BTreeMap::new(), scheme, operations: Mutex::default(), each }
    }

    /// Somebody has made a record final that begins an epoch. True if that is news.
    pub fn learn(&mut self, committee: &Arc<Committee>) -> bool {
        if self.epochs.contains_key(&committee.epoch) {
            return false;
        }
        let members = committee.members.iter().map(|member| self.holder(&member.key)).collect();
        let verifier = Verifier::new(self.network, Arc::clone(committee)).with_scheme(Arc::clone(&self.scheme));
        self.epochs.insert(committee.epoch, Epoch { verifier, members });
        true
    }

    /// How signatures are made.
    #[must_use]
    pub fn scheme(&self) -> &dyn Scheme {
        self.scheme.as_ref()
    }

    /// The network.
    #[must_use]
    pub const fn network(&self) -> &Digest {
        &self.network
    }

    /// A member's secret key.
    #[must_use]
    pub fn secret(&self, member: u16) -> Option<&SecretKey> {
        self.secrets.get(usize::from(member))
    }

    /// A member's key.
    #[must_use]
    pub fn public(&self, member: u16) -> Option<&PublicKey> {
        self.publics.get(usize::from(member))
    }

    /// The committee of an epoch, if it has begun for anybody.
    #[must_use]
    pub fn committee(&self, epoch: u32) -> Option<&Arc<Committee>> {
        self.epochs.get(&epoch).map(|epoch| epoch.verifier.committee())
    }

    /// The newest committee.
    #[must_use]
    pub fn newest(&self) -> Option<&Arc<Committee>> {
        self.epochs.values().next_back().map(|epoch| epoch.verifier.committee())
    }

    /// The member at a place of an epoch's committee.
    #[must_use]
    pub fn member(&self, epoch: u32, place: u16) -> Option<u16> {
        *self.epochs.get(&epoch)?.members.get(usize::from(place))?
    }

    /// The members at an epoch's places.
    #[must_use]
    pub fn members(&self, epoch: u32) -> &[Option<u16>] {
        self.epochs.get(&epoch).map_or(&[], |epoch| &epoch.members)
    }

    /// A member's place in a committee.
    #[must_use]
    pub fn place(&self, committee: &Committee, member: u16) -> Option<u16> {
        committee.place(self.publics.get(usize::from(member))?)
    }

    /// The member with this key.
    #[must_use]
    pub fn holder(&self, key: &PublicKey) -> Option<u16> {
        self.holders.get(key).copied()
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
        if slot.kind == Kind::Operation {
            return self.open_operation(bytes);
        }
        self.epochs.get(&slot.epoch)?.verifier.open(bytes).ok()
    }

    /// Operations are the same bytes from whoever passes them on, in any epoch, and are repeated often.
    fn open_operation(&self, bytes: &[u8]) -> Option<Verified> {
        let open = || self.epochs.values().next_back()?.verifier.open(bytes).ok();
        if self.each {
            return open();
        }
        let mut known = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        let name = hash("remembered operation", bytes);
        if let Some(opened) = known.get(&name) {
            return opened.clone();
        }
        if known.len() >= MOST_OPERATIONS {
            known.clear();
        }
        let opened = open();
        known.insert(name, opened.clone());
        opened
    }
}
