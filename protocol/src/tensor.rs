//! Tensors as integers: the only form in which they are agreed on.
//!
//! A certified tensor is a vector of `i32` fixed-point numbers; training sees `q * 2^-scale_bits` as `f32`. Integer sums do
//! not depend on their order, so every voter computes the same merge bit for bit (see [`crate::merge`]).

use serde::{Deserialize, Serialize};

use crate::hash::{Digest, Stream, hash};

/// Fraction bits of a tensor whose method does not declare others: a step of 2^-24, about 6e-8.
pub const DEFAULT_SCALE_BITS: u8 = 24;

/// Largest magnitude a fixed-point coordinate may have: `64.0` at [`DEFAULT_SCALE_BITS`]. The merge relies on it to
/// stay inside 64 bits; too low and a diverging peer's update is refused where it could still be averaged out.
pub const MAX_COORDINATE: i32 = 1 << 30;

/// Most tensors a schema may name. Too low and deep extractors do not fit.
pub const MAX_TENSORS: usize = 1024;

/// Most coordinates in all tensors of a schema together (64 MiB of `i32`). Too low and large extractors do not fit; it
/// bounds what one payload can make a peer allocate.
pub const MAX_COORDINATES: usize = 16 * 1024 * 1024;

/// What can be wrong with a tensor or a schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// A coordinate is NaN or infinite: a diverged model, or a hostile one.
    #[error("coordinate {index} is not a finite number")]
    NotFinite {
        /// Position in the flat vector.
        index: usize,
    },
    /// A coordinate does not fit the fixed-point range.
    #[error("coordinate {index} is outside +-{limit}")]
    OutOfRange {
        /// Position in the flat vector.
        index: usize,
        /// The largest magnitude that fits.
        limit: u32,
    },
    /// The number of coordinates is not the schema's.
    #[error("expected {expected} coordinates, found {found}")]
    Length {
        /// What the schema says.
        expected: usize,
        /// What came.
        found: usize,
    },
    /// The schema itself is not acceptable.
    #[error("schema: {0}")]
    Schema(String),
}

/// One named tensor of a schema.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TensorSpec {
    /// Name, unique in its schema, such as `extractor.conv1.weight`.
    pub name: String,
    /// Extent of each axis, outermost first.
    pub shape: Vec<u32>,
    /// Fraction bits: a coordinate `q` stands for `q * 2^-scale_bits`.
    pub scale_bits: u8,
    /// Inputs that feed one output unit; the genesis value is uniform in `+-1/sqrt(fan_in)`, and zero where this is 0.
    pub fan_in: u32,
}

impl TensorSpec {
    /// A tensor at the default scale.
    #[must_use]
    pub fn new(name: impl Into<String>, shape: &[u32], fan_in: u32) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), scale_bits: DEFAULT_SCALE_BITS, fan_in }
    }

    /// Number of coordinates; saturates rather than wraps.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().fold(1usize, |n, &d| n.saturating_mul(d as usize))
    }

    /// True if an axis is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a network shares: the named tensors of its method, in the order in which their coordinates are laid out. An empty
/// schema is a network that shares nothing (method `local`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Schema {
    /// The tensors, in layout order.
    pub tensors: Vec<TensorSpec>,
}

impl Schema {
    /// Number of coordinates of all tensors together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tensors.iter().fold(0usize, |n, t| n.saturating_add(t.len()))
    }

    /// True if nothing is shared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks names, sizes and scales.
    ///
    /// # Errors
    /// [`TensorError::Schema`] with what is wrong.
    pub fn check(&self) -> Result<(), TensorError> {
        let bad = |text: String| Err(TensorError::Schema(text));
        if self.tensors.len() > MAX_TENSORS {
            return bad(format!("{} tensors, at most {MAX_TENSORS} are allowed", self.tensors.len()));
        }
        if self.len() > MAX_COORDINATES {
            return bad(format!("{} coordinates, at most {MAX_COORDINATES} are allowed", self.len()));
        }
        for (i, tensor) in self.tensors.iter().enumerate() {
            if tensor.is_empty() {
                return bad(format!("tensor {:?} has an empty axis", tensor.name));
            }
            if !(8..=30).contains(&tensor.scale_bits) {
                return bad(format!("tensor {:?} has {} fraction bits, not 8 to 30", tensor.name, tensor.scale_bits));
            }
            if self.tensors[..i].iter().any(|t| t.name == tensor.name) {
                return bad(format!("tensor name {:?} occurs twice", tensor.name));
            }
        }
        Ok(())
    }

    /// Hash of the schema's canonical bytes; headers carry it, so that an update for other shapes is refused early.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut bytes = Vec::new();
        for t in &self.tensors {
            bytes.extend_from_slice(&(t.name.len() as u64).to_le_bytes());
            bytes.extend_from_slice(t.name.as_bytes());
            bytes.push(t.scale_bits);
            bytes.extend_from_slice(&t.fan_in.to_le_bytes());
            bytes.extend_from_slice(&(t.shape.len() as u64).to_le_bytes());
            for d in &t.shape {
                bytes.extend_from_slice(&d.to_le_bytes());
            }
        }
        hash("schema", &bytes)
    }

    /// The first certified state of a network: every coordinate uniform in `+-1/sqrt(fan_in)` (PyTorch's default law for
    /// convolutions and linear layers, biases included), drawn in integers from `seed`, so that all peers have it bit for bit.
    #[must_use]
    pub fn genesis(&self, seed: &Digest) -> FixedVector {
        let mut values = Vec::with_capacity(self.len());
        for tensor in &self.tensors {
            let bound = match tensor.fan_in {
                0 => 0,
                // floor(sqrt(2^(2 * scale) / fan_in)) is 1/sqrt(fan_in) in fixed point.
                fan_in => ((1u64 << (2 * u32::from(tensor.scale_bits))) / u64::from(fan_in)).isqrt(),
            };
            let mut stream = Stream::new("genesis", &[seed.as_bytes(), tensor.name.as_bytes()]);
            for _ in 0..tensor.len() {
                // At most 2^30, so both the subtraction and the cast are exact.
                values.push((stream.below(2 * bound + 1) as i64 - bound as i64) as i32);
            }
        }
        FixedVector(values)
    }

    /// Turns floats into fixed point, rounding half to even.
    ///
    /// # Errors
    /// A wrong length, a coordinate that is not finite, or one that does not fit: nothing is clamped, because a clamped
    /// update is a different update.
    pub fn quantise(&self, values: &[f32]) -> Result<FixedVector, TensorError> {
        self.check_len(values.len())?;
        let mut out = Vec::with_capacity(values.len());
        let mut index = 0;
        for tensor in &self.tensors {
            for _ in 0..tensor.len() {
                out.push(fixed(values[index], tensor.scale_bits, MAX_COORDINATE, index)?);
                index += 1;
            }
        }
        Ok(FixedVector(out))
    }

    /// Turns fixed point into the floats that training sees.
    ///
    /// # Errors
    /// A wrong length.
    pub fn dequantise(&self, values: &FixedVector) -> Result<Vec<f32>, TensorError> {
        self.check_len(values.0.len())?;
        let mut out = Vec::with_capacity(values.0.len());
        let mut at = 0;
        for tensor in &self.tensors {
            let step = 1.0 / (1u32 << tensor.scale_bits) as f32;
            out.extend(values.0[at..at + tensor.len()].iter().map(|&q| q as f32 * step));
            at += tensor.len();
        }
        Ok(out)
    }

    fn check_len(&self, found: usize) -> Result<(), TensorError> {
        let expected = self.len();
        if expected == found { Ok(()) } else { Err(TensorError::Length { expected, found }) }
    }
}

/// A float in fixed point, rounded half to even; `most` bounds its magnitude, and errors name it by `index`.
pub(crate) fn fixed(x: f32, scale_bits: u8, most: i32, index: usize) -> Result<i32, TensorError> {
    if !x.is_finite() {
        return Err(TensorError::NotFinite { index });
    }
    // f32 * 2^k is exact in f64, so this is one rounding.
    let q = (f64::from(x) * f64::from(1u32 << scale_bits)).round_ties_even();
    if q.abs() > f64::from(most) {
        return Err(TensorError::OutOfRange { index, limit: (most as u32) >> scale_bits });
    }
    Ok(q as i32)
}

/// Coordinates of all tensors of a schema, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FixedVector(pub Vec<i32>);

impl FixedVector {
    /// Little-endian bytes: the canonical form that digests name and blobs hold.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; 4 * self.0.len()];
        for (four, q) in bytes.chunks_exact_mut(4).zip(&self.0) {
            four.copy_from_slice(&q.to_le_bytes());
        }
        bytes
    }

    /// Reads the canonical form.
    ///
    /// # Errors
    /// A length that is not the schema's, or a coordinate outside [`MAX_COORDINATE`].
    pub fn from_bytes(bytes: &[u8], schema: &Schema) -> Result<Self, TensorError> {
        let expected = schema.len();
        if bytes.len() != expected * 4 {
            return Err(TensorError::Length { expected, found: bytes.len() / 4 });
        }
        let values = bytes.chunks_exact(4).map(|c| i32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect();
        let vector = Self(values);
        vector.check_range()?;
        Ok(vector)
    }

    /// Checks every coordinate against [`MAX_COORDINATE`].
    ///
    /// # Errors
    /// [`TensorError::OutOfRange`] with the first position.
    pub fn check_range(&self) -> Result<(), TensorError> {
        match self.0.iter().position(|q| q.unsigned_abs() > MAX_COORDINATE as u32) {
            None => Ok(()),
            Some(index) => Err(TensorError::OutOfRange { index, limit: (MAX_COORDINATE as u32) >> DEFAULT_SCALE_BITS }),
        }
    }

    /// The squared Euclidean norm of the raw integers.
    #[must_use]
    pub fn norm2(&self) -> u128 {
        self.0.iter().map(|&q| u128::from(q.unsigned_abs()).pow(2)).sum()
    }

    /// `self + delta`, or nothing if a coordinate leaves the range.
    ///
    /// # Errors
    /// [`TensorError`] if the lengths differ or a sum does not fit.
    pub fn checked_add(&self, delta: &Self) -> Result<Self, TensorError> {
        if self.0.len() != delta.0.len() {
            return Err(TensorError::Length { expected: self.0.len(), found: delta.0.len() });
        }
        let sum = Self(self.0.iter().zip(&delta.0).map(|(a, b)| a.saturating_add(*b)).collect());
        sum.check_range()?;
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn schema() -> Schema {
        Schema { tensors: vec![TensorSpec::new("w", &[2, 3], 4), TensorSpec::new("b", &[2], 4)] }
    }

    #[test]
    fn rounding_is_half_to_even_and_loses_at_most_half_a_step() {
        let s = Schema { tensors: vec![TensorSpec::new("x", &[4], 1)] };
        let step = 1.0 / (1u32 << 24) as f32;
        let q = s.quantise(&[0.5 * step, 1.5 * step, -0.5 * step, 2.0]).unwrap();
        assert_eq!(q.0, [0, 2, 0, 1 << 25]);
    }

    #[test]
    fn nan_infinity_and_large_numbers_are_refused_not_clamped() {
        let s = Schema { tensors: vec![TensorSpec::new("x", &[2], 1)] };
        assert_eq!(s.quantise(&[0.0, f32::NAN]), Err(TensorError::NotFinite { index: 1 }));
        assert_eq!(s.quantise(&[f32::INFINITY, 0.0]), Err(TensorError::NotFinite { index: 0 }));
        assert_eq!(s.quantise(&[0.0, 64.1]), Err(TensorError::OutOfRange { index: 1, limit: 64 }));
        assert!(s.quantise(&[64.0, -64.0]).is_ok());
    }

    #[test]
    fn genesis_depends_on_the_seed_alone_and_stays_inside_its_bound() {
        let s = schema();
        let a = s.genesis(&Digest([1; 32]));
        assert_eq!(a, s.genesis(&Digest([1; 32])));
        assert_ne!(a, s.genesis(&Digest([2; 32])));
        assert!(a.0.iter().all(|q| q.unsigned_abs() <= 1 << 23), "1/sqrt(4) is 0.5");
        assert!(a.0.iter().any(|q| q.unsigned_abs() > 1 << 21));
    }

    #[test]
    fn canonical_bytes_round_trip_and_wrong_lengths_are_refused() {
        let s = schema();
        let a = s.genesis(&Digest([3; 32]));
        assert_eq!(FixedVector::from_bytes(&a.to_bytes(), &s).unwrap(), a);
        assert!(FixedVector::from_bytes(&a.to_bytes()[1..], &s).is_err());
        assert!(FixedVector::from_bytes(&[0xff, 0xff, 0xff, 0x7f].repeat(8), &s).is_err());
    }
}
