//! Class prototypes that are trained apart from each other (FedTGP, arXiv 2401.03230, algorithm 1).
//!
//! ```text
//! T = W2 relu(W1 E + b1) + b2, a row for each class; E, W1, b1, W2, b2 stay from round to round
//! margin = min(most, max_c min_c' |mean_c - mean_c'|), of the list's class means
//! each step: d_bc = |p_b - T_c| + margin [c = y_b];  down the slope of CE(softmax(-d_b), y_b)
//! ```

use serde::{Deserialize, Serialize};

use super::descent::{Descent, Sample, samples};
use super::exact::{add_scaled, fixed, linear, numbers, slope_of_cross_entropy};
use super::means;
use crate::prototypes::PrototypeSpec;
use crate::tensor::{DEFAULT_SCALE_BITS, TensorSpec};

/// Squared distances are not taken to be smaller: a root has no slope at 0.
const LEAST: f64 = 1e-24;

/// How targets are trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Apart {
    /// The descent.
    pub descent: Descent,
    /// The largest margin.
    pub most_margin: u16,
}

/// `E`, both layers, and behind them, as of [`means`], the targets and which classes have one.
pub(super) fn tensors(prototypes: &PrototypeSpec, classes: usize) -> Vec<TensorSpec> {
    let len = u32::from(prototypes.len);
    let mut tensors = vec![TensorSpec::new("targets.classes", &[classes as u32, len], 1)];
    tensors.extend(linear("targets.first", len, len));
    tensors.extend(linear("targets.second", len, len));
    tensors.extend(means::tensors(prototypes, classes));
    tensors
}

/// The targets after training on a list; as they were, if they would leave their range or the list is empty.
pub(super) fn derive(
    apart: &Apart,
    prototypes: &PrototypeSpec,
    classes: usize,
    before: &[i32],
    list: &[u8],
) -> Vec<i32> {
    let len = usize::from(prototypes.len);
    let samples = samples(prototypes, classes, list);
    if samples.list.is_empty() {
        return before.to_vec();
    }
    let (weights, shown) = before.split_at(before.len() - classes * (len + 1));
    let margin = margin(&samples.list, classes, len).min(f64::from(apart.most_margin));
    let mut net = Net { classes, len, values: numbers(weights, DEFAULT_SCALE_BITS) };
    for batch in apart.descent.batches(&samples) {
        let slope = net.slope(&batch, margin);
        add_scaled(&mut net.values, -apart.descent.rate() / batch.len() as f64, &slope);
    }
    let (Some(mut after), Some(mut targets)) =
        (fixed(&net.values, DEFAULT_SCALE_BITS), fixed(&net.forward().targets, prototypes.scale_bits))
    else {
        return before.to_vec();
    };
    let mut known = shown[classes * len..].to_vec();
    samples.list.iter().for_each(|sample| known[sample.class] = means::KNOWN);
    after.append(&mut targets);
    after.append(&mut known);
    after
}

/// The largest, over classes, of the distance to the nearest other class's mean; 0 if there is one class only.
fn margin(samples: &[Sample], classes: usize, len: usize) -> f64 {
    let mut sums = vec![vec![0.0; len]; classes];
    let mut counts = vec![0.0; classes];
    for sample in samples {
        add_scaled(&mut sums[sample.class], 1.0, &sample.values);
        counts[sample.class] += 1.0;
    }
    let mut means = Vec::new();
    for (sum, count) in sums.iter().zip(counts).filter(|(_, count)| *count > 0.0) {
        means.push(sum.iter().map(|x| x / count).collect::<Vec<f64>>());
    }
    let gap = |i: usize| {
        let others = means.iter().enumerate().filter(|(j, _)| *j != i);
        others.map(|(_, other)| distance(&means[i], other)).fold(f64::INFINITY, f64::min)
    };
    if means.len() < 2 { 0.0 } else { (0..means.len()).map(gap).fold(0.0, f64::max) }
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    let squared: f64 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
    squared.max(LEAST).sqrt()
}

/// `E`, `W1`, `b1`, `W2`, `b2`, one after the other.
struct Net {
    classes: usize,
    len: usize,
    values: Vec<f64>,
}

struct Forward {
    hidden: Vec<f64>,
    targets: Vec<f64>,
}

/// Views of the five tensors.
struct Views<'a> {
    classes: &'a [f64],
    layers: [(&'a [f64], &'a [f64]); 2],
}

impl Net {
    fn views(&self) -> Views<'_> {
        let (classes, rest) = self.values.split_at(self.classes * self.len);
        let (first, second) = rest.split_at(self.len * (self.len + 1));
        let layer = |values| <[f64]>::split_at(values, self.len * self.len);
        Views { classes, layers: [layer(first), layer(second)] }
    }

    fn forward(&self) -> Forward {
        let Views { classes, layers: [first, second] } = self.views();
        let mut hidden = self.layer(classes, first);
        hidden.iter_mut().for_each(|x| *x = x.max(0.0));
        let targets = self.layer(&hidden, second);
        Forward { hidden, targets }
    }

    /// `x W + b`, row by row.
    fn layer(&self, x: &[f64], (weight, bias): (&[f64], &[f64])) -> Vec<f64> {
        let mut out = Vec::with_capacity(x.len());
        for row in x.chunks_exact(self.len) {
            let mut sum = bias.to_vec();
            row.iter().zip(weight.chunks_exact(self.len)).for_each(|(x, weights)| add_scaled(&mut sum, *x, weights));
            out.append(&mut sum);
        }
        out
    }

    /// The slope of a batch's summed loss.
    fn slope(&self, batch: &[&Sample], margin: f64) -> Vec<f64> {
        let Forward { hidden, targets } = self.forward();
        let mut down = vec![0.0; targets.len()];
        for sample in batch {
            let rows = || targets.chunks_exact(self.len);
            let distances: Vec<f64> = rows().map(|target| distance(&sample.values, target)).collect();
            let mut logits: Vec<f64> = distances.iter().map(|d| -d).collect();
            logits[sample.class] -= margin;
            slope_of_cross_entropy(&mut logits, sample.class);
            for (c, (target, down)) in rows().zip(down.chunks_exact_mut(self.len)).enumerate() {
                // d(-d_c)/dT_c = (p - T_c) / d_c
                let by = logits[c] / distances[c];
                add_scaled(down, by, &sample.values);
                add_scaled(down, -by, target);
            }
        }
        let Views { classes, layers: [first, second] } = self.views();
        let (mut to_hidden, second) = self.layer_slope(&hidden, second.0, &down);
        to_hidden.iter_mut().zip(&hidden).for_each(|(slope, h)| *slope = if *h > 0.0 { *slope } else { 0.0 });
        let (to_classes, first) = self.layer_slope(classes, first.0, &to_hidden);
        [to_classes, first, second].concat()
    }

    /// Slopes of a layer's inputs, and of its weight and bias, one after the other.
    fn layer_slope(&self, x: &[f64], weight: &[f64], down: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let len = self.len;
        let mut inputs = vec![0.0; x.len()];
        let mut own = vec![0.0; len * (len + 1)];
        let (weights, bias) = own.split_at_mut(len * len);
        // By columns, so that each sum runs over contiguous numbers in one order.
        let transposed: Vec<f64> = (0..len * len).map(|i| weight[i % len * len + i / len]).collect();
        for ((x, inputs), down) in x.chunks_exact(len).zip(inputs.chunks_exact_mut(len)).zip(down.chunks_exact(len)) {
            x.iter().zip(weights.chunks_exact_mut(len)).for_each(|(x, weights)| add_scaled(weights, *x, down));
            add_scaled(bias, 1.0, down);
            down.iter().zip(transposed.chunks_exact(len)).for_each(|(d, column)| add_scaled(inputs, *d, column));
        }
        (inputs, own)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::summary::Summary;

    fn spec(most_margin: u16, epochs: u16) -> (Apart, PrototypeSpec) {
        let apart = Apart { descent: Descent::new(0.05, epochs, 3), most_margin };
        (apart, PrototypeSpec { len: 4, scale_bits: 24, summary: Some(Summary::Targets(apart)) })
    }

    fn genesis(spec: &PrototypeSpec) -> Vec<i32> {
        let schema = crate::tensor::Schema { tensors: tensors(spec, 3) };
        schema.genesis(&crate::hash::Digest([7; 32])).0
    }

    /// The slope against differences of the loss, which is written out once more here.
    #[allow(clippy::disallowed_methods)]
    #[test]
    fn the_slope_is_that_of_the_loss() {
        let (_, spec) = spec(100, 1);
        let values = numbers(&genesis(&spec)[..3 * 4 + 2 * 20], 24);
        let net = |values: &[f64]| Net { classes: 3, len: 4, values: values.to_vec() };
        let batch = [
            Sample { class: 0, values: vec![0.3, -1.0, 0.5, 2.0] },
            Sample { class: 2, values: vec![-0.7, 0.1, 0.9, -0.2] },
        ];
        let batch: Vec<&Sample> = batch.iter().collect();
        let loss = |values: &[f64]| -> f64 {
            let targets = net(values).forward().targets;
            let of = |sample: &&Sample| {
                let logit = |c: usize| {
                    -distance(&sample.values, &targets[4 * c..4 * c + 4]) - if c == sample.class { 0.75 } else { 0.0 }
                };
                (0..3).map(|c| logit(c).exp()).sum::<f64>().ln() - logit(sample.class)
            };
            batch.iter().map(of).sum()
        };
        let slope = net(&values).slope(&batch, 0.75);
        for i in 0..values.len() {
            let moved = |by: f64| {
                let mut values = values.clone();
                values[i] += by;
                loss(&values)
            };
            let expected = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            assert!((slope[i] - expected).abs() < 1e-7, "{i}: {} {expected}", slope[i]);
        }
    }

    #[test]
    fn targets_go_to_their_prototypes_and_stay_when_nothing_comes() {
        let (apart, spec) = spec(1, 200);
        let points: [(u16, [f32; 4]); 2] = [(0, [2.0, 0.0, 0.0, 0.0]), (2, [0.0, 2.0, 0.0, 0.0])];
        let mut list = Vec::new();
        for author in 0..3 {
            let section = spec.encode(points.iter().map(|(c, v)| (*c, v.as_slice())), 3).unwrap();
            spec.append(&mut list, author, &section);
        }
        let before = genesis(&spec);
        let after = derive(&apart, &spec, 3, &before, &list);
        assert_eq!(after.len(), before.len());
        let shown = &after[after.len() - 15..];
        assert_eq!(&shown[12..], [means::KNOWN, 0, means::KNOWN]);
        let targets = numbers(&shown[..12], 24);
        for (class, point) in points {
            let point = point.map(f64::from);
            let apart = |c: usize| distance(&point, &targets[4 * c..4 * c + 4]);
            let nearest = (0..3).min_by(|a, b| apart(*a).total_cmp(&apart(*b))).unwrap();
            assert_eq!(nearest, usize::from(class));
        }
        assert_eq!(derive(&apart, &spec, 3, &after, &[]), after);
    }
}
