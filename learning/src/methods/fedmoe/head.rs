//! The private head `h_k` of a mixture.

use burn::tensor::Tensor;

use crate::Error;
use crate::methods::etf_classifier::cosines;
use crate::methods::moe_ktl::Branch;
use crate::training::{Parts, cross_entropy};
use crate::transfer::arcface;

/// What is made of the private head's output, which is linear in the mixed features.
#[derive(Clone, Copy, Debug)]
pub(in crate::methods) enum Head {
    /// Logits, trained by cross entropy.
    Linear,
    /// A direction that is compared with fixed class vectors, trained by `ArcFace`: `moe-ktl`.
    Etf {
        /// Whose features learn from a generator's pairs.
        branch: Branch,
        /// What cosines are multiplied with for the answer; in training it is [`arcface::SCALE`].
        scale: f32,
    },
}

impl Head {
    /// Logits for the answer.
    pub(super) fn logits(self, parts: &Parts<'_>, output: Tensor<2>) -> Result<Tensor<2>, Error> {
        match self {
            Self::Linear => Ok(output),
            Self::Etf { scale, .. } => Ok(cosines(parts, output)? * scale),
        }
    }

    /// What it is trained on.
    pub(super) fn loss(self, parts: &Parts<'_>, output: Tensor<2>, targets: Tensor<2>) -> Result<Tensor<1>, Error> {
        match self {
            Self::Linear => Ok(cross_entropy(output, targets)),
            Self::Etf { .. } => Ok(arcface::loss(cosines(parts, output)?, targets)),
        }
    }
}
