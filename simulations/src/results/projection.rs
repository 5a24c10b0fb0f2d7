//! Points of many dimensions in a plane: their first two principal components.

/// Steps of the power iteration for each component; what is shown is a picture, not a measurement.
const STEPS: usize = 60;

/// Each point's coordinates along the two directions in which the points differ most, scaled to -1..1; zero for points of
/// different lengths, and along directions in which nothing differs.
#[must_use]
pub fn plane(points: &[Vec<f64>]) -> Vec<[f64; 2]> {
    let len = points.first().map_or(0, Vec::len);
    if len == 0 || points.iter().any(|point| point.len() != len || point.iter().any(|x| !x.is_finite())) {
        return vec![[0.0; 2]; points.len()];
    }
    let count = points.len() as f64;
    let mean: Vec<f64> = (0..len).map(|i| points.iter().map(|p| p[i]).sum::<f64>() / count).collect();
    let mut rest: Vec<Vec<f64>> = points.iter().map(|p| p.iter().zip(&mean).map(|(x, m)| x - m).collect()).collect();
    let mut placed = vec![[0.0; 2]; points.len()];
    for axis in 0..2 {
        let direction = strongest(&rest, len);
        let along: Vec<f64> = rest.iter().map(|point| dot(point, &direction)).collect();
        for (point, along) in rest.iter_mut().zip(&along) {
            point.iter_mut().zip(&direction).for_each(|(x, d)| *x -= along * d);
        }
        let most = along.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        if most > 1e-9 {
            placed.iter_mut().zip(&along).for_each(|(place, x)| place[axis] = x / most);
        }
    }
    placed
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The direction in which centred points differ most, by power iteration from a fixed start.
fn strongest(points: &[Vec<f64>], len: usize) -> Vec<f64> {
    // No two entries are alike, so that no direction of a symmetric set is missed.
    let mut direction: Vec<f64> = (0..len).map(|i| 1.0 / (i as f64 + 1.5)).collect();
    for _ in 0..STEPS {
        let mut next = vec![0.0; len];
        for point in points {
            let along = dot(point, &direction);
            next.iter_mut().zip(point).for_each(|(n, x)| *n += along * x);
        }
        let norm = dot(&next, &next).sqrt();
        if norm < 1e-12 {
            break;
        }
        direction = next.into_iter().map(|x| x / norm).collect();
    }
    let norm = dot(&direction, &direction).sqrt();
    direction.into_iter().map(|x| x / norm).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_axis_comes_first_and_distances_along_it_are_kept() {
        let points: Vec<Vec<f64>> =
            [(-4.0, 1.0), (4.0, 1.0), (0.0, -1.0), (0.0, -1.0)].iter().map(|(a, b)| vec![*b, 7.0, *a]).collect();
        let placed = plane(&points);
        assert!((placed[0][0] + placed[1][0]).abs() < 1e-6 && (placed[0][0].abs() - 1.0).abs() < 1e-6, "{placed:?}");
        assert!(placed[2][0].abs() < 1e-6 && (placed[2][1] + placed[0][1]).abs() < 1e-6, "{placed:?}");
    }

    #[test]
    fn no_points_one_point_and_wrong_points_are_no_trouble() {
        assert!(plane(&[]).is_empty());
        assert_eq!(plane(&[vec![3.0, 4.0]]), [[0.0; 2]]);
        assert_eq!(plane(&[vec![1.0, f64::NAN], vec![1.0, 2.0]]), [[0.0; 2]; 2]);
        assert_eq!(plane(&[vec![1.0], vec![1.0, 2.0]]), [[0.0; 2]; 2]);
    }
}
