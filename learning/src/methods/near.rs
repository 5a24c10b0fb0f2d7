//! A classifier whose features are held near certified class means, and that answers by them.

use burn::tensor::Tensor;

use super::class_means;
use super::classifier::Classifier;
use crate::Error;
use crate::training::{Network, Parts};

/// What a class without a mean is farther away than any other: large against squared distances, small against `f32::MAX`.
const FAR: f32 = 1e9;

/// The head's loss of `h(f(x))` and `y`, plus `lambda MSE(f(x), G_y)`; answers by the nearest `G_c`, or by the head.
pub(super) struct Near {
    pub(super) model: Classifier,
    /// Weight of the distance.
    pub(super) lambda: f32,
    /// Answers by the head although there are `G`.
    pub(super) by_head: bool,
}

impl Network for Near {
    fn logits(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
        let features = self.model.features(parts, images)?;
        let by_head = self.model.head.logits(parts, self.model.output(parts, features.clone())?)?;
        if self.by_head {
            return Ok(by_head);
        }
        let (means, known) = class_means::of(parts)?;
        let square = |x: Tensor<2>| (x.clone() * x).sum_dim(1);
        let apart =
            square(features.clone()) + square(means.clone()).transpose() - features.matmul(means.transpose()) * 2.0;
        let near = (known.clone() - 1.0).unsqueeze::<2>() * FAR - apart;
        let any = known.max().unsqueeze::<2>();
        Ok(near * any.clone() + by_head * (any.neg() + 1.0))
    }

    fn loss(&self, parts: &Parts<'_>, images: Tensor<4>, targets: Tensor<2>) -> Result<Tensor<1>, Error> {
        let features = self.model.features(parts, images)?;
        let (means, known) = class_means::of_images(parts, &targets)?;
        let apart = (features.clone() - means) * known;
        let loss = self.model.head.loss(parts, self.model.output(parts, features)?, targets)?;
        Ok(loss + (apart.clone() * apart).mean() * self.lambda)
    }

    fn embedding(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Option<Tensor<2>>, Error> {
        self.model.embedding(parts, images)
    }
}
