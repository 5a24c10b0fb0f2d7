//! Who belongs to a network, epoch by epoch.
//!
//! A [`Committee`] holds for one epoch. Members are named on the wire by their place in it: voters first, then contributors,
//! each part by ascending key. A record that closes its epoch carries the [`Operation`]s that make the next committee;
//! everybody derives it, and a quorum certifies its root before it takes effect.

mod apply;
mod ballot;
mod operation;

#[cfg(test)]
mod ballot_tests;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use apply::{Closing, OperationError};
pub use ballot::{Admission, Ballot, EvictVote};
pub use operation::{Invite, Join, Leave, MAX_MEMBER_NAME_BYTES, Operation, Rotate};

use crate::certificate::Quorum;
use crate::codec;
use crate::election;
use crate::hash::{Digest, Stream, hash};
use crate::keys::PublicKey;
use crate::manifest::{MAX_VOTERS, Manifest};

/// Most members of a network, voters and contributors together. Too low and larger groups must split; it bounds the memory
/// that a committee takes (about 200 bytes a member), and what everybody works out when an epoch ends (`docs/adr/019`).
pub const MAX_MEMBERS: usize = 16_384;

/// Most bytes of a committee on a disk; it never travels. Too low and the largest network does not start again: a member takes 160
/// bytes with the longest name, and there are as many spent tickets as joined since they expired.
pub const MAX_COMMITTEE_BYTES: usize = 8 << 20;

/// Most contributors whose updates one round takes. Too low and a contributor's turn comes seldom; receipts and proposals
/// list every accepted update, so it bounds their size.
pub const MAX_CONTRIBUTORS_PER_ROUND: usize = 192;

/// Most updates of one round.
pub const MAX_INPUTS: usize = MAX_VOTERS + MAX_CONTRIBUTORS_PER_ROUND;

/// Evicted keys that are remembered; the oldest are forgotten first. Too low and a key could be invited again.
pub const MAX_EVICTED: usize = 1024;

/// Turns in a row that a voter lets pass before it is suspended as aggregator.
pub const MISSES_BEFORE_SUSPENSION: u8 = 2;

/// Suspensions double up to 2^4 epochs.
pub const MAX_STRIKES: u8 = 4;

/// What a member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Votes, aggregates and contributes.
    Voter,
    /// Contributes updates in its turn; no vote.
    Contributor,
}

/// A member of a committee.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// Its key.
    pub key: PublicKey,
    /// What it does.
    pub role: Role,
    /// Who invited it; its own key for a founder.
    pub sponsor: PublicKey,
    /// Name for people; carries no rights.
    pub name: String,
    /// First round of its membership under this key: what it signs to leave or rotate means nothing in a later membership.
    pub since: u64,
    /// Turns as aggregator that it let pass in a row, at the epoch's beginning.
    pub misses: u8,
    /// Suspensions in a row.
    pub strikes: u8,
    /// First epoch in which it aggregates again; it is suspended before that.
    pub suspended_until: u32,
}

impl Member {
    fn new(key: PublicKey, role: Role, sponsor: PublicKey, name: String, since: u64) -> Self {
        Self { key, role, sponsor, name, since, misses: 0, strikes: 0, suspended_until: 0 }
    }
}

/// The members of one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Committee {
    /// The epoch.
    pub epoch: u32,
    /// Its first round.
    pub first_round: u64,
    /// Voters by ascending key, then contributors by ascending key.
    pub members: Vec<Member>,
    /// One-time tickets of invitations that were used and have not expired, with the last round in which they could be used;
    /// ascending.
    pub spent: Vec<(PublicKey, u64)>,
    /// Keys that were caught lying or voted out, in the order of their eviction.
    pub evicted: Vec<PublicKey>,
}

impl Committee {
    /// The founders, all of them voters: the committee of epoch 0.
    #[must_use]
    pub fn founding(manifest: &Manifest) -> Self {
        let members = manifest.founders.iter().map(|f| Member::new(f.key, Role::Voter, f.key, f.name.clone(), 0));
        Self { epoch: 0, first_round: 0, members: members.collect(), spent: Vec::new(), evicted: Vec::new() }
    }

    /// Voters with these keys, in this order: for tests and benches, which have no manifest.
    #[must_use]
    pub fn of_keys(epoch: u32, keys: impl IntoIterator<Item = PublicKey>) -> Self {
        let members = keys.into_iter().map(|key| Member::new(key, Role::Voter, key, String::new(), 0));
        Self { epoch, first_round: 0, members: members.collect(), spent: Vec::new(), evicted: Vec::new() }
    }

    /// What a record certifies of it.
    #[must_use]
    pub fn root(&self) -> Digest {
        // The only failure of the encoder is a type that serde cannot express; these are not.
        codec::encode(self).map_or(Digest::ZERO, |bytes| hash("members", &bytes))
    }

    /// Number of voters; their places are 0 to this.
    #[must_use]
    pub fn voters(&self) -> usize {
        self.members.partition_point(|m| m.role == Role::Voter)
    }

    /// The voters' keys, by place.
    #[must_use]
    pub fn voter_keys(&self) -> Vec<PublicKey> {
        self.members[..self.voters()].iter().map(|m| m.key).collect()
    }

    /// The numbers that follow from it.
    #[must_use]
    pub fn quorum(&self) -> Quorum {
        Quorum::of(self.voters())
    }

    /// The key at a place.
    #[must_use]
    pub fn key(&self, place: u16) -> Option<&PublicKey> {
        self.members.get(usize::from(place)).map(|m| &m.key)
    }

    /// The key of a voter at a place.
    #[must_use]
    pub fn voter(&self, place: u16) -> Option<&PublicKey> {
        self.members.get(usize::from(place)).filter(|m| m.role == Role::Voter).map(|m| &m.key)
    }

    /// A member's place.
    #[must_use]
    pub fn place(&self, key: &PublicKey) -> Option<u16> {
        // At most MAX_MEMBERS places.
        self.members.iter().position(|m| m.key == *key).map(|i| i as u16)
    }

    /// Whether a voter takes part in the election of aggregators.
    fn leads(&self, member: &Member) -> bool {
        member.role == Role::Voter && member.suspended_until <= self.epoch
    }

    /// The voters in the order in which they aggregate: a shuffle of those that are not suspended.
    #[must_use]
    pub fn order(&self, seed: &Digest) -> Vec<u16> {
        let eligible = (0u16..).zip(&self.members).filter(|(_, m)| self.leads(m)).map(|(place, _)| place);
        election::order(seed, eligible.collect())
    }

    /// Contributors whose updates a round takes, by ascending place. All, if there are few; otherwise the next ones in the
    /// epoch's shuffled order, so that every contributor has its turn.
    #[must_use]
    pub fn contributors(&self, seed: &Digest, round: u64) -> Vec<u16> {
        let mut places: Vec<u16> = (self.voters()..self.members.len()).map(|p| p as u16).collect();
        if places.len() > MAX_CONTRIBUTORS_PER_ROUND {
            Stream::new("contributors", &[seed.as_bytes()]).shuffle(&mut places);
            let turn = round.saturating_sub(self.first_round) % places.len() as u64;
            let first = (turn * MAX_CONTRIBUTORS_PER_ROUND as u64) % places.len() as u64;
            places.rotate_left(first as usize);
            places.truncate(MAX_CONTRIBUTORS_PER_ROUND);
            places.sort_unstable();
        }
        places
    }
}
