//! The fixed classifier of FedKTL (arXiv 2403.15760): a simplex equiangular tight frame.

use super::exact::dot;
use crate::hash::{Digest, Stream};

/// Most classes that a frame is made for: orthogonalising costs the cube of it, about two seconds here. Too low and data sets
/// of many classes cannot use the frame.
pub const MAX_CLASSES: usize = 1024;

/// A column whose part outside the earlier ones is shorter than this, of a length of about `sqrt(C / 3)`, is drawn again:
/// its direction would be rounding errors. Too high and drawing takes long; a random column is hardly ever affected.
const SHORTEST: f64 = 1e-6;

/// The class vectors `v_c`, one per column, row-major `[classes, classes]`: unit vectors with `<v_a, v_b> = -1 / (C - 1)`.
///
/// `M = sqrt(C / (C - 1)) P (I - 11^T / C)` with `P` the orthogonal factor of a matrix with uniform entries, drawn from
/// `seed`, a network's genesis seed. Only additions, multiplications, divisions and roots of `f64` in a fixed order: IEEE 754
/// rounds all of them in one way, so every peer has the same bits without asking.
///
/// Nothing unless there are 2 to [`MAX_CLASSES`] classes.
#[must_use]
pub fn class_vectors(classes: usize, seed: &Digest) -> Option<Vec<f32>> {
    if !(2..=MAX_CLASSES).contains(&classes) {
        return None;
    }
    let basis = orthonormal(classes, &mut Stream::new("etf", &[seed.as_bytes()]));
    let n = classes as f64;
    let scale = (n / (n - 1.0)).sqrt();
    let mut frame = vec![0f32; classes * classes];
    // Row `i` of P (I - 11^T / C) is the row of P minus its mean.
    let means: Vec<f64> = (0..classes).map(|i| basis.iter().map(|column| column[i]).sum::<f64>() / n).collect();
    for (c, column) in basis.iter().enumerate() {
        let vector: Vec<f64> = column.iter().zip(&means).map(|(x, mean)| scale * (x - mean)).collect();
        let length = dot(&vector, &vector).sqrt();
        for (i, x) in vector.iter().enumerate() {
            frame[i * classes + c] = (x / length) as f32;
        }
    }
    Some(frame)
}

/// `n` orthonormal columns, by Gram-Schmidt on random ones; each projection is taken twice, so that they are orthogonal to
/// the last digit or two.
fn orthonormal(n: usize, stream: &mut Stream) -> Vec<Vec<f64>> {
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(n);
    while basis.len() < n {
        let mut column: Vec<f64> = (0..n).map(|_| stream.unit()).collect();
        for earlier in basis.iter().chain(&basis) {
            let along = dot(&column, earlier);
            column.iter_mut().zip(earlier).for_each(|(x, e)| *x -= along * e);
        }
        let length = dot(&column, &column).sqrt();
        if length > SHORTEST {
            column.iter_mut().for_each(|x| *x /= length);
            basis.push(column);
        }
    }
    basis
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::hash::hash;

    use super::*;

    fn inner(frame: &[f32], classes: usize, a: usize, b: usize) -> f64 {
        (0..classes).map(|i| f64::from(frame[i * classes + a]) * f64::from(frame[i * classes + b])).sum()
    }

    #[test]
    fn class_vectors_are_of_unit_length_and_all_angles_are_equal() {
        for classes in [2, 3, 10, 100] {
            let frame = class_vectors(classes, &Digest([7; 32])).unwrap();
            for a in 0..classes {
                for b in 0..classes {
                    let expected = if a == b { 1.0 } else { -1.0 / (classes as f64 - 1.0) };
                    let found = inner(&frame, classes, a, b);
                    assert!((found - expected).abs() < 1e-6, "{classes} {a} {b}: {found}");
                }
            }
            // Equal angles of that size make the sum vanish.
            for row in frame.chunks_exact(classes) {
                assert!(row.iter().map(|&x| f64::from(x)).sum::<f64>().abs() < 1e-5);
            }
        }
    }

    /// Pinned: a changed bit would split a network into peers that do not understand each other's prototypes.
    #[test]
    fn equal_networks_have_equal_bits_and_others_have_others() {
        let bytes = |seed| -> Vec<u8> {
            class_vectors(10, &seed).unwrap().into_iter().flat_map(|x: f32| x.to_bits().to_le_bytes()).collect()
        };
        assert_eq!(
            hash("pin", &bytes(Digest([1; 32]))).to_string(),
            "cfa5a5f0349349ea843dd8a2cbfe803c26a9b2c88f0fce87fd05dbf125f30a04"
        );
        assert_ne!(bytes(Digest([1; 32])), bytes(Digest([2; 32])));
    }

    #[test]
    fn one_class_and_too_many_have_none() {
        for classes in [0, 1, MAX_CLASSES + 1] {
            assert_eq!(class_vectors(classes, &Digest::ZERO), None);
        }
    }
}
