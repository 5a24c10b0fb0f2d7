//! Means, deviations and paired differences with Student-t intervals.
//!
//! Runs of two methods with the same seed share the partition and the initial weights, so their results are compared
//! *in pairs*: what the two have in common cancels, and few seeds say more than two separate means would.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// The coverage of every interval that this crate prints.
pub const COVERAGE: f64 = 0.95;

/// The arithmetic mean; `None` of nothing.
#[must_use]
pub fn mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() { None } else { Some(values.iter().sum::<f64>() / values.len() as f64) }
}

/// The sample standard deviation, with `n - 1` below the line; `None` for fewer than two values.
#[must_use]
pub fn sample_deviation(values: &[f64]) -> Option<f64> {
    let centre = mean(values)?;
    if values.len() < 2 {
        return None;
    }
    let squares: f64 = values.iter().map(|v| (v - centre) * (v - centre)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// The median, the mean of the middle two when there is an even number; `None` of nothing.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.len(), sorted.len() % 2) {
        (0, _) => None,
        (_, 1) => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The half width, in standard errors, of the two-sided [`COVERAGE`] interval of a mean of `n` values: the quantile
/// at `(1 + COVERAGE) / 2` of Student's t with `n - 1` degrees of freedom. `None` for fewer than two values.
#[must_use]
pub fn t_factor(n: usize) -> Option<f64> {
    let freedom = n.checked_sub(1).filter(|f| *f > 0)?;
    let t = StudentsT::new(0.0, 1.0, freedom as f64).ok()?;
    Some(t.inverse_cdf(f64::midpoint(1.0, COVERAGE)))
}

/// The mean of `a[i] - b[i]` over pairs, with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairedDifference {
    /// The number of pairs.
    pub pairs: usize,
    /// The mean difference; above zero when `a` is larger.
    pub mean: f64,
    /// The sample deviation of the differences; `None` for a single pair.
    pub deviation: Option<f64>,
    /// The two-sided 95 % interval of the mean; `None` for a single pair, which says nothing about spread.
    pub interval: Option<(f64, f64)>,
}

impl PairedDifference {
    /// Compares `a` with `b`, pair by pair; `None` when there are no pairs or the lengths differ.
    #[must_use]
    pub fn between(a: &[f64], b: &[f64]) -> Option<Self> {
        if a.len() != b.len() {
            return None;
        }
        let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        let mean = mean(&differences)?;
        let deviation = sample_deviation(&differences);
        let interval = deviation.zip(t_factor(differences.len())).map(|(deviation, t)| {
            let half = t * deviation / (differences.len() as f64).sqrt();
            (mean - half, mean + half)
        });
        Some(Self { pairs: differences.len(), mean, deviation, interval })
    }

    /// True when the interval leaves zero out: the sign of the difference is then more than chance, at the 5 % level.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.interval.is_some_and(|(low, high)| low > 0.0 || high < 0.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn t_factors_are_those_of_the_printed_tables() {
        // Two-sided 95 %, by degrees of freedom: any textbook's table.
        for (freedom, table) in
            [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (19, 2.093), (30, 2.042), (120, 1.980)]
        {
            let t = t_factor(freedom + 1).unwrap();
            assert!((t - table).abs() < 6e-4, "{freedom} degrees of freedom: {t}, table {table}");
        }
    }

    #[test]
    fn the_deviation_divides_by_one_less_than_the_count() {
        let deviation = sample_deviation(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert!((deviation - (32.0_f64 / 7.0).sqrt()).abs() < 1e-12);
        assert_eq!(sample_deviation(&[1.0]), None);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_paired_difference_cancels_what_the_pairs_share() {
        // The seeds differ by tens of points, the methods by about one.
        let a = [0.71, 0.81, 0.915, 0.61, 0.515];
        let b = [0.70, 0.80, 0.90, 0.60, 0.50];
        let d = PairedDifference::between(&a, &b).unwrap();
        assert!((d.mean - 0.012).abs() < 1e-12);
        // sd of (.01 .01 .015 .01 .015) is .0027386; half width 2.776 * sd / sqrt 5 = .0034.
        let (low, high) = d.interval.unwrap();
        assert!((low - 0.0086).abs() < 1e-4 && (high - 0.0154).abs() < 1e-4, "{low} {high}");
        assert!(d.is_clear());
    }

    #[test]
    fn one_pair_has_a_mean_and_no_interval() {
        let d = PairedDifference::between(&[0.9], &[0.8]).unwrap();
        assert_eq!((d.deviation, d.interval), (None, None));
        assert!(!d.is_clear());
    }

    #[test]
    fn lists_of_different_length_are_not_pairs() {
        assert_eq!(PairedDifference::between(&[0.9], &[]), None);
        assert_eq!(PairedDifference::between(&[], &[]), None);
    }
}
