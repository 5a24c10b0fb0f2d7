//! Federated distillation (Jeong et al. 2018, arXiv 1811.11479, algorithm 1): peers say how they answer, class by class.
//!
//! ```text
//! each round: every peer i starts from the certified class means Z of logits, with its own model m_i
//!             m_i <- E epochs of SGD on CE(m_i(x), y) + lambda CE(m_i(x), softmax Z_y)
//!                                                           (without the second term for classes that have no Z)
//!             publishes z_ic, the mean of m_i(x) over its images of class c, for its classes
//!             Z_c <- mean of z_ic over the peers that have c                        (derived by all: ADR 020)
//! evaluated:  m_i
//! ```
//!
//! The released code takes the logits `Z_y` themselves as the distribution to be matched. They are none: negative entries reward
//! answers without bound, and its runs end in NaN within ten rounds. A softmax makes them one. A peer's own answers are part of `Z`, as in
//! the released code; the paper leaves them out. With `head=etf` logits are 64 times cosines, and cosines are published.

use burn::tensor::{Tensor, activation};
use fedswarm_protocol::prototypes::PrototypeSpec;
use fedswarm_protocol::summary::Summary;
use fedswarm_protocol::tensor::Schema;

use super::classifier::{Classifier, OWN};
use super::head::Head;
use super::options::{Options, spelling};
use super::{Heads, Member, MemberSetup, Method, MethodInfo, Task, check_task, class_means, family, prototypes};
use crate::Error;
use crate::training::{Course, Learner, Network, Parts, cross_entropy};

/// Weight of the others' answers, as in the reference's script.
const LAMBDA: f32 = 1.0;

/// Peers say how they answer.
#[derive(Clone, Copy, Debug)]
pub struct FedDistill {
    lambda: f32,
    head: Head,
}

impl FedDistill {
    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        Ok(Self { lambda: options.rate("lambda")?.unwrap_or(LAMBDA), head: Head::from_options(options)? })
    }
}

impl Method for FedDistill {
    fn info(&self) -> MethodInfo {
        MethodInfo {
            name: "feddistill",
            shares: "mean logits by class",
            heterogeneous: true,
            needs: "nothing in common",
            paper: "Jeong et al. 2018, arXiv 1811.11479",
        }
    }

    fn heads(&self) -> Heads {
        Heads::Either
    }

    fn spelling(&self) -> String {
        let lambda = (self.lambda != LAMBDA).then(|| format!("lambda={}", self.lambda));
        spelling("feddistill", [lambda, self.head.option()])
    }

    fn schema(&self, _: &Task) -> Result<Schema, Error> {
        Ok(Schema::default())
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        family(task)
    }

    fn prototypes(&self, task: &Task) -> Result<Option<PrototypeSpec>, Error> {
        prototypes(task.classes, Some(Summary::Means)).map(Some)
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        check_task(&setup.task)?;
        let mut parts = Classifier::parts(&setup)?;
        parts.push(class_means::part_of(setup.task.classes, &setup)?);
        self.head.complete(&[&OWN], &mut parts, &setup)?;
        let network = Taught { own: Classifier::new(setup.architecture.clone(), self.head), lambda: self.lambda };
        let learner = Learner::new(&self.spelling(), network, parts, setup)?;
        Ok(Box::new(learner.with_course(Course { publishes: true, ..Course::default() })))
    }
}

struct Taught {
    own: Classifier,
    lambda: f32,
}

impl Taught {
    /// Logits; of a head with class vectors cosines, which are logits before they are scaled and fit into what is published.
    fn answer(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        self.own.head.answer(parts, self.own.output(parts, self.own.features(parts, images)?)?)
    }
}

impl Network for Taught {
    fn logits(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        self.own.logits(parts, images)
    }

    fn loss(&self, parts: &Parts<'_>, images: Tensor<4>, targets: Tensor<2>) -> Result<Tensor<1>, Error> {
        let head = self.own.head;
        let output = self.own.output(parts, self.own.features(parts, images)?)?;
        let (means, known) = class_means::of_images(parts, &targets)?;
        let taught = activation::softmax(head.scaled(means), 1) * known;
        let logits = head.logits(parts, output.clone())?;
        Ok(head.loss(parts, output, targets)? + cross_entropy(logits, taught) * self.lambda)
    }

    fn embedding(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Option<Tensor<2>>, Error> {
        self.answer(parts, images).map(Some)
    }
}
