//! FML (Shen et al. 2020, arXiv 2006.16765): every peer's private model and a shared small one teach each other.
//!
//! ```text
//! each round: every peer i starts from the certified g; per batch, one backward pass through both:
//!             L_m = alpha CE(m_i) + (1 - alpha) KL(softmax g || softmax m_i)
//!             L_g = beta CE(g)    + (1 - beta)  KL(softmax m_i || softmax g)
//!             L_m + L_g goes down in both, neither teacher detached; KL is the mean over images and classes (as released)
//!             g <- mean_i g_i
//! evaluated:  m_i
//! ```

use burn::tensor::{Tensor, activation};
use fedswarm_protocol::tensor::Schema;

use super::classifier::{Classifier, OWN};
use super::head::Head;
use super::options::{Options, spelling};
use super::small_model::SmallModel;
use super::{Heads, Member, MemberSetup, Method, MethodInfo, Task, family};
use crate::Error;
use crate::training::{Course, Learner, Network, Parts, cross_entropy};

/// Weights of the labels, against what the other model says.
const HALF: f32 = 0.5;

/// Largest norm of each module's gradient, as in the released code of FML and FedKD.
pub(super) const LIMIT: f32 = 10.0;

/// A private model and a shared small one that teach each other.
#[derive(Clone)]
pub struct Fml {
    shared: SmallModel,
    alpha: f32,
    beta: f32,
    head: Head,
}

impl std::fmt::Debug for Fml {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.spelling())
    }
}

impl Fml {
    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        Ok(Self {
            shared: SmallModel::from_options(options)?,
            alpha: options.share("alpha")?.unwrap_or(HALF),
            beta: options.share("beta")?.unwrap_or(HALF),
            head: Head::from_options(options)?,
        })
    }
}

impl Method for Fml {
    fn info(&self) -> MethodInfo {
        MethodInfo {
            name: "fml",
            shares: "a small model",
            heterogeneous: true,
            needs: "nothing in common",
            paper: "Shen et al. 2020, arXiv 2006.16765",
        }
    }

    fn heads(&self) -> Heads {
        Heads::Either
    }

    fn spelling(&self) -> String {
        let weight = |name: &str, value: f32| (value != HALF).then(|| format!("{name}={value}"));
        let weights = [weight("alpha", self.alpha), weight("beta", self.beta)];
        spelling("fml", weights.into_iter().chain([self.shared.option(), self.head.option()]))
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
        let mut parts = self.shared.parts(shared.features(), &setup)?;
        parts.extend(Classifier::parts(&setup)?);
        for (at, part) in parts.iter_mut().enumerate() {
            part.module = if at < 2 { "small model" } else { "own model" };
            part.sgd.clip = setup.train.clip.or(Some(LIMIT));
        }
        self.head.complete(&[&OWN], &mut parts, &setup)?;
        let own = Classifier::new(setup.architecture.clone(), self.head);
        let network = Mutual { own, shared: SmallModel::network(shared), alpha: self.alpha, beta: self.beta };
        let learner = Learner::new(&self.spelling(), network, parts, setup)?;
        Ok(Box::new(learner.with_course(Course { uniform: true, ..Course::default() })))
    }
}

struct Mutual {
    own: Classifier,
    shared: Classifier,
    alpha: f32,
    beta: f32,
}

/// `sum q (ln q - ln p)`, its mean over images and classes; both given as logarithms.
pub(super) fn divergence(q: Tensor<2>, p: Tensor<2>) -> Tensor<1> {
    (q.clone().exp() * (q - p)).mean()
}

impl Network for Mutual {
    fn logits(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        self.own.logits(parts, images)
    }

    fn loss(&self, parts: &Parts<'_>, images: Tensor<4>, targets: Tensor<2>) -> Result<Tensor<1>, Error> {
        let g = self.shared.logits(parts, images.clone())?;
        let output = self.own.output(parts, self.own.features(parts, images)?)?;
        let m = self.own.head.logits(parts, output.clone())?;
        let (ln_g, ln_m) = (activation::log_softmax(g.clone(), 1), activation::log_softmax(m, 1));
        let own = self.own.head.loss(parts, output, targets.clone())? * self.alpha
            + divergence(ln_g.clone(), ln_m.clone()) * (1.0 - self.alpha);
        Ok(own + cross_entropy(g, targets) * self.beta + divergence(ln_m, ln_g) * (1.0 - self.beta))
    }
}
