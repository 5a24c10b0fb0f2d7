//! Per-FedAvg (Fallah et al. 2020, arXiv 2002.07948): a model that is good after one step on a peer's own images.
//!
//! ```text
//! each round: every peer i starts from the certified w; per triple of batches D, D', D'':
//!             w~ = w_i - alpha grad L(w_i; D)         v = grad L(w~; D')
//!             w_i <- w_i - beta v                                              `order=first`, as in PFLlib
//!             w_i <- w_i - beta (v - alpha Hess L(w_i; D'') v)                 `order=hessian-free` (equation 9's form)
//!             w   <- sum_i n_i / n w_i
//! evaluated:  w - alpha grad L(w; one batch of the peer's own) on its test images
//! ```
//!
//! `alpha` and `beta` are both the learning rate unless `alpha` is given. The Hessian's product is a difference of two gradients
//! over the distance `delta`. A round has two passes over the data, as in PFLlib, of steps of twice the images: as many
//! images as another method's two epochs.

use fedswarm_protocol::tensor::Schema;

use super::classifier::{Classifier, OWN};
use super::fedavg::{shared_model, whole};
use super::head::Head;
use super::one_model::OneModel;
use super::options::{Options, spelling};
use super::{Heads, Member, MemberSetup, Method, MethodInfo, Task};
use crate::Error;
use crate::training::{Course, Learner, Meta, Phase};

/// Distance of the two gradients whose difference stands for the Hessian's product (the paper's experiments).
const DELTA: f32 = 1e-3;

/// PFLlib calls its training twice in a round.
const PASSES: usize = 2;

/// A model that is good after one step.
#[derive(Clone)]
pub struct PerFedAvg {
    model: OneModel,
    alpha: Option<f32>,
    hessian_free: bool,
    head: Head,
}

impl std::fmt::Debug for PerFedAvg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.spelling())
    }
}

impl PerFedAvg {
    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        Ok(Self {
            model: OneModel::from_options(options)?,
            alpha: options.rate("alpha")?,
            hessian_free: options.choice("order", &["first", "hessian-free"])? == Some("hessian-free"),
            head: Head::from_options(options)?,
        })
    }
}

impl Method for PerFedAvg {
    fn info(&self) -> MethodInfo {
        MethodInfo {
            name: "per-fedavg",
            shares: "the whole model",
            heterogeneous: false,
            needs: "one architecture",
            paper: "Fallah et al. 2020, arXiv 2002.07948",
        }
    }

    fn heads(&self) -> Heads {
        Heads::Either
    }

    fn spelling(&self) -> String {
        let order = self.hessian_free.then(|| "order=hessian-free".to_owned());
        let alpha = self.alpha.map(|alpha| format!("alpha={alpha}"));
        spelling("per-fedavg", [order, alpha, self.model.option(), self.head.option()])
    }

    fn schema(&self, task: &Task) -> Result<Schema, Error> {
        whole(self.model.of(task)?.as_ref(), task)
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        self.model.names(task)
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        let model = self.model.checked("per-fedavg", &setup)?;
        let mut parts = shared_model(&setup)?;
        self.head.complete(&[&OWN], &mut parts, &setup)?;
        let meta = Meta { alpha: self.alpha, hessian_free: self.hessian_free.then_some(DELTA) };
        let phases = vec![Phase { epochs: Some(PASSES * setup.train.epochs), trains: None }];
        let learner = Learner::new(&self.spelling(), Classifier::new(model, self.head), parts, setup)?;
        Ok(Box::new(learner.with_course(Course { phases, meta: Some(meta), ..Course::default() })))
    }
}
