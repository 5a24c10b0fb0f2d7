//! `FedAMP` (Huang et al. 2021, arXiv 2007.03797, algorithm 1): each peer has a model of its own, and those of like peers attract each other.
//!
//! ```text
//! each round: every peer i has its w_i and takes in its certified u_i
//!             w_i <- E epochs of SGD on CE(w_i) + lambda / (2 alpha) |w_i - u_i|^2          (equation 7)
//!             publishes w_i
//!             u_i <- w_i + sum_j xi_ij (w_j - w_i),  xi_ij = alpha / sigma exp(-|w_i - w_j|^2 / sigma)
//!                    (equations 5 and 6; derived by all for every author: ADR 021)
//! evaluated:  w_i
//! ```
//!
//! `alpha`, `sigma` and `lambda` are the paper's. Where the xi of a peer would exceed 1 in all they are scaled to 1. The released code of
//! `PFLlib` takes the pull towards `u_i` of numbers that carry no gradient, so that it trains as `local`; this one pulls.

use burn::tensor::Tensor;
use fedswarm_protocol::prototypes::PrototypeSpec;
use fedswarm_protocol::summary::{Attention, Summary};
use fedswarm_protocol::tensor::Schema;

use super::classifier::{Classifier, OWN};
use super::fedavg::{shared_model, whole};
use super::head::Head;
use super::one_model::OneModel;
use super::options::{Options, spelling};
use super::{Heads, Member, MemberSetup, Method, MethodInfo, Task, exact, prototypes};
use crate::Error;
use crate::training::{Course, Learner, Network, Part, Parts};

/// The step of `u_i` towards the others.
const ALPHA: f32 = 0.05;

/// The squared distance at which another's model counts `1/e`.
const SIGMA: f32 = 1.0;

/// How near `w_i` is held to `u_i`, over `alpha`.
const LAMBDA: f32 = 0.05;

/// A peer's own parts and those of its cloud model.
const CLOUD: [&str; 2] = ["cloud", "cloud_head"];

/// A model for each, and like ones attract each other.
#[derive(Clone)]
pub struct FedAmp {
    model: OneModel,
    alpha: f32,
    sigma: f32,
    lambda: f32,
    head: Head,
}

impl std::fmt::Debug for FedAmp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.spelling())
    }
}

impl FedAmp {
    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        Ok(Self {
            model: OneModel::from_options(options)?,
            alpha: options.positive("alpha")?.unwrap_or(ALPHA),
            sigma: options.positive("sigma")?.unwrap_or(SIGMA),
            lambda: options.rate("lambda")?.unwrap_or(LAMBDA),
            head: Head::from_options(options)?,
        })
    }
}

impl Method for FedAmp {
    fn info(&self) -> MethodInfo {
        MethodInfo {
            name: "fedamp",
            shares: "the whole model up, one of its own down",
            heterogeneous: false,
            needs: "one architecture",
            paper: "Huang et al. 2021, arXiv 2007.03797",
        }
    }

    fn heads(&self) -> Heads {
        Heads::Either
    }

    fn spelling(&self) -> String {
        let option = |name: &str, value: f32, usual: f32| (value != usual).then(|| format!("{name}={value}"));
        let own = [option("alpha", self.alpha, ALPHA), option("sigma", self.sigma, SIGMA)];
        let others = [option("lambda", self.lambda, LAMBDA), self.model.option(), self.head.option()];
        spelling("fedamp", own.into_iter().chain(others))
    }

    fn schema(&self, task: &Task) -> Result<Schema, Error> {
        whole(self.model.of(task)?.as_ref(), task)
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        self.model.names(task)
    }

    fn prototypes(&self, task: &Task) -> Result<Option<PrototypeSpec>, Error> {
        super::check_task(task)?;
        let attention = Attention::new(exact(self.alpha), exact(self.sigma));
        prototypes(0, Some(Summary::Attention(attention))).map(Some)
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        let model = self.model.checked("fedamp", &setup)?;
        let mut parts: Vec<Part> = shared_model(&setup)?;
        // Nothing is installed into them.
        parts.iter_mut().for_each(|part| part.fresh = false);
        self.head.complete(&[&OWN], &mut parts, &setup)?;
        let cloud = Classifier::parts_named(CLOUD, &setup)?.into_iter();
        parts.extend(cloud.map(|part| Part { derived: true, fixed: true, ..part }));
        let network = Drawn { model: Classifier::new(model, self.head), weight: self.lambda / self.alpha };
        let learner = Learner::new(&self.spelling(), network, parts, setup)?;
        Ok(Box::new(learner.with_course(Course { whole: true, ..Course::default() })))
    }
}

/// A classifier that is held near its cloud model.
struct Drawn {
    model: Classifier,
    weight: f32,
}

impl Network for Drawn {
    fn logits(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        self.model.logits(parts, images)
    }

    fn loss(&self, parts: &Parts<'_>, images: Tensor<4>, targets: Tensor<2>) -> Result<Tensor<1>, Error> {
        let mut loss = self.model.loss(parts, images, targets)?;
        for (own, cloud) in OWN.into_iter().zip(CLOUD) {
            for (w, u) in parts.values(own).iter().zip(parts.values(cloud)) {
                let difference = w.clone() - u.clone();
                loss = loss + (difference.clone() * difference).sum() * (0.5 * self.weight);
            }
        }
        Ok(loss)
    }
}
