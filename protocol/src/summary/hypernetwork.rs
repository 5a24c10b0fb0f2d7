//! A network that generates each member's model from an embedding of the member (pFedHN, arXiv 2103.04628, algorithm 1).
//!
//! ```text
//! theta_i = h(e_i; phi): embedding - linear - (relu - linear) x layers - linear to all of theta
//! passes times over a round's authors, each time in an order drawn from their updates:
//!     g = the vector-Jacobian product of h at (e_i, phi) with h(e_i; phi) - theta~_i, theta~_i what author i made of its theta_i
//!     v = momentum v + clip(g) + decay (phi, e_i);  (phi, e_i) <- (phi, e_i) - rate v
//! rows: theta_i with the new phi, for all who have one
//! ```
//!
//! The paper's server visits one client a step, so that its client's theta_i is always h(e_i; phi). Here all authors of a round have trained
//! from the phi of the round before; the difference is taken to what phi gives when their turn comes, as the paper's objective
//! `|h(e_i; phi) - theta~_i|^2` says. With the differences to what they had begun with, steps of authors add up that want the same, and
//! phi does not settle. The velocity of phi and of the embeddings begins at zero in every round, so that it need not be kept.
//!
//! All arithmetic is in single precision with the four operations and the square root in one order, which is as exact everywhere as double
//! precision is; `phi` itself has 24 fraction bits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::derivation::{Made, Round};
use super::exact::linear;
use crate::hash::{Digest, Stream, hash};
use crate::keys::PublicKey;
use crate::tensor::{DEFAULT_SCALE_BITS, MAX_COORDINATE, Schema, TensorSpec};

/// Most hidden layers. Too low and deeper generators do not fit.
pub const MAX_LAYERS: u8 = 8;

/// Most passes over a round's authors. Too low and rates must be high; it bounds the work of a round's merge.
pub const MAX_PASSES: u8 = 64;

/// Fraction bits of rate, momentum and decay.
const BITS: u8 = 24;

/// A network that generates members' models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hypernetwork {
    /// Numbers of an embedding.
    pub embedding: u16,
    /// Width of its hidden layers.
    pub hidden: u16,
    /// Hidden layers behind the first, at most [`MAX_LAYERS`].
    pub layers: u8,
    /// Passes over a round's authors, 1 to [`MAX_PASSES`].
    pub passes: u8,
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
        let passes = self.passes > 0 && self.passes <= MAX_PASSES;
        sizes && passes && self.momentum_q < 1 << BITS && self.clip > 0
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
        let mut order: Vec<PublicKey> = round.authors.iter().map(|author| author.key).collect();
        let mut names = Vec::new();
        for author in round.authors {
            names.extend(hash("update", &author.update.to_bytes()).0);
        }
        // What each author had begun with, and what it made of it.
        let mut wishes: BTreeMap<PublicKey, Vec<f32>> = BTreeMap::new();
        for author in round.authors {
            let begun = match members.get(&author.key) {
                Some(embedding) => fixed(&net.generate(&net.forward(embedding)))?,
                None if known.is_empty() => fixed(&net.generate(&net.forward(&self.embedding(seed, &author.key))))?,
                None => self.first_row(weights, seed, &author.key),
            };
            let wish = begun.iter().zip(&author.update.0).map(|(a, b)| a.saturating_add(*b));
            wishes.insert(author.key, floats(&wish.collect::<Vec<_>>()));
        }
        for author in round.authors {
            members.entry(author.key).or_insert_with(|| self.embedding(seed, &author.key));
        }
        let mut stream = Stream::new("order of authors", &[&names]);
        for _ in 0..self.passes {
            stream.shuffle(&mut order);
            for key in &order {
                let (Some(embedding), Some(wish)) = (members.get_mut(key), wishes.get(key)) else { continue };
                let now = net.generate(&net.forward(embedding));
                let missing: Vec<f32> = wish.iter().zip(now).map(|(wish, now)| wish - now).collect();
                self.step(&mut net, embedding, &missing);
            }
        }
        let mut rows = Vec::new();
        let mut after = fixed(&net.phi)?;
        for (key, embedding) in &members {
            rows.push((*key, fixed(&net.generate(&net.forward(embedding)))?));
            after.extend(fixed(embedding)?);
        }
        Some(Made { rows, hidden: Some(after) })
    }

    /// One step towards what is missing in an author's row.
    fn step(&self, net: &mut Net, embedding: &mut [f32], missing: &[f32]) {
        let number = |q: u32| q as f32 / (1u32 << BITS) as f32;
        let (rate, momentum, decay) = (number(self.rate_q), number(self.momentum_q), number(self.decay_q));
        let forward = net.forward(embedding);
        // What is missing lies downhill; the gradient is uphill.
        let mut down: Vec<f32> = missing.iter().map(|x| -x).collect();
        let mut slopes = Vec::new();
        let mut squares = 0.0f64;
        let layers: Vec<Layer> = net.layers.iter().chain([&net.last]).copied().collect();
        for (i, layer) in layers.iter().enumerate().rev() {
            let input = &forward.inputs[i];
            // The norm of an outer product is the product of the norms.
            squares += norm2(&down) * (norm2(input) + 1.0);
            let mut next = net.back(i, &down);
            if i > 0 {
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
        // Without a velocity: an author's next step may be rounds away.
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
            // What the next layer reads; the paper's ReLU stands before each.
            row.iter_mut().for_each(|x| *x = x.max(0.0));
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
    use crate::summary::Author;
    use crate::tensor::FixedVector;

    const SMALL: Hypernetwork = Hypernetwork {
        embedding: 2,
        hidden: 3,
        layers: 1,
        passes: 1,
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
        -0.550544213,
        0.480590820,
        -0.423436870,
        0.727900144,
        -0.090110779,
        -0.940904124,
        0.090920584,
        -0.660812378,
        0.496594409,
        -0.390480042,
        0.611186446,
        -0.118653557,
        -0.961181641,
        0.150184631,
        -0.690849304,
        0.420516968,
        -0.482978338,
        0.721270568,
        -0.150184631,
        0.846069751,
        0.116427542,
        -0.720886230,
        0.359542798,
        -0.461289838,
        0.660812378,
        -0.161141438,
        0.945576760,
        0.090110779,
        -0.708003273,
        0.370993105,
        -0.480590820,
        0.443917606,
        -0.265931398,
        0.901107788,
        0.176850863,
        -0.749124160,
        0.309053007,
        -0.498573940,
        0.630982644,
        -0.370576226,
        0.952912281,
    ];
    const EMBEDDINGS: [f64; 4] = [-0.947356621, 0.082217796, -0.581054719, 0.559414843];
    const THETA: [f64; 5] = [0.328672916, -0.043106163, 0.254681568, -0.155572324, 0.634411510];

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
