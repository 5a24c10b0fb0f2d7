//! The feature transformer F of FedKTL: from prototypes to latent vectors.

use fedswarm_protocol::hash::Digest;

use super::matrix::{add_rows, add_transposed, affine, narrow, times_transposed, widen};
use crate::Error;
use crate::parameters::{ParamSpec, initial};

/// Added to a variance before its root is taken (PyTorch's default).
const EPSILON: f64 = 1e-5;

/// Weight of a batch in the running statistics (PyTorch's default).
const MOMENTUM: f64 = 0.1;

/// `Linear(C, C)`, batch norm, `ReLU`, `Linear(C, H)`, with explicit gradients.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Transformer {
    classes: usize,
    latent: usize,
    /// First weight and bias, scale and shift, second weight and bias; linear weights are `[inputs, outputs]`.
    pub(super) weights: Vec<f64>,
    /// Running mean and variance.
    running: Vec<f64>,
}

/// The parts of a flat vector that is laid out like the weights.
struct Layout<T> {
    w1: T,
    b1: T,
    scale: T,
    shift: T,
    w2: T,
    b2: T,
}

/// What a forward pass leaves for the way back.
pub(super) struct Passed {
    input: Vec<f64>,
    /// Before scale and shift.
    centred: Vec<f64>,
    inverse_deviation: Vec<f64>,
    hidden: Vec<f64>,
    /// Latent vectors, flat `[n, latent]`.
    pub(super) output: Vec<f64>,
}

impl Transformer {
    /// Fresh weights: PyTorch's law for linear layers, drawn from what the network has in common.
    pub(super) fn fresh(classes: usize, latent: usize, common: &Digest) -> Result<Self, Error> {
        let law = |name, inputs, outputs| {
            let flat = initial("transformer", &ParamSpec::linear(name, inputs, outputs), common)?;
            Ok::<_, Error>(widen(&flat))
        };
        let mut weights = law("fc1", classes, classes)?;
        weights.extend(vec![1.0; classes]);
        weights.extend(vec![0.0; classes]);
        weights.extend(law("fc2", classes, latent)?);
        let running = [vec![0.0; classes], vec![1.0; classes]].concat();
        Ok(Self { classes, latent, weights, running })
    }

    /// Values in [`to_flat`](Self::to_flat).
    pub(super) const fn len(classes: usize, latent: usize) -> usize {
        classes * classes + 5 * classes + classes * latent + latent
    }

    /// Weights, then running mean and variance.
    pub(super) fn to_flat(&self) -> Vec<f32> {
        narrow(&self.weights).chain(narrow(&self.running)).collect()
    }

    /// The transformer that these values describe; nothing if they are of another length or not finite, or a running variance
    /// is negative.
    pub(super) fn from_flat(classes: usize, latent: usize, flat: &[f32]) -> Option<Self> {
        if flat.len() != Self::len(classes, latent) || flat.iter().any(|x| !x.is_finite()) {
            return None;
        }
        let (weights, running) = flat.split_at(flat.len() - 2 * classes);
        let sound = running[classes..].iter().all(|&v| v >= 0.0);
        sound.then(|| Self { classes, latent, weights: widen(weights), running: widen(running) })
    }

    fn layout(&self) -> Layout<&[f64]> {
        let (c, h) = (self.classes, self.latent);
        let (w1, rest) = self.weights.split_at(c * c);
        let (b1, rest) = rest.split_at(c);
        let (scale, rest) = rest.split_at(c);
        let (shift, rest) = rest.split_at(c);
        let (w2, b2) = rest.split_at(c * h);
        Layout { w1, b1, scale, shift, w2, b2 }
    }

    /// Latent vectors of prototypes, flat `[n, classes]`, with the running statistics.
    pub(super) fn eval(&self, input: &[f64]) -> Vec<f64> {
        let (mean, variance) = self.running.split_at(self.classes);
        let inverse: Vec<f64> = variance.iter().map(|v| (v + EPSILON).sqrt().recip()).collect();
        let l = self.layout();
        self.finish(input.to_vec(), affine(input, l.w1, l.b1), mean, inverse).output
    }

    /// Latent vectors of at least two prototypes with the statistics of the batch, which the running ones follow.
    pub(super) fn train(&mut self, input: Vec<f64>) -> Passed {
        let c = self.classes;
        let n = (input.len() / c) as f64;
        let l = self.layout();
        let x = affine(&input, l.w1, l.b1);
        let mut mean = vec![0.0; c];
        add_rows(&mut mean, &x);
        mean.iter_mut().for_each(|m| *m /= n);
        let mut variance = vec![0.0; c];
        for row in x.chunks_exact(c) {
            row.iter().zip(&mean).zip(&mut variance).for_each(|((x, m), v)| *v += (x - m) * (x - m) / n);
        }
        let inverse = variance.iter().map(|v| (v + EPSILON).sqrt().recip()).collect();
        // The batch is scaled by the biased variance, the running one follows the unbiased (as in PyTorch).
        let unbiased = variance.iter().map(|v| v * n / (n - 1.0));
        let seen: Vec<f64> = mean.iter().copied().chain(unbiased).collect();
        self.running.iter_mut().zip(seen).for_each(|(r, s)| *r += MOMENTUM * (s - *r));
        self.finish(input, x, &mean, inverse)
    }

    /// From the first layer's output on.
    fn finish(&self, input: Vec<f64>, mut x: Vec<f64>, mean: &[f64], inverse_deviation: Vec<f64>) -> Passed {
        let l = self.layout();
        for row in x.chunks_exact_mut(self.classes) {
            row.iter_mut().zip(mean).zip(&inverse_deviation).for_each(|((x, m), d)| *x = (*x - m) * d);
        }
        let mut hidden = x.clone();
        for row in hidden.chunks_exact_mut(self.classes) {
            row.iter_mut().zip(l.scale).zip(l.shift).for_each(|((x, a), b)| *x = (*x * a + b).max(0.0));
        }
        let output = affine(&hidden, l.w2, l.b2);
        Passed { input, centred: x, inverse_deviation, hidden, output }
    }

    /// The gradient of the weights, laid out as they are, from that of the output of a pass in training.
    pub(super) fn backward(&self, passed: &Passed, output: &[f64]) -> Vec<f64> {
        let (c, h) = (self.classes, self.latent);
        let n = (passed.input.len() / c) as f64;
        let l = self.layout();
        let mut gradient = vec![0.0; self.weights.len()];
        let g = split(&mut gradient, c, h);
        add_transposed(g.w2, &passed.hidden, output, c);
        add_rows(g.b2, output);
        let mut d = times_transposed(output, l.w2, h);
        d.iter_mut().zip(&passed.hidden).for_each(|(d, y)| *d *= f64::from(u8::from(*y > 0.0)));
        for (row, x) in d.chunks_exact(c).zip(passed.centred.chunks_exact(c)) {
            for k in 0..c {
                g.scale[k] += row[k] * x[k];
                g.shift[k] += row[k];
            }
        }
        // Batch norm: what moves the batch's mean or its variance has no effect.
        for (row, x) in d.chunks_exact_mut(c).zip(passed.centred.chunks_exact(c)) {
            for k in 0..c {
                let free = row[k] - (g.shift[k] + x[k] * g.scale[k]) / n;
                row[k] = free * l.scale[k] * passed.inverse_deviation[k];
            }
        }
        add_transposed(g.w1, &passed.input, &d, c);
        add_rows(g.b1, &d);
        gradient
    }
}

fn split(flat: &mut [f64], c: usize, h: usize) -> Layout<&mut [f64]> {
    let (w1, rest) = flat.split_at_mut(c * c);
    let (b1, rest) = rest.split_at_mut(c);
    let (scale, rest) = rest.split_at_mut(c);
    let (shift, rest) = rest.split_at_mut(c);
    let (w2, b2) = rest.split_at_mut(c * h);
    Layout { w1, b1, scale, shift, w2, b2 }
}
