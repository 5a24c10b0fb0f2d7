//! Training alone: the baseline that collaboration must beat.
//!
//! ```text
//! each round: E epochs of SGD on CE(h(f(x)), y)             (`local:head=etf`: on `ArcFace`, see [`super::FedKtl`])
//! ```

use fedswarm_protocol::tensor::Schema;

use super::classifier::{Classifier, OWN};
use super::head::Head;
use super::options::{Options, spelling};
use super::{Heads, Member, MemberSetup, Method, MethodInfo, Task, check_task, family};
use crate::Error;
use crate::training::Learner;

/// Training alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Local {
    /// With FedKTL's head it is the control that tells what a better head does from what collaboration does.
    head: Head,
}

impl Local {
    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        Ok(Self { head: Head::from_options(options)? })
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

    fn heads(&self) -> Heads {
        Heads::Either
    }

    fn spelling(&self) -> String {
        spelling("local", [self.head.option()])
    }

    fn schema(&self, _: &Task) -> Result<Schema, Error> {
        Ok(Schema::default())
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        family(task)
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        check_task(&setup.task)?;
        let mut parts = Classifier::parts(&setup)?;
        self.head.complete(&[&OWN], &mut parts, &setup)?;
        let network = Classifier::new(setup.architecture.clone(), self.head);
        Ok(Box::new(Learner::new(&self.spelling(), network, parts, setup)?))
    }
}
