//! Training a native generator on images.
//!
//! Two stages (after Dai and Wipf 2019, arXiv 1903.05789, who fit the second to the latent vectors of the first):
//!
//! 1. A variational autoencoder (Kingma and Welling 2014, arXiv 1312.6114) of an encoder and the synthesis network. The
//!    encoder is thrown away at the end.
//! 2. The mapping network is fitted by maximum likelihood to the latent vectors that the encoder gives the images, shifted
//!    and scaled to mean 0 and variance 1 in each coordinate: so a sample of `w` lies where the synthesis was trained.
//!
//! First weights, the order of images and all noise follow from the seed and the number of the step. So a run that was
//! stopped and resumed ends with the same weights as one that was not.

mod adam;
mod checkpoint;
mod encoder;
mod images;
mod network;
mod recipe;
mod steps;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use fedswarm_protocol::hash::{Digest, Stream, hash};

pub use images::{Exclusion, choose};
pub use recipe::Recipe;

use self::network::Network;
use super::native::{Card, Native, Origin};
use crate::Error;
use crate::data::Dataset;

/// Latent vectors per step of the mapping's fit.
const MAPPING_BATCH: usize = 256;

/// What is being trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Encoder and synthesis.
    Autoencoder,
    /// The mapping.
    Mapping,
    /// Nothing: it is done.
    Done,
}

/// How far training is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What is being trained.
    pub stage: Stage,
    /// Steps taken in this stage.
    pub step: u64,
    /// Steps of this stage.
    pub steps: u64,
    /// Mean of the loss over the epoch so far: per image, in nats.
    pub loss: f32,
}

/// A generator under training.
#[derive(Debug)]
pub struct Trainer {
    recipe: Recipe,
    card: Card,
    dataset: Arc<Dataset>,
    /// Images to learn from, as indices into the data set.
    rows: Vec<u32>,
    device: Device,
    encoder: Network,
    synthesis: Network,
    mapping: Network,
    /// Means and log-variances that the finished encoder gives the images; empty before the second stage.
    posterior: Vec<[Vec<f32>; 2]>,
    /// Steps taken in both stages together.
    step: u64,
}

impl Trainer {
    /// A trainer that has not begun.
    ///
    /// # Errors
    /// [`Error::Generator`] if the recipe cannot work with these images.
    pub fn new(recipe: Recipe, dataset: Arc<Dataset>, rows: Vec<u32>, origin: Origin) -> Result<Self, Error> {
        recipe.check(rows.len())?;
        if let Some(row) = rows.iter().find(|&&row| row as usize >= dataset.len()) {
            return Err(Error::Generator(format!("image {row} of {}", dataset.len())));
        }
        let card = recipe.card(dataset.shape, origin)?;
        let device = Device::flex();
        let seed = hash("generator weights", &recipe.seed.to_le_bytes());
        let network = |name, specs| Network::new(name, specs, &seed, &device);
        let encoder = network("encoder", encoder::specs(dataset.shape, recipe.latent))?;
        let synthesis = network("synthesis", card.synthesis.specs(card.latent, dataset.shape))?;
        let mapping = network("mapping", card.mapping.specs(card.latent))?;
        Ok(Self { recipe, card, dataset, rows, device, encoder, synthesis, mapping, posterior: Vec::new(), step: 0 })
    }

    /// What is next.
    #[must_use]
    pub fn stage(&self) -> Stage {
        let [first, second] = self.lengths();
        match self.step {
            step if step < first => Stage::Autoencoder,
            step if step < first + second => Stage::Mapping,
            _ => Stage::Done,
        }
    }

    /// Epochs finished in the present stage.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        let [first, _] = self.lengths();
        match self.stage() {
            Stage::Autoencoder => self.step / self.per_epoch(Stage::Autoencoder),
            _ => (self.step - first) / self.per_epoch(Stage::Mapping),
        }
    }

    /// Trains to the end of the present epoch, and tells after every step how far it is.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if `cancel` was set: nothing is lost, the steps so far count. [`Error::Diverged`] if the loss is
    /// no longer finite, [`Error::Device`] if the device fails.
    pub fn advance(&mut self, cancel: &AtomicBool, tell: &mut dyn FnMut(&Progress)) -> Result<(), Error> {
        let stage = self.stage();
        let [first, second] = self.lengths();
        let (before, steps) = match stage {
            Stage::Autoencoder => (0, first),
            Stage::Mapping => (first, second),
            Stage::Done => return Ok(()),
        };
        if stage == Stage::Mapping && self.posterior.is_empty() {
            self.encode(cancel)?;
        }
        let per_epoch = self.per_epoch(stage);
        let epoch = (self.step - before) / per_epoch;
        let order = self.order(stage, epoch);
        let (mut total, mut counted) = (0.0, 0);
        while (self.step - before) / per_epoch == epoch {
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            let step = self.step - before;
            let batch = self.batch(stage);
            let at = (step % per_epoch) as usize * batch;
            let rows = &order[at..at + batch];
            let lr = self.recipe.lr * cosine(step, steps);
            let loss = match stage {
                Stage::Autoencoder => self.autoencoder_step(rows, lr, step)?,
                _ => self.mapping_step(rows, lr, step)?,
            };
            if !loss.is_finite() {
                let steps = u32::try_from(self.step).unwrap_or(u32::MAX);
                return Err(Error::Diverged { loss, steps });
            }
            self.step += 1;
            (total, counted) = (total + loss, counted + 1);
            tell(&Progress { stage, step: step + 1, steps, loss: total / counted as f32 });
        }
        Ok(())
    }

    /// The generator as it is; good once [`stage`](Self::stage) is [`Stage::Done`].
    ///
    /// # Errors
    /// [`Error::Generator`] if a weight has no place in half precision.
    pub fn generator(&self) -> Result<Native, Error> {
        let mut weights = self.mapping.parameters.to_flat()?;
        weights.extend(self.synthesis.parameters.to_flat()?);
        Native::new(self.card.clone(), &weights)
    }

    /// Steps of each stage.
    fn lengths(&self) -> [u64; 2] {
        [
            self.recipe.epochs * self.per_epoch(Stage::Autoencoder),
            self.recipe.mapping_epochs * self.per_epoch(Stage::Mapping),
        ]
    }

    /// Images or vectors of one step.
    fn batch(&self, stage: Stage) -> usize {
        match stage {
            Stage::Autoencoder => self.recipe.batch,
            _ => MAPPING_BATCH.min(self.rows.len()),
        }
    }

    /// Steps of an epoch; what does not fill a batch waits for another epoch's order.
    fn per_epoch(&self, stage: Stage) -> u64 {
        (self.rows.len() / self.batch(stage)) as u64
    }

    /// Positions in `rows`, in the order of an epoch.
    fn order(&self, stage: Stage, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        self.stream("order", stage, epoch).shuffle(&mut order);
        order
    }

    /// The randomness of one epoch or step.
    fn stream(&self, what: &str, stage: Stage, number: u64) -> Stream {
        let parts = [self.recipe.seed.to_le_bytes(), (stage as u64).to_le_bytes(), number.to_le_bytes()];
        Stream::new(&format!("generator {what}"), &[&parts[0], &parts[1], &parts[2]])
    }

    /// What a checkpoint must agree with: recipe, layers, images.
    fn fingerprint(&self) -> Result<Digest, Error> {
        let mut text = serde_json::to_vec(&(&self.recipe, &self.card.synthesis, &self.card.mapping, &self.card.image))
            .map_err(|e| Error::Generator(e.to_string()))?;
        let size = self.dataset.shape.len();
        for &row in &self.rows {
            let at = row as usize * size;
            text.extend_from_slice(&self.dataset.pixels[at..at + size]);
        }
        Ok(hash("generator checkpoint", &text))
    }
}

/// From 1 at the first step to nearly 0 at the last.
fn cosine(step: u64, steps: u64) -> f32 {
    let part = step as f64 / steps.max(1) as f64;
    (0.5 * (1.0 + (std::f64::consts::PI * part).cos())) as f32
}

#[cfg(test)]
mod tests;
