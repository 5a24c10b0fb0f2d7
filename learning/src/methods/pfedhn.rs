//! pFedHN (Shamsian et al. 2021, arXiv 2103.04628, algorithm 1): a network generates each peer's model from an embedding of the peer.
//!
//! ```text
//! each round: every peer i takes in its certified theta_i = h(e_i; phi)
//!             theta~_i <- E epochs of SGD on CE(theta_i)
//!             publishes theta~_i - theta_i
//!             (phi, e_i) <- one step on the sum of 1/2 |h(e_i; phi) - theta~_i|^2, whose gradient is the paper's vector-Jacobian
//!                           product (equation 3); an implicit one in h's last layer (derived by all in exact arithmetic: ADR 021)
//! evaluated:  theta_i
//! ```
//!
//! phi and the embeddings are certified state that only those hold who derive it; a peer takes in its `theta_i` alone. The reference's settings:
//! `lr` = 0.005, `momentum` = 0.9, `decay` = 0.00005 and a clip at 50 for peers; `hyper_lr` = 0.01, a clip at 50 and three hidden layers of 100
//! for h; `embedding` = 6 is the paper's 1 + N/4 for twenty peers. The paper's server visits one client after the other; here all train at a
//! time, and explicit steps of h's last layer for all of them would overshoot. `hold` = 0.1 is the inverse of the implicit step's rate: that
//! of the paper is 0.01, ten times that with its momentum, for each visit.

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

/// The network that is generated, unless another is named.
const MODEL: &str = "lenet";

/// A network generates each peer's model.
#[derive(Clone)]
pub struct PFedHn {
    model: OneModel,
    settings: Settings,
    head: Head,
}

/// How peers train, and the network that generates.
#[derive(Clone, Copy, PartialEq)]
struct Settings {
    /// Of peers.
    lr: f32,
    momentum: f32,
    decay: f32,
    /// Rate of embeddings and hidden layers.
    hyper_lr: f32,
    /// What holds the last layer where it is.
    hold: f32,
    /// Numbers of an embedding, width of hidden layers, and how many there are behind the first.
    sizes: [u16; 3],
}

impl Settings {
    const USUAL: Self =
        Self { lr: 0.005, momentum: 0.9, decay: 0.00005, hyper_lr: 0.01, hold: 0.1, sizes: [6, 100, 3] };

    fn from_options(options: &mut Options) -> Result<Self, Error> {
        let usual = Self::USUAL;
        let mut sizes = usual.sizes;
        for (size, name) in sizes.iter_mut().zip(SIZES) {
            *size = options.value(name, "a whole number of at least 1")?.unwrap_or(*size);
        }
        Ok(Self {
            lr: options.rate("lr")?.unwrap_or(usual.lr),
            momentum: options.fraction("momentum")?.unwrap_or(usual.momentum),
            decay: options.rate("decay")?.unwrap_or(usual.decay),
            hyper_lr: options.rate("hyper_lr")?.unwrap_or(usual.hyper_lr),
            hold: options.positive("hold")?.unwrap_or(usual.hold),
            sizes,
        })
    }

    /// The options that give it back, where they are not as usual.
    fn spelling(&self) -> impl Iterator<Item = Option<String>> + use<> {
        let numbers = |s: &Self| [s.lr, s.momentum, s.decay, s.hyper_lr, s.hold];
        let names = ["lr", "momentum", "decay", "hyper_lr", "hold"];
        let of = |(name, (value, usual)): (&str, (f32, f32))| (value != usual).then(|| format!("{name}={value}"));
        let numbers = names.into_iter().zip(numbers(self).into_iter().zip(numbers(&Self::USUAL))).map(of);
        let sizes = SIZES.into_iter().zip(self.sizes.into_iter().zip(Self::USUAL.sizes));
        numbers.chain(sizes.map(|(name, (value, usual))| (value != usual).then(|| format!("{name}={value}"))))
    }
}

/// Names of the sizes' options.
const SIZES: [&str; 3] = ["embedding", "hidden", "layers"];

impl std::fmt::Debug for PFedHn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.spelling())
    }
}

impl PFedHn {
    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        let model = OneModel::from_options(options)?;
        Ok(Self { model, settings: Settings::from_options(options)?, head: Head::from_options(options)? })
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
        spelling("pfedhn", [self.model.option(), self.head.option()].into_iter().chain(self.settings.spelling()))
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
        let Settings { hyper_lr, hold, sizes: [embedding, hidden, layers], .. } = self.settings;
        let layers = u8::try_from(layers).unwrap_or(u8::MAX);
        let hyper = Hypernetwork { embedding, hidden, layers, rate_q: q(hyper_lr), hold_q: q(hold), clip: CLIP };
        prototypes(0, Some(Summary::Hypernetwork(hyper))).map(Some)
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        let model = self.model(&setup.task)?.checked("pfedhn", &setup)?;
        let mut parts = shared_model(&setup)?;
        self.head.complete(&[&OWN], &mut parts, &setup)?;
        let Settings { lr, momentum, decay, .. } = self.settings;
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
