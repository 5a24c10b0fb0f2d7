//! FedProto (Tan et al. 2022, arXiv 2105.00243, algorithm 1): unlike peers agree on where in the feature space each class lies.
//!
//! ```text
//! each round: every peer i starts from the certified class means G, with its own (f_i, h_i)
//!             (f_i, h_i) <- E epochs of SGD on CE(h_i(f_i(x)), y) + lambda MSE(f_i(x), G_y)
//!                                                           (without the second term for classes that have no G)
//!             publishes P_ic, the mean of f_i(x) over its images of class c, for its classes         (equation 3)
//!             G_c <- mean of P_ic over the peers that have c                        (derived by all: ADR 020)
//! evaluated:  the class whose G_c is nearest to f_i(x); by h_i before there is a G, or with `answer=head`
//! ```
//!
//! `lambda` is 10, as in the reference's runs; 1 in the paper. Every peer that has a class counts once in its mean, as in the
//! released code; equation 6 of the paper weights them by their images of the class. The released code's `P_ic` are means over the
//! features seen during the round's steps, under a model that still moves; these are of the trained model, as in equation 3.

use fedswarm_protocol::prototypes::PrototypeSpec;
use fedswarm_protocol::summary::Summary;
use fedswarm_protocol::tensor::Schema;

use super::classifier::{Classifier, OWN};
use super::head::Head;
use super::near::Near;
use super::options::{Options, spelling};
use super::{
    Heads, Member, MemberSetup, Method, MethodInfo, Task, checked_width, class_means, common_width, family, prototypes,
};
use crate::Error;
use crate::training::{Course, Learner};

/// Weight of the distance to the class's mean.
const LAMBDA: f32 = 10.0;

/// Unlike peers agree on where each class lies.
#[derive(Clone, Copy, Debug)]
pub struct FedProto {
    lambda: f32,
    by_head: bool,
    head: Head,
}

impl FedProto {
    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        Ok(Self {
            lambda: options.rate("lambda")?.unwrap_or(LAMBDA),
            by_head: options.choice("answer", &["nearest", "head"])? == Some("head"),
            head: Head::from_options(options)?,
        })
    }
}

impl Method for FedProto {
    fn info(&self) -> MethodInfo {
        MethodInfo {
            name: "fedproto",
            shares: "class prototypes",
            heterogeneous: true,
            needs: "equal feature widths",
            paper: "Tan et al. 2022, arXiv 2105.00243",
        }
    }

    fn heads(&self) -> Heads {
        Heads::Either
    }

    fn spelling(&self) -> String {
        let lambda = (self.lambda != LAMBDA).then(|| format!("lambda={}", self.lambda));
        spelling("fedproto", [lambda, self.by_head.then(|| "answer=head".to_owned()), self.head.option()])
    }

    fn schema(&self, _: &Task) -> Result<Schema, Error> {
        Ok(Schema::default())
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        family(task)
    }

    fn prototypes(&self, task: &Task) -> Result<Option<PrototypeSpec>, Error> {
        prototypes(common_width(task)?, Some(Summary::Means)).map(Some)
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        let width = checked_width("fedproto", &setup)?;
        let mut parts = Classifier::parts(&setup)?;
        parts.push(class_means::part_of(width, &setup)?);
        self.head.complete(&[&OWN], &mut parts, &setup)?;
        let network = Near {
            model: Classifier::new(setup.architecture.clone(), self.head),
            lambda: self.lambda,
            by_head: self.by_head,
        };
        let learner = Learner::new(&self.spelling(), network, parts, setup)?;
        Ok(Box::new(learner.with_course(Course { publishes: true, ..Course::default() })))
    }
}
