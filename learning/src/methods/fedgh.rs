//! FedGH (Yi et al. 2023, arXiv 2303.13137, algorithm 1): one head for all, trained on everybody's class means.
//!
//! ```text
//! each round: every peer i starts from the certified h, with its own f_i
//!             (f_i, h_i) <- E epochs of SGD on CE(h_i(f_i(x)), y);  h_i is forgotten
//!             publishes P_ic, the mean of f_i(x) over its images of class c, for its classes
//!             h <- E_h epochs of SGD on CE(h(P_ic), c) over all P_ic      (derived by all in exact arithmetic: ADR 020)
//! evaluated:  h(f_i(x)) with the certified h
//! ```
//!
//! `head_lr` = 0.01, `head_epochs` = `E_h` = 1 and `head_batch` = 10 are those of the reference's runs. Its server shuffles by chance; here
//! the order follows from the list, alike for all. With `head=etf` both trainings of `h` are by `ArcFace`.

use fedswarm_protocol::prototypes::PrototypeSpec;
use fedswarm_protocol::summary::{Descent, Head as CertifiedHead, Summary};
use fedswarm_protocol::tensor::Schema;

use super::classifier::{Classifier, OWN};
use super::head::Head as Own;
use super::options::{Options, spelling};
use super::{
    Heads, Member, MemberSetup, Method, MethodInfo, Task, checked_width, common_width, exact, family, prototypes,
};
use crate::Error;
use crate::training::{Course, Learner};

/// Passes over the list.
const EPOCHS: u16 = 1;

/// One head for all, trained on everybody's class means.
#[derive(Clone, Copy, Debug)]
pub struct FedGh {
    head: Head,
    own: Own,
}

/// How something is trained on the list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Head {
    pub(super) lr: f32,
    pub(super) epochs: u16,
    pub(super) batch: u16,
}

impl Head {
    /// Of the reference's runs, but for the epochs.
    pub(super) const fn usual(epochs: u16) -> Self {
        Self { lr: 0.01, epochs, batch: 10 }
    }

    pub(super) fn from_options(
        options: &mut Options,
        [lr, epochs, batch]: [&'static str; 3],
        usual: Self,
    ) -> Result<Self, Error> {
        Ok(Self {
            lr: options.rate(lr)?.unwrap_or(usual.lr),
            epochs: options.value(epochs, "a whole number from 1 to 1000")?.unwrap_or(usual.epochs),
            batch: options.value(batch, "a whole number of at least 1")?.unwrap_or(usual.batch),
        })
    }

    /// The options that give it back, where they are not as usual.
    pub(super) fn spelling(&self, [lr, epochs, batch]: [&str; 3], usual: &Self) -> [Option<String>; 3] {
        [
            (self.lr != usual.lr).then(|| format!("{lr}={}", self.lr)),
            (self.epochs != usual.epochs).then(|| format!("{epochs}={}", self.epochs)),
            (self.batch != usual.batch).then(|| format!("{batch}={}", self.batch)),
        ]
    }

    pub(super) fn descent(&self) -> Descent {
        Descent::new(exact(self.lr), self.epochs, self.batch)
    }
}

/// Names of the options.
const OPTIONS: [&str; 3] = ["head_lr", "head_epochs", "head_batch"];

impl FedGh {
    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        Ok(Self { head: Head::from_options(options, OPTIONS, Head::usual(EPOCHS))?, own: Own::from_options(options)? })
    }
}

impl Method for FedGh {
    fn info(&self) -> MethodInfo {
        MethodInfo {
            name: "fedgh",
            shares: "class means up, a head down",
            heterogeneous: true,
            needs: "equal feature widths",
            paper: "Yi et al. 2023, arXiv 2303.13137",
        }
    }

    fn heads(&self) -> Heads {
        Heads::Either
    }

    fn spelling(&self) -> String {
        let head = self.head.spelling(OPTIONS, &Head::usual(EPOCHS));
        spelling("fedgh", head.into_iter().chain([self.own.option()]))
    }

    fn schema(&self, _: &Task) -> Result<Schema, Error> {
        Ok(Schema::default())
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        family(task)
    }

    fn prototypes(&self, task: &Task) -> Result<Option<PrototypeSpec>, Error> {
        let head = CertifiedHead { descent: self.head.descent(), loss: self.own.certified_loss() };
        prototypes(common_width(task)?, Some(Summary::Head(head))).map(Some)
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        checked_width("fedgh", &setup)?;
        let mut parts = Classifier::parts(&setup)?;
        for head in parts.iter_mut().filter(|part| part.name == "head") {
            // Its velocity is forgotten with it.
            (head.derived, head.fresh) = (true, true);
        }
        self.own.complete(&[&OWN], &mut parts, &setup)?;
        let network = Classifier::new(setup.architecture.clone(), self.own);
        let learner = Learner::new(&self.spelling(), network, parts, setup)?;
        Ok(Box::new(learner.with_course(Course { publishes: true, ..Course::default() })))
    }
}
