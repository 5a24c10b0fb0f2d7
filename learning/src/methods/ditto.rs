//! Ditto (Li et al. 2021, arXiv 2012.04221, algorithm 1): a model for all, and beside it a personal one that is held near it.
//!
//! ```text
//! each round: every peer i starts from the certified w
//!             v_i <- E_p epochs of SGD on CE(v_i) + mu / 2 |v_i - w|^2          (`personal_epochs`, 1)
//!             w_i <- E epochs of SGD on CE(w_i)
//!             w   <- sum_i n_i / n w_i
//! evaluated:  v_i
//! ```

use std::sync::Arc;

use burn::tensor::Tensor;
use fedswarm_protocol::tensor::Schema;

use super::classifier::{Classifier, OWN};
use super::fedavg::{shared_model, whole};
use super::head::Head;
use super::one_model::OneModel;
use super::options::{Options, spelling};
use super::{Heads, Member, MemberSetup, Method, MethodInfo, Task};
use crate::Error;
use crate::architectures::Architecture;
use crate::training::{Course, Learner, Network, Parts, Phase};

/// How near the personal model is held; the reference's runs have this too.
const MU: f32 = 0.1;

/// Passes over the data for the personal model.
const PERSONAL_EPOCHS: usize = 1;

/// The parts of the personal model; each is held near its like in [`OWN`], the model for all.
const PERSONAL: [&str; 2] = ["personal", "personal_head"];

/// A model for all, and a personal one near it.
#[derive(Clone)]
pub struct Ditto {
    model: OneModel,
    mu: f32,
    personal_epochs: usize,
    head: Head,
}

impl std::fmt::Debug for Ditto {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.spelling())
    }
}

impl Ditto {
    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        Ok(Self {
            model: OneModel::from_options(options)?,
            mu: options.rate("mu")?.unwrap_or(MU),
            personal_epochs: options.value("personal_epochs", "a whole number")?.unwrap_or(PERSONAL_EPOCHS),
            head: Head::from_options(options)?,
        })
    }
}

impl Method for Ditto {
    fn info(&self) -> MethodInfo {
        MethodInfo {
            name: "ditto",
            shares: "the whole model",
            heterogeneous: false,
            needs: "one architecture",
            paper: "Li et al. 2021, arXiv 2012.04221",
        }
    }

    fn heads(&self) -> Heads {
        Heads::Either
    }

    fn spelling(&self) -> String {
        let mu = (self.mu != MU).then(|| format!("mu={}", self.mu));
        let personal =
            (self.personal_epochs != PERSONAL_EPOCHS).then(|| format!("personal_epochs={}", self.personal_epochs));
        spelling("ditto", [mu, personal, self.model.option(), self.head.option()])
    }

    fn schema(&self, task: &Task) -> Result<Schema, Error> {
        whole(self.model.of(task)?.as_ref(), task)
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        self.model.names(task)
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        let model = self.model.checked("ditto", &setup)?;
        let mut parts = shared_model(&setup)?;
        // By the same law as the model for all: both begin alike.
        parts.extend(Classifier::parts_named(PERSONAL, &setup)?);
        self.head.complete(&[&PERSONAL, &OWN], &mut parts, &setup)?;
        let phases = vec![
            Phase { epochs: Some(self.personal_epochs), trains: Some(&PERSONAL) },
            Phase { epochs: None, trains: Some(&OWN) },
        ];
        let learner = Learner::new(&self.spelling(), Near::new(model, self.head, self.mu), parts, setup)?;
        Ok(Box::new(learner.with_course(Course { phases, ..Course::default() })))
    }
}

struct Near {
    personal: Classifier,
    common: Classifier,
    mu: f32,
}

impl Near {
    fn new(model: Arc<dyn Architecture>, head: Head, mu: f32) -> Self {
        let personal = Classifier::named(Arc::clone(&model), head, PERSONAL);
        Self { personal, common: Classifier::new(model, head), mu }
    }
}

impl Network for Near {
    fn logits(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        self.personal.logits(parts, images)
    }

    fn loss(&self, parts: &Parts<'_>, images: Tensor<4>, targets: Tensor<2>) -> Result<Tensor<1>, Error> {
        if parts.phase() > 0 {
            return self.common.loss(parts, images, targets);
        }
        let mut loss = self.personal.loss(parts, images, targets)?;
        for (own, common) in PERSONAL.into_iter().zip(OWN) {
            for (v, w) in parts.values(own).iter().zip(parts.values(common)) {
                let difference = v.clone() - w.clone();
                loss = loss + (difference.clone() * difference).sum() * (0.5 * self.mu);
            }
        }
        Ok(loss)
    }
}
