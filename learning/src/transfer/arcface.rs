//! Cosines to fixed class vectors, and the loss that asks for a margin between classes (`ArcFace`, arXiv 1801.07698).

use burn::tensor::Tensor;

use crate::training::cross_entropy;

/// Angle in radians by which a true class must win.
pub const MARGIN: f32 = 0.5;

/// What cosines are multiplied with to become logits.
pub const SCALE: f32 = 64.0;

/// Cosines are kept this far from -1 and 1, where the slope of the angle is infinite (the released code has no such clamp).
const CLAMP: f32 = 1e-7;

/// Added to squared lengths, so that the gradient of a vector of zeros stays finite; PyTorch divides by at least `1e-12`.
const LENGTH_EPSILON: f32 = 1e-24;

/// Rows of unit length.
#[must_use]
pub fn normalise(x: Tensor<2>) -> Tensor<2> {
    let length = ((x.clone() * x.clone()).sum_dim(1) + LENGTH_EPSILON).sqrt();
    x / length
}

/// `<x / |x|, v_c>` for every class: `x` is `[n, d]`, `vectors` has one class per column, `[d, classes]`.
#[must_use]
pub fn cosines(x: Tensor<2>, vectors: Tensor<2>) -> Tensor<2> {
    normalise(x).matmul(vectors)
}

/// `CE(SCALE s', y)` where `s'` is `s` but for the true class, whose angle is widened: `s'_y = cos(acos(s_y) + MARGIN)`.
/// `targets` are one-hot rows.
#[must_use]
pub fn loss(cosines: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let own = (cosines.clone() * targets.clone()).sum_dim(1);
    let widened = widen(own.clone());
    cross_entropy((cosines + targets.clone() * (widened - own)) * SCALE, targets)
}

/// `cos(acos(s) + m) = s cos(m) - sqrt(1 - s^2) sin(m)`.
fn widen(s: Tensor<2>) -> Tensor<2> {
    let s = s.clamp(CLAMP - 1.0, 1.0 - CLAMP);
    // (1 - s)(1 + s) and not 1 - s^2, which loses all digits near one.
    let sine = ((s.clone().neg() + 1.0) * (s.clone() + 1.0)).sqrt();
    s * MARGIN.cos() - sine * MARGIN.sin()
}
