//! The heads that a model can have: the one that is usual, and the flagship's.

use burn::tensor::Tensor;
use fedswarm_protocol::summary::Loss;

use super::options::Options;
use super::{MemberSetup, ktl};
use crate::Error;
use crate::training::{Part, Parts, cross_entropy};
use crate::transfer::arcface::{self, SCALE};

/// With which heads a method's models can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heads {
    /// As usual a linear one, `head=linear`, or with `head=etf` that of `fedktl` and `moe-ktl`: class vectors of an equiangular tight
    /// frame, alike for all, and `ArcFace`. So what a head does can be told from what a method does.
    Either,
    /// Always the second.
    Etf,
    /// Always the first; why.
    Linear(&'static str),
}

/// What is made of a head's output, which is linear in the features.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Head {
    /// Logits, trained by cross entropy.
    #[default]
    Linear,
    /// A direction that is compared with fixed class vectors, trained by `ArcFace`.
    Etf {
        /// What cosines are multiplied with for the answer; in training it is [`arcface::SCALE`].
        scale: f32,
    },
}

impl Head {
    /// The one that is asked for.
    pub(super) fn from_options(options: &mut Options) -> Result<Self, Error> {
        let etf = options.choice("head", &["linear", "etf"])? == Some("etf");
        Ok(if etf { Self::Etf { scale: SCALE } } else { Self::Linear })
    }

    /// The option that gives it back, if it is not the usual one.
    pub(super) fn option(self) -> Option<String> {
        matches!(self, Self::Etf { .. }).then(|| "head=etf".to_owned())
    }

    /// What all voters train something of such heads on.
    pub(super) const fn certified_loss(self) -> Loss {
        match self {
            Self::Linear => Loss::CrossEntropy,
            Self::Etf { .. } => Loss::ArcFace,
        }
    }

    /// Adds what models of these parts need with this head: the class vectors, and a bound for the gradient of each, as in the
    /// released code of FedKTL.
    pub(super) fn complete(
        self,
        models: &[&[&'static str]],
        parts: &mut Vec<Part>,
        setup: &MemberSetup,
    ) -> Result<(), Error> {
        if matches!(self, Self::Linear) {
            return Ok(());
        }
        for model in models {
            ktl::module(model[0], parts.iter_mut().filter(|part| model.contains(&part.name)), setup);
        }
        parts.push(ktl::etf_part(setup)?);
        Ok(())
    }

    /// What it says before it is scaled: logits, or cosines to the class vectors.
    pub(super) fn answer(self, parts: &Parts<'_>, output: Tensor<2>) -> Result<Tensor<2>, Error> {
        match self {
            Self::Linear => Ok(output),
            Self::Etf { .. } => Ok(arcface::cosines(output, parts.part("etf", "class vectors")?.take::<2>()?)),
        }
    }

    /// Logits of answers.
    pub(super) fn scaled(self, answers: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Linear => answers,
            Self::Etf { scale } => answers * scale,
        }
    }

    /// Logits for the answer.
    pub(super) fn logits(self, parts: &Parts<'_>, output: Tensor<2>) -> Result<Tensor<2>, Error> {
        Ok(self.scaled(self.answer(parts, output)?))
    }

    /// What it is trained on.
    pub(super) fn loss(self, parts: &Parts<'_>, output: Tensor<2>, targets: Tensor<2>) -> Result<Tensor<1>, Error> {
        let answer = self.answer(parts, output)?;
        Ok(match self {
            Self::Linear => cross_entropy(answer, targets),
            Self::Etf { .. } => arcface::loss(answer, targets),
        })
    }
}
