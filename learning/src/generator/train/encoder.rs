//! The half of the autoencoder that is thrown away: from an image to a distribution of latent vectors.

use burn::tensor::{Tensor, activation};

use crate::Error;
use crate::architectures::layers::{conv, flatten, linear};
use crate::data::ImageShape;
use crate::parameters::{ParamSpec, Weights};

/// Channels after each of the two convolutions, then units of the fully connected layer.
const CHANNELS: [usize; 2] = [8, 16];
const UNITS: usize = 128;

/// Log-variances stay within plus or minus this, so that no step can make one overflow.
const LOG_VARIANCE_LIMIT: f32 = 10.0;

/// Slope of leaky units below zero.
const SLOPE: f64 = 0.2;

pub(super) fn specs(image: ImageShape, latent: usize) -> Vec<ParamSpec> {
    let [first, second] = CHANNELS;
    let mut specs = ParamSpec::conv("1", image.channels, first, 3).to_vec();
    specs.extend(ParamSpec::conv("2", first, second, 3));
    let inputs = second * image.height.div_ceil(2).div_ceil(2) * image.width.div_ceil(2).div_ceil(2);
    specs.extend(ParamSpec::linear("3", inputs, UNITS));
    specs.extend(ParamSpec::linear("4", UNITS, 2 * latent));
    specs
}

/// Images to means and log-variances, `[n, latent]` each.
pub(super) fn forward(w: &mut Weights<'_>, images: Tensor<4>) -> Result<(Tensor<2>, Tensor<2>), Error> {
    let mut x = images;
    for _ in CHANNELS {
        x = activation::leaky_relu(conv(w, x, 2, 1)?, SLOPE);
    }
    let x = activation::leaky_relu(linear(w, flatten(x))?, SLOPE);
    let out = linear(w, x)?;
    let latent = out.dims()[1] / 2;
    let log_variance = out.clone().narrow(1, latent, latent).clamp(-LOG_VARIANCE_LIMIT, LOG_VARIANCE_LIMIT);
    Ok((out.narrow(1, 0, latent), log_variance))
}
