//! The world outside the machines: manifest, keys, signatures, and the first phases of round 1, which every run has in
//! common. The one place that constructs a [`State`] and a [`Verifier`].

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::{Arc, Mutex};

use fedswarm_protocol::certificate::{Certificate, Quorum};
use fedswarm_protocol::election;
use fedswarm_protocol::envelope::{Kind, Slot, Verified, Verifier, seal_with};
use fedswarm_protocol::evidence::EquivocationProof;
use fedswarm_protocol::hash::{Digest, hash};
use fedswarm_protocol::keys::{Ed25519, PublicKey, Scheme, SecretKey, Signature};
use fedswarm_protocol::membership::{Committee, Operation};
use fedswarm_protocol::message::{Committed, Message, Proposal, Receipt, UpdateHeader};
use fedswarm_protocol::round::{Rules, State};
use fedswarm_protocol::tensor::TensorSpec;

use crate::common::testing;

/// The round that is explored.
pub(crate) const ROUND: u64 = 1;

/// Keys and constants of a network of voters, and a memory of what has been signed, because the same statements are signed
/// over and over.
pub(crate) struct Network {
    verifier: Verifier,
    secrets: Vec<SecretKey>,
    rules: Vec<Arc<Rules>>,
    order: Vec<u16>,
    /// Views that are explored; what machines say in later ones is dropped.
    pub(crate) views: u32,
    /// Voters that obey no rule.
    pub(crate) byzantine: Vec<u16>,
    signed: Mutex<BTreeMap<(u16, Slot, u64), Verified>>,
}

/// A hash that is the same in every run.
pub(crate) fn fingerprint<T: Hash>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Signatures that anybody could make: nobody forges any here, and these take a hundredth of the time. Invitations are signed
/// with the real ones.
#[derive(Debug)]
pub(crate) struct Seals;

impl Seals {
    fn of(key: &PublicKey, message: &[u8]) -> Signature {
        let seal = hash("seal", &[key.0.as_slice(), message].concat());
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(seal.as_bytes());
        Signature(signature)
    }
}

impl Scheme for Seals {
    fn sign(&self, key: &SecretKey, message: &[u8]) -> Signature {
        Self::of(&key.public(), message)
    }

    fn verifies(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        *signature == Self::of(key, message) || Ed25519.verifies(key, message, signature)
    }
}

impl Network {
    /// This many voters. The aggregators of the views `byzantine` obey no rule.
    pub(crate) fn new(views: u32, byzantine: &[u32], voters: u8) -> Self {
        let (manifest, secrets) = testing::network(voters, vec![TensorSpec::new("w", &[4], 4)]);
        let rules: Vec<_> =
            secrets.iter().map(|secret| Arc::new(Rules::new(&manifest, &secret.public()).unwrap())).collect();
        let committee = Arc::new(Committee::founding(&manifest));
        let order = committee.order(&rules[0].genesis.next_seeds().0);
        Self {
            views,
            byzantine: byzantine.iter().map(|view| election::leader(&order, ROUND, *view).unwrap()).collect(),
            verifier: Verifier::new(manifest.network_id().unwrap(), committee).with_scheme(Arc::new(Seals)),
            order,
            secrets,
            rules,
            signed: Mutex::default(),
        }
    }

    /// A machine at the genesis that has not started.
    pub(crate) fn machine(&self, member: u16) -> State {
        State::new(self.rules(member).clone(), None, self.verifier.committee().clone())
    }

    pub(crate) fn rules(&self, member: u16) -> &Arc<Rules> {
        &self.rules[usize::from(member)]
    }

    pub(crate) fn quorum(&self) -> Quorum {
        Quorum::of(self.secrets.len())
    }

    /// Whether this key obeys no rule.
    pub(crate) fn is_byzantine(&self, key: &PublicKey) -> bool {
        self.byzantine.iter().any(|place| self.secrets[usize::from(*place)].public() == *key)
    }

    /// Voters that run the machine.
    pub(crate) fn honest(&self) -> Vec<u16> {
        self.voters().filter(|v| !self.byzantine.contains(v)).collect()
    }

    /// Indices of all voters.
    pub(crate) fn voters(&self) -> impl Iterator<Item = u16> + use<> {
        0..self.secrets.len() as u16
    }

    /// The aggregator of a view of [`ROUND`].
    pub(crate) fn leader(&self, view: u32) -> u16 {
        election::leader(&self.order, ROUND, view).unwrap()
    }

    /// Voters in the order in which they aggregate.
    pub(crate) fn order(&self) -> &[u16] {
        &self.order
    }

    pub(crate) fn slot(&self, kind: Kind, view: u32) -> Slot {
        Slot { kind, epoch: 0, round: ROUND, view }
    }

    /// What this member signed, as whoever receives it sees it: sealed, then opened by the verifier.
    pub(crate) fn sign(&self, author: u16, slot: &Slot, message: &Message) -> Verified {
        let key = (author, *slot, fingerprint(message));
        if let Some(known) = self.signed.lock().unwrap().get(&key) {
            assert_eq!(known.message(), message, "two messages with one fingerprint");
            return known.clone();
        }
        let (secret, network) = (&self.secrets[usize::from(author)], self.verifier.network());
        let bytes = seal_with(&Seals, secret, network, slot, author, message).unwrap();
        let verified = self.verifier.open(&bytes).unwrap();
        self.signed.lock().unwrap().insert(key, verified.clone());
        verified
    }

    pub(crate) fn vote(&self, voter: u16, kind: Kind, view: u32, record: Digest) -> Verified {
        self.sign(voter, &self.slot(kind, view), &Message::Vote(record))
    }

    /// A certificate with the signatures of these voters.
    pub(crate) fn certificate(&self, voters: &[u16], kind: Kind, view: u32, record: Digest) -> Verified {
        let votes = voters.iter().map(|v| (*v, *self.vote(*v, kind, view, record).signature())).collect();
        let certificate = Certificate { kind, epoch: 0, round: ROUND, view, record, votes };
        self.sign(voters[0], &self.slot(Kind::Certificate, view), &Message::Certificate(certificate))
    }

    /// A certificate for anything: as many voters as the verifier asks for have signed it.
    pub(crate) fn fabricated(&self, kind: Kind, view: u32, record: Digest) -> Verified {
        let voters: Vec<u16> = self.voters().take(Quorum::of(self.secrets.len()).quorum).collect();
        self.certificate(&voters, kind, view, record)
    }

    /// A proof that a Byzantine voter said two things: the one that stands for all of them. It is about a view that is not
    /// explored.
    pub(crate) fn evidence(&self, liar: u16) -> Verified {
        let say = |record| self.vote(liar, Kind::Notarize, self.views, record);
        let (first, second) = (say(Digest([8; 32])), say(Digest([9; 32])));
        let key = self.secrets[usize::from(liar)].public();
        let proof = EquivocationProof::of(&key, &first, &second).unwrap();
        let slot = Slot { kind: Kind::Operation, epoch: 0, round: 0, view: 0 };
        self.sign(liar, &slot, &Message::Operation(Operation::Evict(Box::new(proof))))
    }

    /// What a member that holds a record final sends to one that does not.
    pub(crate) fn committed(&self, proposal: &Proposal, view: u32) -> Verified {
        let Proposal { record, body, .. } = proposal.clone();
        let certificate = self.fabricated(Kind::Finalize, view, record.hash().unwrap());
        let Message::Certificate(certificate) = certificate.message().clone() else { unreachable!() };
        let committed = Committed { record, body, certificate };
        self.sign(0, &self.slot(Kind::Committed, 0), &Message::Committed(Box::new(committed)))
    }

    /// The update header of a member; what was trained does not matter.
    pub(crate) fn header(&self, author: u16) -> UpdateHeader {
        self.altered_header(author, 10 + u32::from(author))
    }

    /// An update header that is as good as the other one, but different.
    pub(crate) fn altered_header(&self, author: u16, samples: u32) -> UpdateHeader {
        let rules = self.rules(author);
        let root = hash("payload", &samples.to_le_bytes());
        UpdateHeader {
            base: rules.genesis_hash,
            schema: rules.schema,
            payload_root: root,
            wire_root: root,
            wire_len: rules.wire_len.least(),
            codec: rules.codec,
            samples,
            norm2_q: 0,
        }
    }

    pub(crate) fn update(&self, author: u16) -> Verified {
        self.sign(author, &self.slot(Kind::Update, 0), &Message::Update(self.header(author)))
    }

    /// A receipt for the update of every voter.
    pub(crate) fn receipt(&self, author: u16) -> Verified {
        let items = self.voters().map(|v| (v, self.update(v).statement())).collect();
        self.sign(author, &self.slot(Kind::Receipt, 0), &Message::Receipt(Receipt { items, artefacts: Vec::new() }))
    }
}
