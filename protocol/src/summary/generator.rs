//! A generator of features that is trained on all authors' heads (`FedGen`, arXiv 2105.10056, equation 4).
//!
//! ```text
//! G(e, y) = W2 relu(norm(W1 [e | onehot y] + b1)) + b2,   e uniform in 0..1, y as often as in all authors' images
//! each step: down the slope of CE(sum_i n_i / n h_i(G(e, y)), y) by Adam, whose moments begin at zero in every round
//! ```
//!
//! The heads are linear, so their weighted mean says what the one head does that the round has merged of them: no update is needed
//! for it, and the paper's ensemble is exact. Where what they say are directions among class vectors, `ArcFace` takes the place of cross
//! entropy. `norm` is over the batch, for those who train with the generator too.

use serde::{Deserialize, Serialize};

use super::descent::RATE_BITS;
use super::exact::{add_scaled, dot, fixed, linear, numbers};
use super::loss::{Criterion, Loss};
use crate::hash::{Digest, Stream, hash};
use crate::prototypes::PrototypeSpec;
use crate::tensor::{DEFAULT_SCALE_BITS, FixedVector, TensorSpec};

/// Most steps a round. Too low and the paper's setting does not fit; it bounds the work of a round's merge.
pub const MAX_STEPS: u16 = 1000;

/// Keeps the division by a batch's deviation finite (PyTorch's batch norm has the same).
const NORM_EPSILON: f64 = 1e-5;

/// Adam's constants, as PyTorch has them.
const BETAS: (f64, f64) = (0.9, 0.999);
const ADAM_EPSILON: f64 = 1e-8;

/// A generator and how it is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Generator {
    /// Numbers of noise.
    pub noise: u16,
    /// Width of its hidden layer.
    pub hidden: u16,
    /// Width of the features that it makes: what a head reads.
    pub features: u16,
    /// Steps a round, at most [`MAX_STEPS`]; with none it stays what it is at genesis.
    pub steps: u16,
    /// Samples a step, at least 2.
    pub batch: u16,
    /// Adam's rate, times 2^24.
    pub rate_q: u32,
    /// What the heads are trained on, and the generator with them.
    pub loss: Loss,
}

/// Sizes as numbers.
#[derive(Clone, Copy)]
struct Sizes {
    noise: usize,
    hidden: usize,
    features: usize,
    classes: usize,
}

impl Sizes {
    fn weights(self) -> usize {
        (self.noise + self.classes) * self.hidden + 3 * self.hidden + (self.hidden + 1) * self.features
    }
}

impl Generator {
    pub(super) const fn fits(&self) -> bool {
        self.noise > 0 && self.hidden > 0 && self.features > 0 && self.batch >= 2 && self.steps <= MAX_STEPS
    }

    const fn sizes(&self, classes: usize) -> Sizes {
        Sizes { noise: self.noise as usize, hidden: self.hidden as usize, features: self.features as usize, classes }
    }

    /// Both layers with the norm between them - its gain less 1, and its shift - and behind them the share of each class in all
    /// authors' images, zeros as long as nobody knows.
    pub(super) fn tensors(&self, classes: usize) -> Vec<TensorSpec> {
        let (hidden, classes) = (u32::from(self.hidden), classes as u32);
        let mut tensors = linear("generator.first", u32::from(self.noise) + classes, hidden).to_vec();
        tensors.push(TensorSpec::new("generator.norm.gain", &[hidden], 0));
        tensors.push(TensorSpec::new("generator.norm.shift", &[hidden], 0));
        tensors.extend(linear("generator.second", hidden, u32::from(self.features)));
        tensors.push(TensorSpec::new("generator.classes", &[classes], 0));
        tensors
    }

    /// The tensors after a round; the generator as it was, if it would leave its range. A prototype is the number of an author's images of
    /// its class, and `merged` begins with a head, `[features, classes]` and bias.
    pub(super) fn derive(
        &self,
        prototypes: &PrototypeSpec,
        (classes, seed): (usize, &Digest),
        merged: &[i32],
        before: &[i32],
        list: &[u8],
    ) -> Vec<i32> {
        let sizes = self.sizes(classes);
        let mut counts = vec![0u64; classes];
        for (_, prototype) in prototypes.read(list) {
            let count = prototype.values.first().map_or(0, |&q| u64::from(q.max(0).unsigned_abs()));
            if let Some(sum) = counts.get_mut(usize::from(prototype.class)) {
                *sum += count;
            }
        }
        let total: u64 = counts.iter().sum();
        let head = merged.get(..(sizes.features + 1) * classes);
        let (Some((weights, _)), Some(head), Some(criterion), true) =
            (before.split_at_checked(sizes.weights()), head, self.loss.criterion(classes, seed), total > 0)
        else {
            return before.to_vec();
        };
        let mut stream =
            Stream::new("generator", &[hash("head", &FixedVector(head.to_vec()).to_bytes()).as_bytes(), list]);
        let mut net = Net { sizes, values: numbers(weights, DEFAULT_SCALE_BITS) };
        let head = numbers(head, DEFAULT_SCALE_BITS);
        let rate = f64::from(self.rate_q) / f64::from(1u32 << RATE_BITS);
        let mut adam = Adam::new(rate, net.values.len());
        for _ in 0..self.steps {
            let batch: Vec<Draw> =
                (0..self.batch).map(|_| Draw::new(&mut stream, sizes.noise, &counts, total)).collect();
            let slope = net.slope(&batch, &head, &criterion);
            adam.step(&mut net.values, &slope);
        }
        let mut after = fixed(&net.values, DEFAULT_SCALE_BITS).unwrap_or_else(|| weights.to_vec());
        let share = |count: &u64| *count as f64 / total as f64;
        // Shares are at most 1.
        after.extend(fixed(&counts.iter().map(share).collect::<Vec<_>>(), DEFAULT_SCALE_BITS).unwrap_or_default());
        after
    }
}

/// What one sample is generated from.
struct Draw {
    noise: Vec<f64>,
    class: usize,
}

impl Draw {
    fn new(stream: &mut Stream, noise: usize, counts: &[u64], total: u64) -> Self {
        let mut left = stream.below(total);
        let class = counts.iter().position(|count| {
            let here = left < *count;
            left = left.saturating_sub(*count);
            here
        });
        let uniform = |_| stream.below(1 << DEFAULT_SCALE_BITS) as f64 / f64::from(1u32 << DEFAULT_SCALE_BITS);
        Self { noise: (0..noise).map(uniform).collect(), class: class.unwrap_or_default() }
    }
}

struct Adam {
    rate: f64,
    first: Vec<f64>,
    second: Vec<f64>,
    powers: (f64, f64),
}

impl Adam {
    fn new(rate: f64, len: usize) -> Self {
        Self { rate, first: vec![0.0; len], second: vec![0.0; len], powers: (1.0, 1.0) }
    }

    fn step(&mut self, values: &mut [f64], slope: &[f64]) {
        self.powers = (self.powers.0 * BETAS.0, self.powers.1 * BETAS.1);
        let (first, second) = (1.0 - self.powers.0, 1.0 - self.powers.1);
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((value, slope), (m, v)) in values.iter_mut().zip(slope).zip(moments) {
            *m = BETAS.0 * *m + (1.0 - BETAS.0) * slope;
            *v = BETAS.1 * *v + (1.0 - BETAS.1) * slope * slope;
            *value -= self.rate * (*m / first) / ((*v / second).sqrt() + ADAM_EPSILON);
        }
    }
}

/// `W1`, `b1`, gain less 1, shift, `W2`, `b2`, one after the other.
struct Net {
    sizes: Sizes,
    values: Vec<f64>,
}

struct Views<'a> {
    first: &'a [f64],
    first_bias: &'a [f64],
    gain: &'a [f64],
    shift: &'a [f64],
    second: &'a [f64],
    second_bias: &'a [f64],
}

impl Net {
    fn views(&self) -> Views<'_> {
        let Sizes { noise, hidden, features, classes } = self.sizes;
        let (first, rest) = self.values.split_at((noise + classes) * hidden);
        let (first_bias, rest) = rest.split_at(hidden);
        let (gain, rest) = rest.split_at(hidden);
        let (shift, rest) = rest.split_at(hidden);
        let (second, second_bias) = rest.split_at(hidden * features);
        Views { first, first_bias, gain, shift, second, second_bias }
    }

    /// The slope of a batch's mean loss.
    fn slope(&self, batch: &[Draw], head: &[f64], criterion: &Criterion) -> Vec<f64> {
        let Sizes { noise, hidden, features, classes } = self.sizes;
        let Views { first, first_bias, gain, shift, second, second_bias } = self.views();
        let (head, head_bias) = head.split_at(features * classes);
        let count = batch.len() as f64;
        let linear: Vec<Vec<f64>> = batch
            .iter()
            .map(|draw| {
                let mut row = first_bias.to_vec();
                draw.noise.iter().zip(first.chunks_exact(hidden)).for_each(|(x, w)| add_scaled(&mut row, *x, w));
                add_scaled(&mut row, 1.0, &first[(noise + draw.class) * hidden..(noise + draw.class + 1) * hidden]);
                row
            })
            .collect();
        let mut mean = vec![0.0; hidden];
        linear.iter().for_each(|row| add_scaled(&mut mean, 1.0 / count, row));
        let mut deviation = vec![0.0; hidden];
        for row in &linear {
            let parts = deviation.iter_mut().zip(row.iter().zip(&mean));
            parts.for_each(|(sum, (x, mean))| *sum += (x - mean) * (x - mean) / count);
        }
        deviation.iter_mut().for_each(|variance| *variance = (*variance + NORM_EPSILON).sqrt());

        let mut out = vec![0.0; self.values.len()];
        let (to_first, rest) = out.split_at_mut((noise + classes) * hidden);
        let (to_first_bias, rest) = rest.split_at_mut(hidden);
        let (to_gain, rest) = rest.split_at_mut(hidden);
        let (to_shift, rest) = rest.split_at_mut(hidden);
        let (to_second, to_second_bias) = rest.split_at_mut(hidden * features);
        let mut normed = Vec::with_capacity(batch.len());
        let mut to_normed = Vec::with_capacity(batch.len());
        for (draw, row) in batch.iter().zip(&linear) {
            let unit: Vec<f64> = (row.iter().zip(&mean).zip(&deviation)).map(|((x, m), d)| (x - m) / d).collect();
            let scaled = (0..hidden).map(|k| (unit[k] * (1.0 + gain[k]) + shift[k]).max(0.0));
            let active: Vec<f64> = scaled.collect();
            let mut made = second_bias.to_vec();
            active.iter().zip(second.chunks_exact(features)).for_each(|(x, w)| add_scaled(&mut made, *x, w));
            let mut logits = head_bias.to_vec();
            made.iter().zip(head.chunks_exact(classes)).for_each(|(x, w)| add_scaled(&mut logits, *x, w));
            criterion.slope(&mut logits, draw.class);
            let to_made: Vec<f64> = head.chunks_exact(classes).map(|w| dot(w, &logits) / count).collect();
            add_scaled(to_second_bias, 1.0, &to_made);
            let mut to_unit = vec![0.0; hidden];
            for k in (0..hidden).filter(|k| active[*k] > 0.0) {
                add_scaled(&mut to_second[k * features..(k + 1) * features], active[k], &to_made);
                let down = dot(&second[k * features..(k + 1) * features], &to_made);
                to_gain[k] += down * unit[k];
                to_shift[k] += down;
                to_unit[k] = down * (1.0 + gain[k]);
            }
            normed.push(unit);
            to_normed.push(to_unit);
        }
        // Through the norm: dx = (dz - mean dz - z mean(dz z)) / deviation.
        let (mut means, mut products) = (vec![0.0; hidden], vec![0.0; hidden]);
        for (unit, down) in normed.iter().zip(&to_normed) {
            add_scaled(&mut means, 1.0 / count, down);
            (products.iter_mut().zip(unit).zip(down)).for_each(|((sum, z), d)| *sum += z * d / count);
        }
        for ((draw, unit), down) in batch.iter().zip(&normed).zip(&to_normed) {
            let slope =
                (0..hidden).map(|k| (down[k] - means[k] - unit[k] * products[k]) / deviation[k]).collect::<Vec<f64>>();
            draw.noise.iter().zip(to_first.chunks_exact_mut(hidden)).for_each(|(x, w)| add_scaled(w, *x, &slope));
            let row = (noise + draw.class) * hidden;
            add_scaled(&mut to_first[row..row + hidden], 1.0, &slope);
            add_scaled(to_first_bias, 1.0, &slope);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SMALL: Generator =
        Generator { noise: 2, hidden: 3, features: 2, steps: 4, batch: 4, rate_q: 1 << 20, loss: Loss::CrossEntropy };
    const SEED: Digest = Digest([4; 32]);

    fn drawn(count: usize, salt: usize) -> Vec<f64> {
        (0..count).map(|i| (((37 * i + 11 * salt) % 65) as f64 - 32.0) / 32.0).collect()
    }

    fn batch() -> Vec<Draw> {
        (0..5).map(|i| Draw { noise: drawn(2, i + 3).iter().map(|x| x.abs()).collect(), class: i % 3 }).collect()
    }

    /// Golden values: `scripts/server_oracle.py fedgen`, by PyTorch's autograd and its Adam.
    #[test]
    fn a_few_steps_are_what_pytorch_makes_of_them() {
        let sizes = SMALL.sizes(3);
        let mut net = Net { sizes, values: drawn(sizes.weights(), 1) };
        let head = drawn(3 * 3, 2);
        let mut adam = Adam::new(0.0625, net.values.len());
        for _ in 0..4 {
            let slope = net.slope(&batch(), &head, &Criterion::CrossEntropy);
            adam.step(&mut net.values, &slope);
        }
        assert_eq!(net.values.len(), GOLDEN.len());
        for (i, (found, golden)) in net.values.iter().zip(GOLDEN).enumerate() {
            assert!((found - golden).abs() < 1e-7, "{i}: {found} {golden}");
        }
    }

    const GOLDEN: [f64; 32] = [
        -0.428540951,
        0.262889886,
        -0.588751798,
        0.548472179,
        0.141081272,
        -0.753574187,
        -0.050132004,
        -0.444883872,
        0.682777070,
        -0.179413353,
        0.976589806,
        -0.353817498,
        -1.220502187,
        -0.077820757,
        -0.478748465,
        0.437500000,
        -0.437500000,
        0.718750000,
        -0.376119640,
        1.246184042,
        0.375643581,
        -0.972497443,
        0.652118685,
        -0.218251130,
        0.476203042,
        -0.398796958,
        1.212995020,
        0.337995020,
        -1.031581347,
        0.124668653,
        -0.747030722,
        0.409219278,
    ];

    #[test]
    fn classes_are_drawn_as_often_as_authors_have_them_and_nothing_comes_of_nothing() {
        let spec = PrototypeSpec { len: 1, scale_bits: 8, summary: None };
        let mut list = Vec::new();
        for (author, counts) in [(0, [(0u16, 30.0f32), (2, 10.0)]), (1, [(1, 40.0), (2, 0.0)])] {
            let section = counts.iter().map(|(c, n)| (*c, std::slice::from_ref(n)));
            spec.append(&mut list, author, &spec.encode(section, 3).unwrap());
        }
        let before = crate::tensor::Schema { tensors: SMALL.tensors(3) }.genesis(&crate::hash::Digest([3; 32])).0;
        let head: Vec<i32> = (1..10).map(|i| (i % 4) << 22).collect();
        let after = SMALL.derive(&spec, (3, &SEED), &head, &before, &list);
        assert_eq!(after.len(), before.len());
        assert_ne!(after[..20], before[..20]);
        let shares = numbers(&after[after.len() - 3..], 24);
        assert!(shares.iter().zip([0.375, 0.5, 0.125]).all(|(a, b)| (a - b).abs() < 1e-6), "{shares:?}");
        assert_eq!(SMALL.derive(&spec, (3, &SEED), &head, &after, &[]), after);
        let untrained = Generator { steps: 0, ..SMALL }.derive(&spec, (3, &SEED), &head, &before, &list);
        assert_eq!(untrained[..untrained.len() - 3], before[..before.len() - 3]);
        let directed = Generator { loss: Loss::ArcFace, ..SMALL }.derive(&spec, (3, &SEED), &head, &before, &list);
        assert!(directed[..20] != before[..20] && directed[..20] != after[..20]);
    }
}
