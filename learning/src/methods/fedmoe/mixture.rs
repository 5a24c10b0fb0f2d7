//! The mixture's forward pass and loss.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, activation};

use super::{Mix, gate};
use crate::Error;
use crate::architectures::{Architecture, layers};
use crate::training::{Examined, Experts, Network, Parts, cross_entropy};

/// Added to the count of every class before its share is taken: a class that a peer has not met gets a small share and
/// not none, so that logarithms stay finite. Too low and such a class is never predicted, too high and it is taken for common.
const PSEUDO_COUNT: f32 = 0.1;

/// Two experts, a gate and a private head; with a [`SharedHead`] also a second opinion.
pub(super) struct Mixture {
    pub(super) shared: Arc<dyn Architecture>,
    pub(super) local: Arc<dyn Architecture>,
    pub(super) mix: Mix,
    pub(super) shared_head: Option<SharedHead>,
}

/// The shared expert's own classifier `h_s`, merged like the expert itself.
///
/// It says `ln p_G(c | x) = h_s(R_G)_c + ln pi_c` up to a constant, with the peer's own label shares `pi`. Training with
/// `pi` inside the softmax (balanced softmax, arXiv 2007.10740; `FedRoD`, arXiv 2107.00778; `FedLC`, arXiv
/// 2209.00189) takes label skew out of what is shared: a peer without shirts does not teach that there are no shirts. So all
/// peers pull `theta` and `h_s` towards one classifier of balanced data, and each reads it through its own shares.
pub(super) struct SharedHead {
    /// Weight of its loss.
    weight: f32,
    /// `ln pi`, `[1, classes]`.
    log_shares: Tensor<2>,
}

impl SharedHead {
    /// A head that reads its logits through the shares of these labels.
    pub(super) fn new(weight: f32, labels: &[u16], classes: usize, device: &Device) -> Self {
        let log_shares = Tensor::<1>::from_floats(log_shares(labels, classes).as_slice(), device).unsqueeze::<2>();
        Self { weight, log_shares }
    }

    fn logits(&self, parts: &Parts<'_>, r_g: Tensor<2>) -> Result<Tensor<2>, Error> {
        Ok(layers::linear(&mut parts.part("shared_head", "shared head")?, r_g)? + self.log_shares.clone())
    }
}

/// Logarithms of label shares; labels that are no class are counted nowhere (they are refused elsewhere).
fn log_shares(labels: &[u16], classes: usize) -> Vec<f32> {
    let mut counts = vec![PSEUDO_COUNT; classes];
    for label in labels {
        if let Some(count) = counts.get_mut(usize::from(*label)) {
            *count += 1.0;
        }
    }
    let total: f32 = counts.iter().sum();
    counts.into_iter().map(|count| (count / total).ln()).collect()
}

/// What both experts say about a batch.
struct Seen {
    weights: (Tensor<2>, Tensor<2>),
    r_g: Tensor<2>,
    r_f: Tensor<2>,
    /// `h_k(R)`.
    mixed: Tensor<2>,
    /// Logits of the shared head, if there is one.
    generic: Option<Tensor<2>>,
}

impl Seen {
    /// The answer: `h_k(R)`, or with a shared head the geometric mean of both distributions, `ln p = (ln p_k + ln p_G) / 2`
    /// up to a constant (a logarithmic opinion pool): whoever is unsure has little say.
    fn answer(&self) -> Tensor<2> {
        let mixed = self.mixed.clone();
        match &self.generic {
            None => mixed,
            Some(generic) => (activation::log_softmax(mixed, 1) + activation::log_softmax(generic.clone(), 1)) * 0.5,
        }
    }
}

impl Mixture {
    fn see(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Seen, Error> {
        let r_g = self.shared.forward(&mut parts.part("shared", self.shared.name())?, images.clone())?;
        let r_f = self.local.forward(&mut parts.part("local", self.local.name())?, images.clone())?;
        let weights = gate::weigh(&mut parts.part("gate", "gate")?, images)?;
        let mixed = head(parts, self.mix.mix(weights.clone(), r_g.clone(), r_f.clone()))?;
        let generic = self.shared_head.as_ref().map(|h| h.logits(parts, r_g.clone())).transpose()?;
        Ok(Seen { weights, r_g, r_f, mixed, generic })
    }
}

/// The private head `h_k`.
fn head(parts: &Parts<'_>, features: Tensor<2>) -> Result<Tensor<2>, Error> {
    layers::linear(&mut parts.part("head", "head")?, features)
}

impl Network for Mixture {
    fn logits(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        Ok(self.see(parts, images)?.answer())
    }

    /// `CE(h_k(R), y) + shared_loss CE(h_s(R_G) + ln pi, y)`: each classifier is trained on its own and not their mean, so
    /// that neither can lean on what the other has learnt by heart.
    fn loss(&self, parts: &Parts<'_>, images: Tensor<4>, targets: Tensor<2>) -> Result<Tensor<1>, Error> {
        let seen = self.see(parts, images)?;
        let loss = cross_entropy(seen.mixed, targets.clone());
        Ok(match (&self.shared_head, seen.generic) {
            (Some(shared), Some(generic)) => loss + cross_entropy(generic, targets) * shared.weight,
            _ => loss,
        })
    }

    fn examine(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Examined, Error> {
        let seen = self.see(parts, images)?;
        let logits = seen.answer();
        let alone = self.mix.alone();
        let shared_only = match seen.generic {
            Some(generic) => generic,
            None => head(parts, seen.r_g * alone)?,
        };
        let experts = Experts { gate: seen.weights.0, shared_only, local_only: head(parts, seen.r_f * alone)? };
        Ok(Examined { logits, experts: Some(experts) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_the_labels_and_unmet_classes_keep_a_little() {
        let shares: Vec<f32> = log_shares(&[0, 0, 0, 1], 3).into_iter().map(f32::exp).collect();
        for (found, expected) in shares.iter().zip([3.1 / 4.3, 1.1 / 4.3, 0.1 / 4.3]) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}
