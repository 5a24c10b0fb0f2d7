//! What a record must be, given its inputs: the pure rules that aggregator, voters and auditors share.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::artefact::{ArtefactRef, artefact_root, host_rank};
use crate::certificate::Quorum;
use crate::election::{self, fold_seed};
use crate::hash::Digest;
use crate::keys::PublicKey;
use crate::manifest::{Manifest, ManifestError, PROTOCOL_VERSION};
use crate::membership::{Admission, Closing, Committee, Operation, OperationError};
use crate::merge::Merged;
use crate::message::{Receipt, RecordBody, UpdateRef};
use crate::prototypes::ListName;
use crate::record::{Record, RecordKind, Rule, list_root, operations_root};

/// The constants of a network that records depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Constants {
    /// The network's id.
    pub network: Digest,
    /// Most rounds per epoch.
    pub epoch_length: u32,
    /// Cap on an update's weight.
    pub max_weight: u32,
    /// Fewest updates that make a merge; 0 for half of the voters.
    pub min_inputs: u16,
    /// Members that one voter may have invited at a time.
    pub sponsor_cap: u16,
    /// Who decides on newcomers.
    pub admission: Admission,
}

impl Constants {
    /// Those of a checked manifest.
    ///
    /// # Errors
    /// [`ManifestError`] if the manifest cannot be encoded.
    pub fn new(manifest: &Manifest) -> Result<Self, ManifestError> {
        Ok(Self {
            network: manifest.network_id()?,
            epoch_length: manifest.epoch_length,
            max_weight: manifest.max_weight,
            min_inputs: manifest.min_inputs,
            sponsor_cap: manifest.sponsor_cap,
            admission: manifest.admission,
        })
    }

    /// What the end of an epoch knows, if it ends with this round.
    #[must_use]
    pub const fn closing<'a>(&self, round: u64, misses: &'a [u8]) -> Closing<'a> {
        Closing { round, misses, sponsor_cap: self.sponsor_cap, admission: self.admission }
    }

    /// True if this many inputs make a merge under this committee; with fewer the state is carried over.
    #[must_use]
    pub fn is_enough(&self, inputs: usize, committee: &Committee) -> bool {
        let fewest = match self.min_inputs {
            0 => committee.voters().div_ceil(2),
            n => usize::from(n),
        };
        inputs > 0 && inputs >= fewest
    }

    /// The weight in the mean of an update with this many samples behind it.
    #[must_use]
    pub fn weight(&self, samples: u32) -> u32 {
        samples.min(self.max_weight)
    }
}

/// Where a round stands in the chain.
#[derive(Clone, Copy, Debug)]
pub struct Position<'a> {
    /// Constants of the network.
    pub constants: &'a Constants,
    /// The record before.
    pub head: &'a Record,
    /// Its hash.
    pub head_hash: Digest,
    /// The artefact that it names.
    pub artefact: Option<&'a ArtefactRef>,
    /// The committee of the round.
    pub committee: &'a Committee,
    /// [`Committee::order`] for the round's seed.
    pub order: &'a [u16],
}

impl Position<'_> {
    /// The round.
    #[must_use]
    pub const fn round(&self) -> u64 {
        self.head.round + 1
    }

    /// The aggregator of a view.
    #[must_use]
    pub fn leader(&self, view: u32) -> u16 {
        election::leader(self.order, self.round(), view).unwrap_or_default()
    }

    /// Whether this round's record closes its epoch.
    #[must_use]
    pub fn closes_epoch(&self, body: &RecordBody) -> bool {
        !body.operations.is_empty()
            || self.round() + 1 >= self.committee.first_round + u64::from(self.constants.epoch_length)
    }

    /// Turns that each voter has let pass in a row, if this round's record is first proposed in this view.
    fn misses(&self, proposer: u16, origin_view: u32) -> Vec<u8> {
        let mut misses = if self.head.closes_epoch {
            let voters = &self.committee.members[..self.committee.voters()];
            voters.iter().map(|m| m.misses).collect()
        } else {
            self.head.misses.clone()
        };
        for view in 0..origin_view.min(election::most_turns(self.order)) {
            if let Some(misses) = misses.get_mut(usize::from(self.leader(view))) {
                *misses = misses.saturating_add(1);
            }
        }
        if let Some(misses) = misses.get_mut(usize::from(proposer)) {
            *misses = 0;
        }
        misses
    }

    /// As many of these operations, in ascending order of their subjects, as fit together.
    #[must_use]
    pub fn fitting(&self, operations: &[Operation]) -> Vec<Operation> {
        self.committee.select(&self.constants.closing(self.round(), &[]), operations.iter())
    }

    /// The artefact that a round's receipts force: of those that at least `f + 1` of them list, so that at least one honest
    /// voter holds and has checked each, and that are of a later job than the one in force, that of the latest job; of several
    /// the one whose host comes first in this epoch. If there is none, the one in force stays.
    #[must_use]
    pub fn forced_artefact<'a>(
        &self,
        receipts: impl Iterator<Item = &'a Receipt>,
        evicted: &[PublicKey],
    ) -> Option<ArtefactRef> {
        let mut counts: BTreeMap<&ArtefactRef, usize> = BTreeMap::new();
        for artefact in receipts.flat_map(|receipt| &receipt.artefacts) {
            *counts.entry(artefact).or_default() += 1;
        }
        let (faulty, seed) = (self.committee.quorum().faulty, self.head.next_seeds().0);
        let eligible = counts.into_iter().filter(|(artefact, count)| {
            let newer = self.artefact.is_none_or(|in_force| artefact.job_round > in_force.job_round);
            *count > faulty && newer && !evicted.contains(&artefact.host)
        });
        let best = eligible.map(|(artefact, _)| *artefact).min_by_key(|artefact| preference(&seed, artefact));
        best.or(self.artefact.copied())
    }

    /// Whether this artefact may follow the one in force: it is the same, or of a later job that is not too old. What the
    /// receipts say is another question.
    #[must_use]
    pub fn may_follow(&self, artefact: Option<&ArtefactRef>) -> bool {
        let Some(new) = artefact.filter(|new| self.artefact != Some(*new)) else { return artefact == self.artefact };
        let (round, newer) = (self.round(), self.artefact.is_none_or(|in_force| new.job_round > in_force.job_round));
        newer && new.job_round < round && new.in_time(round)
    }

    /// The record that a body and the merged state give, and the next epoch's committee if it closes its epoch: the same
    /// for everyone who holds the same inputs. Without a merged state the round is empty, and the state is carried over.
    ///
    /// # Errors
    /// [`OperationError`] if the body's operations do not fit the membership.
    pub fn record(
        &self,
        body: &RecordBody,
        merged: Option<&Merged>,
        proposer: u16,
        origin_view: u32,
    ) -> Result<(Record, Option<Committee>), OperationError> {
        let (head, committee) = (self.head, self.committee);
        let inputs_root = list_root("inputs", &body.inputs);
        let (seed, seed_following, fold) = head.next_seeds();
        let skipped = (0..origin_view.min(election::most_turns(self.order))).map(|v| 1u64 << (self.leader(v) % 64));
        let misses = self.misses(proposer, origin_view);
        let members_root = head.next_members_root;
        let carried = Merged {
            model_root: head.model_root,
            prototypes: ListName { root: head.protos_root, count: head.prototypes },
        };
        let state = merged.unwrap_or(&carried);
        let next = if self.closes_epoch(body) {
            Some(committee.next(&self.constants.closing(self.round(), &misses), &body.operations)?)
        } else {
            None
        };
        let record = Record {
            version: PROTOCOL_VERSION,
            network: self.constants.network,
            epoch: committee.epoch,
            round: self.round(),
            // At most 64 voters.
            quorum: committee.quorum().quorum as u16,
            parent: self.head_hash,
            origin_view,
            proposer,
            kind: if merged.is_some() { RecordKind::Normal } else { RecordKind::Empty },
            rule: Rule::Mean,
            members_root,
            receipts_root: list_root("receipts", &body.receipts),
            inputs_root,
            // At most MAX_INPUTS.
            inputs: body.inputs.len() as u16,
            prototypes: state.prototypes.count,
            model_root: state.model_root,
            protos_root: state.prototypes.root,
            state_root: head.state_root,
            artefact_root: artefact_root(body.artefact.as_ref()),
            ops_root: operations_root(&body.operations),
            next_members_root: next.as_ref().map_or(members_root, Committee::root),
            seed,
            seed_following,
            seed_fold: fold_seed(&fold, &inputs_root, self.round()),
            skipped_leaders: skipped.fold(0, |bits, bit| bits | bit),
            misses,
            closes_epoch: next.is_some(),
        };
        Ok((record, next))
    }
}

/// The inputs that a quorum of receipts forces: updates that at least `f + 1` of them list, so that at least one honest
/// member holds each, by ascending author. Left out are authors with two such updates, and those whom the record evicts.
#[must_use]
pub fn forced_inputs<'a>(
    receipts: impl Iterator<Item = &'a Receipt>,
    quorum: &Quorum,
    evicted: &[u16],
) -> Vec<UpdateRef> {
    let mut counts: BTreeMap<UpdateRef, usize> = BTreeMap::new();
    for receipt in receipts {
        for item in &receipt.items {
            *counts.entry(*item).or_default() += 1;
        }
    }
    counts.retain(|key, count| *count > quorum.faulty && !evicted.contains(&key.0));
    let forced: Vec<UpdateRef> = counts.into_keys().collect();
    let mut alone = Vec::with_capacity(forced.len());
    for same in forced.chunk_by(|a, b| a.0 == b.0) {
        if let [only] = same {
            alone.push(*only);
        }
    }
    alone
}

/// Keys that a body evicts.
#[must_use]
pub fn evicted_keys(body: &RecordBody) -> Vec<PublicKey> {
    let evicted = body.operations.iter().filter_map(|operation| match operation {
        Operation::Evict(proof) => Some(proof.author),
        _ => None,
    });
    evicted.collect()
}

/// Places of the authors that a body evicts.
#[must_use]
pub fn evicted_places(body: &RecordBody, committee: &Committee) -> Vec<u16> {
    evicted_keys(body).iter().filter_map(|key| committee.place(key)).collect()
}

/// What puts artefacts in the order in which they are preferred in an epoch with this seed, the best first: by the latest job,
/// the host's rank and the smallest hash.
#[must_use]
pub fn preference(seed: &Digest, artefact: &ArtefactRef) -> (Reverse<u64>, Digest, Digest, ArtefactRef) {
    (Reverse(artefact.job_round), host_rank(seed, &artefact.host), artefact.statement, *artefact)
}
