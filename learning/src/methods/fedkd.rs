//! FedKD (Wu et al. 2022, arXiv 2108.13323): a private model and a shared small one teach each other, the less the worse both answer.
//!
//! ```text
//! each round: every peer i starts from the certified g; per batch, one backward pass through everything:
//!             S   = CE(m_i) + CE(g)                                                      (not detached)
//!             L_m = CE(m_i) + KL(softmax g || softmax m_i) / S + MSE(f_m(x), W_i f_g(x)) / S
//!             L_g = CE(g)   + KL(softmax m_i || softmax g) / S + the same MSE / S
//!             L_m + L_g goes down in m_i, g and W_i; KL is the mean over images and classes (as released)
//!             g <- mean_i g_i
//! evaluated:  m_i
//! ```
//!
//! The paper sends the leading singular vectors of each tensor; a network's codec (`--codec f16` or `int8`) takes that place here: its
//! length is known before and an auditor decodes it to the bit. On small models the released compression makes messages
//! longer (5 x 5 kernels have few values to leave out), and zeros of flat spectra.

use burn::tensor::{Tensor, activation};
use fedswarm_protocol::tensor::Schema;

use super::classifier::{Classifier, OWN};
use super::fml::{LIMIT, divergence};
use super::head::Head;
use super::options::{Options, spelling};
use super::small_model::SmallModel;
use super::{Heads, Member, MemberSetup, Method, MethodInfo, Task, family, part};
use crate::Error;
use crate::parameters::ParamSpec;
use crate::training::{Course, Learner, Network, Parts, cross_entropy};

/// A private model and a shared small one, which teach each other the less the worse both answer.
#[derive(Clone)]
pub struct FedKd {
    shared: SmallModel,
    head: Head,
}

impl std::fmt::Debug for FedKd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.spelling())
    }
}

impl FedKd {
    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        Ok(Self { shared: SmallModel::from_options(options)?, head: Head::from_options(options)? })
    }
}

impl Method for FedKd {
    fn info(&self) -> MethodInfo {
        MethodInfo {
            name: "fedkd",
            shares: "a small model",
            heterogeneous: true,
            needs: "nothing in common",
            paper: "Wu et al. 2022, arXiv 2108.13323",
        }
    }

    fn heads(&self) -> Heads {
        Heads::Either
    }

    fn spelling(&self) -> String {
        spelling("fedkd", [self.shared.option(), self.head.option()])
    }

    fn schema(&self, task: &Task) -> Result<Schema, Error> {
        let shared = self.shared.of(task)?;
        self.shared.schema(task, shared.features())
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        family(task)
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        let shared = self.shared.of(&setup.task)?;
        let (theirs, own) = (shared.features(), setup.architecture.features());
        let mut parts = self.shared.parts(theirs, &setup)?;
        let mapping = vec![ParamSpec::new("weight", &[theirs, own], theirs)];
        parts.extend(Classifier::parts(&setup)?);
        parts.push(part("mapping", "mapping", mapping, false, &setup, None)?);
        for (at, part) in parts.iter_mut().enumerate() {
            part.module = ["small model", "small model", "own model", "own model", "mapping"][at];
            part.sgd.clip = setup.train.clip.or(Some(LIMIT));
        }
        self.head.complete(&[&OWN], &mut parts, &setup)?;
        let own = Classifier::new(setup.architecture.clone(), self.head);
        let network = Adaptive { own, shared: SmallModel::network(shared) };
        let learner = Learner::new(&self.spelling(), network, parts, setup)?;
        Ok(Box::new(learner.with_course(Course { uniform: true, ..Course::default() })))
    }
}

struct Adaptive {
    own: Classifier,
    shared: Classifier,
}

impl Network for Adaptive {
    fn logits(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        self.own.logits(parts, images)
    }

    fn loss(&self, parts: &Parts<'_>, images: Tensor<4>, targets: Tensor<2>) -> Result<Tensor<1>, Error> {
        let f_g = self.shared.features(parts, images.clone())?;
        let g = self.shared.output(parts, f_g.clone())?;
        let f_m = self.own.features(parts, images)?;
        let output = self.own.output(parts, f_m.clone())?;
        let m = self.own.head.logits(parts, output.clone())?;
        let (ln_g, ln_m) = (activation::log_softmax(g.clone(), 1), activation::log_softmax(m, 1));
        let apart = f_m - f_g.matmul(parts.part("mapping", "mapping")?.take::<2>()?);
        let taught =
            divergence(ln_g.clone(), ln_m.clone()) + divergence(ln_m, ln_g) + (apart.clone() * apart).mean() * 2.0;
        let own = self.own.head.loss(parts, output, targets.clone())? + cross_entropy(g, targets);
        Ok(own.clone() + taught / own)
    }
}
