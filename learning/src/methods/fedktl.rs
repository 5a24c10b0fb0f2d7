//! FedKTL (Zhang et al. 2024, arXiv 2403.15760): unlike peers learn from a generator that knows no peer's data.
//!
//! ```text
//! alike for all, from the network's seed: class vectors v_c (an equiangular tight frame), first weights of h'
//! each round: every peer i takes in the pairs (I, w) of the last generation, if there are any, and resets h'
//!   E epochs, per batch:  q = h(f(x)) / |h(f(x))|     s_c = <q, v_c>
//!     L_A = CE(64 s', y), s'_y = cos(acos(s_y) + 0.5)         (ArcFace)
//!     L_M = MSE(h'(f(I)), w)
//!     f, h, h' <- SGD on L_A + mu L_M, gradients of (f, h) and of h' clipped to norm 100
//!   publishes, for its classes, the prototypes: mean of q over its images, normalised
//! a host with a generator: see [`crate::transfer::Aligning`]
//! evaluated: argmax_c s_c
//! ```
//!
//! Nothing is merged: `C_i C` numbers go up per peer, `C (pixels + H)` come down. `as-released=true` does what the released code
//! does where that differs from the paper: prototypes leave out the images that fill no batch, and the host sends trained
//! centroids, for classes that nobody has too. What neither has is the acceptance gate (`gate`, on unless as released): a peer
//! tries pairs for a few steps and refuses those that raise its own loss.

use std::sync::Arc;

use burn::tensor::Tensor;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::prototypes::PrototypeSpec;
use fedswarm_protocol::tensor::Schema;

use super::classifier::{Classifier, OWN};
use super::head::Head;
use super::ktl::Transfer;
use super::options::Options;
use super::{Heads, Member, MemberSetup, Method, MethodInfo, Task, check_task, family, prototypes};
use crate::Error;
use crate::generator::Generator;
use crate::training::{Learner, Network, Parts};
use crate::transfer::Host;
use crate::transfer::arcface::SCALE;

/// Knowledge transfer through a generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct FedKtl {
    transfer: Transfer,
}

impl FedKtl {
    /// The method with these settings.
    #[must_use]
    pub const fn new(transfer: Transfer) -> Self {
        Self { transfer }
    }

    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        Ok(Self { transfer: Transfer::from_options(options, Transfer::default())? })
    }
}

impl Method for FedKtl {
    fn info(&self) -> MethodInfo {
        MethodInfo {
            name: "fedktl",
            shares: "class prototypes",
            heterogeneous: true,
            needs: "a peer with a generator",
            paper: "Zhang et al. 2024, arXiv 2403.15760",
        }
    }

    fn heads(&self) -> Heads {
        Heads::Etf
    }

    fn spelling(&self) -> String {
        let options = self.transfer.spelling(&Transfer::default());
        options.strip_prefix(',').map_or_else(|| "fedktl".to_owned(), |options| format!("fedktl:{options}"))
    }

    fn schema(&self, _: &Task) -> Result<Schema, Error> {
        Ok(Schema::default())
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        family(task)
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
        check_task(&setup.task)?;
        let head = Head::Etf { scale: SCALE };
        let network = Directed(Classifier::new(setup.architecture.clone(), head));
        let plan = self.transfer.plan(setup.architecture.features());
        let mut parts = Classifier::parts(&setup)?;
        head.complete(&[&OWN], &mut parts, &setup)?;
        Ok(Box::new(Learner::new(&self.spelling(), network, parts, setup)?.with_transfer(plan)))
    }
}

/// A model whose features learn a generator's latent space, and whose prototypes are directions in that of the class vectors.
struct Directed(Classifier);

impl Network for Directed {
    fn logits(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        self.0.logits(parts, images)
    }

    fn loss(&self, parts: &Parts<'_>, images: Tensor<4>, targets: Tensor<2>) -> Result<Tensor<1>, Error> {
        self.0.loss(parts, images, targets)
    }

    fn transferred(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Option<Tensor<2>>, Error> {
        self.0.features(parts, images).map(Some)
    }

    fn embedding(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Option<Tensor<2>>, Error> {
        self.0.output(parts, self.0.features(parts, images)?).map(Some)
    }
}
