//! What a round agrees on: the record.

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::election;
use crate::hash::{Digest, hash};
use crate::manifest::{Manifest, PROTOCOL_VERSION};
use crate::membership::{Committee, Operation};

/// Whether a round merged anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RecordKind {
    /// The accepted updates were merged.
    Normal,
    /// Too few updates came, or their merge left the range: the state is carried over.
    Empty,
}

/// The rule that merged a round's updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Rule {
    /// The mean weighted by sample counts ([`crate::merge`]).
    Mean,
}

/// The record of a round. Two voters that hold the same inputs derive it bit for bit, except for `proposer` and
/// `origin_view`, which say where it was first proposed: a re-proposal in a later view keeps the record and its hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// [`PROTOCOL_VERSION`].
    pub version: u16,
    /// The network it belongs to.
    pub network: Digest,
    /// Epoch of the round.
    pub epoch: u32,
    /// The round; 0 is the genesis.
    pub round: u64,
    /// Votes that decide in its epoch.
    pub quorum: u16,
    /// Hash of the record of the round before.
    pub parent: Digest,
    /// View in which this record was first proposed.
    pub origin_view: u32,
    /// Voter that first proposed it.
    pub proposer: u16,
    /// Normal or empty.
    pub kind: RecordKind,
    /// How updates were merged.
    pub rule: Rule,
    /// Root of the list of voters of this round.
    pub members_root: Digest,
    /// Root of the list of receipts that force the inputs.
    pub receipts_root: Digest,
    /// Root of the list of accepted uploads.
    pub inputs_root: Digest,
    /// Number of accepted uploads.
    pub inputs: u16,
    /// Number of accepted prototypes: what `protos_root` is a list of.
    pub prototypes: u32,
    /// Root of the merged tensors.
    pub model_root: Digest,
    /// Root of the list of accepted prototypes ([`crate::prototypes`]); zero if there are none.
    pub protos_root: Digest,
    /// Root of the method's handed-over state; zero if it has none.
    pub state_root: Digest,
    /// Hash of the artefact in force ([`crate::artefact::artefact_root`]); zero if there is none.
    pub artefact_root: Digest,
    /// Root of the membership operations; zero if there are none.
    pub ops_root: Digest,
    /// Root of the list of voters of the next round.
    pub next_members_root: Digest,
    /// Seed that orders the aggregators of this epoch.
    pub seed: Digest,
    /// Seed of the next epoch.
    pub seed_following: Digest,
    /// Fold over this epoch's rounds so far; becomes the seed of the epoch after the next one.
    pub seed_fold: Digest,
    /// Voters whose turn passed without this record being proposed, one bit per voter.
    pub skipped_leaders: u64,
    /// Turns in a row that each voter has let pass, by place: what suspends an aggregator.
    pub misses: Vec<u8>,
    /// Whether the next round begins a new epoch.
    pub closes_epoch: bool,
}

/// The hash of a certified state: of the roots of its model, its prototypes and what a method hands over.
#[must_use]
pub fn state_hash(model: &Digest, prototypes: &Digest, handed_over: &Digest) -> Digest {
    hash("state", &[model.0, prototypes.0, handed_over.0].concat())
}

impl Record {
    /// The record of round 0, which follows from the manifest alone.
    #[must_use]
    pub fn genesis(manifest: &Manifest, network: Digest) -> Self {
        let committee = Committee::founding(manifest);
        let members_root = committee.root();
        let none = list_root::<(u16, Digest)>("inputs", &[]);
        Self {
            version: PROTOCOL_VERSION,
            network,
            epoch: 0,
            round: 0,
            quorum: committee.quorum().quorum as u16,
            parent: Digest::ZERO,
            origin_view: 0,
            proposer: 0,
            kind: RecordKind::Empty,
            rule: Rule::Mean,
            members_root,
            receipts_root: none,
            inputs_root: none,
            inputs: 0,
            prototypes: 0,
            model_root: manifest.genesis_root,
            protos_root: Digest::ZERO,
            state_root: Digest::ZERO,
            artefact_root: Digest::ZERO,
            ops_root: Digest::ZERO,
            next_members_root: members_root,
            seed: election::first_seed(&network, 0),
            seed_following: election::first_seed(&network, 1),
            seed_fold: election::first_seed(&network, 2),
            skipped_leaders: 0,
            misses: vec![0; committee.voters()],
            closes_epoch: false,
        }
    }

    /// The record's hash: what votes are about and what the next record names as its parent.
    ///
    /// # Errors
    /// None in practice; see [`codec::encode`].
    pub fn hash(&self) -> Result<Digest, CodecError> {
        Ok(hash("record", &codec::encode(self)?))
    }

    /// What two runs with equal inputs have in common: the roots of model, prototypes and handed-over state.
    #[must_use]
    pub fn state_hash(&self) -> Digest {
        state_hash(&self.model_root, &self.protos_root, &self.state_root)
    }

    /// Election seeds of the round after this one: `(seed, following, fold)`. They move up at an epoch's end.
    #[must_use]
    pub const fn next_seeds(&self) -> (Digest, Digest, Digest) {
        if self.closes_epoch {
            (self.seed_following, self.seed_fold, self.seed_fold)
        } else {
            (self.seed, self.seed_following, self.seed_fold)
        }
    }
}

/// Root of a record's operations; zero if there are none.
#[must_use]
pub fn operations_root(operations: &[Operation]) -> Digest {
    if operations.is_empty() { Digest::ZERO } else { list_root("operations", operations) }
}

/// Root of a list in canonical order.
#[must_use]
pub fn list_root<T: Serialize>(context: &str, list: &[T]) -> Digest {
    // The only failure of the encoder is a type that serde cannot express; plain tuples are not one.
    codec::encode(&list).map_or(Digest::ZERO, |bytes| hash(context, &bytes))
}
