//! A model of an extractor and a head, as nearly every method has one.

use std::sync::Arc;

use burn::tensor::Tensor;

use super::{MemberSetup, head_specs, own_extractor, part};
use crate::Error;
use crate::architectures::{Architecture, layers};
use crate::training::{Network, Part, Parts};

/// The parts of a peer's model.
const OWN: [&str; 2] = ["extractor", "head"];

/// `h(f(x))`: an extractor and a linear head.
#[derive(Clone)]
pub(super) struct Classifier {
    model: Arc<dyn Architecture>,
    names: [&'static str; 2],
}

impl Classifier {
    /// A peer's model, of [`Self::parts`].
    pub(super) fn new(model: Arc<dyn Architecture>) -> Self {
        Self::named(model, OWN)
    }

    /// A model of parts with these names: its extractor's and its head's.
    pub(super) fn named(model: Arc<dyn Architecture>, names: [&'static str; 2]) -> Self {
        Self { model, names }
    }

    /// The private parts of a peer's model.
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

    /// `h` of features.
    pub(super) fn head(&self, parts: &Parts<'_>, features: Tensor<2>) -> Result<Tensor<2>, Error> {
        layer(parts, self.names[1], features)
    }
}

/// The linear layer of the part with this name.
pub(super) fn layer(parts: &Parts<'_>, name: &str, features: Tensor<2>) -> Result<Tensor<2>, Error> {
    layers::linear(&mut parts.part(name, "head")?, features)
}

impl Network for Classifier {
    fn logits(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        self.head(parts, self.features(parts, images)?)
    }

    fn embedding(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Option<Tensor<2>>, Error> {
        self.features(parts, images).map(Some)
    }
}
