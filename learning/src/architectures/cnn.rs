//! Stacks of 5x5 convolutions: the networks of the reference code and of the `pFedMoE` paper.

use burn::tensor::Tensor;

use super::{Architecture, layers};
use crate::Error;
use crate::data::ImageShape;
use crate::parameters::{ParamSpec, Weights};

/// Kernel of every convolution in this family; no padding.
const KERNEL: usize = 5;

/// Blocks of convolution 5x5, `ReLU` and 2x2 max pooling, then fully connected layers, each with a `ReLU`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cnn {
    name: String,
    /// Output channels of each block.
    channels: Vec<usize>,
    /// Widths of the fully connected layers; the last is the number of features.
    widths: Vec<usize>,
}

impl Cnn {
    /// A network of this family; `None` if there is no fully connected layer, which would leave it without a fixed width.
    #[must_use]
    pub fn new(name: impl Into<String>, channels: &[usize], widths: &[usize]) -> Option<Self> {
        (!widths.is_empty()).then(|| Self { name: name.into(), channels: channels.to_vec(), widths: widths.to_vec() })
    }

    /// The built-in one with this name:
    /// * `cnn1`, `cnn2`, `cnn1-fc128`, `cnn2-fc128`: the group of four that our reference figures use (`HtFLlib`'s `CNN` class
    ///   with 128 features);
    /// * `fedavg-cnn`: the CNN of the FedAvg paper as in `PFLlib`, 512 features;
    /// * `lenet`: that of pFedHN (arXiv 2103.04628), 84 features;
    /// * `cnn-1` to `cnn-5`: the family of `pFedMoE` (arXiv 2402.01350), 500 features.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (channels, widths): (&[usize], &[usize]) = match name {
            "cnn1" => (&[32], &[128]),
            "cnn2" => (&[32, 64], &[128]),
            "cnn1-fc128" => (&[32], &[128, 128]),
            "cnn2-fc128" => (&[32, 64], &[128, 128]),
            "fedavg-cnn" => (&[32, 64], &[512]),
            "lenet" => (&[16, 32], &[120, 84]),
            "cnn-1" => (&[16, 32], &[2000, 500]),
            "cnn-2" => (&[16, 16], &[2000, 500]),
            "cnn-3" => (&[16, 32], &[1000, 500]),
            "cnn-4" => (&[16, 32], &[800, 500]),
            "cnn-5" => (&[16, 32], &[500, 500]),
            _ => return None,
        };
        Self::new(name, channels, widths)
    }
}

impl Architecture for Cnn {
    fn name(&self) -> &str {
        &self.name
    }

    fn parameters(&self, input: ImageShape) -> Result<Vec<ParamSpec>, Error> {
        let mut specs = Vec::new();
        let ImageShape { mut channels, mut height, mut width } = input;
        for (i, &out) in self.channels.iter().enumerate() {
            if height.min(width) < KERNEL + 1 {
                let reason = format!(
                    "input {input} is too small: block {} of {} gets {height}x{width} and needs at least 6x6",
                    i + 1,
                    self.channels.len()
                );
                return Err(Error::Architecture { name: self.name.clone(), reason });
            }
            specs.extend(ParamSpec::conv(&format!("conv{}", i + 1), channels, out, KERNEL));
            channels = out;
            height = (height - (KERNEL - 1)) / 2;
            width = (width - (KERNEL - 1)) / 2;
        }
        let mut inputs = channels * height * width;
        for (i, &out) in self.widths.iter().enumerate() {
            specs.extend(ParamSpec::linear(&format!("fc{}", i + 1), inputs, out));
            inputs = out;
        }
        Ok(specs)
    }

    fn features(&self) -> usize {
        self.widths.last().copied().unwrap_or(0)
    }

    fn forward(&self, weights: &mut Weights<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        let mut x = images;
        for _ in &self.channels {
            x = layers::conv_pool_relu(weights, x, 1, 0)?;
        }
        let mut x = layers::flatten(x);
        for _ in &self.widths {
            x = layers::linear_relu(weights, x)?;
        }
        Ok(x)
    }
}
