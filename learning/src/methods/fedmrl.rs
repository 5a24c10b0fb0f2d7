//! FedMRL (Yi et al. 2024, arXiv 2406.00488): a shared small model and a private one, whose features together make a nested
//! representation.
//!
//! ```text
//! each round: every peer i starts from the certified (f_g, h_g); per batch, one backward pass through everything:
//!             r    = P_i [f_g(x), f_i(x)]                        P_i: (K_s + K) -> K
//!             loss = CE(h_i(r), y) + CE(h_g(r_1..K_s), y)
//!             (f_g, h_g) <- mean_i (f_g, h_g)_i
//! evaluated:  h_i(r) with the certified f_g
//! ```
//!
//! `f_g` is the small extractor with its features averaged in groups to `width` = `K_s` of them, a quarter unless said otherwise.
//! The released code never saves `P_i`: every round begins with its first weights, and is measured with them;
//! `as-released=true` does that.

use burn::tensor::Tensor;
use fedswarm_protocol::tensor::Schema;

use super::classifier::{Classifier, OWN};
use super::head::Head;
use super::options::{Options, spelling};
use super::small_model::{PARTS as SHARED, SmallModel};
use super::{Heads, Member, MemberSetup, Method, MethodInfo, Task, family, part};
use crate::Error;
use crate::architectures::layers;
use crate::parameters::ParamSpec;
use crate::training::{Course, Learner, Network, Parts, cross_entropy};

/// Features of the small extractor for each of those that are left of them.
const GROUP: usize = 4;

/// A shared small model and a private one with a nested representation.
#[derive(Clone)]
pub struct FedMrl {
    shared: SmallModel,
    width: Option<usize>,
    as_released: bool,
    head: Head,
}

impl std::fmt::Debug for FedMrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.spelling())
    }
}

impl FedMrl {
    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        Ok(Self {
            shared: SmallModel::from_options(options)?,
            width: options.value("width", "a whole number")?,
            as_released: options.flag("as-released")?.unwrap_or(false),
            head: Head::from_options(options)?,
        })
    }

    /// `K_s`, for a small extractor with so many features.
    fn width(&self, features: usize) -> Result<usize, Error> {
        let width = self.width.unwrap_or(features / GROUP);
        if width == 0 || !features.is_multiple_of(width) {
            let text =
                format!("fedmrl averages the small extractor's {features} features to {width}: choose a divisor");
            return Err(Error::Setup(text));
        }
        Ok(width)
    }
}

impl Method for FedMrl {
    fn info(&self) -> MethodInfo {
        MethodInfo {
            name: "fedmrl",
            shares: "a small model",
            heterogeneous: true,
            needs: "nothing in common",
            paper: "Yi et al. 2024, arXiv 2406.00488",
        }
    }

    fn heads(&self) -> Heads {
        Heads::Either
    }

    fn spelling(&self) -> String {
        let width = self.width.map(|width| format!("width={width}"));
        let released = self.as_released.then(|| "as-released=true".to_owned());
        spelling("fedmrl", [width, released, self.shared.option(), self.head.option()])
    }

    fn schema(&self, task: &Task) -> Result<Schema, Error> {
        let width = self.width(self.shared.of(task)?.features())?;
        self.shared.schema(task, width)
    }

    fn default_architectures(&self, task: &Task) -> Vec<&'static str> {
        family(task)
    }

    fn member(&self, setup: MemberSetup) -> Result<Box<dyn Member>, Error> {
        let shared = self.shared.of(&setup.task)?;
        let (width, features) = (self.width(shared.features())?, setup.architecture.features());
        if width > features {
            let name = setup.architecture.name();
            let text = format!("fedmrl nests {width} features in this peer's, of which {name} has {features}");
            return Err(Error::Setup(text));
        }
        let mut parts = self.shared.parts(width, &setup)?;
        let projector = ParamSpec::linear("projector", width + features, features).to_vec();
        parts.extend(Classifier::parts(&setup)?);
        parts.push(part("projector", "projector", projector, false, &setup, None)?);
        self.head.complete(&[&[OWN[0], OWN[1], "projector"], &SHARED], &mut parts, &setup)?;
        let own = Classifier::new(setup.architecture.clone(), self.head);
        let network = Nested { own, shared: SmallModel::network(shared), width };
        let forgotten: &[&str] = if self.as_released { &["projector"] } else { &[] };
        let learner = Learner::new(&self.spelling(), network, parts, setup)?;
        Ok(Box::new(learner.with_course(Course { uniform: true, forgotten, ..Course::default() })))
    }
}

struct Nested {
    own: Classifier,
    shared: Classifier,
    width: usize,
}

impl Nested {
    fn representation(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        let small = self.shared.features(parts, images.clone())?;
        let [n, features] = small.dims();
        let small: Tensor<3> = small.reshape([n, self.width, features / self.width]);
        let small = small.mean_dim(2).reshape([n, self.width]);
        let own = self.own.features(parts, images)?;
        layers::linear(&mut parts.part("projector", "projector")?, Tensor::cat(vec![small, own], 1))
    }
}

impl Network for Nested {
    fn logits(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        let output = self.own.output(parts, self.representation(parts, images)?)?;
        self.own.head.logits(parts, output)
    }

    fn loss(&self, parts: &Parts<'_>, images: Tensor<4>, targets: Tensor<2>) -> Result<Tensor<1>, Error> {
        let nested = self.representation(parts, images)?;
        let prefix = nested.clone().narrow(1, 0, self.width);
        let own = self.own.output(parts, nested)?;
        let common = self.shared.output(parts, prefix)?;
        Ok(self.own.head.loss(parts, own, targets.clone())? + cross_entropy(common, targets))
    }
}
