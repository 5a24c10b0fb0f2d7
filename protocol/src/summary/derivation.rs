//! From one certified state to the next: what is merged, what is derived, and for whom.

use std::collections::{BTreeMap, BTreeSet};

use super::state::{Parts, State};
use super::{MAX_CLASSES, Summary, Tasks, state_schema};
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

/// What a round makes for single members.
pub(super) struct Made {
    /// New rows.
    pub(super) rows: Vec<(PublicKey, Vec<i32>)>,
    /// The hidden part, of exactly those who have rows now, by ascending key; nothing if there is none.
    pub(super) hidden: Option<Vec<i32>>,
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
    pub fn first_row(&self, key: &PublicKey) -> FixedVector {
        match self.summary() {
            Some(Summary::Hypernetwork(hyper)) => FixedVector(hyper.first_row(self.schema.len(), &self.seed, key)),
            _ => self.row().unwrap_or_default().genesis(&self.seed),
        }
    }

    /// The first certified state.
    #[must_use]
    pub fn genesis(&self) -> State {
        State { common: self.common().genesis(&self.seed), parts: self.row().map(|_| Parts::default()) }
    }

    /// Checks the parts of a state.
    ///
    /// # Errors
    /// [`TensorError::Schema`]: names, sizes or scales, a row that is too large for a blob, or too many classes for class vectors.
    pub fn check(&self) -> Result<(), TensorError> {
        self.common().check()?;
        let has_vectors = self.summary().is_some_and(|summary| summary.has_class_vectors());
        if has_vectors && !(2..=MAX_CLASSES).contains(&self.classes) {
            let text = format!("class vectors are for 2 to {MAX_CLASSES} classes, not {}", self.classes);
            return Err(TensorError::Schema(text));
        }
        let Some(row) = self.row() else { return Ok(()) };
        row.check()?;
        let most = row.len().max(self.hidden_len(MAX_INPUTS)) as u64 * 4;
        let too_large =
            || TensorError::Schema(format!("a row or hidden part of {most} bytes, at most 64 MiB are allowed"));
        if most <= MAX_BLOB_BYTES { Ok(()) } else { Err(too_large()) }
    }

    /// Coordinates of the hidden part with so many rows.
    #[must_use]
    pub fn hidden_len(&self, rows: usize) -> usize {
        match self.summary() {
            Some(Summary::Tasks(_)) => Tasks::hidden_len(self.schema.len(), rows),
            Some(Summary::Hypernetwork(hyper)) => hyper.hidden_len(self.schema.len(), rows),
            _ => 0,
        }
    }

    /// The state after a round, of the one before it; `merged` is what [`Self::merges`] asks for, or empty.
    #[must_use]
    pub fn next(&self, merged: FixedVector, before: &State, round: &Round<'_>) -> State {
        let FixedVector(mut common) = merged;
        if let Some((spec, summary)) = self.prototypes.and_then(|spec| Some((spec, spec.summary?))) {
            let derived = before.common.0.get(common.len()..).unwrap_or_default();
            let network = (self.classes, &self.seed);
            let derived = match summary {
                Summary::Generator(generator) => generator.derive(&spec, network, &common, derived, round.list),
                summary => summary.derive(&spec, network, derived, round.list),
            };
            common.extend(derived);
        }
        State { common: FixedVector(common), parts: before.parts.as_ref().map(|parts| self.parts(parts, round)) }
    }

    fn parts(&self, before: &Parts, round: &Round<'_>) -> Parts {
        let members: BTreeSet<&PublicKey> = round.members.iter().collect();
        let mut parts = Parts { fresh: Vec::new(), ..before.clone() };
        let Some(Made { rows, hidden }) = self.made(before, round) else { return parts };
        if hidden.is_some() {
            // The hidden part is of exactly those who have a row.
            (parts.hidden, parts.rows) = (hidden, BTreeMap::new());
        }
        parts.rows.retain(|key, _| members.contains(key));
        for (key, row) in rows {
            let bytes = FixedVector(row).to_bytes();
            let root = blob::root(&bytes);
            parts.rows.insert(key, root);
            parts.fresh.push((root, bytes));
        }
        parts
    }

    /// What is made anew; nothing if that has left its range.
    fn made(&self, before: &Parts, round: &Round<'_>) -> Option<Made> {
        let known: Vec<&PublicKey> = before.rows.keys().collect();
        let len = self.schema.len();
        match self.summary()? {
            Summary::Means | Summary::Head(_) | Summary::Targets(_) | Summary::Generator(_) => None,
            Summary::Attention(attention) => {
                let rows =
                    round.authors.iter().map(|author| author.key).zip(attention.derive(&self.schema, round.authors));
                Some(Made { rows: rows.collect(), hidden: None })
            }
            Summary::Tasks(tasks) => tasks.derive(len, (&known, before.hidden.as_deref().unwrap_or_default()), round),
            Summary::Hypernetwork(hyper) => {
                let genesis = before.hidden.is_none().then(|| hyper.genesis(len, &self.seed));
                let hidden = before.hidden.as_deref().or(genesis.as_deref()).unwrap_or_default();
                hyper.derive(len, &self.seed, (&known, hidden), round)
            }
        }
    }
}
