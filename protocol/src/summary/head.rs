//! A linear classifier trained on the certified prototypes (FedGH's head, arXiv 2303.13137).

use serde::{Deserialize, Serialize};

use super::descent::{Descent, samples};
use super::exact::{add_scaled, fixed, linear, numbers};
use super::loss::Loss;
use crate::hash::Digest;
use crate::prototypes::PrototypeSpec;
use crate::tensor::{DEFAULT_SCALE_BITS, TensorSpec};

/// How a head is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Head {
    /// Its steps.
    pub descent: Descent,
    /// What they go down.
    pub loss: Loss,
}

/// Weight `[len, classes]` and bias, at first as any layer is.
pub(super) fn tensors(prototypes: &PrototypeSpec, classes: usize) -> Vec<TensorSpec> {
    linear("head", u32::from(prototypes.len), classes as u32).to_vec()
}

/// The head after its epochs of descent on the loss of the list's prototypes; as it was, if it would leave its range.
pub(super) fn derive(
    &Head { descent, loss }: &Head,
    prototypes: &PrototypeSpec,
    (classes, seed): (usize, &Digest),
    before: &[i32],
    list: &[u8],
) -> Vec<i32> {
    let Some(criterion) = loss.criterion(classes, seed) else { return before.to_vec() };
    let len = usize::from(prototypes.len);
    let mut head = numbers(before, DEFAULT_SCALE_BITS);
    let mut slope = vec![0.0; head.len()];
    for batch in descent.batches(&samples(prototypes, classes, list)) {
        slope.fill(0.0);
        let (weights, bias) = head.split_at(len * classes);
        let (weight_slope, bias_slope) = slope.split_at_mut(len * classes);
        for sample in &batch {
            let mut row = bias.to_vec();
            for (x, weights) in sample.values.iter().zip(weights.chunks_exact(classes)) {
                add_scaled(&mut row, *x, weights);
            }
            criterion.slope(&mut row, sample.class);
            for (x, slope) in sample.values.iter().zip(weight_slope.chunks_exact_mut(classes)) {
                add_scaled(slope, *x, &row);
            }
            add_scaled(bias_slope, 1.0, &row);
        }
        let step = descent.rate() / batch.len() as f64;
        add_scaled(&mut head, -step * criterion.shortening(&slope, batch.len()), &slope);
    }
    fixed(&head, DEFAULT_SCALE_BITS).unwrap_or_else(|| before.to_vec())
}
