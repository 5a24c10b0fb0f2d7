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
        self.move_along(&first, -alpha);
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
            self.move_along(&grads, -meta.alpha.unwrap_or(self.setup.train.lr));
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
