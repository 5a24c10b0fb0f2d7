//! Mapping networks: from noise `z` to a latent vector `w`.

use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

use super::card::{MAX_LATENT, MAX_WIDTH, within};
use crate::Error;
use crate::architectures::layers::linear;
use crate::parameters::{ParamSpec, Weights};

/// Most coupling layers. Too low refuses deep mappings.
const MAX_LAYERS: usize = 64;

/// Slope of leaky units below zero, as in StyleGAN.
pub(super) const SLOPE: f64 = 0.2;

/// A coupling's log-scale stays in plus or minus this, so that no weights can make a sample overflow.
const SCALE_LIMIT: f32 = 2.0;

/// The layers of a mapping network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Mapping {
    /// Affine couplings (`RealNVP`, Dinh, Sohl-Dickstein and Bengio 2017, arXiv 1605.08803): each layer scales and shifts one
    /// half of the vector by what two leaky layers make of the other half, in turn. It can be inverted, so it is fitted to
    /// latent vectors by maximum likelihood.
    Couplings {
        /// Couplings one after the other.
        layers: usize,
        /// Units of each of a coupling's hidden layers.
        width: usize,
    },
    /// Two fully connected layers with a leaky one between.
    Dense {
        /// Length of `z`.
        noise: usize,
        /// Units of the hidden layer.
        width: usize,
    },
}

impl Mapping {
    pub(super) fn check(&self, latent: usize) -> Result<(), Error> {
        match *self {
            Self::Couplings { layers, width } => {
                within("couplings of the mapping", layers, 1, MAX_LAYERS)?;
                within("width of the mapping's couplings", width, 1, MAX_WIDTH)?;
                if latent.is_multiple_of(2) {
                    return Ok(());
                }
                Err(Error::Generator(format!("a latent vector of length {latent} has no halves for couplings")))
            }
            Self::Dense { noise, width } => {
                within("length of the mapping's noise", noise, 1, MAX_LATENT)?;
                within("width of the mapping", width, 1, MAX_WIDTH)
            }
        }
    }

    /// Length of `z`.
    #[must_use]
    pub const fn noise(&self, latent: usize) -> usize {
        match self {
            Self::Couplings { .. } => latent,
            Self::Dense { noise, .. } => *noise,
        }
    }

    /// Its parameters, in the order of the forward pass.
    pub(crate) fn specs(&self, latent: usize) -> Vec<ParamSpec> {
        match *self {
            Self::Couplings { layers, width } => (0..layers)
                .flat_map(|i| {
                    let name = |layer| format!("mapping.{i}.{layer}");
                    let mut specs = ParamSpec::linear(&name("in"), latent / 2, width).to_vec();
                    specs.extend(ParamSpec::linear(&name("hidden"), width, width));
                    // Zero at first: an unfitted coupling changes nothing.
                    specs.push(ParamSpec::new(name("out.weight"), &[width, latent], 0));
                    specs.push(ParamSpec::new(name("out.bias"), &[latent], 0));
                    specs
                })
                .collect(),
            Self::Dense { noise, width } => {
                let mut specs = ParamSpec::linear("mapping.in", noise, width).to_vec();
                specs.extend(ParamSpec::linear("mapping.out", width, latent));
                specs
            }
        }
    }

    /// `[n, noise]` to `[n, latent]`.
    pub(super) fn forward(&self, w: &mut Weights<'_>, z: Tensor<2>) -> Result<Tensor<2>, Error> {
        match *self {
            Self::Couplings { layers, .. } => {
                let half = z.dims()[1] / 2;
                let (mut a, mut b) = (z.clone().narrow(1, 0, half), z.narrow(1, half, half));
                for _ in 0..layers {
                    let (scale, shift) = coupling(w, a.clone())?;
                    let moved = b * scale.exp() + shift;
                    (a, b) = (moved, a);
                }
                Ok(Tensor::cat(vec![a, b], 1))
            }
            Self::Dense { .. } => {
                let hidden = activation::leaky_relu(linear(w, z)?, SLOPE);
                linear(w, hidden)
            }
        }
    }
}

/// Mean negative log-likelihood per vector of `latents` under couplings, without the constant: what fitting minimises.
///
/// The inverse of the forward pass needs the layers in reverse, so `layers` views of their parameters are given, one each.
pub(crate) fn negative_log_likelihood(layers: &mut [Weights<'_>], latents: Tensor<2>) -> Result<Tensor<1>, Error> {
    let [n, latent] = latents.dims();
    let half = latent / 2;
    let (mut a, mut b) = (latents.clone().narrow(1, 0, half), latents.narrow(1, half, half));
    let mut log_scale = None::<Tensor<1>>;
    for layer in layers.iter_mut().rev() {
        // What the layer moved stands first, what it left alone second.
        let (moved, kept) = (a, b);
        let (scale, shift) = coupling(layer, kept.clone())?;
        b = (moved - shift) * scale.clone().neg().exp();
        a = kept;
        let sum = scale.sum();
        log_scale = Some(log_scale.map_or(sum.clone(), |total| total + sum));
    }
    let squares = (a.clone() * a).sum() + (b.clone() * b).sum();
    let total = match log_scale {
        Some(log_scale) => squares * 0.5 + log_scale,
        None => squares * 0.5,
    };
    Ok(total / n as f32)
}

/// Log-scale and shift that a coupling derives from the half that it leaves alone.
fn coupling(w: &mut Weights<'_>, kept: Tensor<2>) -> Result<(Tensor<2>, Tensor<2>), Error> {
    let half = kept.dims()[1];
    let hidden = activation::leaky_relu(linear(w, kept)?, SLOPE);
    let hidden = activation::leaky_relu(linear(w, hidden)?, SLOPE);
    let out = linear(w, hidden)?;
    let scale = activation::tanh(out.clone().narrow(1, 0, half)) * SCALE_LIMIT;
    Ok((scale, out.narrow(1, half, half)))
}
