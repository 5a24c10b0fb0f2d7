//! Accuracy as the field counts it: right answers over all answers, not the mean of the peers' accuracies.

use serde::{Deserialize, Serialize};

/// One peer's right answers on its own test images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// Right answers.
    pub correct: u64,
    /// All answers.
    pub total: u64,
}

impl Score {
    /// Right over all; 0 for a peer without test images.
    #[must_use]
    pub fn accuracy(self) -> f64 {
        if self.total == 0 { 0.0 } else { self.correct as f64 / self.total as f64 }
    }

    /// The score of all peers together: sample-weighted.
    #[must_use]
    pub fn pooled(scores: &[Self]) -> Self {
        let correct = scores.iter().map(|s| s.correct).sum();
        let total = scores.iter().map(|s| s.total).sum();
        Self { correct, total }
    }
}

/// Accuracy over a run, as fractions from 0 to 1, sample-weighted over all peers' own test images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// The best after at least one round. The literature reports this one; it picks its round on the test images, so
    /// `last` is the more honest number.
    pub best: f64,
    /// After the last round.
    pub last: f64,
    /// Entry `r`: after round `r`'s certified state was taken in, before further training. Entry 0 is untrained.
    pub by_round: Vec<f64>,
    /// Each peer's after the last round.
    pub per_node_last: Vec<f64>,
}

impl Accuracy {
    /// From every peer's score after every round; entry 0 is untrained. All zero when there is no entry.
    #[must_use]
    pub fn from_scores(by_round: &[Vec<Score>]) -> Self {
        let pooled: Vec<f64> = by_round.iter().map(|scores| Score::pooled(scores).accuracy()).collect();
        let last = pooled.last().copied().unwrap_or_default();
        let best = pooled.iter().skip(1).copied().fold(f64::NEG_INFINITY, f64::max);
        let per_node_last = by_round.last().map(|s| s.iter().map(|s| s.accuracy()).collect()).unwrap_or_default();
        Self { best: if best.is_finite() { best } else { last }, last, by_round: pooled, per_node_last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(pairs: &[(u64, u64)]) -> Vec<Score> {
        pairs.iter().map(|&(correct, total)| Score { correct, total }).collect()
    }

    #[test]
    fn a_peer_with_more_images_counts_for_more() {
        // The mean of the peers' accuracies would be 0.5.
        let accuracy = Accuracy::from_scores(&[scores(&[(0, 10), (90, 90)])]);
        assert!((accuracy.last - 0.9).abs() < 1e-12);
        assert_eq!(accuracy.per_node_last, vec![0.0, 1.0]);
    }

    #[test]
    fn the_best_round_is_not_the_last_and_not_the_untrained_one() {
        let accuracy = Accuracy::from_scores(&[scores(&[(9, 10)]), scores(&[(8, 10)]), scores(&[(7, 10)])]);
        assert_eq!((accuracy.best, accuracy.last), (0.8, 0.7));
        assert_eq!(accuracy.by_round, vec![0.9, 0.8, 0.7]);
    }

    #[test]
    fn a_run_without_rounds_or_images_is_zero_and_not_nan() {
        assert_eq!(Accuracy::from_scores(&[]), Accuracy::default());
        assert_eq!(Accuracy::from_scores(&[scores(&[(0, 0)])]).last, 0.0);
    }
}
