//! A perceptron: fits images of any size.

use burn::tensor::Tensor;

use super::{Architecture, layers};
use crate::Error;
use crate::data::ImageShape;
use crate::parameters::{ParamSpec, Weights};

/// Flatten, then two fully connected layers, each with a `ReLU`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mlp {
    hidden: usize,
    features: usize,
}

impl Default for Mlp {
    /// 256 hidden units, 128 features.
    fn default() -> Self {
        Self { hidden: 256, features: 128 }
    }
}

impl Architecture for Mlp {
    fn name(&self) -> &str {
        "mlp"
    }

    fn parameters(&self, input: ImageShape) -> Result<Vec<ParamSpec>, Error> {
        let mut specs = ParamSpec::linear("fc1", input.len(), self.hidden).to_vec();
        specs.extend(ParamSpec::linear("fc2", self.hidden, self.features));
        Ok(specs)
    }

    fn features(&self) -> usize {
        self.features
    }

    fn forward(&self, weights: &mut Weights<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        let hidden = layers::linear_relu(weights, layers::flatten(images))?;
        layers::linear_relu(weights, hidden)
    }
}
