//! Training kernels of our own for the CPU device; every other device keeps burn's.
//!
//! burn's CPU backend computes a convolution through general code: layout copies, im2col once for the forward and once for the
//! backward pass, the weight gradient as another convolution. Here a layer is one operation with a backward pass of its own,
//! registered through burn's extension mechanism. Images between layers are stored channels last, and shown to burn as
//! `[n, channels, height, width]` by their strides; so burn's own operations may stand before, between and behind these.
//!
//! Kernels are safe code over [`pulp`], compiled for AVX-512, AVX2 and portable code; the machine decides at run time. They
//! start no threads: peers train side by side, one core each. Sums are taken in an order that depends on shapes alone, so one
//! machine gives the same bits whatever else it runs.
//!
//! `docs/adr/015-own-training-kernels.md` has the measurements behind this.

mod conv;
mod dense;
mod image;
mod layers;
mod machine;
mod norm;
mod ops;
mod pointwise;
mod pool;
pub mod rates;
mod residual;
mod scratch;
mod tile;
mod update;

#[cfg(test)]
mod tests;

use burn::backend::DispatchTensorKind;
use burn::tensor::{DType, Tensor};

use ops::TrainingOps;
pub(crate) use ops::{Activation, ConvPlan, NormPlan};
pub(crate) use update::blend;

/// True if the kernels can work on this tensor: 32-bit numbers on the CPU device.
pub(crate) fn serves<const D: usize>(x: &Tensor<D>) -> bool {
    fn flex(kind: &DispatchTensorKind) -> bool {
        match kind {
            DispatchTensorKind::Flex(_) => true,
            DispatchTensorKind::Autodiff(inner) => flex(inner),
            #[allow(unreachable_patterns)] // Other devices are behind cargo features.
            _ => false,
        }
    }
    x.dtype() == DType::F32 && flex(&x.clone().into_dispatch().kind)
}

/// A convolution, and what [`ConvPlan`] says behind it; only where [`serves`] is true.
pub(crate) fn conv(x: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>, plan: ConvPlan) -> Tensor<4> {
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(<burn::backend::Dispatch as TrainingOps>::conv(x, weight, bias, plan))
}

/// `x * weight + bias` and what `activation` says; only where [`serves`] is true.
pub(crate) fn dense(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>, activation: Activation) -> Tensor<2> {
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(<burn::backend::Dispatch as TrainingOps>::dense(x, weight, bias, activation))
}

/// `[n, c, h, w]` to `[n, c * h * w]`; only where [`serves`] is true.
pub(crate) fn flatten(x: Tensor<4>) -> Tensor<2> {
    Tensor::from_dispatch(<burn::backend::Dispatch as TrainingOps>::flatten(x.into_dispatch()))
}

/// Group normalisation, `scale` as its offset from one; only where [`serves`] is true.
pub(crate) fn norm(x: Tensor<4>, scale: Tensor<1>, shift: Tensor<1>, plan: NormPlan) -> Tensor<4> {
    let (x, scale, shift) = (x.into_dispatch(), scale.into_dispatch(), shift.into_dispatch());
    Tensor::from_dispatch(<burn::backend::Dispatch as TrainingOps>::norm(x, scale, shift, plan))
}

/// `max(a + b, 0)` of equal shapes; only where [`serves`] is true.
pub(crate) fn add_relu(a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
    Tensor::from_dispatch(<burn::backend::Dispatch as TrainingOps>::add_relu(a.into_dispatch(), b.into_dispatch()))
}

/// One image for two branches, whose gradients are added channels last. Both must reach the loss, or the image gets no gradient; only
/// where [`serves`] is true.
pub(crate) fn branches(x: Tensor<4>) -> [Tensor<4>; 2] {
    let meeting = residual::Meeting::default();
    [x.clone(), x].map(|x| {
        let branch = <burn::backend::Dispatch as TrainingOps>::branch(x.into_dispatch(), meeting.clone());
        Tensor::from_dispatch(branch)
    })
}
