//! Votes on who comes and who goes: a ballot is one voter's signature under one question, and means nothing under another.

use std::fmt;

use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::operation::statement;
use super::{Join, Operation};
use crate::envelope::Kind;
use crate::hash::Digest;
use crate::keys::{Ed25519, PublicKey, Scheme, SecretKey, Signature};
use crate::manifest::MAX_VOTERS;

/// Who decides on newcomers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Admission {
    /// An invitation by one voter is enough.
    #[default]
    Sponsor,
    /// It takes the invitation, and the approval of a quorum of the voters beside it.
    Vote,
}

/// One voter's vote for an operation. There is no vote against: whoever is against says nothing. It cannot be taken back, and
/// lapses instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ballot {
    /// Who votes; its vote counts while this key is a voter's.
    pub voter: PublicKey,
    /// Last round in which a record may take it in.
    pub until: u64,
    /// The voter's signature over the question.
    pub signature: Signature,
}

impl Ballot {
    fn cast<T: Serialize>(
        scheme: &dyn Scheme,
        network: &Digest,
        (kind, question): &(Kind, T),
        voter: &SecretKey,
        until: u64,
    ) -> Self {
        let signature = scheme.sign(voter, &statement(network, *kind, until, question));
        Self { voter: voter.public(), until, signature }
    }
}

/// True if these are votes of different keys on this question, by ascending key, whose signatures hold.
pub(super) fn hold<T: Serialize>(
    ballots: &[Ballot],
    network: &Digest,
    (kind, question): &(Kind, T),
    scheme: &dyn Scheme,
) -> bool {
    ballots.len() <= MAX_VOTERS
        && ballots.is_sorted_by(|a, b| a.voter < b.voter)
        && ballots.iter().all(|ballot| {
            scheme.verifies(&ballot.voter, &statement(network, *kind, ballot.until, question), &ballot.signature)
        })
}

/// Reads votes without making room for more than a network has voters, whatever length is claimed: they are in lists of
/// operations, whose room comes on top.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Ballot>, D::Error> {
    struct Ballots;
    impl<'de> Visitor<'de> for Ballots {
        type Value = Vec<Ballot>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX_VOTERS} votes")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut ballots = Vec::new();
            while let Some(ballot) = list.next_element()? {
                if ballots.len() == MAX_VOTERS {
                    return Err(A::Error::invalid_length(MAX_VOTERS + 1, &self));
                }
                ballots.push(ballot);
            }
            Ok(ballots)
        }
    }
    deserializer.deserialize_seq(Ballots)
}

/// What the approval of a join is about: this invitation, used by this key under this name. Its ticket is good for one
/// membership, so that an approval is, too.
type Admits<'a> = (PublicKey, PublicKey, super::Role, u64, PublicKey, &'a str);

impl Join {
    pub(super) fn question(&self) -> (Kind, Admits<'_>) {
        let invite = &self.invite;
        (Kind::Approve, (invite.sponsor, invite.ticket, invite.role, invite.expires, self.key, &self.name))
    }

    /// A voter's approval.
    #[must_use]
    pub fn approve(&self, network: &Digest, voter: &SecretKey, until: u64) -> Ballot {
        self.approve_with(&Ed25519, network, voter, until)
    }

    /// [`Join::approve`] with another signature scheme, for simulations.
    #[must_use]
    pub fn approve_with(&self, scheme: &dyn Scheme, network: &Digest, voter: &SecretKey, until: u64) -> Ballot {
        Ballot::cast(scheme, network, &self.question(), voter, until)
    }
}

/// A quorum of the voters sends a member away, whatever it did or did not do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EvictVote {
    /// Who goes.
    pub key: PublicKey,
    /// [`super::Member::since`] of the membership that ends.
    pub since: u64,
    /// The votes, by ascending key.
    #[serde(deserialize_with = "read")]
    pub votes: Vec<Ballot>,
}

impl EvictVote {
    /// One voter's vote.
    #[must_use]
    pub fn new(network: &Digest, key: PublicKey, since: u64, voter: &SecretKey, until: u64) -> Self {
        Self::new_with(&Ed25519, network, key, since, voter, until)
    }

    /// [`EvictVote::new`] with another signature scheme, for simulations.
    #[must_use]
    pub fn new_with(
        scheme: &dyn Scheme,
        network: &Digest,
        key: PublicKey,
        since: u64,
        voter: &SecretKey,
        until: u64,
    ) -> Self {
        let unvoted = Self { key, since, votes: Vec::new() };
        let vote = Ballot::cast(scheme, network, &unvoted.question(), voter, until);
        Self { votes: vec![vote], ..unvoted }
    }

    pub(super) const fn question(&self) -> (Kind, (PublicKey, u64)) {
        (Kind::EvictVote, (self.key, self.since))
    }
}

impl Operation {
    /// Whether it takes a quorum of votes under this rule of admission.
    #[must_use]
    pub const fn needs_votes(&self, admission: Admission) -> bool {
        match self {
            Self::Join(_) => matches!(admission, Admission::Vote),
            Self::EvictVote(_) => true,
            Self::Leave(_) | Self::Rotate(_) | Self::Evict(_) => false,
        }
    }

    /// The votes in it.
    #[must_use]
    pub fn ballots(&self) -> &[Ballot] {
        match self {
            Self::Join(join) => &join.approvals,
            Self::EvictVote(vote) => &vote.votes,
            Self::Leave(_) | Self::Rotate(_) | Self::Evict(_) => &[],
        }
    }

    /// The same with these votes, put in order; itself if it takes none.
    #[must_use]
    pub fn with_ballots(&self, mut ballots: Vec<Ballot>) -> Self {
        ballots.sort_by_key(|ballot| ballot.voter);
        match self {
            Self::Join(join) => Self::Join(Box::new(Join { approvals: ballots, ..join.as_ref().clone() })),
            Self::EvictVote(vote) => Self::EvictVote(EvictVote { votes: ballots, ..vote.clone() }),
            Self::Leave(_) | Self::Rotate(_) | Self::Evict(_) => self.clone(),
        }
    }
}
