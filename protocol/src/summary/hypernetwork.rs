//! A network that generates each member's model from an embedding of the member (pFedHN, arXiv 2103.04628, algorithm 1).
//!
//! ```text
//! theta_i = h(e_i; phi): embedding - linear - (relu - linear) x layers = z_i, and all of theta_i = W (z_i, 1)
//! d_i = what author i has changed in its theta_i, clipped in norm, so theta~_i = theta_i + d_i; all authors of a round have trained from one phi
//! g_i = the vector-Jacobian product of h at (e_i, phi) with -d_i, clipped in norm: the gradient of 1/2 |h(e_i; phi) - theta~_i|^2
//! e_i <- e_i - rate g_i;  phi without W <- phi - rate (mean of g_i)
//! W   <- the W' with the least  sum of |theta~_i - W' (z_i, 1)|^2 + hold |W' - W|^2      with the new z_i
//! rows: theta_i with the new phi, for all who have one
//! ```
//!
//! The paper's server visits one client a step: each begins with what came of the one before, and so corrects it. Here all authors have
//! trained from one phi, and what they all want would be done once for each of them; at the paper's rate phi does not settle then,
//! for the gradient through `W` alone moves theta by some hundred times the rate. So `W`, in which the loss is quadratic, takes the
//! paper's step on all authors at a time in its implicit form: the slope is taken where the step ends, at the rate `1 / hold`. With a
//! small rate both forms are the same; this one never overshoots, however many authors there are.
//!
//! All arithmetic is in single precision with the four operations and the square root in one order, and double precision for the
//! least squares, which is as exact everywhere; `phi` itself has 24 fraction bits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::derivation::{Made, Round};
use super::descent::RATE_BITS;
use super::exact::linear;
use super::ridge;
use crate::hash::{Digest, Stream};
use crate::keys::PublicKey;
use crate::tensor::{DEFAULT_SCALE_BITS, MAX_COORDINATE, Schema, TensorSpec};

/// Most hidden layers. Too low and deeper generators do not fit.
pub const MAX_LAYERS: u8 = 8;

/// Widest hidden layers. Too low and wider generators do not fit; a round's least squares cost every voter its cube.
pub const MAX_HIDDEN: u16 = 1024;

/// A network that generates members' models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hypernetwork {
    /// Numbers of an embedding.
    pub embedding: u16,
    /// Width of its hidden layers, at most [`MAX_HIDDEN`].
    pub hidden: u16,
    /// Hidden layers behind the first, at most [`MAX_LAYERS`].
    pub layers: u8,
    /// Rate of embeddings and hidden layers, times 2^24.
    pub rate_q: u32,
    /// What holds the last layer where it is, times 2^24; above 0. The less, the nearer a round comes to what its authors want.
    pub hold_q: u32,
    /// Largest norm of what an author has changed, and of its gradient.
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

impl Forward {
    /// What the last layer reads.
    fn features(&self) -> &[f32] {
        self.inputs.last().map_or(&[], Vec::as_slice)
    }
}

struct Net {
    layers: Vec<Layer>,
    /// The last layer is stored by outputs, `[theta, hidden]`, and has its bias behind it.
    last: Layer,
    phi: Vec<f32>,
}

/// An author while a round is derived.
struct Visit {
    key: PublicKey,
    embedding: Vec<f32>,
    update: Vec<f32>,
    forward: Forward,
}

impl Hypernetwork {
    pub(super) const fn fits(&self) -> bool {
        let sizes = self.embedding > 0 && self.hidden > 0 && self.hidden <= MAX_HIDDEN && self.layers <= MAX_LAYERS;
        sizes && self.hold_q > 0 && self.clip > 0
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
        let forward = net.forward(&self.embedding(seed, key));
        net.generate(&[forward.features()]).and_then(|mut rows| rows.pop()).unwrap_or_else(|| vec![0; weights])
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
        let mut visits = Vec::new();
        for author in round.authors {
            let embedding = members.remove(&author.key).unwrap_or_else(|| self.embedding(seed, &author.key));
            let (forward, update) = (net.forward(&embedding), floats(&author.update.0));
            visits.push(Visit { key: author.key, embedding, update, forward });
        }
        self.learn(&mut net, &mut visits)?;
        members.extend(visits.into_iter().map(|visit| (visit.key, visit.embedding)));
        let forwards: Vec<Forward> = members.values().map(|embedding| net.forward(embedding)).collect();
        let rows = net.generate(&forwards.iter().map(Forward::features).collect::<Vec<_>>())?;
        let mut after = fixed(&net.phi)?;
        for embedding in members.values() {
            after.extend(fixed(embedding)?);
        }
        Some(Made { rows: members.into_keys().zip(rows).collect(), hidden: Some(after) })
    }

    /// A round's step of everything; nothing if its least squares have no solution.
    fn learn(&self, net: &mut Net, visits: &mut [Visit]) -> Option<()> {
        let number = |q: u32| f64::from(q) / f64::from(1u32 << RATE_BITS);
        let (rate, hold) = (number(self.rate_q) as f32, number(self.hold_q));
        for visit in visits.iter_mut() {
            let scale = self.clipped(norm2(&visit.update));
            visit.update.iter_mut().for_each(|x| *x *= scale);
        }
        let mut slopes = vec![0.0; net.last.at];
        let wishes = net.back(&visits.iter().map(|visit| visit.update.as_slice()).collect::<Vec<_>>());
        let mean = 1.0 / visits.len().max(1) as f32;
        for (visit, wish) in visits.iter_mut().zip(wishes) {
            self.slopes(net, visit, wish, (rate, mean), &mut slopes);
        }
        add_scaled(&mut net.phi, -rate, &slopes);
        // What is missing of theta~ is d and what the last layer now answers less; the bias takes no part in that.
        let mut moved = Vec::new();
        let mut features = Vec::new();
        for visit in visits.iter() {
            let forward = net.forward(&visit.embedding);
            let pairs = visit.forward.features().iter().zip(forward.features());
            moved.push(pairs.map(|(before, now)| before - now).collect::<Vec<f32>>());
            features.push(forward.features().iter().copied().chain([1.0]).map(f64::from).collect::<Vec<f64>>());
        }
        let shares = ridge::shares(&features, hold)?;
        let shares: Vec<Vec<f32>> = shares.iter().map(|share| share.iter().map(|x| *x as f32).collect()).collect();
        let (weights, bias) = net.phi[net.last.at..].split_at_mut(net.last.inputs * net.last.outputs);
        for (i, (row, bias)) in weights.chunks_exact_mut(net.last.inputs).zip(bias).enumerate() {
            let missing: Vec<f32> = visits.iter().zip(&moved).map(|(v, moved)| v.update[i] + dot(row, moved)).collect();
            for (missing, share) in missing.iter().zip(&shares) {
                add_scaled(row, *missing, share);
                *bias += missing * share[row.len()];
            }
        }
        Some(())
    }

    /// By how much something of this squared norm is scaled down.
    fn clipped(&self, squares: f64) -> f32 {
        let (norm, most) = (squares.sqrt() as f32, f32::from(self.clip));
        if norm > most { most / norm } else { 1.0 }
    }

    /// Adds an author's part in the slopes of the layers before the last one, and moves its embedding; `wish` is the product of the last
    /// layer and its update.
    fn slopes(&self, net: &Net, visit: &mut Visit, wish: Vec<f32>, (rate, mean): (f32, f32), slopes: &mut [f32]) {
        // The update lies downhill; the gradient is uphill.
        let mut down: Vec<f32> = wish.iter().map(|x| -x).collect();
        // The norm of an outer product is the product of the norms.
        let mut squares = norm2(&visit.update) * (norm2(visit.forward.features()) + 1.0);
        let mut outer = Vec::new();
        for (i, layer) in net.layers.iter().enumerate().rev() {
            let input = &visit.forward.inputs[i];
            squares += norm2(&down) * (norm2(input) + 1.0);
            let (weight, _) = net.views(layer);
            let mut next: Vec<f32> = weight.chunks_exact(layer.outputs).map(|w| dot(w, &down)).collect();
            if i > 0 {
                next.iter_mut().zip(input).for_each(|(slope, x)| *slope = if *x > 0.0 { *slope } else { 0.0 });
            }
            outer.push((layer, input, std::mem::replace(&mut down, next)));
        }
        squares += norm2(&down);
        let scale = self.clipped(squares);
        for (layer, input, slope) in outer {
            let (weight, bias) = slopes[layer.range()].split_at_mut(layer.inputs * layer.outputs);
            for (x, row) in input.iter().zip(weight.chunks_exact_mut(layer.outputs)) {
                add_scaled(row, mean * scale * x, &slope);
            }
            add_scaled(bias, mean * scale, &slope);
        }
        add_scaled(&mut visit.embedding, -rate * scale, &down);
    }
}

impl Layer {
    const fn range(&self) -> std::ops::Range<usize> {
        self.at..self.at + (self.inputs + 1) * self.outputs
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
        Self { layers, last, phi: floats(phi) }
    }

    fn views(&self, layer: &Layer) -> (&[f32], &[f32]) {
        self.phi[layer.range()].split_at(layer.inputs * layer.outputs)
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

    /// All of theta for each of these features, in fixed point. The last layer, by far the largest, is read once.
    fn generate(&self, features: &[&[f32]]) -> Option<Vec<Vec<i32>>> {
        let (weight, bias) = self.views(&self.last);
        let mut rows: Vec<Vec<i32>> = features.iter().map(|_| Vec::with_capacity(bias.len())).collect();
        for (weight, bias) in weight.chunks_exact(self.last.inputs).zip(bias) {
            for (row, features) in rows.iter_mut().zip(features) {
                row.push(fixed_one(bias + dot(weight, features))?);
            }
        }
        Some(rows)
    }

    /// The products of the last layer, turned over, and each of these; it is read once.
    fn back(&self, updates: &[&[f32]]) -> Vec<Vec<f32>> {
        let (weight, _) = self.views(&self.last);
        let mut out = vec![vec![0.0; self.last.inputs]; updates.len()];
        for (i, row) in weight.chunks_exact(self.last.inputs).enumerate() {
            out.iter_mut().zip(updates).for_each(|(out, update)| add_scaled(out, update[i], row));
        }
        out
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
    numbers.iter().map(|x| fixed_one(*x)).collect()
}

fn fixed_one(x: f32) -> Option<i32> {
    let q = (f64::from(x) * f64::from(1u32 << DEFAULT_SCALE_BITS)).round_ties_even();
    // Of something that is not a number this is false too.
    (q.abs() <= f64::from(MAX_COORDINATE)).then_some(q as i32)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::derivation::Author;
    use super::*;
    use crate::tensor::FixedVector;

    const SMALL: Hypernetwork =
        Hypernetwork { embedding: 2, hidden: 3, layers: 1, rate_q: 1 << 22, hold_q: 1 << 20, clip: 1 };

    fn drawn(count: usize, salt: usize) -> Vec<i32> {
        (0..count).map(|i| (((37 * i + 11 * salt) % 65) as i32 - 32) << 19).collect()
    }

    fn near(found: &[f32], golden: &[f64]) {
        assert_eq!(found.len(), golden.len());
        for (i, (found, golden)) in found.iter().zip(golden).enumerate() {
            assert!((f64::from(*found) - golden).abs() < 1e-6, "{i}: {found} {golden}");
        }
    }

    /// Golden values: `scripts/server_oracle.py pfedhn`, by PyTorch's autograd and its solver of least squares.
    #[test]
    fn a_round_is_what_autograd_and_least_squares_make_of_it() {
        let mut net = Net::new(&SMALL, 5, &drawn(SMALL.tensors(5).len(), 1));
        let visit = |i: usize| {
            let embedding = floats(&drawn(2, 6 + i));
            let update = floats(&drawn(5, 8 + i)).iter().map(|x| x / (i + 1) as f32).collect();
            Visit { key: PublicKey([i as u8; 32]), forward: net.forward(&embedding), embedding, update }
        };
        let mut visits = [visit(0), visit(1)];
        SMALL.learn(&mut net, &mut visits).unwrap();
        near(&net.phi, &PHI);
        near(&[visits[0].embedding.clone(), visits[1].embedding.clone()].concat(), &EMBEDDINGS);
        let rows = net.generate(&[net.forward(&visits[0].embedding).features()]).unwrap();
        near(&floats(&rows[0]), &THETA);
    }

    const PHI: [f64; 41] = [
        -0.619953563,
        0.500000000,
        -0.399559827,
        0.769594042,
        -0.093750000,
        -0.971956458,
        0.146027658,
        -0.687500000,
        0.487217779,
        -0.362221707,
        0.715580531,
        -0.148994221,
        -1.000000000,
        0.156250000,
        -0.718750000,
        0.461493699,
        -0.452621105,
        0.724120762,
        -0.111347062,
        0.965225093,
        0.102194743,
        -0.768699243,
        0.474321036,
        -0.469805697,
        1.167250327,
        -0.505741632,
        1.754353671,
        -0.106857848,
        -0.698564264,
        0.019738705,
        -0.630196763,
        0.637536286,
        -0.487758520,
        0.887553677,
        0.147643949,
        -0.866664671,
        0.384889899,
        -0.330518475,
        0.496744187,
        -0.396901844,
        0.931101162,
    ];
    const EMBEDDINGS: [f64; 4] = [-0.957533435, 0.066964182, -0.595634951, 0.551203963];
    const THETA: [f64; 5] = [0.692515391, 0.042974724, -0.304554624, 0.087362159, 0.588427927];

    #[test]
    fn what_authors_wish_for_comes_closer_and_others_embeddings_stay() {
        let hyper = Hypernetwork { rate_q: 1 << 20, clip: 50, ..SMALL };
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
