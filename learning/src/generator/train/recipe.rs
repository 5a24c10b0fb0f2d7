//! How a generator is trained.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::data::ImageShape;
use crate::generator::native::{Card, Mapping, Origin, Precision, Synthesis};

/// What decides a training run, beside the images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Length of a latent vector.
    pub latent: usize,
    /// Passes over the images in which the autoencoder is trained.
    pub epochs: u64,
    /// Passes over their latent vectors in which the mapping is fitted.
    pub mapping_epochs: u64,
    /// Images per step of the autoencoder.
    pub batch: usize,
    /// Adam's first learning rate; it falls to zero along a cosine.
    pub lr: f32,
    /// Variance of a pixel given its latent vector, on the scale of -1..1. Smaller: sharper images, and latent vectors that
    /// are harder to fit.
    pub pixel_variance: f32,
    /// Channels of the synthesis: see [`Synthesis::Styled`].
    pub channels: [usize; 3],
    /// Couplings of the mapping, and their width.
    pub couplings: [usize; 2],
    /// Fixes first weights, order and noise.
    pub seed: u64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            latent: 32,
            epochs: 12,
            mapping_epochs: 40,
            batch: 64,
            lr: 2e-3,
            pixel_variance: 0.05,
            channels: [24, 16, 8],
            couplings: [6, 96],
            seed: 1,
        }
    }
}

impl Recipe {
    /// Refuses what cannot be trained.
    pub(super) fn check(&self, images: usize) -> Result<(), Error> {
        let bad = |reason: String| Err(Error::Generator(reason));
        if self.batch == 0 || images < self.batch.max(2) {
            return bad(format!(
                "{images} images are too few to train on: at least one batch of {} is needed",
                self.batch
            ));
        }
        if self.epochs == 0 || self.mapping_epochs == 0 {
            return bad("epochs: 0, expected at least 1".into());
        }
        if !(self.lr.is_finite() && self.lr > 0.0) {
            return bad(format!("learning rate: {}, expected a number above 0", self.lr));
        }
        if !(self.pixel_variance.is_finite() && self.pixel_variance > 0.0) {
            return bad(format!("pixel variance: {}, expected a number above 0", self.pixel_variance));
        }
        Ok(())
    }

    /// The card of the generator that it makes.
    pub(super) fn card(&self, image: ImageShape, origin: Origin) -> Result<Card, Error> {
        let [layers, width] = self.couplings;
        let (mapping, synthesis) =
            (Mapping::Couplings { layers, width }, Synthesis::Styled { channels: self.channels });
        Card::new(image, self.latent, mapping, synthesis, Precision::F16, origin)
    }
}
