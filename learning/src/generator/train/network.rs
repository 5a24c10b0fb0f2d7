//! One network under training: parameters and optimiser.

use burn::tensor::{Device, Gradients, Tensor};
use fedswarm_protocol::hash::Digest;

use super::adam::Adam;
use crate::Error;
use crate::parameters::{ParamSpec, Parameters, Weights, download, initial, upload};

#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) parameters: Parameters,
    adam: Adam,
}

impl Network {
    pub(super) fn new(name: &str, specs: Vec<ParamSpec>, seed: &Digest, device: &Device) -> Result<Self, Error> {
        let parameters = Parameters::from_flat(specs.clone(), &initial(name, &specs, seed)?, device)?;
        let adam = Adam::new(&parameters);
        Ok(Self { parameters, adam })
    }

    /// Copies that keep gradients, but for the first `frozen` parameters.
    pub(super) fn tracked(&self, frozen: usize) -> Vec<Tensor<1>> {
        let mut tracked = self.parameters.tracked();
        for (copy, value) in tracked.iter_mut().zip(self.parameters.values()).take(frozen) {
            *copy = value.clone().autodiff();
        }
        tracked
    }

    /// A view of these values of its parameters.
    pub(super) fn view<'a>(&'a self, values: &'a [Tensor<1>]) -> Weights<'a> {
        Weights::new("generator", self.parameters.specs(), values)
    }

    /// Takes step number `step` with the gradients that `tracked` has gathered; what has none stays.
    pub(super) fn step(&mut self, tracked: Vec<Tensor<1>>, gradients: &mut Gradients, lr: f32, step: u64) {
        let grads =
            tracked.into_iter().map(|t| t.grad_remove(gradients).unwrap_or_else(|| t.inner().zeros_like())).collect();
        self.adam.step(&mut self.parameters, grads, lr, step);
    }

    /// Everything that training changes: values, then Adam's means.
    pub(super) fn state(&self) -> Result<Vec<f32>, Error> {
        let mut flat = self.parameters.to_flat()?;
        flat.extend(download(&self.adam.mean)?);
        flat.extend(download(&self.adam.square)?);
        Ok(flat)
    }

    /// How many numbers [`state`](Self::state) has.
    pub(super) fn state_len(&self) -> usize {
        3 * self.parameters.count()
    }

    /// Takes a state over.
    pub(super) fn restore(&mut self, state: &[f32], device: &Device) -> Result<(), Error> {
        if state.len() != self.state_len() {
            return Err(Error::Length { what: "state of a network", expected: self.state_len(), found: state.len() });
        }
        let (values, moments) = state.split_at(self.parameters.count());
        let (mean, square) = moments.split_at(self.parameters.count());
        self.parameters.set_flat(values, device)?;
        self.adam.mean = upload(self.parameters.specs(), mean, device)?;
        self.adam.square = upload(self.parameters.specs(), square, device)?;
        Ok(())
    }
}
