//! How exact a generator's weights are.

use half::f16;
use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};

/// The numbers that weights are. What is computed with them is `f32` either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Half precision: two bytes a weight. What `fedswarm generator train` makes.
    F16,
    /// Single precision: for weights from elsewhere.
    F32,
}

impl Precision {
    pub(super) const fn dtype(self) -> Dtype {
        match self {
            Self::F16 => Dtype::F16,
            Self::F32 => Dtype::F32,
        }
    }

    /// Bytes of one weight.
    pub(super) const fn size(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }

    /// Weights as bytes, little-endian, rounded to the nearest number of this kind.
    pub(super) fn bytes(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F16 => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
            Self::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }

    /// Bytes as weights, exactly; a tail that is no whole number is left out.
    pub(super) fn values(self, bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
        bytes.chunks_exact(self.size()).map(|c| match *c {
            [a, b] => f16::from_le_bytes([a, b]).to_f32(),
            [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
            _ => f32::NAN, // No other size exists; a weight that is not finite is refused.
        })
    }
}
