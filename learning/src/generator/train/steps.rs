//! One step of each stage, and what lies between them.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{Tensor, TensorData};

use super::{Stage, Trainer, encoder};
use crate::Error;
use crate::generator::gaussian;
use crate::generator::native::negative_log_likelihood;
use crate::parameters::{Weights, to_vec};

/// Images per pass of the finished encoder.
const ENCODE_BATCH: usize = 256;

/// The first parameters of the synthesis, which shift and scale latent vectors, are set between the stages and not trained.
const SHIFT_AND_SCALE: usize = 2;

/// Parameters of one coupling: weight and bias of its three layers.
const PER_COUPLING: usize = 6;

/// Keeps a coordinate that never varies from being divided by nothing.
const LEAST_DEVIATION: f64 = 1e-3;

impl Trainer {
    /// One step of the autoencoder; its loss per image, in nats: squared error over twice the pixels' variance, and the
    /// divergence of the latent distribution from a standard normal one.
    pub(super) fn autoencoder_step(&mut self, positions: &[usize], lr: f32, step: u64) -> Result<f32, Error> {
        let n = positions.len();
        let images = self.images(positions);
        let noise = gaussian(&mut self.stream("noise", Stage::Autoencoder, step), n * self.recipe.latent);
        let noise = Tensor::<2>::from_data(TensorData::new(noise, [n, self.recipe.latent]), &self.device).autodiff();

        let (of_encoder, of_synthesis) = (self.encoder.tracked(0), self.synthesis.tracked(SHIFT_AND_SCALE));
        let images = images.autodiff();
        let (mean, log_variance) = encoder::forward(&mut self.encoder.view(&of_encoder), images.clone())?;
        let latents = mean.clone() + (log_variance.clone() * 0.5).exp() * noise;
        let mut view = self.synthesis.view(&of_synthesis);
        let made = self.card.synthesis.forward(&mut view, latents, self.dataset.shape)?;

        let errors = made - images;
        let error = (errors.clone() * errors).sum() / (2.0 * self.recipe.pixel_variance);
        let divergence = (mean.clone() * mean + log_variance.clone().exp() - log_variance - 1.0).sum() * 0.5;
        let loss = (error + divergence) / n as f32;

        let mut gradients = loss.backward();
        self.encoder.step(of_encoder, &mut gradients, lr, step + 1);
        self.synthesis.step(of_synthesis, &mut gradients, lr, step + 1);
        scalar(loss.inner())
    }

    /// Passes every image through the encoder once, and sets the synthesis's shift and scale so that latent vectors have
    /// mean 0 and variance 1 in each coordinate.
    pub(super) fn encode(&mut self, cancel: &AtomicBool) -> Result<(), Error> {
        let latent = self.recipe.latent;
        let (mut sums, mut squares) = (vec![0f64; latent], vec![0f64; latent]);
        let mut posterior = Vec::with_capacity(self.rows.len());
        let positions: Vec<usize> = (0..self.rows.len()).collect();
        for batch in positions.chunks(ENCODE_BATCH) {
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            let mut view = self.encoder.view(self.encoder.parameters.values());
            let (mean, log_variance) = encoder::forward(&mut view, self.images(batch))?;
            let (mean, deviation) = (to_vec(mean)?, to_vec((log_variance * 0.5).exp())?);
            for (mean, deviation) in mean.chunks(latent).zip(deviation.chunks(latent)) {
                for i in 0..latent {
                    let (mean, deviation) = (f64::from(mean[i]), f64::from(deviation[i]));
                    sums[i] += mean;
                    squares[i] += mean * mean + deviation * deviation;
                }
                posterior.push([mean.to_vec(), deviation.to_vec()]);
            }
        }
        let n = self.rows.len() as f64;
        let means: Vec<f32> = sums.iter().map(|s| (s / n) as f32).collect();
        let scales: Vec<f32> = (sums.iter().zip(&squares))
            .map(|(sum, square)| (square / n - (sum / n).powi(2)).max(0.0).sqrt().max(LEAST_DEVIATION) as f32)
            .collect();
        for [mean, deviation] in &mut posterior {
            for i in 0..latent {
                mean[i] = (mean[i] - means[i]) / scales[i];
                deviation[i] /= scales[i];
            }
        }
        let mut flat = self.synthesis.parameters.to_flat()?;
        flat[..latent].copy_from_slice(&means);
        for (place, scale) in flat[latent..2 * latent].iter_mut().zip(scales) {
            *place = scale - 1.0; // Stored as the offset from one.
        }
        self.synthesis.parameters.set_flat(&flat, &self.device)?;
        self.posterior = posterior;
        Ok(())
    }

    /// One step of the mapping's fit; its loss per vector, in nats, without the constant.
    pub(super) fn mapping_step(&mut self, positions: &[usize], lr: f32, step: u64) -> Result<f32, Error> {
        let (n, latent) = (positions.len(), self.recipe.latent);
        let noise = gaussian(&mut self.stream("noise", Stage::Mapping, step), n * latent);
        let mut latents = Vec::with_capacity(n * latent);
        for (&position, noise) in positions.iter().zip(noise.chunks(latent)) {
            let [mean, deviation] = &self.posterior[position];
            latents.extend(mean.iter().zip(deviation).zip(noise).map(|((m, d), e)| m + d * e));
        }
        let latents = Tensor::<2>::from_data(TensorData::new(latents, [n, latent]), &self.device).autodiff();
        let tracked = self.mapping.tracked(0);
        let specs = self.mapping.parameters.specs();
        let mut layers: Vec<Weights<'_>> = (specs.chunks(PER_COUPLING).zip(tracked.chunks(PER_COUPLING)))
            .map(|(specs, values)| Weights::new("mapping", specs, values))
            .collect();
        let loss = negative_log_likelihood(&mut layers, latents)?;
        let mut gradients = loss.backward();
        self.mapping.step(tracked, &mut gradients, lr, step + 1);
        scalar(loss.inner())
    }

    /// The images at these positions.
    fn images(&self, positions: &[usize]) -> Tensor<4> {
        let rows: Vec<u32> = positions.iter().map(|&p| self.rows[p]).collect();
        let shape = self.dataset.shape;
        let pixels = self.dataset.split(&rows).images;
        let extents = [rows.len(), shape.channels, shape.height, shape.width];
        Tensor::from_data(TensorData::new(pixels, extents), &self.device)
    }
}

fn scalar(tensor: Tensor<1>) -> Result<f32, Error> {
    Ok(to_vec(tensor)?.first().copied().unwrap_or(f32::NAN))
}
