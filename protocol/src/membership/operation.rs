//! Signed requests to change the membership. Each proves itself, so anybody may pass it on.

use serde::{Deserialize, Serialize};

use super::{Ballot, EvictVote, Role, ballot};
use crate::codec;
use crate::envelope::{Kind, Slot, signed_bytes};
use crate::evidence::EquivocationProof;
use crate::hash::{Digest, hash};
use crate::keys::{Ed25519, PublicKey, Scheme, SecretKey, Signature};

/// Longest name that a joining member may give itself, in bytes. Too low and names for people are cut; every committee and
/// every proposal with a join carries it.
pub const MAX_MEMBER_NAME_BYTES: usize = 64;

/// A sponsor's word that whoever holds a one-time ticket may join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Invite {
    /// The member that invites.
    pub sponsor: PublicKey,
    /// Public half of the one-time ticket; its secret half is in the invitation's file.
    pub ticket: PublicKey,
    /// What the invited may become.
    pub role: Role,
    /// Last round in which a record may take the join in.
    pub expires: u64,
    /// The sponsor's signature.
    pub signature: Signature,
}

impl Invite {
    /// Signs an invitation.
    #[must_use]
    pub fn new(network: &Digest, sponsor: &SecretKey, ticket: PublicKey, role: Role, expires: u64) -> Self {
        Self::new_with(&Ed25519, network, sponsor, ticket, role, expires)
    }

    /// [`Invite::new`] with another signature scheme, for simulations.
    #[must_use]
    pub fn new_with(
        scheme: &dyn Scheme,
        network: &Digest,
        sponsor: &SecretKey,
        ticket: PublicKey,
        role: Role,
        expires: u64,
    ) -> Self {
        let unsigned = Self { sponsor: sponsor.public(), ticket, role, expires, signature: Signature([0; 64]) };
        Self { signature: scheme.sign(sponsor, &unsigned.signed(network)), ..unsigned }
    }

    fn signed(&self, network: &Digest) -> Vec<u8> {
        statement(network, Kind::Invite, self.expires, &(self.ticket, self.role))
    }

    /// True if the sponsor signed exactly this for this network.
    #[must_use]
    pub fn holds(&self, network: &Digest, scheme: &dyn Scheme) -> bool {
        scheme.verifies(&self.sponsor, &self.signed(network), &self.signature)
    }
}

/// An invited key asks to be let in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Join {
    /// The invitation.
    pub invite: Invite,
    /// The key that joins.
    pub key: PublicKey,
    /// Name for people, at most [`MAX_MEMBER_NAME_BYTES`].
    pub name: String,
    /// The ticket's signature over key and name: the invitation is used for this key and no other.
    pub ticket_signature: Signature,
    /// The joining key's signature over the same: nobody is joined against its will.
    pub signature: Signature,
    /// Approvals of voters, by ascending key, where admission takes a vote; none elsewhere.
    #[serde(deserialize_with = "ballot::read")]
    pub approvals: Vec<Ballot>,
}

impl Join {
    /// Signs a request to join.
    #[must_use]
    pub fn new(network: &Digest, invite: Invite, ticket: &SecretKey, key: &SecretKey, name: String) -> Self {
        Self::new_with(&Ed25519, network, invite, ticket, key, name)
    }

    /// [`Join::new`] with another signature scheme, for simulations.
    #[must_use]
    pub fn new_with(
        scheme: &dyn Scheme,
        network: &Digest,
        invite: Invite,
        ticket: &SecretKey,
        key: &SecretKey,
        name: String,
    ) -> Self {
        let signed = statement(network, Kind::Join, invite.expires, &(key.public(), &name));
        let (ticket_signature, signature) = (scheme.sign(ticket, &signed), scheme.sign(key, &signed));
        Self { invite, key: key.public(), name, ticket_signature, signature, approvals: Vec::new() }
    }
}

/// A member goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Leave {
    /// Who.
    pub key: PublicKey,
    /// [`super::Member::since`] of the membership that ends.
    pub since: u64,
    /// Its signature.
    pub signature: Signature,
}

impl Leave {
    /// Signs it.
    #[must_use]
    pub fn new(network: &Digest, key: &SecretKey, since: u64) -> Self {
        Self::new_with(&Ed25519, network, key, since)
    }

    /// [`Leave::new`] with another signature scheme, for simulations.
    #[must_use]
    pub fn new_with(scheme: &dyn Scheme, network: &Digest, key: &SecretKey, since: u64) -> Self {
        let signature = scheme.sign(key, &statement(network, Kind::Leave, since, &()));
        Self { key: key.public(), since, signature }
    }
}

/// A member changes its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rotate {
    /// The key until now.
    pub old: PublicKey,
    /// The key from the next epoch on.
    pub new: PublicKey,
    /// [`super::Member::since`] of the old key's membership.
    pub since: u64,
    /// The old key's signature.
    pub old_signature: Signature,
    /// The new key's signature.
    pub new_signature: Signature,
}

impl Rotate {
    /// Signs it with both keys.
    #[must_use]
    pub fn new(network: &Digest, old: &SecretKey, new: &SecretKey, since: u64) -> Self {
        Self::new_with(&Ed25519, network, old, new, since)
    }

    /// [`Rotate::new`] with another signature scheme, for simulations.
    #[must_use]
    pub fn new_with(scheme: &dyn Scheme, network: &Digest, old: &SecretKey, new: &SecretKey, since: u64) -> Self {
        let signed = statement(network, Kind::Rotate, since, &(old.public(), new.public()));
        Self {
            old: old.public(),
            new: new.public(),
            since,
            old_signature: scheme.sign(old, &signed),
            new_signature: scheme.sign(new, &signed),
        }
    }
}

/// A change of the membership.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operation {
    /// An invited key joins.
    Join(Box<Join>),
    /// A member leaves.
    Leave(Leave),
    /// A member changes its key.
    Rotate(Box<Rotate>),
    /// A member was caught saying two things: it goes, and stays out.
    Evict(Box<EquivocationProof>),
    /// Voters send a member away: it goes, and its key stays out.
    EvictVote(EvictVote),
}

impl Operation {
    /// The key that it is about; a record takes at most one operation for each.
    #[must_use]
    pub fn subject(&self) -> PublicKey {
        match self {
            Self::Join(join) => join.key,
            Self::Leave(leave) => leave.key,
            Self::Rotate(rotate) => rotate.old,
            Self::Evict(proof) => proof.author,
            Self::EvictVote(vote) => vote.key,
        }
    }

    /// Its hash, by which it is listed and asked for.
    #[must_use]
    pub fn digest(&self) -> Digest {
        codec::encode(self).map_or(Digest::ZERO, |bytes| hash("operation", &bytes))
    }

    /// True if every signature in it holds for this network. Whether it fits the membership is
    /// [`super::Committee::check`]'s question, and whether its votes are enough [`super::Committee::check_votes`]'s.
    #[must_use]
    pub fn holds(&self, network: &Digest, scheme: &dyn Scheme) -> bool {
        match self {
            Self::Join(join) => {
                let signed = statement(network, Kind::Join, join.invite.expires, &(join.key, &join.name));
                join.key.is_valid()
                    && join.invite.holds(network, scheme)
                    && scheme.verifies(&join.invite.ticket, &signed, &join.ticket_signature)
                    && scheme.verifies(&join.key, &signed, &join.signature)
                    && ballot::hold(&join.approvals, network, &join.question(), scheme)
            }
            Self::Leave(leave) => {
                scheme.verifies(&leave.key, &statement(network, Kind::Leave, leave.since, &()), &leave.signature)
            }
            Self::Rotate(rotate) => {
                let signed = statement(network, Kind::Rotate, rotate.since, &(rotate.old, rotate.new));
                rotate.new.is_valid()
                    && scheme.verifies(&rotate.old, &signed, &rotate.old_signature)
                    && scheme.verifies(&rotate.new, &signed, &rotate.new_signature)
            }
            Self::Evict(proof) => proof.check_with(network, scheme).is_ok(),
            Self::EvictVote(vote) => ballot::hold(&vote.votes, network, &vote.question(), scheme),
        }
    }
}

/// The signed bytes of a statement about the membership: the round's place holds the one number that it is bound to.
pub(super) fn statement<T: Serialize>(network: &Digest, kind: Kind, round: u64, body: &T) -> Vec<u8> {
    // The only failure of the encoder is a type that serde cannot express; these are not.
    let body = codec::encode(body).unwrap_or_default();
    signed_bytes(network, &Slot { kind, epoch: 0, round, view: 0 }, &body).to_vec()
}
