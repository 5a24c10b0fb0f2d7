//! What a generator's latent vectors and images are like.

use fedswarm_protocol::hash::Stream;
use serde::Serialize;

use super::Generator;
use crate::Error;

/// Bandwidths of FedKTL's kernel: it is the sum of `exp(-d / (2 b))` over these, of the squared distance `d`.
pub const BANDWIDTHS: [f64; 4] = [10.0, 15.0, 20.0, 50.0];

/// Statistics of drawn latent vectors and of their images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Statistics {
    /// Vectors drawn.
    pub samples: usize,
    /// Root of the mean square of the coordinates' means: 0 for centred vectors.
    pub mean: f64,
    /// Smallest, mean and largest variance of a coordinate.
    pub variance: [f64; 3],
    /// Mean squared distance between two vectors: what the kernel's bandwidths should be seen beside.
    pub squared_distance: f64,
    /// Mean over pairs of FedKTL's kernel, from 0 (all far apart) to 4 (all equal).
    pub kernel: f64,
    /// Smallest and largest pixel.
    pub pixels: [f64; 2],
    /// Mean squared difference between two images, per pixel: 0 if all are the same.
    pub variety: f64,
}

impl Statistics {
    /// Draws `samples` vectors, at least two, and makes their images.
    ///
    /// # Errors
    /// As [`Generator::sample`] and [`Generator::synthesise`].
    pub fn of(generator: &dyn Generator, samples: usize, stream: &mut Stream) -> Result<Self, Error> {
        let samples = samples.max(2);
        let latents = generator.sample(samples, stream)?;
        let images = generator.synthesise(&latents)?;
        let width = generator.latent();
        let column = |i: usize| latents.iter().skip(i).step_by(width).map(|&v| f64::from(v));
        let n = samples as f64;
        let moments: Vec<(f64, f64)> = (0..width)
            .map(|i| {
                let mean = column(i).sum::<f64>() / n;
                (mean, column(i).map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0))
            })
            .collect();
        let variances = || moments.iter().map(|(_, variance)| *variance);
        let mut pairs = (0.0, 0.0, 0.0);
        // Neighbours in the order of drawing are as good as any pairs, and few enough.
        for (a, b) in latents.chunks_exact(width).zip(latents.chunks_exact(width).skip(1)) {
            let distance = squared_distance(a, b);
            pairs.0 += distance;
            pairs.1 += BANDWIDTHS.iter().map(|bandwidth| (-distance / (2.0 * bandwidth)).exp()).sum::<f64>();
        }
        let size = generator.image().len();
        for (a, b) in images.chunks_exact(size).zip(images.chunks_exact(size).skip(1)) {
            pairs.2 += squared_distance(a, b) / size as f64;
        }
        let range = |keep: fn(f64, f64) -> f64, start| images.iter().fold(start, |x, &v| keep(x, f64::from(v)));
        Ok(Self {
            samples,
            mean: (moments.iter().map(|(mean, _)| mean * mean).sum::<f64>() / width as f64).sqrt(),
            variance: [
                variances().fold(f64::INFINITY, f64::min),
                variances().sum::<f64>() / width as f64,
                variances().fold(0.0, f64::max),
            ],
            squared_distance: pairs.0 / (n - 1.0),
            kernel: pairs.1 / (n - 1.0),
            pixels: [range(f64::min, f64::INFINITY), range(f64::max, f64::NEG_INFINITY)],
            variety: pairs.2 / (n - 1.0),
        })
    }
}

fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(x - y).powi(2)).sum()
}
