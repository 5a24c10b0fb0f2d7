//! How two experts' features become one.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Tensor;

/// How two experts' features become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// `R = a_G R_G + a_F R_F`, the paper's. At the start both weights are near 1/2, so features, and with them the first
    /// gradients, are about half those of a single extractor.
    Convex,
    /// `R = 2 (a_G R_G + a_F R_F)`: the same mixture at the scale of a single extractor.
    Doubled,
    /// `R = R_F + a_G R_G`: the shared expert adds to the local one and can be gated away.
    Residual,
}

impl Mix {
    const ALL: [(&'static str, Self); 3] =
        [("convex", Self::Convex), ("doubled", Self::Doubled), ("residual", Self::Residual)];

    /// The mixture of features `[n, k]` by weights `[n, 1]`.
    pub(super) fn mix(self, (a_g, a_f): (Tensor<2>, Tensor<2>), r_g: Tensor<2>, r_f: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Convex => a_g * r_g + a_f * r_f,
            Self::Doubled => (a_g * r_g + a_f * r_f) * 2.0,
            Self::Residual => r_f + a_g * r_g,
        }
    }

    /// What one expert's features count when it has the whole weight.
    pub(super) const fn alone(self) -> f32 {
        match self {
            Self::Doubled => 2.0,
            Self::Convex | Self::Residual => 1.0,
        }
    }
}

impl FromStr for Mix {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|(name, _)| *name == text).map(|(_, mix)| mix).ok_or(())
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.into_iter().find(|(_, mix)| mix == self).map_or("", |(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use burn::tensor::Device;

    use super::*;
    use crate::parameters::to_vec;

    #[test]
    fn mixes_are_what_their_formulas_say() {
        let device = Device::flex();
        let row = |x: [[f32; 2]; 1]| Tensor::<2>::from_floats(x, &device);
        for (mix, expected) in [(Mix::Convex, [2.5, 7.0]), (Mix::Doubled, [5.0, 14.0]), (Mix::Residual, [3.25, 9.0])] {
            let weights = (Tensor::from_floats([[0.25f32]], &device), Tensor::from_floats([[0.75f32]], &device));
            let mixed = mix.mix(weights, row([[1.0, 4.0]]), row([[3.0, 8.0]]));
            assert_eq!(to_vec(mixed).unwrap(), expected, "{mix}");
        }
    }
}
