//! Momentum from round to round, carried by the peers.

use burn::tensor::Device;

use crate::Error;
use crate::parameters::Parameters;

/// Starts a round ahead of where the last one ended: at `w_t + beta (w_t - w_{t-1})`, with `w_t` the part as it is when
/// the round's training starts (for a shared part: as certified).
///
/// An update is still the difference to the certified state, so every peer's contains `beta (w_t - w_{t-1})`, and so does
/// their weighted mean. The merge thus makes steps with server momentum (`FedAvgM`, Hsu et al. 2019, arXiv 1909.06335, in
/// Nesterov's form: gradients are taken ahead) although it is a plain mean and no server keeps a velocity. Consecutive
/// states differ by what all peers agree on; what is one peer's own does not build up.
///
/// A peer that trains for the first time, or after an import, has no past and starts at `w_t`. One that missed rounds looks
/// ahead by `beta` times all that it missed, once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lookahead {
    beta: f32,
    /// Where the last round's training would have started without momentum.
    anchor: Option<Vec<f32>>,
}

impl Lookahead {
    /// With this `beta`, in 0..1; 0 for none, at no cost.
    #[must_use]
    pub const fn new(beta: f32) -> Self {
        Self { beta, anchor: None }
    }

    /// Moves `parameters` ahead, once at the start of each round.
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    pub(super) fn step(&mut self, parameters: &mut Parameters, device: &Device) -> Result<(), Error> {
        if self.beta == 0.0 {
            return Ok(());
        }
        let now = parameters.to_flat()?;
        if let Some(anchor) = &self.anchor {
            let ahead: Vec<f32> = now.iter().zip(anchor).map(|(new, old)| new + self.beta * (new - old)).collect();
            parameters.set_flat(&ahead, device)?;
        }
        self.anchor = Some(now);
        Ok(())
    }

    pub(super) fn reset(&mut self) {
        self.anchor = None;
    }

    pub(super) fn anchor(&self) -> Option<&[f32]> {
        self.anchor.as_deref()
    }

    pub(super) fn set_anchor(&mut self, anchor: Option<Vec<f32>>) {
        self.anchor = anchor;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::parameters::ParamSpec;

    #[test]
    fn a_round_starts_ahead_by_beta_times_the_last_move() {
        let device = Device::flex();
        let mut p = Parameters::from_flat(vec![ParamSpec::new("a", &[2], 1)], &[1.0, 2.0], &device).unwrap();
        let mut lookahead = Lookahead::new(0.5);
        lookahead.step(&mut p, &device).unwrap();
        assert_eq!(p.to_flat().unwrap(), [1.0, 2.0], "no past yet");
        p.set_flat(&[3.0, 2.0], &device).unwrap();
        lookahead.step(&mut p, &device).unwrap();
        assert_eq!(p.to_flat().unwrap(), [4.0, 2.0]);
        p.set_flat(&[3.0, 4.0], &device).unwrap();
        lookahead.step(&mut p, &device).unwrap();
        assert_eq!(p.to_flat().unwrap(), [3.0, 5.0], "moves are measured between starts, not from the point ahead");
        lookahead.reset();
        lookahead.step(&mut p, &device).unwrap();
        assert_eq!(p.to_flat().unwrap(), [3.0, 5.0]);
    }

    /// The merge of peers that look ahead is gradient descent with Nesterov's momentum on the mean of their losses.
    #[test]
    fn the_mean_of_peers_that_look_ahead_moves_with_momentum() {
        let device = Device::flex();
        let (beta, lr) = (0.5f32, 0.25f32);
        let targets = [1.0f32, 3.0];
        let specs = vec![ParamSpec::new("a", &[1], 1)];
        let mut peers: Vec<_> = targets.iter().map(|t| (Lookahead::new(beta), *t)).collect();
        let (mut certified, mut w, mut last) = (0.0f32, 0.0f32, 0.0f32);
        for _ in 0..6 {
            let mut merged = 0.0;
            for (lookahead, target) in &mut peers {
                let mut p = Parameters::from_flat(specs.clone(), &[certified], &device).unwrap();
                lookahead.step(&mut p, &device).unwrap();
                let start = p.to_flat().unwrap()[0];
                merged += (start - lr * (start - *target) - certified) / targets.len() as f32;
            }
            certified += merged;
            let ahead = w + beta * (w - last);
            (last, w) = (w, ahead - lr * (ahead - 2.0));
            assert!((certified - w).abs() < 1e-6, "{certified} {w}");
        }
    }
}
