//! Operations on numbers that lie side by side.

use pulp::{Simd, WithSimd};

/// `out = max(a + b, 0)`; NaN stays NaN.
pub(super) struct AddRelu<'a> {
    pub(super) a: &'a [f32],
    pub(super) b: &'a [f32],
    pub(super) out: &'a mut [f32],
}

impl WithSimd for AddRelu<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for ((a, b), out) in self.a.iter().zip(self.b).zip(self.out) {
            let sum = a + b;
            *out = if sum <= 0.0 { 0.0 } else { sum };
        }
    }
}

/// `out = dy` where a `ReLU` with output `y` let something through, else zero.
pub(super) struct Mask<'a> {
    pub(super) y: &'a [f32],
    pub(super) dy: &'a [f32],
    pub(super) out: &'a mut [f32],
}

impl WithSimd for Mask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for ((y, dy), out) in self.y.iter().zip(self.dy).zip(self.out) {
            *out = if *y <= 0.0 { 0.0 } else { *dy };
        }
    }
}
