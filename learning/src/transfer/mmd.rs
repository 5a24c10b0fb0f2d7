//! How far two samples are from one distribution: maximum mean discrepancy.

use super::matrix::squared_distance;

/// Variances of the kernel's four bandwidths (the released code's).
const VARIANCES: [f64; 4] = [10.0, 15.0, 20.0, 50.0];

/// Twice the least common multiple of the variances: `UNIT / 2s` is a whole number for each.
const UNIT: f64 = 600.0;

/// The squared discrepancy of two samples of the same size, and its gradient in the first.
///
/// `mean_ij k(a_i, a_j) + k(b_i, b_j) - 2 k(a_i, b_j)` with `k(x, y) = sum_s exp(-|x - y|^2 / 2s)`: the biased estimate, pairs of
/// a point with itself included. Both samples are flat, rows of `width`.
pub(super) fn mmd(a: &[f64], b: &[f64], width: usize) -> (f64, Vec<f64>) {
    let n = (a.len() / width.max(1)) as f64;
    let mut value = 0.0;
    let mut gradient = vec![0.0; a.len()];
    for (i, (x, own)) in a.chunks_exact(width).zip(b.chunks_exact(width)).enumerate() {
        let (before, rest) = gradient.split_at_mut(i * width);
        let slope = &mut rest[..width];
        // Within a sample every pair stands twice, and once each point with itself.
        value += 2.0 * kernel(0.0).0;
        let within = a.chunks_exact(width).zip(b.chunks_exact(width)).zip(before.chunks_exact_mut(width));
        for ((y, other), back) in within {
            let near = kernel(squared_distance(x, y));
            value += 2.0 * (near.0 + kernel(squared_distance(own, other)).0);
            for k in 0..width {
                let pull = near.1 * (x[k] - y[k]);
                slope[k] += pull;
                back[k] -= pull;
            }
        }
        for other in b.chunks_exact(width) {
            let across = kernel(squared_distance(x, other));
            value -= 2.0 * across.0;
            for k in 0..width {
                slope[k] -= across.1 * (x[k] - other[k]);
            }
        }
    }
    // d|x - y|^2 = 2 (x - y), and every a_i stands on both sides of k(a_i, a_j) and of 2 k(a_i, b_j).
    gradient.iter_mut().for_each(|g| *g *= 4.0 / (n * n));
    (value / (n * n), gradient)
}

/// The kernel at a squared distance, and its slope in it.
fn kernel(squared: f64) -> (f64, f64) {
    // The bandwidths' exponents are 30, 20, 15 and 6 times one number: an exponential and eight products in place of four
    // exponentials.
    let u = (-squared / UNIT).exp();
    let (u2, u3) = (u * u, u * u * u);
    let u5 = u2 * u3;
    let (u6, u10) = (u5 * u, u5 * u5);
    let (u15, u20) = (u10 * u5, u10 * u10);
    let terms = [u15 * u15, u20, u15, u6];
    let slope = terms.iter().zip(VARIANCES).map(|(term, variance)| term / (2.0 * variance)).sum::<f64>();
    (terms.iter().sum(), -slope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_the_sum_of_four_gaussians() {
        for squared in [0.0, 0.3, 7.0, 60.0, 400.0] {
            let terms = VARIANCES.map(|v| (-squared / (2.0 * v)).exp());
            let value: f64 = terms.iter().sum();
            let slope: f64 = terms.iter().zip(VARIANCES).map(|(t, v)| -t / (2.0 * v)).sum();
            let found = kernel(squared);
            assert!((found.0 - value).abs() < 1e-13 && (found.1 - slope).abs() < 1e-13, "{squared}: {found:?}");
        }
    }
}
