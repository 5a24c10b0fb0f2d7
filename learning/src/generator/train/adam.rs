//! Adam on one network's parameters.

use burn::tensor::Tensor;

use crate::parameters::Parameters;

/// Decay of the mean of gradients, of the mean of their squares, and what keeps the division finite: the values of Kingma
/// and Ba 2015, arXiv 1412.6980.
const BETA: [f32; 2] = [0.9, 0.999];
const EPSILON: f32 = 1e-8;

/// Means of the gradients and of their squares, as the parameters lie.
#[derive(Clone, Debug)]
pub(super) struct Adam {
    pub(super) mean: Vec<Tensor<1>>,
    pub(super) square: Vec<Tensor<1>>,
}

impl Adam {
    pub(super) fn new(parameters: &Parameters) -> Self {
        let zeros = || parameters.values().iter().map(Tensor::zeros_like).collect();
        Self { mean: zeros(), square: zeros() }
    }

    /// Takes step number `step`, counted from 1; `grads` lie as the parameters do.
    pub(super) fn step(&mut self, parameters: &mut Parameters, grads: Vec<Tensor<1>>, lr: f32, step: u64) {
        let step = i32::try_from(step).unwrap_or(i32::MAX); // Both corrections have long been 1 by then.
        let [mean_part, square_part] = BETA.map(|beta| 1.0 - beta.powi(step));
        let moments = self.mean.iter_mut().zip(&mut self.square);
        for ((value, grad), (mean, square)) in parameters.values_mut().iter_mut().zip(grads).zip(moments) {
            mean.inplace(|m| m * BETA[0] + grad.clone() * (1.0 - BETA[0]));
            square.inplace(|s| s * BETA[1] + grad.clone() * grad * (1.0 - BETA[1]));
            let root = (square.clone() / square_part).sqrt() + EPSILON;
            let move_by = mean.clone() / root * (lr / mean_part);
            value.inplace(|v| v - move_by);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use burn::tensor::Device;

    use super::*;
    use crate::parameters::ParamSpec;

    #[test]
    fn steps_are_those_of_the_paper() {
        let device = Device::flex();
        let specs = vec![ParamSpec::new("a", &[2], 1)];
        let mut p = Parameters::from_flat(specs, &[1.0, -2.0], &device).unwrap();
        let mut adam = Adam::new(&p);
        let (mut mean, mut square, mut expected) = ([0.0f64; 2], [0.0f64; 2], [1.0f64, -2.0]);
        for step in 1..=5 {
            let grad = [0.5 * step as f32, -3.0];
            adam.step(&mut p, vec![Tensor::from_floats(grad, &device)], 0.1, step);
            for i in 0..2 {
                let g = f64::from(grad[i]);
                mean[i] = 0.9 * mean[i] + 0.1 * g;
                square[i] = 0.999 * square[i] + 0.001 * g * g;
                let (m, s) =
                    (mean[i] / (1.0 - 0.9f64.powi(step as i32)), square[i] / (1.0 - 0.999f64.powi(step as i32)));
                expected[i] -= 0.1 * m / (s.sqrt() + 1e-8);
            }
        }
        for (found, expected) in p.to_flat().unwrap().into_iter().zip(expected) {
            assert!((f64::from(found) - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}
