//! What a linear head's output is trained on: as usual logits and cross entropy, or directions among fixed class vectors.

use serde::{Deserialize, Serialize};

use super::class_vectors::class_vectors;
use super::exact::{add_scaled, dot, slope_of_cross_entropy};
use crate::hash::Digest;

/// A loss of the output of a linear layer with one number per class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Loss {
    /// The output is logits.
    CrossEntropy,
    /// The output is a direction, compared with the network's class vectors by cosines; `ArcFace` (arXiv 1801.07698, equation 3) asks for a
    /// margin between angles.
    ArcFace,
}

/// Angle in radians by which a true class must win, 0.5, as its cosine and sine: what computes them differs between systems.
const MARGIN: (f64, f64) = (0.877_582_561_890_372_8, 0.479_425_538_604_203);

/// What cosines are multiplied with to become logits.
const SCALE: f64 = 64.0;

/// Cosines are kept this far from -1 and 1, where the slope of the angle is infinite.
const CLAMP: f64 = 1e-7;

/// Added to squared lengths, so that the slope at zero stays finite.
const LENGTH_EPSILON: f64 = 1e-24;

/// The norm to which a step's mean slope is shortened, as members shorten that of a model with this head.
const CLIP: f64 = 100.0;

/// A loss, ready for a task's classes.
#[derive(Debug)]
pub(super) enum Criterion {
    CrossEntropy,
    /// Class vectors, one per column, row-major.
    ArcFace(Vec<f64>),
}

impl Loss {
    /// Of a network with this genesis seed; nothing if there are too many classes for class vectors.
    pub(super) fn criterion(self, classes: usize, seed: &Digest) -> Option<Criterion> {
        Some(match self {
            Self::CrossEntropy => Criterion::CrossEntropy,
            Self::ArcFace => Criterion::ArcFace(class_vectors(classes, seed)?.into_iter().map(f64::from).collect()),
        })
    }
}

impl Criterion {
    /// The slope of a row's loss, in place of the row.
    pub(super) fn slope(&self, output: &mut [f64], label: usize) {
        match self {
            Self::CrossEntropy => slope_of_cross_entropy(output, label),
            Self::ArcFace(vectors) => slope_of_arcface(output, label, vectors),
        }
    }

    /// What a step is to be multiplied with so that it is not too long for this loss, of the sum of so many rows' slopes.
    pub(super) fn shortening(&self, slope: &[f64], rows: usize) -> f64 {
        if matches!(self, Self::CrossEntropy) {
            return 1.0;
        }
        let length = slope.iter().map(|x| x * x).sum::<f64>().sqrt() / rows as f64;
        if length > CLIP { CLIP / length } else { 1.0 }
    }
}

/// With `u = x / |x|`, `s = u V` and `s_y` widened to `cos(acos(s_y) + margin)`, the slope of `CE(scale s, y)` for `x`, in its place.
fn slope_of_arcface(x: &mut [f64], label: usize, vectors: &[f64]) {
    let classes = x.len();
    let length = (x.iter().map(|x| x * x).sum::<f64>() + LENGTH_EPSILON).sqrt();
    x.iter_mut().for_each(|x| *x /= length);
    let mut logits = vec![0.0; classes];
    x.iter().zip(vectors.chunks_exact(classes)).for_each(|(u, row)| add_scaled(&mut logits, *u, row));
    let own = logits[label];
    let kept = own.clamp(CLAMP - 1.0, 1.0 - CLAMP);
    // Not 1 - s^2, which loses all digits near one.
    let sine = ((1.0 - kept) * (1.0 + kept)).sqrt();
    logits[label] = kept * MARGIN.0 - sine * MARGIN.1;
    let widening = if kept == own { MARGIN.0 + kept / sine * MARGIN.1 } else { 0.0 };
    logits.iter_mut().for_each(|s| *s *= SCALE);
    slope_of_cross_entropy(&mut logits, label);
    logits.iter_mut().for_each(|s| *s *= SCALE);
    logits[label] *= widening;
    let down: Vec<f64> = vectors.chunks_exact(classes).map(|row| dot(row, &logits)).collect();
    let along = dot(x, &down);
    x.iter_mut().zip(down).for_each(|(u, d)| *u = (d - *u * along) / length);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Golden values: `scripts/summary_oracle.py`, by PyTorch's autograd.
    #[test]
    fn the_slope_of_arcface_is_what_autograd_makes_of_it() {
        let vectors: Vec<f64> = (0..9).map(|i| f64::from(37 * i % 65 - 32) / 64.0).collect();
        for (label, golden) in GOLDEN.iter().enumerate() {
            let mut x = [0.5, -0.25, 0.125];
            slope_of_arcface(&mut x, label, &vectors);
            for (found, golden) in x.iter().zip(golden) {
                assert!((found - golden).abs() < 1e-6, "{label}: {x:?}");
            }
        }
    }

    const GOLDEN: [[f64; 3]; 3] = [
        [-16.563276471, -9.829695858, 46.593714167],
        [0.000006619, 0.000008563, -0.000009353],
        [-20.654677700, -22.423325837, 37.772059125],
    ];

    #[test]
    fn a_direction_of_no_length_or_right_on_its_class_has_a_slope() {
        let criterion = Loss::ArcFace.criterion(3, &Digest([5; 32])).unwrap();
        let Criterion::ArcFace(vectors) = &criterion else { panic!("{criterion:?}") };
        let own: Vec<f64> = vectors.chunks_exact(3).map(|row| row[1]).collect();
        for mut x in [vec![0.0; 3], own] {
            criterion.slope(&mut x, 1);
            assert!(x.iter().all(|x| x.is_finite()), "{x:?}");
        }
        // The mean of two is 250 long.
        let slope = [300.0, 400.0];
        assert_eq!((criterion.shortening(&slope, 2), criterion.shortening(&slope, 5)), (0.4, 1.0));
        assert_eq!(Criterion::CrossEntropy.shortening(&slope, 2), 1.0);
    }
}
