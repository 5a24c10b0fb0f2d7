//! LG-FedAvg (Liang et al. 2020, arXiv 2001.01523): private extractors of any kind, one shared head.
//!
//! ```text
//! each round: every peer i starts from the certified h, with its own f_i
//!             (f_i, h_i) <- E epochs of SGD on CE(h_i(f_i(x)), y)
//!             h          <- sum_i n_i / n h_i
//! evaluated:  h(f_i(x)) with the certified h
//! ```

use fedswarm_protocol::tensor::Schema;

use super::classifier::{Classifier, OWN};
use super::head::Head;
use super::options::{Options, spelling};
use super::{
    Heads, Member, MemberSetup, Method, MethodInfo, Task, checked_width, common_width, family, head_specs, share,
};
use crate::Error;
use crate::parameters::schema;
use crate::training::Learner;

/// Private extractors, one shared head.
#[derive(Clone, Copy, Debug, Default)]
pub struct LgFedAvg {
    head: Head,
}

impl LgFedAvg {
    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        Ok(Self { head: Head::from_options(options)? })
    }
}

impl Method for LgFedAvg {
    fn info(&self) -> MethodInfo {
        MethodInfo {
            name: "lg-fedavg",
            shares: "the head",
            heterogeneous: true,
            needs: "equal feature widths",
            paper: "Liang et al. 2020, arXiv 2001.01523",
        }
    }

    fn heads(&self) -> Heads {
        Heads::Either
    }

    fn spelling(&self) -> String {
        spelling("lg-fedavg", [self.head.option()])
    }

    fn schema(&self, task: &Task) -> Result<Schema, Error> {
        schema([("head", head_specs(common_width(task)?, task).as_slice())])
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        family(task)
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        checked_width("lg-fedavg", &setup)?;
        let mut parts = Classifier::parts(&setup)?;
        share(&mut parts, &["head"]);
        self.head.complete(&[&OWN], &mut parts, &setup)?;
        let network = Classifier::new(setup.architecture.clone(), self.head);
        Ok(Box::new(Learner::new(&self.spelling(), network, parts, setup)?))
    }
}
