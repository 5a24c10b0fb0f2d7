//! Training alone: the baseline that collaboration must beat.
//!
//! ```text
//! each round: E epochs of SGD on CE(h(f(x)), y)             (`local:head=etf`: on `ArcFace`, see [`super::FedKtl`])
//! ```

use burn::tensor::Tensor;
use fedswarm_protocol::tensor::Schema;

use super::etf_classifier::EtfClassifier;
use super::options::Options;
use super::{Member, MemberSetup, Method, MethodInfo, Task, check_task, family, head_specs, own_extractor, part};
use crate::Error;
use crate::architectures::{Architecture, layers};
use crate::training::{Learner, Network, Parts};

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
            let network = EtfClassifier(setup.architecture.clone());
            let parts = EtfClassifier::parts(&setup)?;
            return Ok(Box::new(Learner::new(&self.spelling(), network, parts, setup)?));
        }
        let extractor = own_extractor("extractor", &setup, None)?;
        let features = setup.architecture.features();
        let head = part("head", "head", head_specs(features, &setup.task), false, &setup, None)?;
        let network = Classifier(setup.architecture.clone());
        Ok(Box::new(Learner::new(&self.spelling(), network, vec![extractor, head], setup)?))
    }
}

/// `h(f(x))`: an extractor and a linear head.
pub(super) struct Classifier(pub(super) std::sync::Arc<dyn Architecture>);

impl Classifier {
    fn features(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        self.0.forward(&mut parts.part("extractor", self.0.name())?, images)
    }
}

impl Network for Classifier {
    fn logits(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        layers::linear(&mut parts.part("head", "head")?, self.features(parts, images)?)
    }

    fn embedding(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Option<Tensor<2>>, Error> {
        self.features(parts, images).map(Some)
    }
}
