//! Adam (arXiv 1412.6980) on a flat vector.

/// Decay of the gradients' running mean.
const BETA1: f64 = 0.9;
/// Decay of the squared gradients' running mean.
const BETA2: f64 = 0.999;
/// Added to the root that a step is divided by (PyTorch's default).
const EPSILON: f64 = 1e-8;
/// Added to a norm before a clip divides by it, as `clip_grad_norm_` does.
const CLIP_EPSILON: f64 = 1e-6;

/// The optimiser's state; made anew for every alignment, as in the released code.
pub(super) struct Adam {
    lr: f64,
    clip: f64,
    steps: i32,
    mean: Vec<f64>,
    square: Vec<f64>,
}

impl Adam {
    /// For `len` values; gradients longer than `clip` are shortened to it.
    pub(super) fn new(len: usize, lr: f64, clip: f64) -> Self {
        Self { lr, clip, steps: 0, mean: vec![0.0; len], square: vec![0.0; len] }
    }

    /// Takes one step.
    pub(super) fn step(&mut self, values: &mut [f64], gradient: &[f64]) {
        self.steps = self.steps.saturating_add(1);
        let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        let factor = (self.clip / (norm + CLIP_EPSILON)).min(1.0);
        let (unbias1, unbias2) = (1.0 - BETA1.powi(self.steps), 1.0 - BETA2.powi(self.steps));
        let state = self.mean.iter_mut().zip(&mut self.square);
        for ((value, g), (mean, square)) in values.iter_mut().zip(gradient).zip(state) {
            let g = g * factor;
            *mean = BETA1 * *mean + (1.0 - BETA1) * g;
            *square = BETA2 * *square + (1.0 - BETA2) * g * g;
            *value -= self.lr * (*mean / unbias1) / ((*square / unbias2).sqrt() + EPSILON);
        }
    }
}
