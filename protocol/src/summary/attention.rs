//! A model for each member, mixed of all authors' models (`FedAMP`, arXiv 2007.03797, equation 6).
//!
//! ```text
//! u_i = w_i + sum_j xi_ij (w_j - w_i),   xi_ij = alpha / sigma exp(-|w_i - w_j|^2 / sigma)
//! ```
//!
//! The paper wants alpha so small that a row's xi stay below 1 in all. Where they would not, they are scaled down to that: `u_i` is
//! never outside of the authors' models.

use serde::{Deserialize, Serialize};

use super::derivation::Author;
use super::exact::{exp, fixed, numbers, quantised};
use crate::tensor::Schema;

/// Fraction bits of both numbers.
const BITS: u8 = 16;

/// How models attract each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attention {
    /// The step towards the others, times 2^16.
    pub alpha_q: u32,
    /// The squared distance at which another's model counts `1/e` of one that is equal, times 2^16; at least 1.
    pub sigma_q: u32,
}

impl Attention {
    /// From numbers of 0 to 65535, rounded to multiples of 2^-16.
    #[must_use]
    pub fn new(alpha: f64, sigma: f64) -> Self {
        Self { alpha_q: quantised(alpha, BITS), sigma_q: quantised(sigma, BITS) }
    }

    pub(super) const fn fits(&self) -> bool {
        self.sigma_q > 0
    }

    /// The share of each author's model in each author's row, but for its own.
    fn shares(&self, schema: &Schema, authors: &[Author<'_>]) -> Vec<Vec<f64>> {
        let one = f64::from(1u32 << BITS);
        let (alpha, sigma) = (f64::from(self.alpha_q) / one, f64::from(self.sigma_q) / one);
        let mut shares = vec![vec![0.0; authors.len()]; authors.len()];
        for i in 0..authors.len() {
            for j in 0..i {
                let squared = squared_distance(schema, &authors[i].update.0, &authors[j].update.0);
                let share = alpha / sigma * exp(-squared / sigma);
                (shares[i][j], shares[j][i]) = (share, share);
            }
        }
        for row in &mut shares {
            let sum: f64 = row.iter().sum();
            if sum > 1.0 {
                row.iter_mut().for_each(|share| *share /= sum);
            }
        }
        shares
    }

    /// The rows of all authors, in their order.
    pub(super) fn derive(&self, schema: &Schema, authors: &[Author<'_>]) -> Vec<Vec<i32>> {
        let shares = self.shares(schema, authors);
        let mix = |(i, author): (usize, &Author<'_>)| {
            let own = &author.update.0;
            let others: Vec<(f64, &[i32])> = (shares[i].iter().zip(authors))
                .filter(|(share, _)| **share > 0.0)
                .map(|(share, other)| (*share, other.update.0.as_slice()))
                .collect();
            let mixed = own.iter().enumerate().map(|(k, &w)| {
                let w = f64::from(w);
                others.iter().fold(w, |sum, (share, other)| sum + share * (f64::from(other[k]) - w))
            });
            // In units of the fixed point, and between the authors' numbers.
            fixed(&mixed.collect::<Vec<_>>(), 0).unwrap_or_else(|| own.clone())
        };
        authors.iter().enumerate().map(mix).collect()
    }
}

/// `|a - b|^2`: exact within a tensor.
fn squared_distance(schema: &Schema, a: &[i32], b: &[i32]) -> f64 {
    let (mut sum, mut at) = (0.0, 0);
    for tensor in &schema.tensors {
        let range = at..at + tensor.len();
        at = range.end;
        let squares = a[range.clone()].iter().zip(&b[range]).map(|(a, b)| u128::from(a.abs_diff(*b)).pow(2));
        let step = numbers(&[1], tensor.scale_bits)[0];
        sum += squares.sum::<u128>() as f64 * step * step;
    }
    sum
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::keys::PublicKey;
    use crate::tensor::{FixedVector, MAX_COORDINATE, TensorSpec};

    fn schema() -> Schema {
        Schema { tensors: vec![TensorSpec::new("a", &[2], 1), TensorSpec::new("b", &[1], 1)] }
    }

    fn rows(attention: &Attention, models: &[[f64; 3]]) -> Vec<Vec<f64>> {
        let fixed: Vec<FixedVector> = models.iter().map(|m| FixedVector(fixed(m, 24).unwrap())).collect();
        let authors: Vec<Author<'_>> =
            fixed.iter().map(|update| Author { key: PublicKey([0; 32]), weight: 1, update }).collect();
        attention.derive(&schema(), &authors).iter().map(|row| numbers(row, 24)).collect()
    }

    /// Golden values: `scripts/server_oracle.py fedamp`.
    #[test]
    fn rows_are_the_papers_mixes() {
        let models = [[0.5, -1.0, 2.0], [0.75, -1.25, 1.5], [-3.0, 0.0, 1.0]];
        let found = rows(&Attention::new(0.25, 2.0), &models);
        for (found, golden) in found.iter().flatten().zip(GOLDEN.iter().flatten()) {
            assert!((found - golden).abs() < 1e-7, "{found} {golden}");
        }
    }

    const GOLDEN: [[f64; 3]; 3] = [
        [0.525555089, -1.025806568, 1.948085088],
        [0.723925450, -1.224037043, 1.551792001],
        [-2.999480540, -0.000156388, 1.000122910],
    ];

    #[test]
    fn equal_models_stay_and_a_step_that_is_too_long_ends_at_the_others() {
        let same = [[0.5, 0.25, -1.0]; 3];
        assert_eq!(rows(&Attention::new(1.0, 1.0), &same), same);
        // Shares of about 5 in all are scaled to 1: each row is the mean of the others.
        let near = [[0.0, 0.0, 0.0], [1e-4, 0.0, 0.0], [0.0, 1e-4, 0.0]];
        let found = rows(&Attention::new(5.0, 1.0), &near);
        for (found, expected) in found[0].iter().zip([5e-5, 5e-5, 0.0]) {
            assert!((found - expected).abs() < 1e-7);
        }
    }

    #[test]
    fn the_largest_distances_do_not_overflow() {
        let most = FixedVector(vec![MAX_COORDINATE; 3]);
        let least = FixedVector(vec![-MAX_COORDINATE; 3]);
        assert!((squared_distance(&schema(), &most.0, &least.0) - 3.0 * 128.0 * 128.0).abs() < 1e-9);
    }
}
