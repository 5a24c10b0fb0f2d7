//! Local training: batches in a reproducible order, stochastic gradient descent, evaluation.

mod batches;
mod checkpoint;
mod course;
mod dual;
mod learner;
mod lookahead;
mod meta;
mod network;
mod sgd;
mod step;
mod tally;
mod transfer;
mod trial;

use burn::tensor::{Tensor, activation};

pub use course::{Course, Meta, Phase};
pub use dual::DualMember;
pub use learner::{EVAL_BATCH, Learner};
pub use lookahead::Lookahead;
pub use network::{Examined, Experts, Network, Part, Parts};
pub use sgd::Sgd;
pub use transfer::{MAX_LATENT, MAX_PAIRS, TransferPlan};

/// How a member trains in a round.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainConfig {
    /// Images per step; the images left over at the end of an epoch are skipped, as in the reference code.
    pub batch: usize,
    /// Learning rate.
    pub lr: f32,
    /// Passes over the data per round.
    pub epochs: usize,
    /// A new order every epoch; otherwise the order of the data.
    pub shuffle: bool,
    /// Largest Euclidean norm of the gradient of each part of a model.
    pub clip: Option<f32>,
    /// Momentum, 0 for none. Private parts keep theirs from round to round; a shared part starts afresh when a certified
    /// state is installed.
    pub momentum: f32,
}

impl Default for TrainConfig {
    /// The reference setting: batch 10, learning rate 0.01, one epoch, shuffled.
    fn default() -> Self {
        Self { batch: 10, lr: 0.01, epochs: 1, shuffle: true, clip: None, momentum: 0.0 }
    }
}

/// Softmax cross entropy, averaged over the batch; `targets` are one-hot rows `[n, classes]`.
#[must_use]
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let n = logits.dims()[0] as f32;
    (activation::log_softmax(logits, 1) * targets).sum() / -n
}
