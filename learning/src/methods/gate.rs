//! The gate of a mixture of two experts (pFedMoE, arXiv 2402.01350, section on the gating network).
//!
//! Flatten, layer norm, `Linear(d, 64)`, sigmoid, layer norm, `Linear(64, 2)`, softmax. It sees the raw image, not features.
//! The paper has switchable and batch normalisation; at batch 10 and on flat inputs those come down to layer norm, which has
//! no running statistics (see the design notes on what the sources disagree about).

use burn::tensor::{Tensor, activation};

use crate::Error;
use crate::architectures::layers;
use crate::data::ImageShape;
use crate::parameters::{ParamSpec, Weights};

/// Hidden units.
const WIDTH: usize = 64;

/// The gate's parameters.
pub(super) fn specs(input: ImageShape) -> Vec<ParamSpec> {
    let mut specs = ParamSpec::norm("norm1", input.len()).to_vec();
    specs.extend(ParamSpec::linear("fc1", input.len(), WIDTH));
    specs.extend(ParamSpec::norm("norm2", WIDTH));
    specs.extend(ParamSpec::linear("fc2", WIDTH, 2));
    specs
}

/// `(a_G, a_F)`: the weights of the shared and the local expert, `[n, 1]` each, adding up to one.
pub(super) fn weigh(w: &mut Weights<'_>, images: Tensor<4>) -> Result<(Tensor<2>, Tensor<2>), Error> {
    let x = layers::layer_norm(w, layers::flatten(images))?;
    let x = activation::sigmoid(layers::linear(w, x)?);
    let x = layers::layer_norm(w, x)?;
    let weights = activation::softmax(layers::linear(w, x)?, 1);
    Ok((weights.clone().narrow(1, 0, 1), weights.narrow(1, 1, 1)))
}
