//! A model of an extractor and a head, as nearly every method has one.

use std::sync::Arc;

use burn::tensor::Tensor;

use super::head::Head;
use super::{MemberSetup, head_specs, own_extractor, part};
use crate::Error;
use crate::architectures::{Architecture, layers};
use crate::training::{Network, Part, Parts};

/// The parts of a peer's model.
pub(super) const OWN: [&str; 2] = ["extractor", "head"];

/// `h(f(x))`: an extractor, a linear layer, and what the head makes of its output.
#[derive(Clone)]
pub(super) struct Classifier {
    model: Arc<dyn Architecture>,
    names: [&'static str; 2],
    pub(super) head: Head,
}

impl Classifier {
    /// A peer's model, of [`Self::parts`].
    pub(super) fn new(model: Arc<dyn Architecture>, head: Head) -> Self {
        Self::named(model, head, OWN)
    }

    /// A model of parts with these names: its extractor's and its head's.
    pub(super) fn named(model: Arc<dyn Architecture>, head: Head, names: [&'static str; 2]) -> Self {
        Self { model, names, head }
    }

    /// The private parts of a peer's model; [`Head::complete`] is still to be called.
    pub(super) fn parts(setup: &MemberSetup) -> Result<Vec<Part>, Error> {
        Self::parts_named(OWN, setup)
    }

    /// The same under other names; their first weights are the same.
    pub(super) fn parts_named([extractor, head]: [&'static str; 2], setup: &MemberSetup) -> Result<Vec<Part>, Error> {
        let specs = head_specs(setup.architecture.features(), &setup.task);
        Ok(vec![own_extractor(extractor, setup, None)?, part(head, "head", specs, false, setup, None)?])
    }

    /// `f(x)`.
    pub(super) fn features(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        self.model.forward(&mut parts.part(self.names[0], self.model.name())?, images)
    }

    /// The output of the linear layer, of features.
    pub(super) fn output(&self, parts: &Parts<'_>, features: Tensor<2>) -> Result<Tensor<2>, Error> {
        layer(parts, self.names[1], features)
    }
}

/// The linear layer of the part with this name.
pub(super) fn layer(parts: &Parts<'_>, name: &str, features: Tensor<2>) -> Result<Tensor<2>, Error> {
    layers::linear(&mut parts.part(name, "head")?, features)
}

impl Network for Classifier {
    fn logits(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        self.head.logits(parts, self.output(parts, self.features(parts, images)?)?)
    }

    fn loss(&self, parts: &Parts<'_>, images: Tensor<4>, targets: Tensor<2>) -> Result<Tensor<1>, Error> {
        self.head.loss(parts, self.output(parts, self.features(parts, images)?)?, targets)
    }

    fn embedding(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Option<Tensor<2>>, Error> {
        self.features(parts, images).map(Some)
    }
}
