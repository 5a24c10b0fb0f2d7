//! The merge that every voter recomputes: a weighted mean in integers.
//!
//! Integer sums do not depend on their order, so arrival order, threads and machines make no difference to the result. Behind the
//! merged tensors the state has those that follow from the prototypes ([`crate::summary`]).

use crate::hash::Digest;
use crate::keys::PublicKey;
use crate::manifest::Manifest;
use crate::payload::Payload;
use crate::prototypes::ListName;
use crate::summary::{Author, Derivation, Round, State};
use crate::tensor::{FixedVector, TensorError};

/// Why inputs cannot be merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// Nothing to merge, or only updates without samples.
    #[error("the weights add up to nothing")]
    NoWeight,
    /// An input does not fit the others, or the result does not fit its range.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The weights are so large that the sum could leave 62 bits.
    #[error("the weights add up to {0}, more than 2^32 - 1")]
    TooHeavy(u64),
    /// An author that the committee does not have.
    #[error("member {0} is not in the committee")]
    Stranger(u16),
}

/// What a merge gives, as a record names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Merged {
    /// Root of the model.
    pub model_root: Digest,
    /// The list of the accepted updates' prototypes.
    pub prototypes: ListName,
}

impl Merged {
    /// A model without prototypes.
    #[must_use]
    pub const fn model(model_root: Digest) -> Self {
        Self { model_root, prototypes: ListName { root: Digest::ZERO, count: 0 } }
    }
}

/// A round's merge in progress: every voter, every auditor and every simulation goes through here.
#[derive(Clone, Debug)]
pub struct Merge {
    derivation: Derivation,
    mean: WeightedMean,
    /// Only where the updates themselves are read: author, weight and update.
    kept: Vec<(u16, u32, FixedVector)>,
    list: Vec<u8>,
}

/// The result of a merge, in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeResult {
    /// The certified state.
    pub state: State,
    /// The list of prototypes ([`crate::prototypes`]); empty if there are none.
    pub prototypes: Vec<u8>,
    name: ListName,
}

impl Merge {
    /// A merge of nothing yet.
    #[must_use]
    pub fn new(manifest: &Manifest) -> Self {
        Self::of(manifest.derivation())
    }

    /// The same, without a manifest.
    #[must_use]
    pub fn of(derivation: Derivation) -> Self {
        let mean = WeightedMean::new(if derivation.merges() { derivation.schema.len() } else { 0 });
        Self { derivation, mean, kept: Vec::new(), list: Vec::new() }
    }

    /// Adds an author's payload. Authors must come in ascending order.
    ///
    /// # Errors
    /// As [`WeightedMean::add`].
    pub fn add(&mut self, author: u16, payload: &Payload<'_>, weight: u32) -> Result<(), MergeError> {
        if self.derivation.merges() {
            self.mean.add(&payload.delta, weight)?;
        } else {
            self.mean.add(&FixedVector::default(), weight)?;
        }
        if self.derivation.reads_updates() {
            self.kept.push((author, weight, payload.delta.clone()));
        }
        if let Some(spec) = self.derivation.prototypes {
            spec.append(&mut self.list, author, payload.prototypes);
        }
        Ok(())
    }

    /// The merge onto a base; `members` are those of the round's committee, by place.
    ///
    /// # Errors
    /// As [`WeightedMean::finish`]; [`MergeError::Stranger`].
    pub fn finish(self, base: &State, members: &[PublicKey]) -> Result<MergeResult, MergeError> {
        let merged = self.mean.sums.len();
        let Some(before) = base.common.0.get(..merged) else {
            return Err(TensorError::Length { expected: merged, found: base.common.0.len() }.into());
        };
        let merged = self.mean.finish(&FixedVector(before.to_vec()))?;
        let mut authors = Vec::new();
        for (place, weight, update) in &self.kept {
            let key = *members.get(usize::from(*place)).ok_or(MergeError::Stranger(*place))?;
            authors.push(Author { key, weight: *weight, update });
        }
        let state = self.derivation.next(merged, base, &Round { authors: &authors, members, list: &self.list });
        let name = self.derivation.prototypes.map(|spec| spec.name(&self.list)).unwrap_or_default();
        Ok(MergeResult { state, prototypes: self.list, name })
    }
}

impl MergeResult {
    /// What a record says of it, given the root of its model.
    #[must_use]
    pub const fn named(&self, model_root: Digest) -> Merged {
        Merged { model_root, prototypes: self.name }
    }
}

/// A running weighted sum: memory does not grow with the number of inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WeightedMean {
    sums: Vec<i64>,
    weight: u64,
}

impl WeightedMean {
    /// A sum over vectors of `len` coordinates.
    #[must_use]
    pub fn new(len: usize) -> Self {
        Self { sums: vec![0; len], weight: 0 }
    }

    /// Adds `weight * delta`. Every coordinate must be within [`crate::tensor::MAX_COORDINATE`], which all decoders check.
    ///
    /// # Errors
    /// A wrong length, or weights that add up to more than 32 bits: with coordinates of at most 2^30 the sums would then
    /// not be sure to stay below 2^62.
    pub fn add(&mut self, delta: &FixedVector, weight: u32) -> Result<(), MergeError> {
        if delta.0.len() != self.sums.len() {
            return Err(TensorError::Length { expected: self.sums.len(), found: delta.0.len() }.into());
        }
        let total = self.weight + u64::from(weight);
        if total > u64::from(u32::MAX) {
            return Err(MergeError::TooHeavy(total));
        }
        self.weight = total;
        let weight = i64::from(weight);
        for (sum, &q) in self.sums.iter_mut().zip(&delta.0) {
            *sum += weight * i64::from(q);
        }
        Ok(())
    }

    /// `base + sum / weight`, each coordinate rounded half to even.
    ///
    /// # Errors
    /// No weight at all, a base of another length, or a result outside the range of a coordinate.
    pub fn finish(&self, base: &FixedVector) -> Result<FixedVector, MergeError> {
        if self.weight == 0 {
            return Err(MergeError::NoWeight);
        }
        let weight = self.weight as i64;
        // A mean of values within +-2^30 is within +-2^30.
        let delta = self.sums.iter().map(|&sum| div_half_even(sum, weight) as i32).collect();
        Ok(base.checked_add(&FixedVector(delta))?)
    }
}

/// `a / b` rounded to the nearest integer, ties to the even one; `b` is positive.
pub(crate) fn div_half_even(a: i64, b: i64) -> i64 {
    let (q, r) = (a.div_euclid(b), a.rem_euclid(b));
    match (2 * r).cmp(&b) {
        std::cmp::Ordering::Less => q,
        std::cmp::Ordering::Greater => q + 1,
        std::cmp::Ordering::Equal => q + (q & 1),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::hash::Stream;
    use crate::tensor::MAX_COORDINATE;
    use proptest::prelude::*;

    fn mean(inputs: &[(FixedVector, u32)], base: &FixedVector) -> Result<FixedVector, MergeError> {
        let mut sum = WeightedMean::new(base.0.len());
        for (delta, weight) in inputs {
            sum.add(delta, *weight)?;
        }
        sum.finish(base)
    }

    #[test]
    fn ties_round_to_even_on_both_sides_of_zero() {
        let cases =
            [(1, 2, 0), (3, 2, 2), (-1, 2, 0), (-3, 2, -2), (5, 2, 2), (7, 3, 2), (8, 3, 3), (-7, 3, -2), (-8, 3, -3)];
        for (a, b, want) in cases {
            assert_eq!(div_half_even(a, b), want, "{a} / {b}");
        }
    }

    proptest! {
        #[test]
        fn arrival_order_makes_no_difference(seed: u64, n in 1usize..12) {
            let mut stream = Stream::new("test", &[&seed.to_le_bytes()]);
            let mut draw = |bound: u64| FixedVector((0..33).map(|_| stream.below(2 * bound) as i32 - bound as i32).collect());
            let base = draw(1 << 20);
            let mut inputs: Vec<_> = (0..n).map(|i| (draw(1 << 28), 1 + 97 * i as u32)).collect();
            let forward = mean(&inputs, &base).unwrap();
            Stream::new("order", &[&seed.to_le_bytes()]).shuffle(&mut inputs);
            prop_assert_eq!(mean(&inputs, &base).unwrap(), forward);
        }

        #[test]
        fn the_mean_is_within_half_a_step_of_the_exact_one(values in prop::collection::vec((-1000i32..1000, 1u32..50), 1..20)) {
            let inputs: Vec<_> = values.iter().map(|&(q, w)| (FixedVector(vec![q]), w)).collect();
            let got = mean(&inputs, &FixedVector(vec![0])).unwrap().0[0];
            let sum: i64 = values.iter().map(|&(q, w)| i64::from(q) * i64::from(w)).sum();
            let weight: i64 = values.iter().map(|&(_, w)| i64::from(w)).sum();
            prop_assert!((2 * (i64::from(got) * weight - sum)).abs() <= weight);
        }
    }

    #[test]
    fn the_largest_inputs_do_not_overflow() {
        let most = FixedVector(vec![MAX_COORDINATE, -MAX_COORDINATE]);
        let inputs: Vec<_> = (0..255).map(|_| (most.clone(), crate::manifest::MAX_WEIGHT)).collect();
        assert_eq!(mean(&inputs, &FixedVector(vec![0, 0])).unwrap(), most);
        let error = mean(&inputs, &FixedVector(vec![1, 0])).unwrap_err();
        assert!(matches!(error, MergeError::Tensor(TensorError::OutOfRange { index: 0, .. })));
    }

    #[test]
    fn no_inputs_and_too_much_weight_are_refused() {
        assert_eq!(mean(&[], &FixedVector(vec![0])), Err(MergeError::NoWeight));
        let heavy = [(FixedVector(vec![0]), u32::MAX), (FixedVector(vec![0]), 1)];
        assert_eq!(mean(&heavy, &FixedVector(vec![0])), Err(MergeError::TooHeavy(1 << 32)));
    }
}
