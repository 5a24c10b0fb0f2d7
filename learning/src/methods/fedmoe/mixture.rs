//! The mixture's forward pass and loss.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, activation};

use super::{Mix, gate};
use crate::Error;
use crate::architectures::Architecture;
use crate::methods::classifier::layer;
use crate::methods::head::Head;
use crate::methods::moe_ktl::Branch;
use crate::training::{Examined, Experts, Network, Parts, cross_entropy};

/// Added to the count of every class before its share is taken: a class that a peer has not met gets a small share and
/// not none, so that logarithms stay finite. Too low and such a class is never predicted, too high and it is taken for common.
const PSEUDO_COUNT: f32 = 0.1;

/// Two experts, a gate and a private head; with a [`SharedHead`] also a second opinion.
pub(in crate::methods) struct Mixture {
    pub(super) shared: Arc<dyn Architecture>,
    pub(super) local: Arc<dyn Architecture>,
    pub(super) mix: Mix,
    /// See [`Recipe::mix_gradient`](super::Recipe::mix_gradient).
    pub(super) mix_gradient: f32,
    pub(super) shared_head: Option<SharedHead>,
    pub(super) head: Head,
    /// Whose features learn from a generator's pairs, if they do.
    pub(super) branch: Option<Branch>,
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
        Ok(layer(parts, "shared_head", r_g)? + self.log_shares.clone())
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

/// What both experts see in a batch.
struct Seen {
    weights: (Tensor<2>, Tensor<2>),
    r_g: Tensor<2>,
    r_f: Tensor<2>,
    /// `R`.
    mixed: Tensor<2>,
}

impl Mixture {
    fn shared(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        self.shared.forward(&mut parts.part("shared", self.shared.name())?, images)
    }

    fn local(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        self.local.forward(&mut parts.part("local", self.local.name())?, images)
    }

    fn see(&self, parts: &Parts<'_>, images: Tensor<4>, mix_gradient: f32) -> Result<Seen, Error> {
        let r_g = self.shared(parts, images.clone())?;
        let r_f = self.local(parts, images.clone())?;
        let weights = gate::weigh(&mut parts.part("gate", "gate")?, images)?;
        let mixed = self.mix.mix(weights.clone(), damped(&r_g, mix_gradient), r_f.clone());
        Ok(Seen { weights, r_g, r_f, mixed })
    }

    /// Logits of the shared head, if there is one.
    fn generic(&self, parts: &Parts<'_>, r_g: Tensor<2>) -> Result<Option<Tensor<2>>, Error> {
        self.shared_head.as_ref().map(|head| head.logits(parts, r_g)).transpose()
    }

    /// What the private head says of features.
    fn private(&self, parts: &Parts<'_>, features: Tensor<2>) -> Result<Tensor<2>, Error> {
        self.head.logits(parts, layer(parts, "head", features)?)
    }
}

/// The same values, whose gradient is multiplied with `share` on its way back.
fn damped(x: &Tensor<2>, share: f32) -> Tensor<2> {
    if share >= 1.0 { x.clone() } else { x.clone() * share + x.clone().detach() * (1.0 - share) }
}

/// The answer: `h_k(R)`, or with a shared head the geometric mean of both distributions, `ln p = (ln p_k + ln p_G) / 2`
/// up to a constant (a logarithmic opinion pool): whoever is unsure has little say.
fn pool(private: Tensor<2>, generic: Option<Tensor<2>>) -> Tensor<2> {
    match generic {
        None => private,
        Some(generic) => (activation::log_softmax(private, 1) + activation::log_softmax(generic, 1)) * 0.5,
    }
}

impl Network for Mixture {
    fn logits(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        let seen = self.see(parts, images, 1.0)?;
        Ok(pool(self.private(parts, seen.mixed)?, self.generic(parts, seen.r_g)?))
    }

    /// `CE(h_k(R), y) + shared_loss CE(h_s(R_G) + ln pi, y)`: each classifier is trained on its own and not their mean, so
    /// that neither can lean on what the other has learnt by heart. With class vectors the first is `ArcFace`'s loss.
    fn loss(&self, parts: &Parts<'_>, images: Tensor<4>, targets: Tensor<2>) -> Result<Tensor<1>, Error> {
        let seen = self.see(parts, images, self.mix_gradient)?;
        let loss = self.head.loss(parts, layer(parts, "head", seen.mixed)?, targets.clone())?;
        Ok(match (&self.shared_head, self.generic(parts, seen.r_g)?) {
            (Some(shared), Some(generic)) => loss + cross_entropy(generic, targets) * shared.weight,
            _ => loss,
        })
    }

    fn examine(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Examined, Error> {
        let Seen { weights, r_g, r_f, mixed } = self.see(parts, images, 1.0)?;
        let alone = self.mix.alone();
        let generic = self.generic(parts, r_g.clone())?;
        let shared_only = match &generic {
            Some(generic) => generic.clone(),
            None => self.private(parts, r_g * alone)?,
        };
        let local_only = self.private(parts, r_f * alone)?;
        let logits = pool(self.private(parts, mixed)?, generic);
        Ok(Examined { logits, experts: Some(Experts { gate: weights.0, shared_only, local_only }) })
    }

    fn transferred(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Option<Tensor<2>>, Error> {
        Ok(match self.branch {
            None => None,
            Some(Branch::Shared) => Some(self.shared(parts, images)?),
            Some(Branch::Local) => Some(self.local(parts, images)?),
            Some(Branch::Mixed) => Some(self.see(parts, images, 1.0)?.mixed),
        })
    }

    fn embedding(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Option<Tensor<2>>, Error> {
        match self.head {
            Head::Linear => Ok(None),
            Head::Etf { .. } => layer(parts, "head", self.see(parts, images, 1.0)?.mixed).map(Some),
        }
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
