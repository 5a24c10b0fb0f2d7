//! What a model is made of, and what it does with images: what sets one gradient-trained method apart from another.

use burn::tensor::Tensor;

use super::{Lookahead, Sgd, cross_entropy};
use crate::Error;
use crate::parameters::{ParamSpec, Parameters, Weights};

/// One part of a model, such as an extractor or a head.
#[derive(Clone, Debug)]
pub struct Part {
    /// Name: the prefix of its tensors.
    pub name: &'static str,
    /// True if it is published and merged; shared parts make up the method's schema, in order.
    pub shared: bool,
    /// True if it is part of the certified state without being published: it follows from the peers' prototypes. Derived parts
    /// stand behind the shared ones in the state, in order. One that is trained, such as a head, is a peer's own until the next
    /// state is installed.
    pub derived: bool,
    /// Its weights.
    pub parameters: Parameters,
    /// Its optimiser.
    pub sgd: Sgd,
    /// True if its velocity is forgotten when a certified state is installed. So it must be where the weights change, and in
    /// a control without merging it is where they would.
    pub fresh: bool,
    /// Where a round starts; without momentum, where the last one ended.
    pub lookahead: Lookahead,
    /// Parts of one module share the norm that [`Sgd::clip`] bounds. A part alone has its own name here.
    pub module: &'static str,
    /// True if it is never trained, such as a classifier that all peers have fixed. It is exported like any other.
    pub fixed: bool,
}

/// A forward pass's view of all parts.
#[derive(Debug)]
pub struct Parts<'a> {
    pub(super) list: Vec<(&'static str, &'a [ParamSpec], &'a [Tensor<1>])>,
    pub(super) phase: usize,
    pub(super) draw: u64,
}

impl<'a> Parts<'a> {
    /// The weights of one part; `owner` names whoever reads them in errors.
    ///
    /// # Errors
    /// [`Error::Setup`] if there is no such part.
    pub fn part(&self, name: &str, owner: &'a str) -> Result<Weights<'a>, Error> {
        match self.list.iter().find(|(n, ..)| *n == name) {
            Some((_, specs, values)) => Ok(Weights::new(owner, specs, values)),
            None => Err(Error::Setup(format!("the model has no part {name:?}"))),
        }
    }

    /// The tensors of one part; none if there is no such part.
    #[must_use]
    pub fn values(&self, name: &str) -> &'a [Tensor<1>] {
        self.list.iter().find(|(n, ..)| *n == name).map_or(&[], |(_, _, values)| values)
    }

    /// Which phase of the [`Course`](super::Course) is being trained; 0 outside of training.
    #[must_use]
    pub const fn phase(&self) -> usize {
        self.phase
    }

    /// From what a step draws what it needs: another number at each, the same where a step is repeated; 0 outside of training.
    #[must_use]
    pub const fn draw(&self) -> u64 {
        self.draw
    }
}

/// What a mixture of experts lets one see.
#[derive(Debug)]
pub struct Experts {
    /// Weight of the shared expert, `[n, 1]`.
    pub gate: Tensor<2>,
    /// Logits with the shared expert alone, `[n, classes]`.
    pub shared_only: Tensor<2>,
    /// Logits with the local expert alone, `[n, classes]`.
    pub local_only: Tensor<2>,
}

/// Logits, and for a mixture what its experts say.
#[derive(Debug)]
pub struct Examined {
    /// `[n, classes]`.
    pub logits: Tensor<2>,
    /// Only of a mixture.
    pub experts: Option<Experts>,
}

/// The forward pass and loss of a method's model.
pub trait Network: Send {
    /// Images `[n, channels, height, width]` to logits `[n, classes]`.
    ///
    /// # Errors
    /// [`Error::Architecture`] if an architecture's declaration and code disagree.
    fn logits(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error>;

    /// What training minimises; cross entropy unless a method says otherwise.
    ///
    /// # Errors
    /// As [`logits`](Self::logits).
    fn loss(&self, parts: &Parts<'_>, images: Tensor<4>, targets: Tensor<2>) -> Result<Tensor<1>, Error> {
        Ok(cross_entropy(self.logits(parts, images)?, targets))
    }

    /// Features `[n, k]` that a [`TransferPlan`](super::TransferPlan)'s projection maps onto latent vectors of a generator; nothing if the model
    /// has no such use for generated images.
    ///
    /// # Errors
    /// As [`logits`](Self::logits).
    fn transferred(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Option<Tensor<2>>, Error> {
        let _ = (parts, images);
        Ok(None)
    }

    /// What class prototypes are means of, `[n, width]`; nothing if there are none.
    ///
    /// # Errors
    /// As [`logits`](Self::logits).
    fn embedding(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Option<Tensor<2>>, Error> {
        let _ = (parts, images);
        Ok(None)
    }

    /// Logits and the insides worth reporting, for evaluation.
    ///
    /// # Errors
    /// As [`logits`](Self::logits).
    fn examine(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Examined, Error> {
        Ok(Examined { logits: self.logits(parts, images)?, experts: None })
    }
}
