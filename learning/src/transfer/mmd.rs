//! How far two samples are from one distribution: maximum mean discrepancy.

use super::matrix::squared_distance;

/// Variances of the kernel's four bandwidths (the released code's).
const VARIANCES: [f64; 4] = [10.0, 15.0, 20.0, 50.0];

/// The squared discrepancy of two samples of the same size, and its gradient in the first.
///
/// `mean_ij k(a_i, a_j) + k(b_i, b_j) - 2 k(a_i, b_j)` with `k(x, y) = sum_s exp(-|x - y|^2 / 2s)`: the biased estimate, pairs of
/// a point with itself included. Both samples are flat, rows of `width`.
pub(super) fn mmd(a: &[f64], b: &[f64], width: usize) -> (f64, Vec<f64>) {
    let n = (a.len() / width.max(1)) as f64;
    let mut value = 0.0;
    let mut gradient = vec![0.0; a.len()];
    for (i, (x, own)) in a.chunks_exact(width).zip(b.chunks_exact(width)).enumerate() {
        let slope = &mut gradient[i * width..(i + 1) * width];
        for (y, other) in a.chunks_exact(width).zip(b.chunks_exact(width)) {
            let near = kernel(squared_distance(x, y));
            let across = kernel(squared_distance(x, other));
            value += near.0 + kernel(squared_distance(own, other)).0 - 2.0 * across.0;
            for (k, s) in slope.iter_mut().enumerate() {
                *s += near.1 * (x[k] - y[k]) - across.1 * (x[k] - other[k]);
            }
        }
    }
    // d|x - y|^2 = 2 (x - y), and every a_i stands on both sides of k(a_i, a_j) and of 2 k(a_i, b_j).
    gradient.iter_mut().for_each(|g| *g *= 4.0 / (n * n));
    (value / (n * n), gradient)
}

/// The kernel at a squared distance, and its slope in it.
fn kernel(squared: f64) -> (f64, f64) {
    VARIANCES.iter().fold((0.0, 0.0), |(value, slope), variance| {
        let term = (-squared / (2.0 * variance)).exp();
        (value + term, slope - term / (2.0 * variance))
    })
}
