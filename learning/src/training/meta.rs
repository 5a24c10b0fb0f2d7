//! Steps of MAML, and the step that a model is meant for.

use burn::tensor::Tensor;

use super::course::Meta;
use super::learner::Learner;
use super::network::Network;
use super::step::Gradients;
use crate::Error;
use crate::kernels::blend;
use crate::parameters::Parameters;

impl<N: Network> Learner<N> {
    /// A step of the whole loss `L(w - alpha grad L(w; D); D')` on a batch of `D`, `D'` and, with Hessian, `D''`:
    ///
    /// ```text
    /// v  = grad L(w - alpha grad L(w; D); D')
    /// w <- w - beta v                                                            first order
    /// w <- w - beta (v - alpha (grad L(w + d v; D'') - grad L(w - d v; D'')) / 2d)    Hessian-free
    /// ```
    pub(super) fn meta_step(&mut self, meta: Meta, rows: &[i32]) -> Result<Option<Tensor<1>>, Error> {
        let batch = self.setup.train.batch;
        let (inner, rest) = rows.split_at(batch.min(rows.len()));
        let (outer, third) = rest.split_at(batch.min(rest.len()));
        let alpha = meta.alpha.unwrap_or(self.setup.train.lr);
        let Some((_, first)) = self.gradients(inner)? else { return Ok(None) };
        let start = self.weights();
        self.move_along(&self.bounded(first), -alpha);
        let outcome = self.gradients(outer);
        self.put_back(start.clone());
        let Some((loss, mut v)) = outcome? else { return Ok(None) };
        if let Some(distance) = meta.hessian_free {
            self.move_along(&v, distance);
            let above = self.gradients(third);
            self.put_back(start.clone());
            self.move_along(&v, -distance);
            let below = self.gradients(third);
            self.put_back(start);
            if let (Some((_, above)), Some((_, below))) = (above?, below?) {
                let factor = alpha / (2.0 * distance);
                let lessened = |v: Tensor<1>, (above, below)| blend(1.0, v, -factor, above) + below * factor;
                v = v
                    .into_iter()
                    .zip(above.into_iter().zip(below))
                    .map(|(v, (a, b))| v.into_iter().zip(a.into_iter().zip(b)).map(|(v, ab)| lessened(v, ab)).collect())
                    .collect();
            }
        }
        self.descend(v);
        Ok(Some(loss))
    }

    /// What is done with the model where it is used: after one step on the peer's own images, if it was trained for that.
    pub(super) fn adapted<T>(&mut self, use_it: impl FnOnce(&Self) -> Result<T, Error>) -> Result<T, Error> {
        let Some(meta) = self.course.meta else { return use_it(self) };
        let rows = self.order();
        let rows = &rows[..self.setup.train.batch.min(rows.len())];
        let start = self.weights();
        if !rows.is_empty()
            && let Some((_, grads)) = self.gradients(rows)?
        {
            self.move_along(&self.bounded(grads), -meta.alpha.unwrap_or(self.setup.train.lr));
        }
        let used = use_it(self);
        self.put_back(start);
        used
    }

    /// The weights of all parts; tensors are reference-counted, so this copies none.
    fn weights(&self) -> Vec<Parameters> {
        self.parts.iter().map(|part| part.parameters.clone()).collect()
    }

    fn put_back(&mut self, weights: Vec<Parameters>) {
        for (part, weights) in self.parts.iter_mut().zip(weights) {
            part.parameters = weights;
        }
    }

    /// Moves all parts by `by` times these gradients.
    fn move_along(&mut self, grads: &Gradients, by: f32) {
        for (part, grads) in self.parts.iter_mut().zip(grads) {
            for (value, grad) in part.parameters.values_mut().iter_mut().zip(grads) {
                value.inplace(|w| blend(1.0, w, by, grad.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use burn::tensor::Tensor;

    use super::*;
    use crate::data::{ImageShape, PeerData, Split};
    use crate::device::DeviceKind;
    use crate::methods::{Member as _, MemberSetup, Task};
    use crate::parameters::ParamSpec;
    use crate::training::{Course, Lookahead, Part, Parts, Sgd, TrainConfig};

    /// `(w x - t)^2 / 2` for one weight, one pixel and the class's number.
    struct Line;

    impl Network for Line {
        fn logits(&self, parts: &Parts<'_>, images: Tensor<4>) -> Result<Tensor<2>, Error> {
            let [n, ..] = images.dims();
            let w = parts.values("line")[0].clone().reshape([1, 1]);
            let answer = images.reshape([n, 1]) * w;
            Ok(Tensor::cat(vec![answer.clone(), answer], 1))
        }

        fn loss(&self, parts: &Parts<'_>, images: Tensor<4>, targets: Tensor<2>) -> Result<Tensor<1>, Error> {
            let answer = self.logits(parts, images)?.narrow(1, 0, 1);
            let off = answer - targets.narrow(1, 1, 1);
            Ok((off.clone() * off).mean() * 0.5)
        }
    }

    fn learner(hessian_free: Option<f32>) -> Learner<Line> {
        let input = ImageShape { channels: 1, height: 1, width: 1 };
        let train = Split { images: vec![1.0, 2.0, 3.0], labels: vec![0, 1, 0] };
        let setup = MemberSetup {
            task: Task { input, classes: 2 },
            architecture: crate::architectures::architecture("mlp").unwrap(),
            data: Arc::new(PeerData { train, test: Split { images: Vec::new(), labels: Vec::new() } }),
            train: TrainConfig { batch: 1, lr: 0.1, ..TrainConfig::default() },
            seed: 0,
            init_seed: 0,
            common: fedswarm_protocol::hash::Digest::ZERO,
            device: DeviceKind::Flex,
        };
        let specs = vec![ParamSpec::new("w", &[1], 1)];
        let part = Part {
            name: "line",
            shared: false,
            derived: false,
            parameters: Parameters::from_flat(specs, &[0.5], &DeviceKind::Flex.open().unwrap()).unwrap(),
            sgd: Sgd::new(0.1, 0.0, None),
            fresh: false,
            lookahead: Lookahead::default(),
            module: "line",
            fixed: false,
        };
        let course = Course { meta: Some(Meta { alpha: Some(0.2), hessian_free }), ..Course::default() };
        Learner::new("line", Line, vec![part], setup).unwrap().with_course(course)
    }

    /// Of a square, gradients are lines and the Hessian is `x^2`: all of it can be done by hand.
    #[test]
    fn steps_are_those_of_the_papers_equations() {
        let (d, outer, third) = ((1.0, 0.0), (2.0, 1.0), (3.0, 0.0));
        let slope = |w: f32, (x, t): (f32, f32)| (w * x - t) * x;
        let inner = 0.5 - 0.2 * slope(0.5, d);
        let v = slope(inner, outer);
        let first_order = 0.5 - 0.1 * v;
        let whole = 0.5 - 0.1 * (v - 0.2 * third.0 * third.0 * v);
        for (hessian_free, rows, expected) in [(None, &[0, 1][..], first_order), (Some(0.5), &[0, 1, 2], whole)] {
            let mut learner = learner(hessian_free);
            learner.step(rows).unwrap();
            let found = learner.export().unwrap()[0].values[0];
            assert!((found - expected).abs() < 1e-6, "{hessian_free:?}: {found} is not {expected}");
        }
    }
}
