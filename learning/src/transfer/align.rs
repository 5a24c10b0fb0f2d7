//! Domain alignment: F and the class centroids learn to meet in the generator's latent space.

use super::adam::Adam;
use super::matrix::add;
use super::mmd::mmd;
use super::transformer::Transformer;

/// Largest norm of the gradients of F and of the centroids (the released code's).
const CLIP: f64 = 100.0;

/// F, the centroids and their optimisers, for one alignment.
pub(super) struct Aligner {
    pub(super) transformer: Transformer,
    /// One row per class.
    pub(super) centroids: Vec<f64>,
    latent: usize,
    lambda: f64,
    optimisers: [Adam; 2],
}

impl Aligner {
    pub(super) fn new(transformer: Transformer, centroids: Vec<f64>, latent: usize, lr: f64, lambda: f64) -> Self {
        let optimisers = [transformer.weights.len(), centroids.len()].map(|len| Adam::new(len, lr, CLIP));
        Self { transformer, centroids, latent, lambda, optimisers }
    }

    /// One step on a batch of at least two prototypes of these classes and as many latent vectors: down the gradient of
    /// `MMD(F(P), w) + lambda MSE(F(P), centroid[y])`, whose value it returns.
    pub(super) fn step(&mut self, prototypes: Vec<f64>, classes: &[usize], latents: &[f64]) -> f64 {
        let passed = self.transformer.train(prototypes);
        let (mut loss, mut slope) = mmd(&passed.output, latents, self.latent);
        let mut pulled = vec![0.0; self.centroids.len()];
        let share = self.lambda / passed.output.len() as f64;
        let rows = passed.output.chunks_exact(self.latent).zip(slope.chunks_exact_mut(self.latent));
        for ((q, slope), class) in rows.zip(classes) {
            let at = class * self.latent..(class + 1) * self.latent;
            let difference: Vec<f64> = q.iter().zip(&self.centroids[at.clone()]).map(|(q, c)| q - c).collect();
            loss += share * difference.iter().map(|d| d * d).sum::<f64>();
            add(slope, &difference, 2.0 * share);
            add(&mut pulled[at], &difference, -2.0 * share);
        }
        let gradient = self.transformer.backward(&passed, &slope);
        let [of_transformer, of_centroids] = &mut self.optimisers;
        of_transformer.step(&mut self.transformer.weights, &gradient);
        of_centroids.step(&mut self.centroids, &pulled);
        loss
    }

    /// Puts the centroid of every class that occurs to the mean of F over its prototypes, with the running statistics.
    pub(super) fn centre(&mut self, prototypes: &[f64], classes: &[usize]) {
        let vectors = self.transformer.eval(prototypes);
        let mut counts = vec![0.0; self.centroids.len() / self.latent];
        let mut sums = vec![0.0; self.centroids.len()];
        for (row, &class) in vectors.chunks_exact(self.latent).zip(classes) {
            counts[class] += 1.0;
            add(&mut sums[class * self.latent..(class + 1) * self.latent], row, 1.0);
        }
        let rows = self.centroids.chunks_exact_mut(self.latent).zip(sums.chunks_exact(self.latent));
        for ((centroid, sum), count) in rows.zip(counts).filter(|(_, count)| *count > 0.0) {
            centroid.iter_mut().zip(sum).for_each(|(c, s)| *c = s / count);
        }
    }
}
