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

use super::local::Classifier;
use super::options::Options;
use super::{Member, MemberSetup, Method, MethodInfo, Task, check_task, head_specs, own_extractor, part};
use crate::Error;
use crate::architectures::{Architecture, NAMES, architecture};
use crate::parameters::schema;
use crate::training::Learner;

/// One model for all.
#[derive(Clone, Default)]
pub struct FedAvg {
    model: Option<Arc<dyn Architecture>>,
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
        Self { model }
    }

    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        Ok(Self { model: options.text("model").map(|name| architecture(&name)).transpose()? })
    }

    fn model(&self, task: &Task) -> Result<Arc<dyn Architecture>, Error> {
        match &self.model {
            Some(model) => Ok(Arc::clone(model)),
            None => architecture(default_name(task)),
        }
    }
}

fn default_name(task: &Task) -> &'static str {
    if task.input.height.min(task.input.width) < 16 { "mlp" } else { "fedavg-cnn" }
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

    fn spelling(&self) -> String {
        self.model.as_ref().map_or_else(|| "fedavg".to_owned(), |model| format!("fedavg:model={}", model.name()))
    }

    fn schema(&self, task: &Task) -> Result<Schema, Error> {
        check_task(task)?;
        let model = self.model(task)?;
        let (extractor, head) = (model.parameters(task.input)?, head_specs(model.features(), task));
        schema([("extractor", extractor.as_slice()), ("head", head.as_slice())])
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        let name = self.model.as_ref().map_or_else(|| default_name(task), |model| model.name());
        // A user's own architecture is in no registry: it must be handed to every member.
        NAMES.into_iter().filter(|known| *known == name).collect()
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        check_task(&setup.task)?;
        let model = self.model(&setup.task)?;
        if setup.architecture.name() != model.name() {
            return Err(Error::Setup(format!(
                "fedavg shares one architecture, {}, and this peer has {}: use it, or name another with fedavg:model=NAME",
                model.name(),
                setup.architecture.name()
            )));
        }
        let mut extractor = own_extractor("extractor", &setup, None)?;
        extractor.shared = true;
        let head = part("head", "head", head_specs(model.features(), &setup.task), true, &setup, None)?;
        Ok(Box::new(Learner::new(&self.spelling(), Classifier(model), vec![extractor, head], setup)?))
    }
}
