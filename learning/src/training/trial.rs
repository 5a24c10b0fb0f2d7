//! The acceptance gate: a peer tries a generator's pairs before it learns from them.
//!
//! From where its round starts, the peer takes a few steps with the pairs and the same steps without them, and measures both
//! outcomes on those of its training images that the trial left out. Pairs that raise the loss there, by more than chance and
//! by more than a little, are refused for this round, and the round starts again from the same point. The images left out
//! were trained on in earlier rounds, so the gate sees damage, not a lack of use: no image is withheld from training for it.
//!
//! A trial costs up to six steps and two measurements. So pairs that are near those of the last trial get its verdict, for
//! at most [`VALID_ROUNDS`] rounds.

use std::sync::atomic::{AtomicBool, Ordering};

use super::learner::Learner;
use super::network::Network;
use crate::Error;
use crate::parameters::to_vec;
use crate::transfer::Pairs;

/// Most steps of a trial. Too few and harm does not show yet, too many and few images are left to measure it on.
const MOST_STEPS: usize = 3;

/// Rounds after which a verdict lapses. Too high and pairs that get worse bit by bit go long unseen, too low and it costs time.
const VALID_ROUNDS: u64 = 5;

/// Pairs whose latent vectors and images both moved by less than this part of their length are near the last ones. Too low
/// and every round has a trial, too high and bad pairs get the verdict of good ones.
const NEAR: f64 = 0.25;

/// The part of the loss by which pairs may raise it: within so few steps the second task takes some of the first one's steps,
/// however good the pairs are. Too low and good pairs are refused, too high and bad ones do more harm before they are.
const TOLERANCE: f64 = 0.2;

/// A rise of the loss that counts for nothing: with cosines scaled by 64, where losses are zero once every margin is kept, half
/// a nat is a degree or less. Too low and settled peers refuse whatever moves them.
const FLOOR: f64 = 0.5;

/// Standard errors that a rise must have over zero.
const CERTAINTY: f64 = 2.0;

/// What a trial found, and on what.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    /// The peer's round of the trial.
    pub(super) round: u64,
    pub(super) refused: bool,
    /// Mean losses with the pairs and without them.
    pub(super) losses: (f32, f32),
    /// The pairs that were tried.
    pub(super) pairs: Pairs,
}

impl Verdict {
    /// True if it holds for these pairs in this round.
    pub(super) fn covers(&self, pairs: &Pairs, round: u64) -> bool {
        round < self.round + VALID_ROUNDS
            && pairs.classes == self.pairs.classes
            && moved(&self.pairs.latents, &pairs.latents) < NEAR
            && moved(&self.pairs.images, &pairs.images) < NEAR
    }
}

/// Distance of two vectors, as a part of the first one's length.
fn moved(old: &[f32], new: &[f32]) -> f64 {
    if old.len() != new.len() {
        return f64::INFINITY;
    }
    let sum = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x) * f64::from(x)).sum::<f64>();
    let change = sum(&mut old.iter().zip(new).map(|(a, b)| a - b));
    (change / sum(&mut old.iter().copied()).max(f64::MIN_POSITIVE)).sqrt()
}

/// True if losses with pairs are above those without, by more than chance and by more than a little; losses are paired by batch.
fn raised(with: &[f32], without: &[f32]) -> bool {
    let n = with.len() as f64;
    let rises: Vec<f64> = with.iter().zip(without).map(|(a, b)| f64::from(*a) - f64::from(*b)).collect();
    let mean = rises.iter().sum::<f64>() / n;
    if !mean.is_finite() {
        return without.iter().all(|x| x.is_finite()); // Without pairs it would not have diverged.
    }
    let variance = rises.iter().map(|r| (r - mean) * (r - mean)).sum::<f64>() / (n - 1.0).max(1.0);
    let usual = without.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    mean > TOLERANCE * usual + FLOOR && mean > CERTAINTY * (variance / n).sqrt()
}

impl<N: Network> Learner<N> {
    /// Decides whether this round, whose rows are these, learns from pairs. Weights are as before, whatever the answer.
    pub(super) fn try_pairs(&mut self, round: u64, rows: &[i32], cancel: &AtomicBool) -> Result<(), Error> {
        let Some(pairs) = self.transfer.as_ref().and_then(|t| t.untried(round)) else { return Ok(()) };
        let batch = self.setup.train.batch;
        let steps = (rows.len() / batch / 3).clamp(1, MOST_STEPS);
        let Some((tried, left)) = rows.split_at_checked(steps * batch).filter(|(_, left)| !left.is_empty()) else {
            return Ok(()); // Nothing to measure on: the pairs are taken as they come.
        };
        let start = (self.parts.clone(), self.transfer.clone());
        let with = self.outcome(tried, left, cancel)?;
        (self.parts, self.transfer) = start.clone();
        self.transfer.iter_mut().for_each(super::transfer::Transfer::leave);
        let without = self.outcome(tried, left, cancel)?;
        (self.parts, self.transfer) = start;
        let refused = raised(&with, &without);
        let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
        let (with, without) = (mean(&with), mean(&without));
        if refused {
            tracing::info!(round, with, without, "a generator's pairs raise the peer's own loss: refused");
        }
        if let Some(transfer) = &mut self.transfer {
            transfer.rule(Verdict { round, refused, losses: (with, without), pairs });
        }
        Ok(())
    }

    /// Trains on some rows; the loss of each batch of the others afterwards.
    fn outcome(&mut self, tried: &[i32], left: &[i32], cancel: &AtomicBool) -> Result<Vec<f32>, Error> {
        for rows in tried.chunks(self.setup.train.batch) {
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            self.step(rows)?;
        }
        let Some(data) = &self.train else { return Ok(Vec::new()) };
        let parts = self.plain();
        let mut losses = Vec::new();
        for rows in left.chunks(self.setup.train.batch) {
            let (images, targets) = data.select(rows, &self.device);
            losses.extend(to_vec(self.network.loss(&parts, images, targets)?)?);
        }
        Ok(losses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ImageShape;

    #[test]
    fn a_rise_must_be_certain_and_large() {
        assert!(raised(&[2.0, 2.1, 1.9], &[1.0, 1.0, 1.1]));
        assert!(!raised(&[11.0, 11.1, 11.2], &[10.0, 10.0, 10.0]), "too small a part");
        assert!(!raised(&[0.01, 0.01, 0.01], &[0.0, 0.0, 0.0]), "too small at all");
        assert!(!raised(&[9.0, 0.5, 0.6], &[1.0, 1.0, 1.0]), "one batch of three may be chance");
        assert!(!raised(&[0.5, 0.4, 0.6], &[1.0, 1.0, 1.0]));
        assert!(raised(&[f32::NAN, 1.0], &[1.0, 1.0]) && !raised(&[f32::NAN, 1.0], &[f32::NAN, 1.0]));
    }

    #[test]
    fn a_verdict_holds_for_near_pairs_and_a_few_rounds() {
        let image = ImageShape { channels: 1, height: 1, width: 2 };
        let pairs = Pairs { image, latent: 1, classes: vec![0], images: vec![0.6, 0.8], latents: vec![2.0] };
        let verdict = Verdict { round: 3, refused: false, losses: (1.0, 1.0), pairs: pairs.clone() };
        assert!(verdict.covers(&pairs, 4) && verdict.covers(&pairs, 7) && !verdict.covers(&pairs, 8));
        assert!(verdict.covers(&Pairs { latents: vec![2.2], ..pairs.clone() }, 4));
        assert!(!verdict.covers(&Pairs { latents: vec![2.6], ..pairs.clone() }, 4));
        assert!(!verdict.covers(&Pairs { images: vec![0.8, 0.6], ..pairs.clone() }, 4));
        assert!(!verdict.covers(&Pairs { classes: vec![1], ..pairs }, 4));
    }
}
