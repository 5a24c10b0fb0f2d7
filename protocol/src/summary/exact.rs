//! Double precision that gives the same bits everywhere.
//!
//! Addition, subtraction, multiplication, division and square root are rounded as IEEE 754 says on every machine that this compiles
//! for, and the compiler neither reorders nor fuses them. What else is needed is made of them here: a system's own `exp` may
//! differ in its last bit from another's.

use crate::tensor::{MAX_COORDINATE, TensorSpec};

/// A number of 0 and above as a whole multiple of `2^-bits`, as a manifest has it: the nearest, the even one of two; what is too
/// large is the largest, and what is no number is 0.
#[must_use]
pub fn quantised(x: f64, bits: u8) -> u32 {
    // A cast from a float saturates.
    (x * f64::from(1u32 << bits)).round_ties_even() as u32
}

/// Of `exp`'s arguments, the least that does not give 0.
const LEAST: f64 = -700.0;

/// Terms of the series for `|r| <= ln 2 / 2`: the first left out is below 2^-60.
const TERMS: u32 = 16;

/// `e^x` for `x <= 0`; 0 below -700, where it would be less than 1e-304.
pub(super) fn exp(x: f64) -> f64 {
    if x < LEAST {
        return 0.0;
    }
    // Within -1010..=0, so the cast is exact.
    let k = (x / std::f64::consts::LN_2 - 0.5) as i64;
    let r = x - k as f64 * std::f64::consts::LN_2;
    let series = (1..=TERMS).rev().fold(1.0, |sum, n| 1.0 + sum * r / f64::from(n));
    // 2^k by its exponent's bits; k is at least -1011.
    series * f64::from_bits(((1023 + k) as u64) << 52)
}

/// `softmax(logits) - onehot(label)`, in place: the slope of a row's cross entropy.
pub(super) fn slope_of_cross_entropy(logits: &mut [f64], label: usize) {
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logits.iter_mut().for_each(|x| *x = exp(*x - top));
    let sum: f64 = logits.iter().sum();
    logits.iter_mut().for_each(|x| *x /= sum);
    logits[label] -= 1.0;
}

/// `y += a x`.
pub(super) fn add_scaled(y: &mut [f64], a: f64, x: &[f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
}

/// `<a, b>`, added up from the front.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Fixed point as numbers.
pub(super) fn numbers(fixed: &[i32], scale_bits: u8) -> Vec<f64> {
    let step = 1.0 / f64::from(1u32 << scale_bits);
    fixed.iter().map(|&q| f64::from(q) * step).collect()
}

/// Numbers as fixed point, rounded half to even; nothing if one is not finite or does not fit.
pub(super) fn fixed(numbers: &[f64], scale_bits: u8) -> Option<Vec<i32>> {
    let scale = f64::from(1u32 << scale_bits);
    let one = |x: &f64| {
        let q = (x * scale).round_ties_even();
        // Of something that is not a number this is false too.
        (q.abs() <= f64::from(MAX_COORDINATE)).then_some(q as i32)
    };
    numbers.iter().map(one).collect()
}

/// The tensors of a fully connected layer, weight `[inputs, outputs]` and bias.
pub(super) fn linear(name: &str, inputs: u32, outputs: u32) -> [TensorSpec; 2] {
    [
        TensorSpec::new(format!("{name}.weight"), &[inputs, outputs], inputs),
        TensorSpec::new(format!("{name}.bias"), &[outputs], inputs),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The system's own function is what ours is held to.
    #[allow(clippy::disallowed_methods)]
    #[test]
    fn exp_agrees_with_the_systems_and_never_rises_above_one() {
        for i in 0..=70_000 {
            let x = -f64::from(i) / 100.0;
            let (found, expected) = (exp(x), x.exp());
            assert!((found / expected - 1.0).abs() < 2.5e-13, "{x}: {found} {expected}");
            assert!(found <= 1.0);
        }
        assert_eq!((exp(0.0), exp(-1e9), exp(f64::NEG_INFINITY)), (1.0, 0.0, 0.0));
    }

    #[test]
    fn what_is_not_a_number_or_too_large_is_no_fixed_point() {
        assert_eq!(fixed(&[0.5, -64.0, 64.0], 24).unwrap(), [1 << 23, -(1 << 30), 1 << 30]);
        for bad in [f64::NAN, f64::INFINITY, 64.1, -64.1] {
            assert_eq!(fixed(&[0.0, bad], 24), None);
        }
    }
}
