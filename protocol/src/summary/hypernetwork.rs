//! A network that generates each member's model from an embedding of the member (pFedHN, arXiv 2103.04628, algorithm 1).
//!
//! ```text
//! theta_i = h(e_i; phi): embedding - linear - (relu - linear) x layers - linear to all of theta
//! d_i = what author i has changed in its theta_i; m = the mean of a round's d_i
//! each author of a round, in an order drawn from their updates:
//!     g = the vector-Jacobian product of h at (e_i, phi) with -(d_i - (1 - common) m)
//!     v = momentum v + clip(g) + decay (phi, e_i);  (phi, e_i) <- (phi, e_i) - rate v
//! rows: theta_i with the new phi, for all who have one
//! ```
//!
//! The paper's server visits one client a step, so that the next one starts from what came of it. Here all authors of a round have trained
//! from one phi. What they all want, `m`, would be done once for each of them; at the paper's rate phi does not settle then. So `m` counts
//! `common` of that, and what sets an author apart counts as in the paper; with `common` = 1, or one author a round, the paper's step is left.
//! The velocity of phi and of the embeddings begins at zero in every round, so that it need not be kept.
//!
//! All arithmetic is in single precision with the four operations and the square root in one order, which is as exact everywhere as double
//! precision is; `phi` itself has 24 fraction bits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::derivation::{Author, Made, Round};
use super::descent::RATE_BITS;
use super::exact::linear;
use crate::hash::{Digest, Stream, hash};
use crate::keys::PublicKey;
use crate::tensor::{DEFAULT_SCALE_BITS, MAX_COORDINATE, Schema, TensorSpec};

/// Most hidden layers. Too low and deeper generators do not fit.
pub const MAX_LAYERS: u8 = 8;

/// A network that generates members' models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hypernetwork {
    /// Numbers of an embedding.
    pub embedding: u16,
    /// Width of its hidden layers.
    pub hidden: u16,
    /// Hidden layers behind the first, at most [`MAX_LAYERS`].
    pub layers: u8,
    /// How much of what all authors of a round want counts, times 2^24; at most 1.
    pub common_q: u32,
    /// Rate, times 2^24.
    pub rate_q: u32,
    /// Momentum, times 2^24; below 1.
    pub momentum_q: u32,
    /// Weight decay, times 2^24.
    pub decay_q: u32,
    /// Largest norm of a step's gradient.
    pub clip: u16,
}

/// A linear layer's place in the flat weights: `[inputs, outputs]`, then the bias.
#[derive(Clone, Copy)]
struct Layer {
    at: usize,
    inputs: usize,
    outputs: usize,
}

/// What the hidden layers make of an embedding: the input of every layer, the embedding first.
struct Forward {
    inputs: Vec<Vec<f32>>,
}

struct Net {
    layers: Vec<Layer>,
    /// The last layer is stored by outputs, `[theta, hidden]`, and has its bias behind it.
    last: Layer,
    phi: Vec<f32>,
    velocity: Vec<f32>,
}

impl Hypernetwork {
    pub(super) const fn fits(&self) -> bool {
        let sizes = self.embedding > 0 && self.hidden > 0 && self.layers <= MAX_LAYERS;
        let shares = self.common_q <= 1 << RATE_BITS;
        sizes && shares && self.momentum_q < 1 << RATE_BITS && self.clip > 0
    }

    /// The tensors of `phi`, for a model of so many weights.
    fn tensors(&self, weights: usize) -> Schema {
        let (embedding, hidden, weights) = (u32::from(self.embedding), u32::from(self.hidden), weights as u32);
        let mut tensors = linear("hyper.first", embedding, hidden).to_vec();
        for i in 0..self.layers {
            tensors.extend(linear(&format!("hyper.hidden{i}"), hidden, hidden));
        }
        tensors.push(TensorSpec::new("hyper.last.weight", &[weights, hidden], hidden));
        tensors.push(TensorSpec::new("hyper.last.bias", &[weights], hidden));
        Schema { tensors }
    }

    pub(super) fn hidden_len(&self, weights: usize, members: usize) -> usize {
        self.tensors(weights).len().saturating_add(members * usize::from(self.embedding))
    }

    /// The hidden part at genesis: `phi`, and nobody's embedding.
    pub(super) fn genesis(&self, weights: usize, seed: &Digest) -> Vec<i32> {
        self.tensors(weights).genesis(seed).0
    }

    /// The embedding that a member begins with: about normal, a sum of twelve uniform numbers.
    fn embedding(&self, seed: &Digest, key: &PublicKey) -> Vec<f32> {
        let mut stream = Stream::new("embedding", &[seed.as_bytes(), &key.0]);
        let mut normal = || (0..12).map(|_| stream.below(1 << 20) as i64 - (1 << 19)).sum::<i64>();
        (0..self.embedding).map(|_| normal() as f32 / (1 << 20) as f32).collect()
    }

    /// The row of a member that has not contributed yet.
    pub(super) fn first_row(&self, weights: usize, seed: &Digest, key: &PublicKey) -> Vec<i32> {
        let net = Net::new(self, weights, &self.genesis(weights, seed));
        let theta = net.generate(&net.forward(&self.embedding(seed, key)));
        fixed(&theta).unwrap_or_else(|| vec![0; weights])
    }

    /// All rows and the hidden part after a round; nothing if something has left its range.
    pub(super) fn derive(
        &self,
        weights: usize,
        seed: &Digest,
        (known, hidden): (&[&PublicKey], &[i32]),
        round: &Round<'_>,
    ) -> Option<Made> {
        let (phi, embeddings) = hidden.split_at_checked(self.tensors(weights).len())?;
        let mut net = Net::new(self, weights, phi);
        let mut members: BTreeMap<PublicKey, Vec<f32>> = BTreeMap::new();
        for (key, embedding) in known.iter().zip(embeddings.chunks_exact(usize::from(self.embedding))) {
            if round.members.contains(key) {
                members.insert(**key, floats(embedding));
            }
        }
        let mut order: Vec<&Author<'_>> = round.authors.iter().collect();
        let mut names = Vec::new();
        for author in round.authors {
            names.extend(hash("update", &author.update.to_bytes()).0);
        }
        Stream::new("order of authors", &[&names]).shuffle(&mut order);
        let mut mean = vec![0.0; weights];
        for author in round.authors {
            add_scaled(&mut mean, 1.0 / round.authors.len() as f32, &floats(&author.update.0));
        }
        // Of one author's update nothing is in common with others.
        let less = if round.authors.len() > 1 { 1.0 - self.common_q as f32 / (1u32 << RATE_BITS) as f32 } else { 0.0 };
        for author in order {
            let embedding = members.entry(author.key).or_insert_with(|| self.embedding(seed, &author.key));
            let mut update = floats(&author.update.0);
            add_scaled(&mut update, -less, &mean);
            self.step(&mut net, embedding, &update);
        }
        let mut rows = Vec::new();
        let mut after = fixed(&net.phi)?;
        for (key, embedding) in &members {
            rows.push((*key, fixed(&net.generate(&net.forward(embedding)))?));
            after.extend(fixed(embedding)?);
        }
        Some(Made { rows, hidden: Some(after) })
    }

    /// One step along an author's update.
    fn step(&self, net: &mut Net, embedding: &mut [f32], update: &[f32]) {
        let number = |q: u32| q as f32 / (1u32 << RATE_BITS) as f32;
        let (rate, momentum, decay) = (number(self.rate_q), number(self.momentum_q), number(self.decay_q));
        let forward = net.forward(embedding);
        // The update lies downhill; the gradient is uphill.
        let mut down: Vec<f32> = update.iter().map(|x| -x).collect();
        let mut slopes = Vec::new();
        let mut squares = 0.0f64;
        let layers: Vec<Layer> = net.layers.iter().chain([&net.last]).copied().collect();
        for (i, layer) in layers.iter().enumerate().rev() {
            let input = &forward.inputs[i];
            // The norm of an outer product is the product of the norms.
            squares += norm2(&down) * (norm2(input) + 1.0);
            let mut next = net.back(i, &down);
            if i > 0 && i < net.layers.len() {
                next.iter_mut().zip(input).for_each(|(slope, x)| *slope = if *x > 0.0 { *slope } else { 0.0 });
            }
            slopes.push((*layer, i, std::mem::replace(&mut down, next)));
        }
        squares += norm2(&down);
        let norm = squares.sqrt() as f32;
        let scale = if norm > f32::from(self.clip) { f32::from(self.clip) / norm } else { 1.0 };
        for (layer, i, slope) in &slopes {
            let slope: Vec<f32> = slope.iter().map(|x| x * scale).collect();
            net.descend(*layer, *i, &forward.inputs[*i], &slope, (rate, momentum, decay));
        }
        // An author has one step a round: this gradient is its embedding's velocity.
        for (x, slope) in embedding.iter_mut().zip(&down) {
            *x -= rate * (slope * scale + decay * *x);
        }
    }
}

impl Net {
    fn new(spec: &Hypernetwork, weights: usize, phi: &[i32]) -> Self {
        let (embedding, hidden) = (usize::from(spec.embedding), usize::from(spec.hidden));
        let mut at = 0;
        let mut layer = |inputs: usize, outputs: usize| {
            let layer = Layer { at, inputs, outputs };
            at += (inputs + 1) * outputs;
            layer
        };
        let mut layers = vec![layer(embedding, hidden)];
        layers.extend((0..spec.layers).map(|_| layer(hidden, hidden)));
        let last = layer(hidden, weights);
        Self { layers, last, phi: floats(phi), velocity: vec![0.0; phi.len()] }
    }

    fn views(&self, layer: &Layer) -> (&[f32], &[f32]) {
        let weights = layer.inputs * layer.outputs;
        self.phi[layer.at..layer.at + weights + layer.outputs].split_at(weights)
    }

    fn forward(&self, embedding: &[f32]) -> Forward {
        let mut inputs = vec![embedding.to_vec()];
        for layer in &self.layers {
            let (weight, bias) = self.views(layer);
            let mut row = bias.to_vec();
            if let Some(input) = inputs.last() {
                input.iter().zip(weight.chunks_exact(layer.outputs)).for_each(|(x, w)| add_scaled(&mut row, *x, w));
            }
            // The paper's ReLU stands before each hidden layer, and not before the last one.
            if inputs.len() < self.layers.len() {
                row.iter_mut().for_each(|x| *x = x.max(0.0));
            }
            inputs.push(row);
        }
        Forward { inputs }
    }

    /// All of theta.
    fn generate(&self, forward: &Forward) -> Vec<f32> {
        let (weight, bias) = self.views(&self.last);
        let Some(input) = forward.inputs.last() else { return Vec::new() };
        weight.chunks_exact(self.last.inputs).zip(bias).map(|(w, b)| b + dot(w, input)).collect()
    }

    /// The slope of a layer's input.
    fn back(&self, layer: usize, down: &[f32]) -> Vec<f32> {
        match self.layers.get(layer) {
            Some(spec) => {
                let (weight, _) = self.views(spec);
                weight.chunks_exact(spec.outputs).map(|w| dot(w, down)).collect()
            }
            None => {
                let (weight, _) = self.views(&self.last);
                let mut out = vec![0.0; self.last.inputs];
                weight.chunks_exact(self.last.inputs).zip(down).for_each(|(w, d)| add_scaled(&mut out, *d, w));
                out
            }
        }
    }

    /// One step of a layer's weights and bias.
    fn descend(&mut self, layer: Layer, place: usize, input: &[f32], slope: &[f32], numbers: (f32, f32, f32)) {
        let (rate, momentum, decay) = numbers;
        let weights = layer.inputs * layer.outputs;
        let range = layer.at..layer.at + weights + layer.outputs;
        let (phi, bias) = self.phi[range.clone()].split_at_mut(weights);
        let (velocity, bias_velocity) = self.velocity[range].split_at_mut(weights);
        let go = |x: &mut f32, v: &mut f32, slope: f32| {
            *v = momentum * *v + (slope + decay * *x);
            *x -= rate * *v;
        };
        // Rows are of inputs, in the last layer of outputs.
        let (rows, columns) = if place < self.layers.len() { (input, slope) } else { (slope, input) };
        let both = phi.chunks_exact_mut(columns.len()).zip(velocity.chunks_exact_mut(columns.len()));
        for (row, (phi, velocity)) in rows.iter().zip(both) {
            phi.iter_mut().zip(velocity).zip(columns).for_each(|((x, v), column)| go(x, v, row * column));
        }
        bias.iter_mut().zip(bias_velocity).zip(slope).for_each(|((x, v), slope)| go(x, v, *slope));
    }
}

/// Sums that are kept side by side in a product, so that it need not wait for each addition.
const LANES: usize = 8;

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

fn add_scaled(y: &mut [f32], a: f32, x: &[f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
}

fn norm2(x: &[f32]) -> f64 {
    x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum()
}

fn floats(fixed: &[i32]) -> Vec<f32> {
    let step = 1.0 / (1u32 << DEFAULT_SCALE_BITS) as f32;
    fixed.iter().map(|&q| q as f32 * step).collect()
}

/// Fixed point, rounded half to even; nothing if a number is not finite or does not fit.
fn fixed(numbers: &[f32]) -> Option<Vec<i32>> {
    let one = |x: &f32| {
        let q = (f64::from(*x) * f64::from(1u32 << DEFAULT_SCALE_BITS)).round_ties_even();
        // Of something that is not a number this is false too.
        (q.abs() <= f64::from(MAX_COORDINATE)).then_some(q as i32)
    };
    numbers.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tensor::FixedVector;

    const SMALL: Hypernetwork = Hypernetwork {
        embedding: 2,
        hidden: 3,
        layers: 1,
        common_q: 1 << 24,
        rate_q: 1 << 22,
        momentum_q: 1 << 23,
        decay_q: 1 << 20,
        clip: 1,
    };

    fn drawn(count: usize, salt: usize) -> Vec<i32> {
        (0..count).map(|i| (((37 * i + 11 * salt) % 65) as i32 - 32) << 19).collect()
    }

    fn near(found: &[f32], golden: &[f64]) {
        assert_eq!(found.len(), golden.len());
        for (i, (found, golden)) in found.iter().zip(golden).enumerate() {
            assert!((f64::from(*found) - golden).abs() < 1e-6, "{i}: {found} {golden}");
        }
    }

    /// Golden values: `scripts/server_oracle.py pfedhn`, by PyTorch's autograd.
    #[test]
    fn two_steps_are_what_autograd_makes_of_them() {
        let mut net = Net::new(&SMALL, 5, &drawn(SMALL.tensors(5).len(), 1));
        let mut embeddings = [floats(&drawn(2, 6)), floats(&drawn(2, 7))];
        for (i, embedding) in embeddings.iter_mut().enumerate() {
            SMALL.step(&mut net, embedding, &floats(&drawn(5, 8 + i)));
        }
        near(&net.phi, &PHI);
        near(&embeddings.concat(), &EMBEDDINGS);
        near(&net.generate(&net.forward(&embeddings[0])), &THETA);
    }

    const PHI: [f64; 41] = [
        -0.528179167,
        0.480590820,
        -0.443355062,
        0.720704479,
        -0.090110779,
        -0.932163918,
        0.065354562,
        -0.660812378,
        0.521380051,
        -0.271907416,
        0.635834832,
        -0.144152732,
        -0.961181641,
        0.150184631,
        -0.690849304,
        0.493102425,
        -0.467471280,
        0.701604219,
        -0.026006219,
        0.870707124,
        0.088025726,
        -0.717268607,
        0.371650860,
        -0.457508816,
        0.662505411,
        -0.200047345,
        0.935129374,
        0.082909440,
        -0.707315624,
        0.370261287,
        -0.454133165,
        0.480135428,
        -0.252623270,
        0.883087487,
        0.166118100,
        -0.754368818,
        0.317396557,
        -0.524905978,
        0.631190838,
        -0.345058036,
        0.944985119,
    ];
    const EMBEDDINGS: [f64; 4] = [-0.942396716, 0.064034494, -0.581989914, 0.542890670];
    const THETA: [f64; 5] = [0.176170831, 0.043224044, 0.280743554, -0.204250489, 0.833757353];

    #[test]
    fn what_authors_wish_for_comes_closer_and_others_embeddings_stay() {
        let hyper = Hypernetwork { rate_q: 1 << 20, momentum_q: 0, decay_q: 0, clip: 50, ..SMALL };
        let (seed, keys) = (Digest([5; 32]), [PublicKey([1; 32]), PublicKey([2; 32])]);
        let first: Vec<Vec<i32>> = keys.iter().map(|key| hyper.first_row(5, &seed, key)).collect();
        assert_ne!(first[0], first[1], "each has its own from the start");
        let update = FixedVector(vec![1 << 22; 5]);
        let authors = [Author { key: keys[0], weight: 1, update: &update }];
        let round = Round { authors: &authors, members: &keys, list: &[] };
        let genesis = hyper.genesis(5, &seed);
        let made = hyper.derive(5, &seed, (&[], &genesis), &round).unwrap();
        assert_eq!(made.rows.len(), 1, "who has not contributed has no row");
        assert!(made.rows[0].1.iter().zip(&first[0]).all(|(new, old)| new > old));
        let hidden = made.hidden.unwrap();
        let authors = [Author { key: keys[1], weight: 1, update: &update }];
        let round = Round { authors: &authors, ..round };
        let again = hyper.derive(5, &seed, (&[&keys[0]], &hidden), &round).unwrap();
        assert_eq!(again.rows.len(), 2);
        let after = again.hidden.unwrap();
        assert_eq!(after[after.len() - 4..after.len() - 2], hidden[hidden.len() - 2..]);
        let alone = Round { members: &keys[1..], ..round };
        assert_eq!(
            hyper.derive(5, &seed, (&[&keys[0]], &hidden), &alone).unwrap().rows.len(),
            1,
            "who left is forgotten"
        );
    }
}
