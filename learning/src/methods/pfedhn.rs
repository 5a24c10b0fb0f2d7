//! pFedHN (Shamsian et al. 2021, arXiv 2103.04628, algorithm 1): a network generates each peer's model from an embedding of the peer.
//!
//! ```text
//! each round: every peer i takes in its certified theta_i = h(e_i; phi)
//!             theta~_i <- E epochs of SGD on CE(theta_i)
//!             publishes theta~_i - theta_i
//!             (phi, e_i) <- one step along the vector-Jacobian product of h with theta_i - theta~_i, author by author, of
//!                           whose mean `common` counts (equation 3; derived by all in exact arithmetic: ADR 021)
//! evaluated:  theta_i
//! ```
//!
//! phi and the embeddings are certified state that only those hold who derive it; a peer takes in its `theta_i` alone. The reference's settings:
//! `lr` = 0.005, `momentum` = 0.9, `decay` = 0.00005 and a clip at 50 for peers; `hyper_lr` = 0.01, `hyper_momentum` = 0.9, `hyper_decay` = 0.001,
//! a clip at 50 and three hidden layers of 100 for h. The paper's server visits one client after the other; here all train at a time, and at
//! that rate phi would not settle if what they all want counted for each: `common` = 0.3 of it does. `embedding` = 6 is the paper's 1 + N/4 for twenty peers.

use burn::tensor::Tensor;
use fedswarm_protocol::prototypes::PrototypeSpec;
use fedswarm_protocol::summary::{Hypernetwork, RATE_BITS, Summary, quantised};
use fedswarm_protocol::tensor::Schema;

use super::classifier::{Classifier, OWN};
use super::fedavg::{shared_model, whole};
use super::head::Head;
use super::one_model::OneModel;
use super::options::{Options, spelling};
use super::{Heads, Member, MemberSetup, Method, MethodInfo, Task, exact, prototypes};
use crate::Error;
use crate::architectures::architecture;
use crate::training::{Learner, Network, Parts};

/// Largest norm of a gradient, of peers and of the network that generates.
const CLIP: u16 = 50;

/// How much of what all authors of a round want counts.
const COMMON: f32 = 0.3;

/// The network that is generated, unless another is named.
const MODEL: &str = "lenet";

/// A network generates each peer's model.
#[derive(Clone)]
pub struct PFedHn {
    model: OneModel,
    numbers: [f32; 6],
    common: f32,
    sizes: [u16; 3],
    head: Head,
}

/// Options with what they usually are.
const NUMBERS: [(&str, f32); 6] = [
    ("lr", 0.005),
    ("momentum", 0.9),
    ("decay", 0.00005),
    ("hyper_lr", 0.01),
    ("hyper_momentum", 0.9),
    ("hyper_decay", 0.001),
];
const SIZES: [(&str, u16); 3] = [("embedding", 6), ("hidden", 100), ("layers", 3)];

impl std::fmt::Debug for PFedHn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.spelling())
    }
}

impl PFedHn {
    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        let model = OneModel::from_options(options)?;
        let mut numbers = NUMBERS.map(|(_, usual)| usual);
        for (number, (name, _)) in numbers.iter_mut().zip(NUMBERS) {
            let given = if name.ends_with("momentum") { options.fraction(name)? } else { options.rate(name)? };
            *number = given.unwrap_or(*number);
        }
        let common = options.share("common")?.unwrap_or(COMMON);
        let mut sizes = SIZES.map(|(_, usual)| usual);
        for (size, (name, _)) in sizes.iter_mut().zip(SIZES) {
            *size = options.value(name, "a whole number of at least 1")?.unwrap_or(*size);
        }
        Ok(Self { model, numbers, common, sizes, head: Head::from_options(options)? })
    }

    /// The architecture of all peers.
    fn model(&self, task: &Task) -> Result<OneModel, Error> {
        let small = task.input.height.min(task.input.width) < 16;
        Ok(if self.model.0.is_some() || small { self.model.clone() } else { OneModel(Some(architecture(MODEL)?)) })
    }
}

impl Method for PFedHn {
    fn info(&self) -> MethodInfo {
        MethodInfo {
            name: "pfedhn",
            shares: "the whole model up, one of its own down",
            heterogeneous: false,
            needs: "one architecture, a small one",
            paper: "Shamsian et al. 2021, arXiv 2103.04628",
        }
    }

    fn heads(&self) -> Heads {
        Heads::Either
    }

    fn spelling(&self) -> String {
        let numbers = self.numbers.iter().zip(NUMBERS);
        let numbers = numbers.map(|(value, (name, usual))| (*value != usual).then(|| format!("{name}={value}")));
        let sizes = self.sizes.iter().zip(SIZES);
        let sizes = sizes.map(|(value, (name, usual))| (*value != usual).then(|| format!("{name}={value}")));
        let common = (self.common != COMMON).then(|| format!("common={}", self.common));
        spelling("pfedhn", [self.model.option(), self.head.option(), common].into_iter().chain(numbers).chain(sizes))
    }

    fn schema(&self, task: &Task) -> Result<Schema, Error> {
        whole(self.model(task)?.of(task)?.as_ref(), task)
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        self.model(task).map(|model| model.names(task)).unwrap_or_default()
    }

    fn prototypes(&self, task: &Task) -> Result<Option<PrototypeSpec>, Error> {
        super::check_task(task)?;
        let q = |x: f32| quantised(exact(x), RATE_BITS);
        let ([_, _, _, lr, momentum, decay], [embedding, hidden, layers]) = (self.numbers, self.sizes);
        let layers = u8::try_from(layers).unwrap_or(u8::MAX);
        let (rate_q, momentum_q, decay_q, common_q) = (q(lr), q(momentum), q(decay), q(self.common));
        let hyper = Hypernetwork { embedding, hidden, layers, common_q, rate_q, momentum_q, decay_q, clip: CLIP };
        prototypes(0, Some(Summary::Hypernetwork(hyper))).map(Some)
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        let model = self.model(&setup.task)?.checked("pfedhn", &setup)?;
        let mut parts = shared_model(&setup)?;
        self.head.complete(&[&OWN], &mut parts, &setup)?;
        let [lr, momentum, decay, ..] = self.numbers;
        for part in parts.iter_mut().filter(|part| !part.fixed) {
            (part.sgd.lr, part.sgd.momentum, part.sgd.clip) = (lr, momentum, Some(f32::from(CLIP)));
            part.module = "model";
        }
        let network = Decaying { model: Classifier::new(model, self.head), decay };
        Ok(Box::new(Learner::new(&self.spelling(), network, parts, setup)?))
    }
}

/// A classifier whose weights are held to zero.
struct Decaying {
    model: Classifier,
    decay: f32,
}

impl Network for Decaying {
    fn logits(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        self.model.logits(parts, images)
    }

    fn loss(&self, parts: &Parts<'_>, images: Tensor<4>, targets: Tensor<2>) -> Result<Tensor<1>, Error> {
        let mut loss = self.model.loss(parts, images, targets)?;
        for w in OWN.iter().flat_map(|name| parts.values(name)) {
            loss = loss + (w.clone() * w.clone()).sum() * (0.5 * self.decay);
        }
        Ok(loss)
    }
}
