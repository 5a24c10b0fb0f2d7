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

use super::fedavg::{shared_model, whole};
use super::one_model::{OneModel, spelling};
use super::options::Options;
use super::{Member, MemberSetup, Method, MethodInfo, Task, head_specs, own_extractor, part};
use crate::Error;
use crate::architectures::{Architecture, layers};
use crate::training::{Course, Learner, Network, Parts, Phase, cross_entropy};

/// How near the personal model is held; the reference's runs have this too.
const MU: f32 = 0.1;

/// Passes over the data for the personal model.
const PERSONAL_EPOCHS: usize = 1;

/// The parts of the personal model and what each is held near.
const PERSONAL: [(&str, &str); 2] = [("personal", "extractor"), ("personal_head", "head")];

/// A model for all, and a personal one near it.
#[derive(Clone)]
pub struct Ditto {
    model: OneModel,
    mu: f32,
    personal_epochs: usize,
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

    fn spelling(&self) -> String {
        let mu = (self.mu != MU).then(|| format!("mu={}", self.mu));
        let personal =
            (self.personal_epochs != PERSONAL_EPOCHS).then(|| format!("personal_epochs={}", self.personal_epochs));
        spelling("ditto", [mu, personal, self.model.option()])
    }

    fn schema(&self, task: &Task) -> Result<Schema, Error> {
        whole(self.model.of(task)?.as_ref(), task)
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        self.model.names(task)
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        let model = self.model.checked("ditto", &setup)?;
        let mut parts = shared_model(model.as_ref(), &setup)?;
        let head = head_specs(model.features(), &setup.task);
        // By the same law as the model for all: both begin alike.
        parts.extend([
            own_extractor("personal", &setup, None)?,
            part("personal_head", "head", head, false, &setup, None)?,
        ]);
        let phases = vec![
            Phase { epochs: Some(self.personal_epochs), trains: Some(&["personal", "personal_head"]) },
            Phase { epochs: None, trains: Some(&["extractor", "head"]) },
        ];
        let learner = Learner::new(&self.spelling(), Near { model, mu: self.mu }, parts, setup)?;
        Ok(Box::new(learner.with_course(Course { phases, ..Course::default() })))
    }
}

struct Near {
    model: Arc<dyn Architecture>,
    mu: f32,
}

impl Near {
    fn of(&self, parts: &Parts<'_>, names: [&str; 2], images: Tensor<4>) -> Result<Tensor<2>, Error> {
        let features = self.model.forward(&mut parts.part(names[0], self.model.name())?, images)?;
        layers::linear(&mut parts.part(names[1], "head")?, features)
    }
}

impl Network for Near {
    fn logits(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        self.of(parts, PERSONAL.map(|(own, _)| own), images)
    }

    fn loss(&self, parts: &Parts<'_>, images: Tensor<4>, targets: Tensor<2>) -> Result<Tensor<1>, Error> {
        if parts.phase() > 0 {
            return Ok(cross_entropy(self.of(parts, PERSONAL.map(|(_, common)| common), images)?, targets));
        }
        let mut loss = cross_entropy(self.logits(parts, images)?, targets);
        for (own, common) in PERSONAL {
            for (v, w) in parts.values(own).iter().zip(parts.values(common)) {
                let difference = v.clone() - w.clone();
                loss = loss + (difference.clone() * difference).sum() * (0.5 * self.mu);
            }
        }
        Ok(loss)
    }
}
