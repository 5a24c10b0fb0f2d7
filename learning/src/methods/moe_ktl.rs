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
//! `f`, whose features learn the generator's latent space, is named by `transfer`: the `shared` extractor (so that what is
//! learnt from a generator is averaged over peers), the `local` one, or the `mixed` features.
//!
//! Controls: `mu=0` takes no pairs in; `merge=false` shares no extractor; both together are `moe-local` with this head.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::tensor::Schema;

use super::fedmoe::Head;
use super::ktl::{self, Transfer};
use super::options::Options;
use super::{FedMoe, Member, MemberSetup, Method, MethodInfo, Task};
use crate::Error;
use crate::generator::Generator;
use crate::training::Learner;
use crate::transfer::{Host, arcface};

/// Whose features learn a generator's latent space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Branch {
    /// The shared extractor's, `R_G`.
    #[default]
    Shared,
    /// The local extractor's, `R_F`.
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

impl MoeKtl {
    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        let merging = options.flag("merge")?.unwrap_or(true);
        Ok(Self {
            moe: FedMoe::from_options(options, merging)?,
            merging,
            transfer: Transfer::from_options(options)?,
            branch: options.value("transfer", "shared, local or mixed")?.unwrap_or_default(),
            scale: options.positive("scale")?.unwrap_or(arcface::SCALE),
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

    fn spelling(&self) -> String {
        let merge = if self.merging { "" } else { ",merge=false" };
        let mut text = format!("moe-ktl:{}{merge}{},transfer={}", self.moe.options(), self.transfer, self.branch);
        if self.scale != arcface::SCALE {
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

    fn prototype_len(&self, task: &Task) -> Option<usize> {
        Some(task.classes)
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
        let head = Head::Etf { branch: self.branch, scale: self.scale };
        let (network, mut parts) = self.moe.assemble("moe-ktl", head, &setup)?;
        let private = parts.iter().position(|p| p.name == "local").unwrap_or(parts.len());
        ktl::module("private", &mut parts[private..], &setup);
        parts.push(ktl::etf_part(&setup)?);
        let plan = self.transfer.plan(setup.architecture.features());
        Ok(Box::new(Learner::new(&self.spelling(), network, parts, setup)?.with_transfer(plan)))
    }
}
