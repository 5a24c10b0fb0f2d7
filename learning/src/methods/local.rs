//! Training alone: the baseline that collaboration must beat.
//!
//! ```text
//! each round: E epochs of SGD on CE(h(f(x)), y)             (`local:head=etf`: on `ArcFace`, see [`super::FedKtl`])
//! ```

use fedswarm_protocol::tensor::Schema;

use super::classifier::Classifier;
use super::etf_classifier::EtfClassifier;
use super::options::Options;
use super::{Member, MemberSetup, Method, MethodInfo, Task, check_task, family};
use crate::Error;
use crate::training::Learner;

/// Training alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Local {
    /// With FedKTL's head and loss instead: class vectors of an equiangular tight frame, `ArcFace`. The control that tells what a
    /// better head does from what collaboration does.
    pub etf: bool,
}

impl Local {
    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        Ok(Self { etf: options.choice("head", &["linear", "etf"])? == Some("etf") })
    }
}

impl Method for Local {
    fn info(&self) -> MethodInfo {
        MethodInfo {
            name: "local",
            shares: "nothing",
            heterogeneous: true,
            needs: "nothing in common",
            paper: "baseline",
        }
    }

    fn spelling(&self) -> String {
        if self.etf { "local:head=etf" } else { "local" }.to_owned()
    }

    fn schema(&self, _: &Task) -> Result<Schema, Error> {
        Ok(Schema::default())
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        family(task)
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        check_task(&setup.task)?;
        if self.etf {
            let network = EtfClassifier(Classifier::new(setup.architecture.clone()));
            let parts = EtfClassifier::parts(&setup)?;
            return Ok(Box::new(Learner::new(&self.spelling(), network, parts, setup)?));
        }
        let (network, parts) = (Classifier::new(setup.architecture.clone()), Classifier::parts(&setup)?);
        Ok(Box::new(Learner::new(&self.spelling(), network, parts, setup)?))
    }
}
