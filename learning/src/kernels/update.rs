//! Steps of an optimiser, in place.

use burn::backend::flex::FlexTensor;
use burn::backend::{BackendTensor, DispatchTensor, DispatchTensorKind};
use burn::tensor::{DType, Tensor};
use pulp::{Simd, WithSimd};

use super::image::{reclaim, values};
use super::machine::run;

/// `y <- a y + b x`.
pub(super) struct Blend<'a> {
    pub(super) a: f32,
    pub(super) y: &'a mut [f32],
    pub(super) b: f32,
    pub(super) x: &'a [f32],
}

impl WithSimd for Blend<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (ys, y_tail) = S::as_mut_simd_f32s(self.y);
        let (xs, x_tail) = S::as_simd_f32s(self.x);
        let (a, b) = (simd.splat_f32s(self.a), simd.splat_f32s(self.b));
        for (y, x) in ys.iter_mut().zip(xs) {
            *y = simd.mul_add_e_f32s(b, *x, simd.mul_f32s(a, *y));
        }
        let (y, x) = (simd.partial_load_f32s(y_tail), simd.partial_load_f32s(x_tail));
        simd.partial_store_f32s(y_tail, simd.mul_add_e_f32s(b, x, simd.mul_f32s(a, y)));
    }
}

fn flex(tensor: &mut DispatchTensor) -> Option<&mut FlexTensor> {
    match &mut tensor.kind {
        DispatchTensorKind::Flex(BackendTensor::Float(x)) if x.dtype() == DType::F32 && x.is_contiguous() => Some(x),
        _ => None,
    }
}

/// `a y + b x`, in `y`'s own memory where the CPU device holds both. The buffer of `x`, if it was the last owner, is kept for
/// the next step's gradients.
pub(crate) fn blend(a: f32, y: Tensor<1>, b: f32, x: Tensor<1>) -> Tensor<1> {
    let (mut y, mut x) = (y.into_dispatch(), x.into_dispatch());
    let done = match (flex(&mut y), flex(&mut x)) {
        (Some(y), Some(x)) if y.bytes().len() == x.layout().num_elements() * size_of::<f32>() => {
            run(Blend { a, y: y.storage_mut::<f32>(), b, x: values(x) });
            true
        }
        _ => false,
    };
    if !done {
        return Tensor::from_dispatch(y) * a + Tensor::from_dispatch(x) * b;
    }
    if let DispatchTensorKind::Flex(BackendTensor::Float(x)) = x.kind {
        reclaim(x);
    }
    Tensor::from_dispatch(y)
}
