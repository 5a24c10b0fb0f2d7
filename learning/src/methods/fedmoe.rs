//! FedMoE, also called `pFedMoE` (Yi et al. 2024, arXiv 2402.01350): a shared small extractor and a local one, mixed per
//! image by a private gate.
//!
//! ```text
//! each round: every peer k installs the certified theta in its shared expert G
//!   E epochs, per batch, one backward pass through everything:
//!     R_G = G(x; theta)     R_F = F_k(x; omega_ex)     (a_G, a_F) = H(x; phi_k), a_G + a_F = 1
//!     R   = a_G R_G + a_F R_F                          (the paper's mix; see [`Mix`] for two others)
//!     y^  = h_k(R; omega_hd)      loss = CE(y^, y)
//!     theta -= eta_theta dL/dtheta   omega -= eta_omega dL/domega   phi -= eta_phi dL/dphi
//!   theta <- sum_k n_k / n theta_k                     (in fixed point, as deltas; nothing else leaves a peer)
//! evaluated: the whole mixture, with the certified theta
//! ```
//!
//! `moe-local` is the same model with merging off: the control that tells capacity from collaboration.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use burn::tensor::Tensor;
use fedswarm_protocol::tensor::Schema;

use super::options::Options;
use super::{Member, MemberSetup, Method, MethodInfo, Task, check_task, family, gate, head_specs, own_extractor, part};
use crate::Error;
use crate::architectures::{self, Architecture, architecture, layers};
use crate::parameters::schema;
use crate::training::{Examined, Experts, Learner, Network, Parts};

/// How two experts' features become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mix {
    /// `R = a_G R_G + a_F R_F`, the paper's. At the start both weights are near 1/2, so features, and with them the first
    /// gradients, are about half those of a single extractor.
    #[default]
    Convex,
    /// `R = 2 (a_G R_G + a_F R_F)`: the same mixture at the scale of a single extractor.
    Doubled,
    /// `R = R_F + a_G R_G`: the shared expert adds to the local one and can be gated away.
    Residual,
}

impl Mix {
    const ALL: [(&'static str, Self); 3] =
        [("convex", Self::Convex), ("doubled", Self::Doubled), ("residual", Self::Residual)];

    /// The mixture of features `[n, k]` by weights `[n, 1]`.
    fn mix(self, (a_g, a_f): (Tensor<2>, Tensor<2>), r_g: Tensor<2>, r_f: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Convex => a_g * r_g + a_f * r_f,
            Self::Doubled => (a_g * r_g + a_f * r_f) * 2.0,
            Self::Residual => r_f + a_g * r_g,
        }
    }

    /// What one expert's features count when it has the whole weight.
    const fn alone(self) -> f32 {
        match self {
            Self::Doubled => 2.0,
            Self::Convex | Self::Residual => 1.0,
        }
    }
}

impl FromStr for Mix {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|(name, _)| *name == text).map(|(_, mix)| mix).ok_or(())
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.into_iter().find(|(_, mix)| mix == self).map_or("", |(name, _)| name))
    }
}

/// Learning rates of the parts, where they differ from the member's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Shared extractor (`eta_theta`).
    pub shared: Option<f32>,
    /// Local extractor (`eta_omega`).
    pub local: Option<f32>,
    /// Head (`eta_omega`).
    pub head: Option<f32>,
    /// Gate (`eta_phi`).
    pub gate: Option<f32>,
}

/// A shared small extractor and a local one, mixed per image.
#[derive(Clone)]
pub struct FedMoe {
    mix: Mix,
    rates: Rates,
    shared: Option<Arc<dyn Architecture>>,
    merging: bool,
}

impl fmt::Debug for FedMoe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spelling())
    }
}

impl FedMoe {
    /// The method with this mixture. `shared` is the shared extractor's architecture; without one the task decides:
    /// `cnn-5` for 3x32x32, `mlp` below 16 pixels, else `cnn2`. With `merging` off it is the control `moe-local`.
    #[must_use]
    pub const fn new(mix: Mix, rates: Rates, shared: Option<Arc<dyn Architecture>>, merging: bool) -> Self {
        Self { mix, rates, shared, merging }
    }

    pub(super) fn from_options(options: &mut Options, merging: bool) -> Result<Self, Error> {
        let mix = options.value("mix", "convex, doubled or residual")?.unwrap_or_default();
        let rates = Rates {
            shared: options.rate("shared_lr")?,
            local: options.rate("local_lr")?,
            head: options.rate("head_lr")?,
            gate: options.rate("gate_lr")?,
        };
        let shared = options.text("shared").map(|name| architecture(&name)).transpose()?;
        Ok(Self { mix, rates, shared, merging })
    }

    fn shared(&self, task: &Task) -> Result<Arc<dyn Architecture>, Error> {
        match &self.shared {
            Some(shared) => Ok(Arc::clone(shared)),
            None => architecture(match family(task).as_slice() {
                ["mlp"] => "mlp",
                ["cnn-1", ..] => "cnn-5",
                _ => "cnn2",
            }),
        }
    }
}

impl Method for FedMoe {
    fn info(&self) -> MethodInfo {
        MethodInfo {
            name: if self.merging { "fedmoe" } else { "moe-local" },
            shares: if self.merging { "a small extractor" } else { "nothing" },
            heterogeneous: true,
            needs: "extractors of the shared one's width",
            paper: "Yi et al. 2024, arXiv 2402.01350",
        }
    }

    fn spelling(&self) -> String {
        let mut text = format!("{}:mix={}", self.info().name, self.mix);
        let Rates { shared, local, head, gate } = self.rates;
        for (key, rate) in [("shared_lr", shared), ("local_lr", local), ("head_lr", head), ("gate_lr", gate)] {
            if let Some(rate) = rate {
                text.push_str(&format!(",{key}={rate}"));
            }
        }
        if let Some(shared) = &self.shared {
            text.push_str(&format!(",shared={}", shared.name()));
        }
        text
    }

    fn schema(&self, task: &Task) -> Result<Schema, Error> {
        check_task(task)?;
        if !self.merging {
            return Ok(Schema::default());
        }
        schema([("shared", self.shared(task)?.parameters(task.input)?.as_slice())])
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        family(task)
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        check_task(&setup.task)?;
        let expert = self.shared(&setup.task)?;
        if expert.features() != setup.architecture.features() {
            return Err(Error::Setup(format!(
                "{} mixes features of one width: the shared extractor {} has {}, this peer's {} has {}; choose another \
                 architecture, or another shared one with {}:shared=NAME",
                self.info().name,
                expert.name(),
                expert.features(),
                setup.architecture.name(),
                setup.architecture.features(),
                self.info().name
            )));
        }
        let specs = architectures::check(expert.as_ref(), setup.task.input, &setup.device.open()?)?;
        // The law of the genesis: with the digest of a run's seed as its genesis seed, a network starts where `moe-local` does.
        let parts = vec![
            part("shared", "shared", specs, self.merging, &setup, self.rates.shared)?,
            own_extractor("local", &setup, self.rates.local)?,
            part("head", "head", head_specs(expert.features(), &setup.task), false, &setup, self.rates.head)?,
            part("gate", "gate", gate::specs(setup.task.input), false, &setup, self.rates.gate)?,
        ];
        let network = Mixture { shared: expert, local: setup.architecture.clone(), mix: self.mix };
        Ok(Box::new(Learner::new(&self.spelling(), network, parts, setup)?))
    }
}

/// The mixture's forward pass.
struct Mixture {
    shared: Arc<dyn Architecture>,
    local: Arc<dyn Architecture>,
    mix: Mix,
}

/// `(a_G, a_F)`, `R_G` and `R_F` of a batch.
type Features = ((Tensor<2>, Tensor<2>), Tensor<2>, Tensor<2>);

impl Mixture {
    fn features(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Features, Error> {
        let r_g = self.shared.forward(&mut parts.part("shared", self.shared.name())?, images.clone())?;
        let r_f = self.local.forward(&mut parts.part("local", self.local.name())?, images.clone())?;
        let weights = gate::weigh(&mut parts.part("gate", "gate")?, images)?;
        Ok((weights, r_g, r_f))
    }

    fn head(&self, parts: &Parts<'_>, features: Tensor<2>) -> Result<Tensor<2>, Error> {
        layers::linear(&mut parts.part("head", "head")?, features)
    }
}

impl Network for Mixture {
    fn logits(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        let (weights, r_g, r_f) = self.features(parts, images)?;
        self.head(parts, self.mix.mix(weights, r_g, r_f))
    }

    fn examine(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Examined, Error> {
        let (weights, r_g, r_f) = self.features(parts, images)?;
        let experts = Experts {
            gate: weights.0.clone(),
            shared_only: self.head(parts, r_g.clone() * self.mix.alone())?,
            local_only: self.head(parts, r_f.clone() * self.mix.alone())?,
        };
        Ok(Examined { logits: self.head(parts, self.mix.mix(weights, r_g, r_f))?, experts: Some(experts) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use burn::tensor::Device;

    use super::*;
    use crate::parameters::to_vec;

    #[test]
    fn mixes_are_what_their_formulas_say() {
        let device = Device::flex();
        let row = |x: [[f32; 2]; 1]| Tensor::<2>::from_floats(x, &device);
        for (mix, expected) in [(Mix::Convex, [2.5, 7.0]), (Mix::Doubled, [5.0, 14.0]), (Mix::Residual, [3.25, 9.0])] {
            let weights = (Tensor::from_floats([[0.25f32]], &device), Tensor::from_floats([[0.75f32]], &device));
            let mixed = mix.mix(weights, row([[1.0, 4.0]]), row([[3.0, 8.0]]));
            assert_eq!(to_vec(mixed).unwrap(), expected, "{mix}");
        }
    }
}
