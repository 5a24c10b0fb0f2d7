//! Stochastic gradient descent on one part of a model.

use burn::tensor::Tensor;

use crate::kernels::blend;
use crate::parameters::Parameters;

/// Keeps the division of the clip finite (PyTorch's `clip_grad_norm_` has the same).
const CLIP_EPSILON: f32 = 1e-6;

/// Plain gradient descent with optional momentum and clipping: `v <- m v + g`, `w <- w - lr v`.
#[derive(Clone, Debug)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f32,
    /// Momentum; 0 keeps no velocity.
    pub momentum: f32,
    /// Largest Euclidean norm of the gradient over all parameters of the part.
    pub clip: Option<f32>,
    velocity: Option<Vec<Tensor<1>>>,
}

impl Sgd {
    /// An optimiser without velocity.
    #[must_use]
    pub const fn new(lr: f32, momentum: f32, clip: Option<f32>) -> Self {
        Self { lr, momentum, clip, velocity: None }
    }

    /// Takes one step; `grads` lie as the parameters do.
    pub fn step(&mut self, parameters: &mut Parameters, grads: Vec<Tensor<1>>) {
        let norm = self.clip.and_then(|_| squares(&grads));
        self.descend(parameters, clipped(grads, norm, self.clip));
    }

    /// Takes one step along gradients that have been clipped already.
    pub(super) fn descend(&mut self, parameters: &mut Parameters, mut grads: Vec<Tensor<1>>) {
        if self.momentum != 0.0 {
            if let Some(velocity) = self.velocity.take() {
                grads = grads.into_iter().zip(velocity).map(|(g, v)| blend(self.momentum, v, 1.0, g)).collect();
            }
            self.velocity = Some(grads.clone());
        }
        for (value, grad) in parameters.values_mut().iter_mut().zip(grads) {
            value.inplace(|v| blend(1.0, v, -self.lr, grad));
        }
    }

    /// Forgets the velocity.
    pub fn reset(&mut self) {
        self.velocity = None;
    }

    pub(super) fn velocity(&self) -> Option<&[Tensor<1>]> {
        self.velocity.as_deref()
    }

    pub(super) fn set_velocity(&mut self, velocity: Option<Vec<Tensor<1>>>) {
        self.velocity = velocity;
    }
}

/// The sum of squares of gradients; it stays on the device: no step waits for it.
pub(super) fn squares(grads: &[Tensor<1>]) -> Option<Tensor<1>> {
    grads.iter().map(|g| (g.clone() * g.clone()).sum()).reduce(|a, b| a + b)
}

/// Scales gradients by what brings the root of `squares`, of theirs or of their whole module's, down to `limit`.
pub(super) fn clipped(grads: Vec<Tensor<1>>, squares: Option<Tensor<1>>, limit: Option<f32>) -> Vec<Tensor<1>> {
    let (Some(squares), Some(limit)) = (squares, limit) else { return grads };
    let factor = ((squares.sqrt() + CLIP_EPSILON).recip() * limit).clamp_max(1.0);
    grads.into_iter().map(|g| g * factor.clone()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use burn::tensor::Device;

    use super::*;
    use crate::parameters::ParamSpec;

    fn part() -> Parameters {
        let specs = vec![ParamSpec::new("a", &[2], 1), ParamSpec::new("b", &[1], 1)];
        Parameters::from_flat(specs, &[1.0, 2.0, 3.0], &Device::flex()).unwrap()
    }

    fn grads() -> Vec<Tensor<1>> {
        let device = Device::flex();
        vec![Tensor::from_floats([3.0, 0.0], &device), Tensor::from_floats([4.0], &device)]
    }

    #[test]
    fn a_step_goes_down_the_gradient() {
        let mut p = part();
        Sgd::new(0.5, 0.0, None).step(&mut p, grads());
        assert_eq!(p.to_flat().unwrap(), [-0.5, 2.0, 1.0]);
    }

    #[test]
    fn clipping_takes_the_norm_over_the_whole_part() {
        let mut p = part();
        Sgd::new(1.0, 0.0, Some(1.0)).step(&mut p, grads()); // The norm is 5.
        for (found, expected) in p.to_flat().unwrap().into_iter().zip([1.0 - 0.6, 2.0, 3.0 - 0.8]) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
        let mut p = part();
        Sgd::new(1.0, 0.0, Some(100.0)).step(&mut p, grads());
        assert_eq!(p.to_flat().unwrap(), [-2.0, 2.0, -1.0]);
    }

    #[test]
    fn momentum_adds_up_and_reset_forgets_it() {
        let mut p = part();
        let mut sgd = Sgd::new(1.0, 0.5, None);
        sgd.step(&mut p, grads());
        sgd.step(&mut p, grads());
        assert_eq!(p.to_flat().unwrap(), [1.0 - 3.0 - 4.5, 2.0, 3.0 - 4.0 - 6.0]);
        sgd.reset();
        sgd.step(&mut p, grads());
        assert_eq!(p.to_flat().unwrap(), [1.0 - 3.0 - 4.5 - 3.0, 2.0, 3.0 - 4.0 - 6.0 - 4.0]);
    }
}
