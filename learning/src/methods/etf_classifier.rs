//! A linear head into the space of a fixed classifier's class vectors.

use burn::tensor::Tensor;

use super::classifier::Classifier;
use super::{MemberSetup, ktl};
use crate::Error;
use crate::training::{Network, Part, Parts};
use crate::transfer::arcface::{self, SCALE};

/// `<h(f(x)) / |.|, v_c>`: an extractor, a linear head, fixed class vectors.
pub(super) struct EtfClassifier(pub(super) Classifier);

impl EtfClassifier {
    /// Extractor, head and class vectors; the first two are one module, as in the released code.
    pub(super) fn parts(setup: &MemberSetup) -> Result<Vec<Part>, Error> {
        let mut parts = Classifier::parts(setup)?;
        ktl::module("model", &mut parts, setup);
        parts.push(ktl::etf_part(setup)?);
        Ok(parts)
    }

    fn cosines(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        cosines(parts, self.0.logits(parts, images)?)
    }
}

/// Cosines to the class vectors.
pub(super) fn cosines(parts: &Parts<'_>, embedded: Tensor<2>) -> Result<Tensor<2>, Error> {
    Ok(arcface::cosines(embedded, parts.part("etf", "class vectors")?.take::<2>()?))
}

impl Network for EtfClassifier {
    fn logits(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        Ok(self.cosines(parts, images)? * SCALE)
    }

    fn loss(&self, parts: &Parts<'_>, images: Tensor<4>, targets: Tensor<2>) -> Result<Tensor<1>, Error> {
        Ok(arcface::loss(self.cosines(parts, images)?, targets))
    }

    fn transferred(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Option<Tensor<2>>, Error> {
        self.0.features(parts, images).map(Some)
    }

    fn embedding(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Option<Tensor<2>>, Error> {
        self.0.logits(parts, images).map(Some)
    }
}
