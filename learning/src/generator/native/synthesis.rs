//! Synthesis networks: from a latent vector `w` to an image.

use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

use super::card::{MAX_WIDTH, within};
use super::mapping::SLOPE;
use crate::Error;
use crate::architectures::layers::{conv, linear};
use crate::data::ImageShape;
use crate::parameters::{ParamSpec, Weights};

/// The coarsest grid is this many times smaller than the image; two steps of doubling lead back.
const REDUCTION: usize = 4;

/// The layers of a synthesis network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Synthesis {
    /// A grid of a quarter of the image's sides, made from `w`, is doubled twice. Each doubling is a 3x3 convolution whose
    /// channels `w` scales and shifts (a style for each layer, as in StyleGAN, Karras et al. 2019, arXiv 1812.04948), a leaky
    /// layer, and a rearrangement of every four channels into 2x2 pixels (Shi et al. 2016, arXiv 1609.05158).
    Styled {
        /// Channels of the coarsest grid, after the first doubling, after the second.
        channels: [usize; 3],
    },
    /// Two fully connected layers with a leaky one between.
    Dense {
        /// Units of the hidden layer.
        width: usize,
    },
}

impl Synthesis {
    pub(super) fn check(&self) -> Result<(), Error> {
        match self {
            Self::Styled { channels } => {
                channels.iter().try_for_each(|&c| within("channels of a synthesis layer", c, 1, MAX_WIDTH))
            }
            Self::Dense { width } => within("width of the synthesis", *width, 1, MAX_WIDTH),
        }
    }

    /// Its parameters, in the order of the forward pass.
    pub(crate) fn specs(&self, latent: usize, image: ImageShape) -> Vec<ParamSpec> {
        let mut specs = Vec::new();
        match *self {
            Self::Styled { channels: [coarse, middle, fine] } => {
                // `w` has unit variance; these turn it back into what the layers were trained on.
                specs.push(ParamSpec::new("synthesis.latent.mean", &[latent], 0));
                specs.push(ParamSpec::new("synthesis.latent.scale", &[latent], 0));
                let [rows, columns] = grid(image);
                specs.extend(ParamSpec::linear("synthesis.grid", latent, coarse * rows * columns));
                for (name, from, to) in [("synthesis.1", coarse, middle), ("synthesis.2", middle, fine)] {
                    specs.extend(ParamSpec::linear(&format!("{name}.style"), latent, 2 * 4 * to));
                    specs.extend(ParamSpec::conv(&format!("{name}.conv"), from, 4 * to, 3));
                }
                specs.extend(ParamSpec::conv("synthesis.out", fine, image.channels, 3));
            }
            Self::Dense { width } => {
                specs.extend(ParamSpec::linear("synthesis.in", latent, width));
                specs.extend(ParamSpec::linear("synthesis.out", width, image.len()));
            }
        }
        specs
    }

    /// `[n, latent]` to `[n, channels, height, width]` in -1..1.
    pub(crate) fn forward(
        &self,
        w: &mut Weights<'_>,
        latents: Tensor<2>,
        image: ImageShape,
    ) -> Result<Tensor<4>, Error> {
        let n = latents.dims()[0];
        let pixels = match *self {
            Self::Styled { channels: [coarse, ..] } => {
                let mean = w.take::<1>()?.unsqueeze::<2>();
                let scale = (w.take::<1>()? + 1.0).unsqueeze::<2>();
                let latents = latents * scale + mean;
                let [rows, columns] = grid(image);
                let grid = activation::leaky_relu(linear(w, latents.clone())?, SLOPE);
                let mut x = grid.reshape([n, coarse, rows, columns]);
                for _ in 0..2 {
                    x = double(w, x, latents.clone())?;
                }
                // Sides that four does not divide are cut.
                conv(w, x, 1, 1)?.narrow(2, 0, image.height).narrow(3, 0, image.width)
            }
            Self::Dense { .. } => {
                let hidden = activation::leaky_relu(linear(w, latents)?, SLOPE);
                linear(w, hidden)?.reshape([n, image.channels, image.height, image.width])
            }
        };
        Ok(activation::tanh(pixels))
    }
}

/// Rows and columns of the coarsest grid.
const fn grid(image: ImageShape) -> [usize; 2] {
    [image.height.div_ceil(REDUCTION), image.width.div_ceil(REDUCTION)]
}

/// One doubling: style, convolution, leaky layer, four channels to 2x2 pixels.
fn double(w: &mut Weights<'_>, x: Tensor<4>, latents: Tensor<2>) -> Result<Tensor<4>, Error> {
    let style = linear(w, latents)?;
    let x = conv(w, x, 1, 1)?;
    let [n, channels, rows, columns] = x.dims();
    let part = |from| style.clone().narrow(1, from, channels).reshape([n, channels, 1, 1]);
    let x = activation::leaky_relu(x * (part(0) + 1.0) + part(channels), SLOPE);
    let x = x.reshape([n, channels / 4, 2, 2, rows, columns]).permute([0, 1, 4, 2, 5, 3]);
    Ok(x.reshape([n, channels / 4, 2 * rows, 2 * columns]))
}
