//! FedRep (Collins et al. 2021, arXiv 2102.07078, algorithm 1): a shared representation, personal heads.
//!
//! ```text
//! each round: every peer i starts from the certified phi, with its own h_i
//!             h_i   <- E_h epochs of SGD on CE(h_i(phi(x)), y), phi fixed        (`head_epochs`, 1 as in PFLlib, 10 in the paper)
//!             phi_i <- E epochs of the same, h_i fixed
//!             phi   <- sum_i n_i / n phi_i
//! evaluated:  h_i(phi(x)) with the certified phi
//! ```

use fedswarm_protocol::tensor::Schema;

use super::classifier::{Classifier, OWN};
use super::head::Head;
use super::one_model::OneModel;
use super::options::{Options, spelling};
use super::{Heads, Member, MemberSetup, Method, MethodInfo, Task, share};
use crate::Error;
use crate::parameters::schema;
use crate::training::{Course, Learner, Phase};

/// A shared representation, personal heads.
#[derive(Clone)]
pub struct FedRep {
    model: OneModel,
    head_epochs: usize,
    head: Head,
}

impl std::fmt::Debug for FedRep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.spelling())
    }
}

/// Passes over the data for the head, as in PFLlib.
const HEAD_EPOCHS: usize = 1;

impl FedRep {
    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        let head_epochs = options.value("head_epochs", "a whole number")?.unwrap_or(HEAD_EPOCHS);
        Ok(Self { model: OneModel::from_options(options)?, head_epochs, head: Head::from_options(options)? })
    }
}

impl Method for FedRep {
    fn info(&self) -> MethodInfo {
        MethodInfo {
            name: "fedrep",
            shares: "the extractor",
            heterogeneous: false,
            needs: "one architecture",
            paper: "Collins et al. 2021, arXiv 2102.07078",
        }
    }

    fn heads(&self) -> Heads {
        Heads::Either
    }

    fn spelling(&self) -> String {
        let epochs = (self.head_epochs != HEAD_EPOCHS).then(|| format!("head_epochs={}", self.head_epochs));
        spelling("fedrep", [epochs, self.model.option(), self.head.option()])
    }

    fn schema(&self, task: &Task) -> Result<Schema, Error> {
        schema([("extractor", self.model.of(task)?.parameters(task.input)?.as_slice())])
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        self.model.names(task)
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        let model = self.model.checked("fedrep", &setup)?;
        let mut parts = Classifier::parts(&setup)?;
        share(&mut parts, &["extractor"]);
        self.head.complete(&[&OWN], &mut parts, &setup)?;
        let phases = vec![
            Phase { epochs: Some(self.head_epochs), trains: Some(&["head"]) },
            Phase { epochs: None, trains: Some(&["extractor"]) },
        ];
        let learner = Learner::new(&self.spelling(), Classifier::new(model, self.head), parts, setup)?;
        Ok(Box::new(learner.with_course(Course { phases, ..Course::default() })))
    }
}
