//! How an update's payload travels: exact, half precision, or eight bits in blocks.
//!
//! Authors sign the root of what *decoding* gives, so every peer merges the same integers whatever the codec lost.

use std::fmt;
use std::str::FromStr;

use half::f16;
use serde::{Deserialize, Serialize};

use crate::hash::{Digest, Stream};
use crate::tensor::{FixedVector, MAX_COORDINATE, Schema, TensorError};

/// Coordinates that share one scale under [`UpdateCodec::Int8`].
pub const INT8_BLOCK: usize = 256;

/// A payload encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum UpdateCodec {
    /// Four bytes a coordinate, exact.
    #[default]
    I32,
    /// Two bytes: IEEE half precision, relative error at most 2^-11.
    F16,
    /// About 1.02 bytes: blocks of [`INT8_BLOCK`] with one scale each, unbiased (stochastic rounding from a seed).
    Int8,
}

impl fmt::Display for UpdateCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I32 => "i32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        })
    }
}

impl FromStr for UpdateCodec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "i32" => Ok(Self::I32),
            "f16" => Ok(Self::F16),
            "int8" => Ok(Self::Int8),
            other => Err(format!("unknown codec {other:?}: expected i32, f16 or int8")),
        }
    }
}

/// Why a payload cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// The tensors are wrong.
    #[error("payload: {0}")]
    Tensor(#[from] TensorError),
    /// The length is not the one that codec and schema give.
    #[error("payload: {found} bytes, expected {expected}")]
    Length {
        /// What codec and schema give.
        expected: usize,
        /// What came.
        found: usize,
    },
    /// A value that an honest encoder never writes.
    #[error("payload: coordinate {0} is not canonical")]
    NotCanonical(usize),
}

impl UpdateCodec {
    /// Bytes of an encoded update of this schema.
    #[must_use]
    pub fn encoded_len(self, schema: &Schema) -> usize {
        let n = schema.len();
        match self {
            Self::I32 => 4 * n,
            Self::F16 => 2 * n,
            Self::Int8 => n + 4 * n.div_ceil(INT8_BLOCK),
        }
    }

    /// Encodes a delta. `seed` drives the rounding of [`UpdateCodec::Int8`] and is not used by the others.
    #[must_use]
    pub fn encode(self, delta: &FixedVector, schema: &Schema, seed: &Digest) -> Vec<u8> {
        match self {
            Self::I32 => delta.to_bytes(),
            Self::F16 => {
                let steps = schema.tensors.iter().flat_map(|t| std::iter::repeat_n(step(t.scale_bits), t.len()));
                delta.0.iter().zip(steps).flat_map(|(&q, step)| f16::from_f32(q as f32 * step).to_le_bytes()).collect()
            }
            Self::Int8 => encode_int8(delta, seed),
        }
    }

    /// Decodes to exactly the integers that the author signed for.
    ///
    /// # Errors
    /// [`PayloadError`]: a wrong length, values out of range, or values that no encoder writes.
    pub fn decode(self, bytes: &[u8], schema: &Schema) -> Result<FixedVector, PayloadError> {
        let expected = self.encoded_len(schema);
        if bytes.len() != expected {
            return Err(PayloadError::Length { expected, found: bytes.len() });
        }
        match self {
            Self::I32 => Ok(FixedVector::from_bytes(bytes, schema)?),
            Self::F16 => decode_f16(bytes, schema),
            Self::Int8 => decode_int8(bytes, schema),
        }
    }
}

fn step(scale_bits: u8) -> f32 {
    1.0 / (1u32 << scale_bits) as f32
}

fn decode_f16(bytes: &[u8], schema: &Schema) -> Result<FixedVector, PayloadError> {
    let halves: Vec<f32> = bytes.chunks_exact(2).map(|c| f16::from_le_bytes([c[0], c[1]]).to_f32()).collect();
    Ok(schema.quantise(&halves)?)
}

fn encode_int8(delta: &FixedVector, seed: &Digest) -> Vec<u8> {
    let mut stream = Stream::new("int8 rounding", &[seed.as_bytes()]);
    let mut out = Vec::with_capacity(delta.0.len() + delta.0.len() / 64 + 4);
    for block in delta.0.chunks(INT8_BLOCK) {
        let most = block.iter().map(|q| q.unsigned_abs()).max().unwrap_or(0);
        let scale = i64::from(most.div_ceil(127));
        out.extend_from_slice(&(scale as i32).to_le_bytes());
        for &q in block {
            let code = match scale {
                0 => 0,
                // floor((q + u) / scale) with u uniform below the scale has the mean q / scale.
                _ => (i64::from(q) + stream.below(scale as u64) as i64).div_euclid(scale),
            };
            out.push(code as i8 as u8);
        }
    }
    out
}

fn decode_int8(bytes: &[u8], schema: &Schema) -> Result<FixedVector, PayloadError> {
    let mut values = Vec::with_capacity(schema.len());
    for block in bytes.chunks(4 + INT8_BLOCK) {
        let (scale, codes) = block.split_at(4);
        let scale = i32::from_le_bytes([scale[0], scale[1], scale[2], scale[3]]);
        if !(0..=MAX_COORDINATE / 127 + 1).contains(&scale) {
            return Err(PayloadError::NotCanonical(values.len()));
        }
        for &code in codes {
            let code = code as i8;
            if code == i8::MIN || (scale == 0 && code != 0) {
                return Err(PayloadError::NotCanonical(values.len()));
            }
            // At most 127 * (2^30 / 127 + 1), which the range check below still sees unwrapped.
            values.push(i32::from(code) * scale);
        }
    }
    let vector = FixedVector(values);
    vector.check_range()?;
    Ok(vector)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tensor::TensorSpec;

    const SEED: Digest = Digest([7; 32]);

    fn sample(n: u32) -> (Schema, FixedVector) {
        let schema = Schema { tensors: vec![TensorSpec::new("w", &[n], 64)] };
        let values = schema.genesis(&Digest([9; 32]));
        (schema, values)
    }

    #[test]
    fn i32_is_exact() {
        let (schema, x) = sample(700);
        let bytes = UpdateCodec::I32.encode(&x, &schema, &SEED);
        assert_eq!(UpdateCodec::I32.decode(&bytes, &schema).unwrap(), x);
    }

    #[test]
    fn every_codec_decodes_its_own_bytes_to_one_fixed_point() {
        let (schema, x) = sample(700);
        for codec in [UpdateCodec::I32, UpdateCodec::F16, UpdateCodec::Int8] {
            let bytes = codec.encode(&x, &schema, &SEED);
            assert_eq!(bytes.len(), codec.encoded_len(&schema));
            let once = codec.decode(&bytes, &schema).unwrap();
            assert_eq!(codec.decode(&bytes, &schema).unwrap(), once);
        }
    }

    #[test]
    fn half_precision_is_within_its_relative_error() {
        let (schema, x) = sample(700);
        let bytes = UpdateCodec::F16.encode(&x, &schema, &SEED);
        let y = UpdateCodec::F16.decode(&bytes, &schema).unwrap();
        for (a, b) in x.0.iter().zip(&y.0) {
            let error = (f64::from(*a) - f64::from(*b)).abs();
            assert!(error <= f64::from(a.unsigned_abs()) / 2048.0 + 1.0, "{a} became {b}");
        }
    }

    #[test]
    fn int8_stays_within_a_step_and_is_unbiased() {
        let (schema, x) = sample(512);
        let most = x.0.iter().map(|q| q.unsigned_abs()).max().unwrap();
        let mut sums = vec![0f64; x.0.len()];
        let trials = 400;
        for i in 0..trials {
            let bytes = UpdateCodec::Int8.encode(&x, &schema, &Digest([i as u8; 32]));
            let y = UpdateCodec::Int8.decode(&bytes, &schema).unwrap();
            for ((sum, a), b) in sums.iter_mut().zip(&x.0).zip(&y.0) {
                let error = i64::from(*b) - i64::from(*a);
                assert!(error.unsigned_abs() <= u64::from(most / 127 + 1));
                *sum += error as f64;
            }
        }
        let mean = sums.iter().sum::<f64>() / (f64::from(trials) * sums.len() as f64);
        assert!(mean.abs() < f64::from(most) / 127.0 / 50.0, "bias {mean}");
    }

    #[test]
    fn hostile_payloads_are_refused() {
        let (schema, x) = sample(300);
        let good = UpdateCodec::Int8.encode(&x, &schema, &SEED);
        assert!(UpdateCodec::Int8.decode(&good[1..], &schema).is_err());
        let mut bad = good.clone();
        bad[..4].copy_from_slice(&i32::MAX.to_le_bytes());
        assert_eq!(UpdateCodec::Int8.decode(&bad, &schema), Err(PayloadError::NotCanonical(0)));
        bad[..4].copy_from_slice(&(-1i32).to_le_bytes());
        assert!(UpdateCodec::Int8.decode(&bad, &schema).is_err());
        bad = good;
        bad[4] = 0x80;
        assert_eq!(UpdateCodec::Int8.decode(&bad, &schema), Err(PayloadError::NotCanonical(0)));
        let nan = f16::NAN.to_le_bytes().repeat(300);
        assert!(matches!(
            UpdateCodec::F16.decode(&nan, &schema),
            Err(PayloadError::Tensor(TensorError::NotFinite { .. }))
        ));
    }
}
