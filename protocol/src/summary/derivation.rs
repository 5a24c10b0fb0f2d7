//! From one certified state to the next: what is merged, what is derived, and for whom.

use std::collections::{BTreeMap, BTreeSet};

use super::state::{Parts, State};
use super::{Summary, state_schema};
use crate::blob::{self, MAX_BLOB_BYTES};
use crate::hash::Digest;
use crate::keys::PublicKey;
use crate::membership::MAX_INPUTS;
use crate::prototypes::PrototypeSpec;
use crate::tensor::{FixedVector, Schema, TensorError};

/// What a network's certified state is made of, and how it goes on: the part of a manifest that this depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derivation {
    /// What updates are of.
    pub schema: Schema,
    /// What authors publish beside them, and what is derived.
    pub prototypes: Option<PrototypeSpec>,
    /// Classes of the task.
    pub classes: usize,
    /// From what the first state is drawn.
    pub seed: Digest,
}

/// One author's part in a round.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    /// Whose it is.
    pub key: PublicKey,
    /// Its weight: samples, capped by the manifest.
    pub weight: u32,
    /// Its update, decoded.
    pub update: &'a FixedVector,
}

/// What a round gives to derive from.
#[derive(Clone, Copy, Debug)]
pub struct Round<'a> {
    /// The authors by ascending place in their committee; none unless [`Summary::reads_updates`].
    pub authors: &'a [Author<'a>],
    /// All members of the round's committee. Rows of others are dropped.
    pub members: &'a [PublicKey],
    /// The certified list of prototypes.
    pub list: &'a [u8],
}

impl Derivation {
    /// What is derived, if anything is.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        self.prototypes?.summary
    }

    /// Whether updates are deltas whose mean is merged into the state.
    #[must_use]
    pub fn merges(&self) -> bool {
        self.summary().is_none_or(|summary| summary.merges())
    }

    /// Whether the updates themselves are read.
    #[must_use]
    pub fn reads_updates(&self) -> bool {
        self.summary().is_some_and(|summary| summary.reads_updates())
    }

    /// The tensors that all members take in.
    #[must_use]
    pub fn common(&self) -> Schema {
        state_schema(&self.schema, self.prototypes.as_ref(), self.classes)
    }

    /// The tensors of one member's row; nothing if there are no rows.
    #[must_use]
    pub fn row(&self) -> Option<Schema> {
        self.summary()?.row(&self.schema)
    }

    /// The tensors that one member takes in: the common ones, and behind them those of its row.
    #[must_use]
    pub fn own(&self) -> Schema {
        let row = self.row().unwrap_or_default();
        Schema { tensors: self.common().tensors.into_iter().chain(row.tensors).collect() }
    }

    /// The row of a member that has not been given one.
    #[must_use]
    pub fn first_row(&self, _key: &PublicKey) -> FixedVector {
        self.row().unwrap_or_default().genesis(&self.seed)
    }

    /// The first certified state.
    #[must_use]
    pub fn genesis(&self) -> State {
        State { common: self.common().genesis(&self.seed), parts: self.row().map(|_| Parts::default()) }
    }

    /// Checks the parts of a state.
    ///
    /// # Errors
    /// [`TensorError::Schema`]: names, sizes or scales, or a row that is too large for a blob.
    pub fn check(&self) -> Result<(), TensorError> {
        self.common().check()?;
        let Some(row) = self.row() else { return Ok(()) };
        row.check()?;
        let most = row.len().max(self.hidden_len(MAX_INPUTS)) as u64 * 4;
        let too_large =
            || TensorError::Schema(format!("a row or hidden part of {most} bytes, at most 64 MiB are allowed"));
        if most <= MAX_BLOB_BYTES { Ok(()) } else { Err(too_large()) }
    }

    /// Coordinates of the hidden part with so many rows.
    #[must_use]
    pub const fn hidden_len(&self, _rows: usize) -> usize {
        0
    }

    /// The state after a round, of the one before it; `merged` is what [`Self::merges`] asks for, or empty.
    #[must_use]
    pub fn next(&self, merged: FixedVector, before: &State, round: &Round<'_>) -> State {
        let FixedVector(mut common) = merged;
        if let Some((spec, summary)) = self.prototypes.and_then(|spec| Some((spec, spec.summary?))) {
            let derived = before.common.0.get(common.len()..).unwrap_or_default();
            common.extend(summary.derive(&spec, self.classes, derived, round.list));
        }
        State { common: FixedVector(common), parts: before.parts.as_ref().map(|parts| self.parts(parts, round)) }
    }

    fn parts(&self, before: &Parts, round: &Round<'_>) -> Parts {
        let members: BTreeSet<&PublicKey> = round.members.iter().collect();
        let mut rows: BTreeMap<PublicKey, Digest> =
            before.rows.iter().filter(|(key, _)| members.contains(key)).map(|(key, root)| (*key, *root)).collect();
        let mut fresh = Vec::new();
        if let Some(Summary::Attention(attention)) = self.summary() {
            for (author, row) in round.authors.iter().zip(attention.derive(&self.schema, round.authors)) {
                let bytes = FixedVector(row).to_bytes();
                let root = blob::root(&bytes);
                rows.insert(author.key, root);
                fresh.push((root, bytes));
            }
        }
        Parts { hidden: None, rows, fresh }
    }
}
