//! FedAvg (arXiv 1602.05629, algorithm 1): one model for all.
//!
//! ```text
//! each round: every peer i starts from the certified w
//!             w_i <- E epochs of SGD on CE(h(f(x)), y)
//!             w   <- sum_i n_i / n w_i            (in fixed point, as deltas)
//! evaluated:  the certified w on each peer's own test images
//! ```

use std::sync::Arc;

use fedswarm_protocol::tensor::Schema;

use super::classifier::{Classifier, OWN};
use super::head::Head;
use super::one_model::OneModel;
use super::options::{Options, spelling};
use super::{Heads, Member, MemberSetup, Method, MethodInfo, Task, head_specs, share};
use crate::Error;
use crate::architectures::Architecture;
use crate::parameters::schema;
use crate::training::{Learner, Part};

/// One model for all.
#[derive(Clone, Default)]
pub struct FedAvg {
    model: OneModel,
    head: Head,
}

impl std::fmt::Debug for FedAvg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.spelling())
    }
}

impl FedAvg {
    /// FedAvg of this architecture; without one the task decides: `fedavg-cnn`, or `mlp` where that does not fit.
    #[must_use]
    pub const fn new(model: Option<Arc<dyn Architecture>>) -> Self {
        Self { model: OneModel(model), head: Head::Linear }
    }

    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        Ok(Self { model: OneModel::from_options(options)?, head: Head::from_options(options)? })
    }
}

/// All of a model of this architecture.
pub(super) fn whole(model: &dyn Architecture, task: &Task) -> Result<Schema, Error> {
    let (extractor, head) = (model.parameters(task.input)?, head_specs(model.features(), task));
    schema([("extractor", extractor.as_slice()), ("head", head.as_slice())])
}

/// A model of which everything is shared.
pub(super) fn shared_model(setup: &MemberSetup) -> Result<Vec<Part>, Error> {
    let mut parts = Classifier::parts(setup)?;
    share(&mut parts, &OWN);
    Ok(parts)
}

impl Method for FedAvg {
    fn info(&self) -> MethodInfo {
        MethodInfo {
            name: "fedavg",
            shares: "the whole model",
            heterogeneous: false,
            needs: "one architecture",
            paper: "McMahan et al. 2017, arXiv 1602.05629",
        }
    }

    fn heads(&self) -> Heads {
        Heads::Either
    }

    fn spelling(&self) -> String {
        spelling("fedavg", [self.model.option(), self.head.option()])
    }

    fn schema(&self, task: &Task) -> Result<Schema, Error> {
        whole(self.model.of(task)?.as_ref(), task)
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        self.model.names(task)
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        let model = self.model.checked("fedavg", &setup)?;
        let mut parts = shared_model(&setup)?;
        self.head.complete(&[&OWN], &mut parts, &setup)?;
        Ok(Box::new(Learner::new(&self.spelling(), Classifier::new(model, self.head), parts, setup)?))
    }
}
