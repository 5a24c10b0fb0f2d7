//! Linear models of related tasks, one for each member, and what relates them (MOCHA, arXiv 1705.10467).
//!
//! ```text
//! primal:  sum_t 1/n_t sum_i hinge(y_i <w_t, x_i>) + lambda tr(W S^-1 W^T) + mu |W|^2        (equation 1, with Omega = S^-1)
//! dual:    v_t = 1/n_t sum_i a_i y_i x_i is what a member sends;  W = V K,  K = 1/2 S (lambda I + mu S)^-1
//! S:       (W^T W)^1/2 / tr (W^T W)^1/2, after every round (section 3.2); or fixed, (I - 11^T/m)^2 in place of S^-1
//! row t:   w_t, and the bound sigma' K_tt on the curvature of its subproblem, sigma' = max_t sum_s |K_ts| / K_tt
//! ```
//!
//! Members who send nothing in a round are the paper's that drop out (theta = 1): their `v_t` stays. Classes are tasks of one member
//! that share its place in `S`. Members that come are unrelated to all others at first; those that leave are forgotten.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::derivation::{Made, Round};
use super::eigen::Eigen;
use super::exact::{add_scaled, fixed, numbers, quantised};
use crate::keys::PublicKey;
use crate::tensor::{DEFAULT_SCALE_BITS, Schema, TensorSpec};

/// Fraction bits of lambda and mu.
const BITS: u8 = 30;

/// Of weights: they reach further than 64.
const WEIGHT_BITS: u8 = 18;

/// Of the curvature.
const CURVATURE_BITS: u8 = 12;

/// Of the count of a member's updates.
const COUNT_BITS: u8 = 8;

/// Updates of a member are counted up to here and then from 0 again.
const COUNTED: i32 = 1 << 16;

/// Of relationships, which are at most 1.
const RELATION_BITS: u8 = 28;

/// What relates tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tasks {
    /// How strongly tasks are held to what relates them, times 2^30.
    pub lambda_q: u32,
    /// How strongly they are held to zero, times 2^30; at least 1.
    pub mu_q: u32,
    /// Whether relationships are learnt; otherwise all tasks are held to their mean.
    pub learnt: bool,
}

/// What voters hold of all members, in the order of their keys.
struct Hidden {
    /// `v_t`.
    sums: Vec<Vec<f64>>,
    counts: Vec<i32>,
    relations: Vec<f64>,
}

impl Tasks {
    /// From numbers of 0 to below 4.
    #[must_use]
    pub fn new(lambda: f64, mu: f64, learnt: bool) -> Self {
        Self { lambda_q: quantised(lambda, BITS), mu_q: quantised(mu, BITS).max(1), learnt }
    }

    pub(super) const fn fits(&self) -> bool {
        self.mu_q > 0
    }

    /// Weights in the form of an update, the bound on the curvature, and the count of the member's updates so far.
    pub(super) fn row(updates: &Schema) -> Schema {
        let weights = updates.tensors.iter().map(|t| TensorSpec {
            name: format!("{}.weights", t.name),
            scale_bits: WEIGHT_BITS,
            fan_in: 0,
            ..t.clone()
        });
        let one = |name: &str, scale_bits| TensorSpec { scale_bits, ..TensorSpec::new(name, &[1], 0) };
        let more = [one("curvature", CURVATURE_BITS), one("counted", COUNT_BITS)];
        Schema { tensors: weights.chain(more).collect() }
    }

    pub(super) const fn hidden_len(len: usize, members: usize) -> usize {
        members * (len + 1 + members)
    }

    /// All members' rows and hidden part after a round; nothing if it has left its range.
    pub(super) fn derive(&self, len: usize, before: (&[&PublicKey], &[i32]), round: &Round<'_>) -> Option<Made> {
        let (keys, mut hidden) = self.with_updates(len, before, round)?;
        if self.learnt {
            let weights = hidden.weights(&self.inverse(&hidden));
            hidden.relate(&weights);
        }
        let kernel = self.inverse(&hidden);
        let weights = hidden.weights(&kernel);
        let m = keys.len();
        let reach = |t: usize| kernel[t * m..(t + 1) * m].iter().map(|k| k.abs()).sum::<f64>();
        let own = |t: usize| kernel[t * m + t].max(f64::MIN_POSITIVE);
        let widest = (0..m).map(|t| reach(t) / own(t)).fold(1.0, f64::max);
        let mut rows = Vec::new();
        for (t, key) in keys.iter().enumerate() {
            let mut row = fixed(&weights[t], WEIGHT_BITS)?;
            row.extend(fixed(&[widest * own(t)], CURVATURE_BITS)?);
            row.push(hidden.counts[t] << COUNT_BITS);
            rows.push((*key, row));
        }
        Some(Made { rows, hidden: Some(hidden.to_fixed()?) })
    }

    /// The sums and relationships of the members that are there after a round.
    fn with_updates(
        &self,
        len: usize,
        (known, hidden): (&[&PublicKey], &[i32]),
        round: &Round<'_>,
    ) -> Option<(Vec<PublicKey>, Hidden)> {
        let old = Hidden::from_fixed(len, known.len(), hidden)?;
        let mut keys: BTreeMap<PublicKey, Option<usize>> =
            round.authors.iter().map(|author| (author.key, None)).collect();
        let here = |key: &PublicKey| round.members.contains(key);
        keys.extend(known.iter().enumerate().filter(|(_, key)| here(key)).map(|(place, key)| (**key, Some(place))));
        let places: Vec<Option<usize>> = keys.values().copied().collect();
        let (m, before) = (keys.len(), known.len());
        let mut relations = vec![0.0; m * m];
        for (i, a) in places.iter().enumerate() {
            for (j, b) in places.iter().enumerate() {
                relations[i * m + j] = match (a, b) {
                    (Some(a), Some(b)) => old.relations[a * before + b],
                    _ if i == j => 1.0 / m as f64,
                    _ => 0.0,
                };
            }
        }
        to_trace_one(&mut relations, m);
        let (mut sums, mut counts) = (Vec::new(), Vec::new());
        for (key, place) in &keys {
            let author = round.authors.iter().find(|author| author.key == *key);
            sums.push(match (author, place) {
                (Some(author), _) => numbers(&author.update.0, DEFAULT_SCALE_BITS),
                (None, Some(place)) => old.sums[*place].clone(),
                (None, None) => vec![0.0; len],
            });
            let counted = place.map_or(0, |place| old.counts[place]);
            counts.push((counted + i32::from(author.is_some())) % COUNTED);
        }
        Some((keys.into_keys().collect(), Hidden { sums, counts, relations }))
    }

    /// `K`.
    fn inverse(&self, hidden: &Hidden) -> Vec<f64> {
        let one = f64::from(1u32 << BITS);
        let (lambda, mu) = (f64::from(self.lambda_q) / one, f64::from(self.mu_q) / one);
        let m = hidden.sums.len();
        if self.learnt {
            return Eigen::of(&hidden.relations, m).map(|s| s.max(0.0) / (2.0 * (lambda + mu * s.max(0.0))));
        }
        // I - 11^T/m is its own square.
        let (apart, together) = (0.5 / (lambda + mu), (0.5 / mu - 0.5 / (lambda + mu)) / m as f64);
        (0..m * m).map(|k| together + if k / m == k % m { apart } else { 0.0 }).collect()
    }
}

impl Hidden {
    fn from_fixed(len: usize, members: usize, fixed: &[i32]) -> Option<Self> {
        if fixed.len() != Tasks::hidden_len(len, members) {
            return None;
        }
        let (sums, rest) = fixed.split_at(members * len);
        let (counts, relations) = rest.split_at(members);
        let sums = sums.chunks_exact(len.max(1)).map(|sum| numbers(sum, DEFAULT_SCALE_BITS)).collect();
        Some(Self { sums, counts: counts.to_vec(), relations: numbers(relations, RELATION_BITS) })
    }

    fn to_fixed(&self) -> Option<Vec<i32>> {
        let mut out = Vec::new();
        for sum in &self.sums {
            out.extend(fixed(sum, DEFAULT_SCALE_BITS)?);
        }
        out.extend(&self.counts);
        out.extend(fixed(&self.relations, RELATION_BITS)?);
        Some(out)
    }

    /// `W = V K`.
    fn weights(&self, kernel: &[f64]) -> Vec<Vec<f64>> {
        let m = self.sums.len();
        let row = |t: usize| {
            let mut row = vec![0.0; self.sums[t].len()];
            self.sums.iter().zip(&kernel[t * m..(t + 1) * m]).for_each(|(sum, k)| add_scaled(&mut row, *k, sum));
            row
        };
        (0..m).map(row).collect()
    }

    /// Learns relationships of the weights; as they were, if all of those are zero.
    fn relate(&mut self, weights: &[Vec<f64>]) {
        let m = weights.len();
        let mut gram = vec![0.0; m * m];
        for i in 0..m {
            for j in 0..=i {
                let sum: f64 = weights[i].iter().zip(&weights[j]).map(|(a, b)| a * b).sum();
                (gram[i * m + j], gram[j * m + i]) = (sum, sum);
            }
        }
        let mut root = Eigen::of(&gram, m).map(|value| value.max(0.0).sqrt());
        if to_trace_one(&mut root, m) {
            self.relations = root;
        }
    }
}

/// Scales a matrix to the trace 1; not one without a trace.
fn to_trace_one(matrix: &mut [f64], len: usize) -> bool {
    let trace: f64 = (0..len).map(|i| matrix[i * len + i]).sum();
    let scales = trace.is_finite() && trace > f64::MIN_POSITIVE;
    if scales {
        matrix.iter_mut().for_each(|x| *x /= trace);
    }
    scales
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::summary::Author;
    use crate::tensor::FixedVector;

    const KEYS: [PublicKey; 3] = [PublicKey([1; 32]), PublicKey([2; 32]), PublicKey([3; 32])];

    fn drawn(count: usize, salt: usize) -> FixedVector {
        FixedVector((0..count).map(|i| (((37 * i + 11 * salt) % 65) as i32 - 32) << 19).collect())
    }

    /// A round of these members' updates.
    fn round(tasks: &Tasks, before: (&[&PublicKey], &[i32]), updates: &[(PublicKey, FixedVector)]) -> Made {
        let authors: Vec<Author<'_>> =
            updates.iter().map(|(key, update)| Author { key: *key, weight: 1, update }).collect();
        tasks.derive(4, before, &Round { authors: &authors, members: &KEYS, list: &[] }).unwrap()
    }

    fn near(found: &[f64], golden: &[f64], tolerance: f64) {
        assert_eq!(found.len(), golden.len());
        for (found, golden) in found.iter().zip(golden) {
            assert!((found - golden).abs() < tolerance, "{found} {golden}");
        }
    }

    /// Golden values: `scripts/server_oracle.py mocha`, by `NumPy`'s eigenvalues.
    #[test]
    fn two_rounds_are_what_numpy_makes_of_them() {
        let tasks = Tasks::new(0.0625, 0.03125, true);
        let first = round(&tasks, (&[], &[]), &[(KEYS[0], drawn(4, 1)), (KEYS[1], drawn(4, 2))]);
        let known: Vec<&PublicKey> = first.rows.iter().map(|(key, _)| key).collect();
        // The first member is away: what it sent stays.
        let hidden = first.hidden.unwrap();
        let second = round(&tasks, (&known, &hidden), &[(KEYS[1], drawn(4, 4)), (KEYS[2], drawn(4, 5))]);
        for (t, (key, row)) in second.rows.iter().enumerate() {
            assert_eq!(*key, KEYS[t]);
            near(&numbers(&row[..4], WEIGHT_BITS), &WEIGHTS[t], 1e-5);
            near(&numbers(&row[4..5], CURVATURE_BITS), &CURVATURES[t..=t], 1e-3);
            assert_eq!(row[5] >> COUNT_BITS, [1, 2, 1][t]);
        }
        let hidden = Hidden::from_fixed(4, 3, &second.hidden.unwrap()).unwrap();
        near(&hidden.relations, &RELATIONS, 1e-6);
    }

    const WEIGHTS: [[f64; 4]; 3] = [
        [-2.436572893, 1.930093231, -2.110405059, 2.256261065],
        [2.109715577, -1.631139236, 2.604267928, -1.136586885],
        [2.040562656, -0.992947831, 2.750921107, -0.282589381],
    ];
    const CURVATURES: [f64; 3] = [5.545287902, 3.926775127, 4.112110800];
    const RELATIONS: [f64; 9] = [
        0.414912200,
        -0.191047537,
        -0.082912146,
        -0.191047537,
        0.291497052,
        0.163321218,
        -0.082912146,
        0.163321218,
        0.293590747,
    ];

    #[test]
    fn who_has_left_is_forgotten_and_the_others_stay_related() {
        let tasks = Tasks::new(0.0625, 0.03125, true);
        let all: Vec<_> = (0..3).map(|i| (KEYS[i], drawn(4, i + 1))).collect();
        let first = round(&tasks, (&[], &[]), &all);
        let known: Vec<&PublicKey> = KEYS.iter().collect();
        let hidden = first.hidden.unwrap();
        let authors = [Author { key: KEYS[0], weight: 1, update: &all[0].1 }];
        let members = [KEYS[0], KEYS[2]];
        let after = tasks.derive(4, (&known, &hidden), &Round { authors: &authors, members: &members, list: &[] });
        let after = after.unwrap();
        assert_eq!(after.rows.iter().map(|(key, _)| *key).collect::<Vec<_>>(), members);
        assert_eq!(after.hidden.unwrap().len(), Tasks::hidden_len(4, 2));
    }

    #[test]
    fn tasks_that_are_held_to_their_mean_share_what_one_of_them_learns() {
        let updates = [(KEYS[0], FixedVector(vec![1 << 22, 0, 0, 0])), (KEYS[1], FixedVector(vec![0; 4]))];
        let weights = |tasks: Tasks| {
            let rows = round(&tasks, (&[], &[]), &updates).rows;
            rows.iter().map(|(_, row)| numbers(&row[..1], WEIGHT_BITS)[0]).collect::<Vec<_>>()
        };
        near(&weights(Tasks::new(0.0, 0.5, false)), &[0.25, 0.0], 1e-5);
        // K = 0.5 / 3.625 (I - J) + 4 J, J a matrix of halves.
        let together = weights(Tasks::new(3.5, 0.125, false));
        near(&together, &[0.25 * (2.0 + 0.25 / 3.625), 0.25 * (2.0 - 0.25 / 3.625)], 1e-5);
    }
}
