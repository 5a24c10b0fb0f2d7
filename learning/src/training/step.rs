//! One step: gradients of the loss on a batch, and the parts going down along them.

use burn::tensor::Tensor;
use fedswarm_protocol::hash::Stream;

use super::learner::Learner;
use super::network::{Network, Part, Parts};
use super::sgd;
use crate::Error;

/// Gradients by part, then by tensor; none for parts that are not trained.
pub(super) type Gradients = Vec<Vec<Tensor<1>>>;

impl<N: Network> Learner<N> {
    /// One step on the rows of a batch; the loss stays on the device.
    pub(super) fn step(&mut self, rows: &[i32]) -> Result<Option<Tensor<1>>, Error> {
        if let Some(meta) = self.course.meta {
            return self.meta_step(meta, rows);
        }
        let Some((loss, grads)) = self.gradients(rows)? else { return Ok(None) };
        self.descend(grads);
        Ok(Some(loss))
    }

    /// Loss and gradients on the rows of a batch, where the model is now.
    pub(super) fn gradients(&mut self, rows: &[i32]) -> Result<Option<(Tensor<1>, Gradients)>, Error> {
        let Some(data) = &self.train else { return Ok(None) };
        let (images, targets) = data.select(rows, &self.device);
        let trained: Vec<bool> = self.parts.iter().map(|part| self.is_trained(part)).collect();
        let tracked: Vec<Vec<Tensor<1>>> =
            self.parts.iter().zip(&trained).map(|(part, trained)| tensors(part, *trained)).collect();
        let list = self.parts.iter().zip(&tracked).map(|(p, t)| (p.name, p.parameters.specs(), t.as_slice()));
        let first = rows.iter().flat_map(|row| row.to_le_bytes()).collect::<Vec<u8>>();
        let draw = Stream::new("step", &[&self.setup.seed.to_le_bytes(), &self.epoch.to_le_bytes(), &first]).next_u64();
        let parts = Parts { list: list.collect(), phase: self.phase, draw };
        let mut loss = self.network.loss(&parts, images, targets)?;
        let mut projection = None;
        if let Some(lesson) = self.transfer.as_mut().and_then(|t| t.lesson(&self.device)) {
            if let Some(features) = self.network.transferred(&parts, lesson.images.clone())? {
                loss = loss + lesson.loss(features)?;
            }
            projection = Some(lesson.projection);
        }
        let mut gradients = loss.backward();
        let mut collect = |tracked: Vec<Tensor<1>>| -> Vec<Tensor<1>> {
            // A parameter that the loss does not reach has no gradient: it stays.
            let gradient = |t: Tensor<1>| t.grad_remove(&mut gradients).unwrap_or_else(|| t.inner().zeros_like());
            tracked.into_iter().map(gradient).collect()
        };
        let grads = trained.into_iter().zip(tracked).map(|(trained, t)| if trained { collect(t) } else { Vec::new() });
        let grads = grads.collect();
        if let (Some(tracked), Some(transfer)) = (projection, &mut self.transfer) {
            transfer.step(collect(tracked));
        }
        Ok(Some((loss.inner(), grads)))
    }

    fn is_trained(&self, part: &Part) -> bool {
        !part.fixed && self.course.phases.get(self.phase).is_none_or(|phase| phase.trains(part.name))
    }

    /// One step of every part that has gradients.
    pub(super) fn descend(&mut self, grads: Gradients) {
        let grads = self.bounded(grads);
        for (part, grads) in self.parts.iter_mut().zip(grads).filter(|(_, grads)| !grads.is_empty()) {
            part.sgd.descend(&mut part.parameters, grads);
        }
    }

    /// Gradients within the bounds of their parts; parts of one module are clipped together.
    pub(super) fn bounded(&self, grads: Gradients) -> Gradients {
        let norm = |(part, grads): (&Part, &Vec<Tensor<1>>)| part.sgd.clip.and_then(|_| sgd::squares(grads));
        let squares: Vec<Option<Tensor<1>>> = self.parts.iter().zip(&grads).map(norm).collect();
        let bound = |(part, grads): (&Part, Vec<Tensor<1>>)| {
            let module = self.parts.iter().zip(&squares).filter(|(other, _)| other.module == part.module);
            let joint = module.filter_map(|(_, s)| s.clone()).reduce(|a, b| a + b);
            sgd::clipped(grads, joint, part.sgd.clip)
        };
        self.parts.iter().zip(grads).map(bound).collect()
    }
}

/// A part's tensors for a step: recording, if it is trained.
fn tensors(part: &Part, trained: bool) -> Vec<Tensor<1>> {
    if trained { part.parameters.tracked() } else { part.parameters.values().to_vec() }
}
