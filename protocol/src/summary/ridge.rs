//! Least squares that stay near what was, the same bits everywhere: Cholesky's factors need the four operations and the square root.

/// What each of these feature vectors adds to a linear map, for each unit that its answer is missing.
///
/// Of all `W'`, `sum of |t_i - W' h_i|^2 + hold |W' - W|^2` is least for `W' = W + sum of (t_i - W h_i) s_i^T`, with
/// `s_i = (sum of h_j h_j^T + hold)^-1 h_i`: these are returned. Nothing if that matrix is not positive in double precision.
pub(super) fn shares(features: &[Vec<f64>], hold: f64) -> Option<Vec<Vec<f64>>> {
    let len = features.first().map_or(0, Vec::len);
    let mut factor = vec![0.0; len * len];
    for h in features {
        for (i, x) in h.iter().enumerate() {
            factor[i * len..=i * len + i].iter_mut().zip(h).for_each(|(sum, y)| *sum += x * y);
        }
    }
    (0..len).for_each(|i| factor[i * len + i] += hold);
    for i in 0..len {
        let (done, rest) = factor.split_at_mut(i * len);
        for j in 0..i {
            let above = &done[j * len..=j * len + j];
            rest[j] = (rest[j] - product(&rest[..j], above)) / above[j];
        }
        let square = rest[i] - product(&rest[..i], &rest[..i]);
        // Of something that is not a number this is false too.
        if square <= 0.0 || !square.is_finite() {
            return None;
        }
        rest[i] = square.sqrt();
    }
    Some(features.iter().map(|h| solve(&factor, h)).collect())
}

/// `(L L^T)^-1 h`, of a lower triangle `L`, row by row.
fn solve(factor: &[f64], h: &[f64]) -> Vec<f64> {
    let len = h.len();
    let mut x = h.to_vec();
    for i in 0..len {
        x[i] = (x[i] - product(&factor[i * len..i * len + i], &x[..i])) / factor[i * len + i];
    }
    for i in (0..len).rev() {
        x[i] /= factor[i * len + i];
        let found = x[i];
        x[..i].iter_mut().zip(&factor[i * len..i * len + i]).for_each(|(x, l)| *x -= l * found);
    }
    x
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn features(count: usize, len: usize) -> Vec<Vec<f64>> {
        let entry = |i: usize, j: usize| (((i * 31 + j * 17) % 23) as f64 - 11.0) / 7.0;
        (0..count).map(|i| (0..len).map(|j| entry(i, j)).collect()).collect()
    }

    /// Whether there are fewer vectors than features or more.
    #[test]
    fn the_slope_of_what_is_least_is_zero_there() {
        for (count, len) in [(1, 1), (3, 5), (7, 4)] {
            let features = features(count, len);
            let (hold, before) = (0.25, 0.5);
            let target = |i: usize| i as f64 - 1.5;
            let missing: Vec<f64> =
                features.iter().enumerate().map(|(i, h)| target(i) - before * h.iter().sum::<f64>()).collect();
            let shares = shares(&features, hold).unwrap();
            let found: Vec<f64> =
                (0..len).map(|j| before + missing.iter().zip(&shares).map(|(m, s)| m * s[j]).sum::<f64>()).collect();
            for j in 0..len {
                let off = |(i, h): (usize, &Vec<f64>)| (product(h, &found) - target(i)) * h[j];
                let slope = features.iter().enumerate().map(off).sum::<f64>() + hold * (found[j] - before);
                assert!(slope.abs() < 1e-12, "{count} {len}: {slope}");
            }
        }
    }

    #[test]
    fn what_has_no_solution_is_found() {
        assert!(shares(&[vec![1.0, 2.0]], 0.0).is_none(), "one vector of two features");
        assert!(shares(&[vec![f64::NAN]], 1.0).is_none());
        assert!(shares(&[vec![f64::MAX]], 1.0).is_none());
        assert!(shares(&[], 1.0).unwrap().is_empty());
    }
}
