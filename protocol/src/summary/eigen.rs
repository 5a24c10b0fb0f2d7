//! Eigenvalues of small symmetric matrices, the same bits everywhere: Jacobi's rotations need the four operations and the square root.

/// Sweeps over all pairs. Convergence is quadratic at the end: eight bring matrices of a few hundred rows to double precision.
const SWEEPS: usize = 12;

/// A symmetric matrix as `vectors * diag(values) * vectors^T`.
pub(super) struct Eigen {
    pub(super) values: Vec<f64>,
    /// A column for each value, row by row.
    vectors: Vec<f64>,
}

impl Eigen {
    /// Of a symmetric matrix, row by row.
    pub(super) fn of(matrix: &[f64], len: usize) -> Self {
        let mut a = matrix.to_vec();
        let mut vectors = vec![0.0; len * len];
        (0..len).for_each(|i| vectors[i * len + i] = 1.0);
        for _ in 0..SWEEPS {
            for p in 0..len {
                for q in p + 1..len {
                    rotate(&mut a, &mut vectors, len, (p, q));
                }
            }
        }
        Self { values: (0..len).map(|i| a[i * len + i]).collect(), vectors }
    }

    /// `vectors * diag(f(values)) * vectors^T`.
    pub(super) fn map(&self, f: impl Fn(f64) -> f64) -> Vec<f64> {
        let len = self.values.len();
        let mapped: Vec<f64> = self.values.iter().map(|value| f(*value)).collect();
        let mut out = vec![0.0; len * len];
        for i in 0..len {
            for j in 0..=i {
                let (a, b) = (&self.vectors[i * len..(i + 1) * len], &self.vectors[j * len..(j + 1) * len]);
                let sum: f64 = mapped.iter().zip(a).zip(b).map(|((value, a), b)| value * a * b).sum();
                (out[i * len + j], out[j * len + i]) = (sum, sum);
            }
        }
        out
    }
}

/// Makes the element at `p, q` zero.
fn rotate(a: &mut [f64], vectors: &mut [f64], len: usize, (p, q): (usize, usize)) {
    let off = a[p * len + q];
    if off == 0.0 {
        return;
    }
    let theta = (a[q * len + q] - a[p * len + p]) / (2.0 * off);
    let t = (if theta < 0.0 { -1.0 } else { 1.0 }) / (theta.abs() + (theta * theta + 1.0).sqrt());
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for k in 0..len {
        let (x, y) = (a[k * len + p], a[k * len + q]);
        (a[k * len + p], a[k * len + q]) = (c * x - s * y, s * x + c * y);
    }
    for k in 0..len {
        let (x, y) = (a[p * len + k], a[q * len + k]);
        (a[p * len + k], a[q * len + k]) = (c * x - s * y, s * x + c * y);
        let (x, y) = (vectors[k * len + p], vectors[k * len + q]);
        (vectors[k * len + p], vectors[k * len + q]) = (c * x - s * y, s * x + c * y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_is_what_its_eigenvalues_and_vectors_say() {
        let len = 7;
        let entry = |i: usize, j: usize| (((i * 31 + j * 17) % 23) as f64 - 11.0) / 7.0;
        let matrix: Vec<f64> = (0..len * len).map(|k| entry(k / len, k % len) + entry(k % len, k / len)).collect();
        let eigen = Eigen::of(&matrix, len);
        for (found, expected) in eigen.map(|x| x).iter().zip(&matrix) {
            assert!((found - expected).abs() < 1e-12);
        }
        let trace: f64 = (0..len).map(|i| matrix[i * len + i]).sum();
        assert!((eigen.values.iter().sum::<f64>() - trace).abs() < 1e-12);
        // The inverse, by the eigenvalues.
        let inverse = eigen.map(f64::recip);
        for i in 0..len {
            let row: f64 = (0..len).map(|k| matrix[i * len + k] * inverse[k * len + i]).sum();
            assert!((row - 1.0).abs() < 1e-10, "{row}");
        }
    }
}
