//! The generator of this project: a mapping and a synthesis network, made by [`train`](super::train) and kept in one file.

mod card;
mod file;
mod mapping;
mod precision;
mod reference;
mod synthesis;

use burn::tensor::{Device, Tensor, TensorData};
use fedswarm_protocol::hash::{Digest, Stream, hash};

pub use card::{Card, MAX_LATENT, MAX_PARAMETERS, MAX_SIDE, MAX_WIDTH, Origin};
pub use file::MAX_FILE_BYTES;
pub use mapping::Mapping;
pub(super) use mapping::negative_log_likelihood;
pub use precision::Precision;
pub use synthesis::Synthesis;

use super::{Generator, gaussian};
use crate::Error;
use crate::data::ImageShape;
use crate::parameters::{Parameters, Weights, to_vec};

/// Vectors per forward pass. Too low and many images take long; too high and they take much memory.
const BATCH: usize = 64;

/// Names this module's networks in errors about declaration and code.
const OWNER: &str = "generator";

/// A native generator. Its weights are rounded to the card's precision when it is made, so a file holds exactly what runs. It
/// computes on the CPU, in single precision.
#[derive(Clone, Debug)]
pub struct Native {
    card: Card,
    id: Digest,
    mapping: Parameters,
    synthesis: Parameters,
    device: Device,
}

impl Native {
    /// A generator of these weights, flat in the order of [`Card::specs`], rounded to the card's
    /// precision.
    ///
    /// # Errors
    /// [`Error::Length`] if they are not as many as the card says, [`Error::Generator`] with the first that is not finite in
    /// that precision.
    pub fn new(card: Card, weights: &[f32]) -> Result<Self, Error> {
        card.check()?;
        let specs = card.specs();
        let expected = card.parameters();
        if weights.len() != expected {
            return Err(Error::Length { what: "weights of a generator", expected, found: weights.len() });
        }
        let bytes = card.precision.bytes(weights);
        let values: Vec<f32> = card.precision.values(&bytes).collect();
        let mut at = 0;
        for spec in &specs {
            if let Some(i) = values[at..at + spec.len()].iter().position(|v| !v.is_finite()) {
                let (name, value) = (&spec.name, weights[at + i]);
                let kind = card.precision.dtype();
                return Err(Error::Generator(format!("tensor {name}, value {i} is {value}: not a finite {kind:?}")));
            }
            at += spec.len();
        }
        let mut contents = card.identity()?;
        contents.push(0); // The end of the text.
        contents.extend_from_slice(&bytes);
        let id = hash("generator", &contents);

        let device = Device::flex();
        let mapping_specs = card.mapping.specs(card.latent);
        let (first, second) = values.split_at(crate::parameters::count(&mapping_specs));
        let mapping = Parameters::from_flat(mapping_specs, first, &device)?;
        let synthesis = card.synthesis.specs(card.latent, card.shape());
        let synthesis = Parameters::from_flat(synthesis, second, &device)?;
        Ok(Self { card, id, mapping, synthesis, device })
    }

    /// What it is and where its weights come from.
    #[must_use]
    pub const fn card(&self) -> &Card {
        &self.card
    }

    /// Its weights, flat in the order of [`Card::specs`].
    ///
    /// # Errors
    /// [`Error::Device`] if the device does not hand them back.
    pub fn weights(&self) -> Result<Vec<f32>, Error> {
        let mut flat = self.mapping.to_flat()?;
        flat.extend(self.synthesis.to_flat()?);
        Ok(flat)
    }

    /// Latent vectors of given noise: flat `[n, noise]` to flat `[n, latent]`.
    ///
    /// # Errors
    /// [`Error::Length`] if it is no whole number of vectors, [`Error::Device`] or [`Error::Generator`] if it cannot run.
    pub fn map(&self, noise: &[f32]) -> Result<Vec<f32>, Error> {
        self.batches("noise of a generator", noise, self.card.mapping.noise(self.card.latent), |z| {
            let mut weights = Weights::new(OWNER, self.mapping.specs(), self.mapping.values());
            to_vec(self.card.mapping.forward(&mut weights, z)?)
        })
    }

    /// Runs `forward` on flat rows of `width` numbers, [`BATCH`] at a time.
    fn batches(
        &self,
        what: &'static str,
        rows: &[f32],
        width: usize,
        mut forward: impl FnMut(Tensor<2>) -> Result<Vec<f32>, Error>,
    ) -> Result<Vec<f32>, Error> {
        if !rows.len().is_multiple_of(width) {
            let expected = rows.len().div_ceil(width) * width;
            return Err(Error::Length { what, expected, found: rows.len() });
        }
        let mut out = Vec::new();
        for batch in rows.chunks(BATCH * width) {
            let data = TensorData::new(batch.to_vec(), [batch.len() / width, width]);
            out.extend(forward(Tensor::from_data(data, &self.device))?);
        }
        Ok(out)
    }
}

impl Generator for Native {
    fn latent(&self) -> usize {
        self.card.latent
    }

    fn image(&self) -> ImageShape {
        self.card.shape()
    }

    fn id(&self) -> Digest {
        self.id
    }

    fn sample(&self, n: usize, stream: &mut Stream) -> Result<Vec<f32>, Error> {
        self.map(&gaussian(stream, n * self.card.mapping.noise(self.card.latent)))
    }

    fn synthesise(&self, latents: &[f32]) -> Result<Vec<f32>, Error> {
        self.batches("latent vectors", latents, self.card.latent, |w| {
            let mut weights = Weights::new(OWNER, self.synthesis.specs(), self.synthesis.values());
            to_vec(self.card.synthesis.forward(&mut weights, w, self.card.shape())?)
        })
    }
}

#[cfg(test)]
mod tests;
