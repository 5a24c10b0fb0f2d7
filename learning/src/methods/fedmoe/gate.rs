//! The gate of a mixture of two experts (`pFedMoE`, arXiv 2402.01350, section on the gating network).
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::parameters::{Parameters, count, initial, to_vec};

    #[test]
    fn the_two_weights_of_every_image_add_up_to_one() {
        let device = Device::flex();
        let input = ImageShape { channels: 1, height: 28, width: 28 };
        let specs = specs(input);
        assert_eq!(count(&specs), 784 * 2 + 784 * 64 + 64 + 64 * 2 + 64 * 2 + 2);
        let flat = initial("gate", &specs, &fedswarm_protocol::hash::Digest([1; 32])).unwrap();
        let p = Parameters::from_flat(specs, &flat, &device).unwrap();
        let images = Tensor::random([7, 1, 28, 28], Distribution::Uniform(-1.0, 1.0), &device);
        let (a_g, a_f) = weigh(&mut Weights::new("gate", p.specs(), p.values()), images).unwrap();
        assert_eq!(a_g.dims(), [7, 1]);
        for (g, f) in to_vec(a_g).unwrap().into_iter().zip(to_vec(a_f).unwrap()) {
            assert!((g + f - 1.0).abs() < 1e-6 && g > 0.0 && f > 0.0, "{g} {f}");
        }
    }
}
