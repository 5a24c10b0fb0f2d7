//! FedMoE, also called `pFedMoE` (Yi et al. 2024, arXiv 2402.01350): a shared small extractor and a local one, mixed per
//! image by a private gate.
//!
//! The paper's form, `fedmoe:mix=convex`:
//!
//! ```text
//! each round: every peer k installs the certified theta in its shared expert G
//!   E epochs, per batch, one backward pass through everything:
//!     R_G = G(x; theta)     R_F = F_k(x; omega_ex)     (a_G, a_F) = H(x; phi_k), a_G + a_F = 1
//!     R   = a_G R_G + a_F R_F                          (see [`Mix`] for two others)
//!     y^  = h_k(R; omega_hd)      loss = CE(y^, y)
//!     theta -= eta_theta dL/dtheta   omega -= eta_omega dL/domega   phi -= eta_phi dL/dphi
//!   theta <- sum_k n_k / n theta_k                     (in fixed point, as deltas; nothing else leaves a peer)
//! evaluated: the whole mixture, with the certified theta
//! ```
//!
//! In that form the shared expert learns slowly, and only what private heads ask of it: merging does not pay for itself. The
//! default, `fedmoe`, gives the shared expert a goal that all peers have in common and lets it keep its speed:
//!
//! ```text
//! each round: every peer k installs the certified (theta, h_s) and starts ahead of it, at
//!               theta_t + beta (theta_t - theta_{t-1})             (the same for h_s; see [`crate::training::Lookahead`])
//!   per batch:  R    = R_F + a_G R_G
//!               loss = CE(h_k(R), y) + lambda CE(h_s(R_G) + ln pi_k, y)        pi_k: the peer's own label shares
//!               (theta, h_s) with momentum mu and gradients clipped to norm c, all else as the member is set
//!   (theta, h_s) <- sum_k n_k / n (theta, h_s)_k                   (a plain weighted mean, as before)
//! evaluated: sqrt(softmax(h_k(R)) softmax(h_s(R_G) + ln pi_k)), normalised
//! ```
//!
//! with `lambda` = `shared_loss` = 1, `mu` = `shared_momentum` = 0.9, `beta` = `round_momentum` = 0.8 and
//! `c` = `shared_clip` = 5. `h_s` adds `(K + 1) C` numbers to what travels, 0.7 % for ten classes.
//!
//! `moe-local` is the same model, trained in the same way, with merging off: the control that tells capacity and optimiser
//! from collaboration.

mod gate;
mod mix;
mod mixture;
mod recipe;

use std::fmt;
use std::sync::Arc;

use fedswarm_protocol::tensor::Schema;

use self::mixture::{Mixture, SharedHead};
use super::head::Head;
use super::moe_ktl::{Branch, SCALE};
use super::options::Options;
use super::{
    Heads, Member, MemberSetup, Method, MethodInfo, Task, check_task, family, head_specs, own_extractor, part,
};
use crate::Error;
use crate::architectures::{self, Architecture, architecture};
use crate::parameters::schema;
use crate::training::{Learner, Lookahead, Part};

pub use mix::Mix;
pub use recipe::{Rates, Recipe};

/// The private parts.
const PRIVATE: [&str; 3] = ["local", "head", "gate"];

/// A shared small extractor and a local one, mixed per image.
#[derive(Clone)]
pub struct FedMoe {
    recipe: Recipe,
    shared: Option<Arc<dyn Architecture>>,
    merging: bool,
    head: Head,
}

impl fmt::Debug for FedMoe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spelling())
    }
}

impl FedMoe {
    /// The method with this recipe. `shared` is the shared extractor's architecture; without one the task decides:
    /// `cnn-5` for 3x32x32, `mlp` below 16 pixels, else `cnn2`. With `merging` off it is the control `moe-local`.
    #[must_use]
    pub const fn new(recipe: Recipe, shared: Option<Arc<dyn Architecture>>, merging: bool) -> Self {
        Self { recipe, shared, merging, head: Head::Linear }
    }

    /// The same with the private head that is asked for; with class vectors it answers as `moe-ktl`'s does.
    pub(super) fn with_head(self, options: &mut Options) -> Result<Self, Error> {
        let head = match Head::from_options(options)? {
            Head::Linear => Head::Linear,
            Head::Etf { .. } => Head::Etf { scale: SCALE },
        };
        Ok(Self { head, ..self })
    }

    pub(super) fn from_options(options: &mut Options, merging: bool, usual: Recipe) -> Result<Self, Error> {
        let recipe = Recipe::from_options(options, usual)?;
        let shared = options.architecture("shared")?;
        Ok(Self { recipe, shared, merging, head: Head::Linear })
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
            shares: match (self.merging, self.recipe.has_shared_head()) {
                (false, _) => "nothing",
                (true, false) => "a small extractor",
                (true, true) => "a small extractor and its head",
            },
            heterogeneous: true,
            needs: "extractors of the shared one's width",
            paper: "Yi et al. 2024, arXiv 2402.01350",
        }
    }

    fn heads(&self) -> Heads {
        Heads::Either
    }

    fn spelling(&self) -> String {
        let head = self.head.option().map_or_else(String::new, |head| format!(",{head}"));
        format!("{}:{}{head}", self.info().name, self.options())
    }

    fn schema(&self, task: &Task) -> Result<Schema, Error> {
        check_task(task)?;
        if !self.merging {
            return Ok(Schema::default());
        }
        let shared = self.shared(task)?;
        let (extractor, head) = (shared.parameters(task.input)?, head_specs(shared.features(), task));
        let head = self.recipe.has_shared_head().then_some(("shared_head", head.as_slice()));
        schema([("shared", extractor.as_slice())].into_iter().chain(head))
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        family(task)
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        let (network, parts) = self.assemble(self.info().name, self.head, None, &setup)?;
        Ok(Box::new(Learner::new(&self.spelling(), network, parts, setup)?))
    }
}

impl FedMoe {
    /// The options of a recipe, and the shared extractor if it was named.
    pub(super) fn options(&self) -> String {
        let shared = self.shared.as_ref().map_or_else(String::new, |shared| format!(",shared={}", shared.name()));
        format!("{}{shared}", self.recipe)
    }

    /// The model with this private head, for a method of this name.
    pub(super) fn assemble(
        &self,
        name: &str,
        head: Head,
        branch: Option<Branch>,
        setup: &MemberSetup,
    ) -> Result<(Mixture, Vec<Part>), Error> {
        check_task(&setup.task)?;
        let expert = self.shared(&setup.task)?;
        if expert.features() != setup.architecture.features() {
            return Err(Error::Setup(format!(
                "{name} mixes features of one width: the shared extractor {} has {}, this peer's {} has {}; choose another \
                 architecture, or another shared one with {name}:shared=NAME",
                expert.name(),
                expert.features(),
                setup.architecture.name(),
                setup.architecture.features(),
            )));
        }
        let specs = architectures::check(expert.as_ref(), setup.task.input, &setup.device.open()?)?;
        let Recipe { mix, rates, shared_loss, shared_momentum, shared_clip, round_momentum, mix_gradient } =
            self.recipe;
        // The law of the genesis: with the digest of a run's seed as its genesis seed, a network starts where `moe-local` does.
        let mut parts = vec![part("shared", "shared", specs, self.merging, setup, rates.shared)?];
        let linear = || head_specs(expert.features(), &setup.task);
        if self.recipe.has_shared_head() {
            parts.push(part("shared_head", "shared_head", linear(), self.merging, setup, rates.shared)?);
        }
        for part in &mut parts {
            part.sgd.momentum = shared_momentum.unwrap_or(setup.train.momentum);
            part.sgd.clip = shared_clip.or(setup.train.clip);
            part.fresh = true; // In `moe-local` too: the same work.
            part.lookahead = Lookahead::new(round_momentum);
        }
        parts.push(own_extractor("local", setup, rates.local)?);
        parts.push(part("head", "head", linear(), false, setup, rates.head)?);
        parts.push(part("gate", "gate", gate::specs(setup.task.input), false, setup, rates.gate)?);
        let (labels, classes) = (&setup.data.train.labels, setup.task.classes);
        let shared_head = self
            .recipe
            .has_shared_head()
            .then(|| setup.device.open().map(|device| SharedHead::new(shared_loss, labels, classes, &device)))
            .transpose()?;
        let (shared, local) = (Arc::clone(&expert), setup.architecture.clone());
        head.complete(&[&PRIVATE], &mut parts, setup)?;
        Ok((Mixture { shared, local, mix, mix_gradient, shared_head, head, branch }, parts))
    }
}
