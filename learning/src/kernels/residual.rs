//! Where a residual block begins and ends: one image for two branches, and their sum.

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::flex::FlexTensor;

use super::image::{channels_last, dims, from_channels_last, reclaim, values, values_mut};
use super::machine::run;
use super::pointwise::{AddRelu, Mask};
use super::scratch::Scratch;
use super::update::Blend;

/// `max(a + b, 0)`, channels last.
pub(super) fn add_relu_forward(a: FlexTensor, b: FlexTensor) -> FlexTensor {
    let shape: [usize; 4] = dims(&a);
    let (a, b) = (channels_last(a), channels_last(b));
    let mut out = Scratch::any(shape.iter().product()).into_vec();
    run(AddRelu { a: values(&a), b: values(&b), out: &mut out });
    reclaim(a);
    reclaim(b);
    from_channels_last(out, shape)
}

/// The gradient of both terms of [`add_relu_forward`].
pub(super) fn add_relu_backward(y: FlexTensor, dy: FlexTensor) -> FlexTensor {
    let shape: [usize; 4] = dims(&y);
    let dy = channels_last(dy);
    let mut out = Scratch::any(shape.iter().product()).into_vec();
    run(Mask { y: values(&y), dy: values(&dy), out: &mut out });
    reclaim(y);
    reclaim(dy);
    from_channels_last(out, shape)
}

/// Where the gradients of two branches of one image meet. burn adds what two operations say of one tensor, too, but with general code
/// that leaves a row-major sum.
#[derive(Clone, Debug, Default)]
pub(super) struct Meeting(Arc<Mutex<Option<FlexTensor>>>);

impl Meeting {
    /// The sum, once both have come.
    pub(super) fn come(&self, dy: FlexTensor) -> Option<FlexTensor> {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match first.take() {
            None => {
                *first = Some(dy);
                None
            }
            Some(other) => Some(sum(dy, other)),
        }
    }
}

/// `a + b`, in the memory of one that nobody else holds.
fn sum(a: FlexTensor, b: FlexTensor) -> FlexTensor {
    let (a, b) = (channels_last(a), channels_last(b));
    let (mut to, from) = if a.is_unique() { (a, b) } else { (b, a) };
    run(Blend { a: 1.0, y: values_mut(&mut to), b: 1.0, x: values(&from) });
    reclaim(from);
    to
}
