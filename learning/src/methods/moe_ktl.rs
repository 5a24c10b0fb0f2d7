//! FedMoE's mixture with FedKTL's head and transfer: peers share a small extractor and what a generator makes of their
//! prototypes.
//!
//! ```text
//! each round: every peer k installs the certified (theta, h_s) as in [`super::FedMoe`], and takes in the last generation's pairs
//!   per batch:  R    = R_F + a_G R_G                          s_c = <h_k(R) / |h_k(R)|, v_c>
//!               loss = ArcFace(s, y) + shared_loss CE(h_s(R_G) + ln pi_k, y) + mu MSE(h'(f(I)), w)
//!   publishes its update of (theta, h_s) and the prototypes: mean of h_k(R) / |h_k(R)| by class, normalised
//! evaluated: softmax(scale s) and softmax(h_s(R_G) + ln pi_k), pooled as in FedMoE
//! ```
//!
//! `f`, whose features learn the generator's latent space, is the private `local` extractor (`transfer` names another). So
//! nothing that a generator's host sends reaches what peers share. For the same reason the private head's gradient stops
//! before the shared extractor (`mix_gradient=0`): `ArcFace`'s is so long that peers' private goals would drown the common one.
//! In the answer cosines are multiplied with `scale` = 2 and not with `ArcFace`'s 64, with which a private head that has seen
//! fifty images would outvote the shared one on everything. `docs/results/transfer.md` has the ablations.
//!
//! Controls: `mu=0` takes no pairs in; `merge=false` shares no extractor; both together are `moe-local` with this head.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::prototypes::PrototypeSpec;
use fedswarm_protocol::tensor::Schema;

use super::fedmoe::Recipe;
use super::head::Head;
use super::ktl::Transfer;
use super::options::Options;
use super::{FedMoe, Heads, Member, MemberSetup, Method, MethodInfo, Task, prototypes};
use crate::Error;
use crate::generator::Generator;
use crate::training::Learner;
use crate::transfer::Host;

/// Whose features learn a generator's latent space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Branch {
    /// The shared extractor's, `R_G`.
    Shared,
    /// The local extractor's, `R_F`.
    #[default]
    Local,
    /// The mixture's, `R`.
    Mixed,
}

impl Branch {
    const ALL: [(&'static str, Self); 3] = [("shared", Self::Shared), ("local", Self::Local), ("mixed", Self::Mixed)];
}

impl FromStr for Branch {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|(name, _)| *name == text).map(|(_, branch)| branch).ok_or(())
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.into_iter().find(|(_, branch)| branch == self).map_or("", |(name, _)| name))
    }
}

/// A shared small extractor, a local one, and transfer through a generator.
#[derive(Clone, Debug)]
pub struct MoeKtl {
    moe: FedMoe,
    merging: bool,
    transfer: Transfer,
    branch: Branch,
    scale: f32,
}

/// What cosines are multiplied with for the answer: 2 is where answers were best of 1, 2, 4, 8 and 64 (`docs/results/transfer.md`), 1 hardly behind.
pub(super) const SCALE: f32 = 2.0;

/// What the weight of the loss on pairs is multiplied with after each round. Pairs help at the beginning and not at the end, where
/// wrong ones do harm (`docs/results/hosts.md`): after twenty rounds an eighth of the weight is left, after forty a seventieth.
const MU_DECAY: f32 = 0.9;

/// FedKTL's transfer, fading.
fn usual() -> Transfer {
    Transfer { mu_decay: MU_DECAY, ..Transfer::default() }
}

/// `fedmoe`'s recipe, with the shared expert left to its own head.
fn recipe() -> Recipe {
    Recipe { mix_gradient: 0.0, ..Recipe::default() }
}

impl MoeKtl {
    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        let merging = options.flag("merge")?.unwrap_or(true);
        Ok(Self {
            moe: FedMoe::from_options(options, merging, recipe())?,
            merging,
            transfer: Transfer::from_options(options, usual())?,
            branch: options.value("transfer", "shared, local or mixed")?.unwrap_or_default(),
            scale: options.positive("scale")?.unwrap_or(SCALE),
        })
    }
}

impl Method for MoeKtl {
    fn info(&self) -> MethodInfo {
        MethodInfo {
            name: "moe-ktl",
            shares: "a small extractor, its head, class prototypes",
            heterogeneous: true,
            needs: "equal feature widths; a peer with a generator",
            paper: "FedMoE and FedKTL together",
        }
    }

    fn heads(&self) -> Heads {
        Heads::Etf
    }

    fn spelling(&self) -> String {
        let merge = if self.merging { "" } else { ",merge=false" };
        let transfer = self.transfer.spelling(&usual());
        let mut text = format!("moe-ktl:{}{merge}{transfer},transfer={}", self.moe.options(), self.branch);
        if self.scale != SCALE {
            text.push_str(&format!(",scale={}", self.scale));
        }
        text
    }

    fn schema(&self, task: &Task) -> Result<Schema, Error> {
        self.moe.schema(task)
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        self.moe.default_architectures(task)
    }

    fn prototypes(&self, task: &Task) -> Result<Option<PrototypeSpec>, Error> {
        prototypes(task.classes, None).map(Some)
    }

    fn host(
        &self,
        task: &Task,
        generator: Arc<dyn Generator>,
        common: &Digest,
    ) -> Result<Option<Box<dyn Host>>, Error> {
        self.transfer.host(task, generator, common)
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        let head = Head::Etf { scale: self.scale };
        let (network, parts) = self.moe.assemble("moe-ktl", head, Some(self.branch), &setup)?;
        let plan = self.transfer.plan(setup.architecture.features());
        Ok(Box::new(Learner::new(&self.spelling(), network, parts, setup)?.with_transfer(plan)))
    }
}
