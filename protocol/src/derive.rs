//! What follows from what. A round's record is derived, not chosen: voters derive it before they vote, and an auditor
//! derives it again from the same signed inputs with the same functions.

use std::collections::BTreeMap;

use crate::certificate::Quorum;
use crate::election::{self, fold_seed};
use crate::hash::Digest;
use crate::manifest::PROTOCOL_VERSION;
use crate::message::{Receipt, RecordBody, UpdateRef};
use crate::record::{Record, RecordKind, Rule, epoch_of, list_root};
use crate::round::Rules;

/// The inputs that a quorum of receipts forces: updates that at least `f + 1` of them list, so that at least one honest
/// member holds each. An author with two such updates is left out. By ascending author.
#[must_use]
pub fn forced_inputs<'a>(receipts: impl Iterator<Item = &'a Receipt>, quorum: &Quorum) -> Vec<UpdateRef> {
    let mut counts: BTreeMap<UpdateRef, usize> = BTreeMap::new();
    for item in receipts.flat_map(|receipt| &receipt.items) {
        *counts.entry(*item).or_default() += 1;
    }
    let forced: Vec<UpdateRef> = counts.into_iter().filter(|(_, n)| *n > quorum.faulty).map(|(key, _)| key).collect();
    let alone = |key: &UpdateRef| forced.iter().filter(|other| other.0 == key.0).count() == 1;
    forced.iter().filter(|key| alone(key)).copied().collect()
}

/// The order in which voters aggregate in the round after `parent`.
#[must_use]
pub fn order_after(rules: &Rules, parent: &Record) -> Vec<u16> {
    let (seed, _, _) = parent.next_seeds(rules.epoch_length);
    election::order(&seed, rules.voters)
}

/// Where a round stands in the chain: all that its record follows from, beside its inputs.
#[derive(Clone, Copy, Debug)]
pub struct Position<'a> {
    /// The network's constants.
    pub rules: &'a Rules,
    /// The record of the round before.
    pub head: &'a Record,
    /// Its hash.
    pub head_hash: Digest,
    /// The order in which voters aggregate ([`order_after`] the parent).
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

    /// The record that a body gives: the same for everyone who holds the same inputs. `model` is the root of the merge,
    /// nothing if there was none.
    #[must_use]
    pub fn record(&self, body: &RecordBody, model: Option<Digest>, proposer: u16, origin_view: u32) -> Record {
        let Self { rules, head, .. } = *self;
        let round = self.round();
        let inputs_root = list_root("inputs", &body.inputs);
        let (seed, seed_following, fold) = head.next_seeds(rules.epoch_length);
        let skipped = (0..origin_view.min(u32::from(rules.voters))).map(|view| 1u64 << (self.leader(view) % 64));
        Record {
            version: PROTOCOL_VERSION,
            network: rules.network,
            epoch: epoch_of(round, rules.epoch_length),
            round,
            parent: self.head_hash,
            origin_view,
            proposer,
            kind: if model.is_some() { RecordKind::Normal } else { RecordKind::Empty },
            rule: Rule::Mean,
            members_root: rules.members_root,
            receipts_root: list_root("receipts", &body.receipts),
            inputs_root,
            // At most one input per voter, of which there are at most 64.
            inputs: body.inputs.len() as u16,
            model_root: model.unwrap_or(head.model_root),
            protos_root: head.protos_root,
            state_root: head.state_root,
            artefact_root: Digest::ZERO,
            ops_root: Digest::ZERO,
            next_members_root: rules.members_root,
            seed,
            seed_following,
            seed_fold: fold_seed(&fold, &inputs_root, round),
            skipped_leaders: skipped.fold(0, |bits, bit| bits | bit),
        }
    }
}
