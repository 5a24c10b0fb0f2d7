//! FedTGP (Zhang et al. 2024, arXiv 2401.03230, algorithm 1): class targets that are trained apart from each other.
//!
//! ```text
//! each round: every peer i starts from the certified targets T, with its own (f_i, h_i)
//!             (f_i, h_i) <- E epochs of SGD on CE(h_i(f_i(x)), y) + lambda MSE(f_i(x), T_y)
//!             publishes P_ic, the mean of f_i(x) over its images of class c, for its classes
//!             T <- E_T epochs of SGD on CE(softmax_c -(|P_ic - T_c| + margin [c is the class]))    (equations 6 to 8)
//!                  with T = W2 relu(W1 E + b1) + b2, which all derive in exact arithmetic: ADR 020
//! evaluated:  the class whose T_c is nearest to f_i(x); by h_i before there is a T, or with `answer=head`
//! ```
//!
//! `lambda` = 10, `target_lr` = 0.01, `target_epochs` = `E_T` = 100, `target_batch` = 10 and a margin of at most `margin` = 100 are those of the
//! reference's runs. The released code sends means that are a round old, since it reads a model that has not been saved yet; these
//! are of the round. `E` starts uniform in -1..1 as all genesis values do, not normal. Classes that nobody ever had are no answer.

use fedswarm_protocol::prototypes::PrototypeSpec;
use fedswarm_protocol::summary::{Apart, Summary};
use fedswarm_protocol::tensor::Schema;

use super::classifier::{Classifier, OWN};
use super::fedgh::Head;
use super::head::Head as Own;
use super::near::Near;
use super::options::{Options, spelling};
use super::{
    Heads, Member, MemberSetup, Method, MethodInfo, Task, checked_width, class_means, common_width, family, part,
    prototypes,
};
use crate::Error;
use crate::parameters::ParamSpec;
use crate::training::{Course, Learner, Part};

/// Weight of the distance to the class's target.
const LAMBDA: f32 = 10.0;

/// The largest margin.
const MARGIN: u16 = 100;

/// Passes over the list.
const EPOCHS: u16 = 100;

/// Names of the options.
const OPTIONS: [&str; 3] = ["target_lr", "target_epochs", "target_batch"];

/// Class targets that are trained apart from each other.
#[derive(Clone, Copy, Debug)]
pub struct FedTgp {
    lambda: f32,
    margin: u16,
    targets: Head,
    by_head: bool,
    head: Own,
}

impl FedTgp {
    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        Ok(Self {
            lambda: options.rate("lambda")?.unwrap_or(LAMBDA),
            margin: options.value("margin", "a whole number")?.unwrap_or(MARGIN),
            targets: Head::from_options(options, OPTIONS, Head::usual(EPOCHS))?,
            by_head: options.choice("answer", &["nearest", "head"])? == Some("head"),
            head: Own::from_options(options)?,
        })
    }
}

impl Method for FedTgp {
    fn info(&self) -> MethodInfo {
        MethodInfo {
            name: "fedtgp",
            shares: "class means up, trained targets down",
            heterogeneous: true,
            needs: "equal feature widths",
            paper: "Zhang et al. 2024, arXiv 2401.03230",
        }
    }

    fn heads(&self) -> Heads {
        Heads::Either
    }

    fn spelling(&self) -> String {
        let lambda = (self.lambda != LAMBDA).then(|| format!("lambda={}", self.lambda));
        let margin = (self.margin != MARGIN).then(|| format!("margin={}", self.margin));
        let answer = self.by_head.then(|| "answer=head".to_owned());
        let targets = self.targets.spelling(OPTIONS, &Head::usual(EPOCHS));
        spelling("fedtgp", [lambda, margin, answer].into_iter().chain(targets).chain([self.head.option()]))
    }

    fn schema(&self, _: &Task) -> Result<Schema, Error> {
        Ok(Schema::default())
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        family(task)
    }

    fn prototypes(&self, task: &Task) -> Result<Option<PrototypeSpec>, Error> {
        let apart = Apart { descent: self.targets.descent(), most_margin: self.margin };
        prototypes(common_width(task)?, Some(Summary::Targets(apart))).map(Some)
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        let width = checked_width("fedtgp", &setup)?;
        let mut parts = Classifier::parts(&setup)?;
        parts.extend([targets(width, &setup)?, class_means::part_of(width, &setup)?]);
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

/// What the targets are made of: it comes with them, and a member has no use for it.
fn targets(width: usize, setup: &MemberSetup) -> Result<Part, Error> {
    let mut specs = vec![ParamSpec::new("classes", &[setup.task.classes, width], 1)];
    specs.extend(ParamSpec::linear("first", width, width));
    specs.extend(ParamSpec::linear("second", width, width));
    let part = part("targets", "targets", specs, false, setup, None)?;
    Ok(Part { derived: true, fixed: true, ..part })
}
