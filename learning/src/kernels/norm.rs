//! Group normalisation of one image, channels last, and the way back.

use pulp::{Simd, WithSimd};

/// Channels that are summed together: a vector of the widest machine.
const LANES: usize = 16;

/// `out[channel] = sum over pixels of term(value, other, centre)`; `other` may be `x` itself.
#[inline(always)]
fn sums(x: &[f32], other: &[f32], centre: &[f32], out: &mut [f32], term: impl Fn(f32, f32, f32) -> f32) {
    let channels = out.len();
    let mut at = 0;
    while at + LANES <= channels {
        let (centre, mut sum) = (&centre[at..at + LANES], [0.0; LANES]);
        for (x, other) in x.chunks_exact(channels).zip(other.chunks_exact(channels)) {
            let (x, other) = (&x[at..at + LANES], &other[at..at + LANES]);
            for i in 0..LANES {
                sum[i] += term(x[i], other[i], centre[i]);
            }
        }
        out[at..at + LANES].copy_from_slice(&sum);
        at += LANES;
    }
    out[at..].fill(0.0);
    for (x, other) in x.chunks_exact(channels).zip(other.chunks_exact(channels)) {
        for i in at..channels {
            out[i] += term(x[i], other[i], centre[i]);
        }
    }
}

/// Replaces each value by the mean over its group's channels, divided by `pixels`.
fn mean_of_groups(values: &mut [f32], groups: usize, pixels: usize) {
    let size = values.len() / groups;
    for group in values.chunks_exact_mut(size) {
        let mean = group.iter().sum::<f32>() / (size * pixels) as f32;
        group.fill(mean);
    }
}

/// `y = (x - mean) / deviation * (1 + scale) + shift`, with `ReLU` if asked for.
pub(super) struct Norm<'a> {
    pub(super) groups: usize,
    pub(super) epsilon: f32,
    pub(super) relu: bool,
    /// `[pixel][channel]`.
    pub(super) x: &'a [f32],
    pub(super) scale: &'a [f32],
    pub(super) shift: &'a [f32],
    /// Of each channel's group; written.
    pub(super) mean: &'a mut [f32],
    /// One over the deviation of each channel's group; written.
    pub(super) inverse: &'a mut [f32],
    pub(super) y: &'a mut [f32],
}

impl WithSimd for Norm<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { groups, epsilon, relu, x, scale, shift, mean, inverse, y } = self;
        let channels = scale.len();
        let pixels = x.len() / channels;
        sums(x, x, scale, mean, |x, _, _| x);
        mean_of_groups(mean, groups, pixels);
        sums(x, x, mean, inverse, |x, _, m| (x - m) * (x - m));
        mean_of_groups(inverse, groups, pixels);
        inverse.iter_mut().for_each(|v| *v = 1.0 / (*v + epsilon).sqrt());
        let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
        for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
            for i in 0..channels {
                let value = (x[i] - mean[i]) * (inverse[i] * (1.0 + scale[i])) + shift[i];
                y[i] = if value <= floor { floor } else { value };
            }
        }
    }
}

/// Gradients of [`Norm`].
pub(super) struct NormGradient<'a> {
    pub(super) groups: usize,
    pub(super) x: &'a [f32],
    /// That of the output where no `ReLU` cut it, else zero.
    pub(super) dy: &'a [f32],
    pub(super) scale: &'a [f32],
    pub(super) mean: &'a [f32],
    pub(super) inverse: &'a [f32],
    pub(super) dx: &'a mut [f32],
    /// Written, not added to.
    pub(super) dscale: &'a mut [f32],
    /// Written, not added to.
    pub(super) dshift: &'a mut [f32],
    /// Twice as many numbers as channels.
    pub(super) scratch: &'a mut [f32],
}

impl WithSimd for NormGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { groups, x, dy, scale, mean, inverse, dx, dscale, dshift, scratch } = self;
        let channels = scale.len();
        let pixels = x.len() / channels;
        sums(x, dy, mean, dshift, |_, d, _| d);
        sums(x, dy, mean, dscale, |x, d, m| d * (x - m));
        dscale.iter_mut().zip(inverse).for_each(|(d, inverse)| *d *= inverse);
        // Means over the group of the gradient of the standardised values, plain and times the values themselves.
        let (plain, times) = scratch.split_at_mut(channels);
        for i in 0..channels {
            plain[i] = (1.0 + scale[i]) * dshift[i];
            times[i] = (1.0 + scale[i]) * dscale[i];
        }
        mean_of_groups(plain, groups, pixels);
        mean_of_groups(times, groups, pixels);
        for i in 0..channels {
            times[i] *= inverse[i];
        }
        let rows = x.chunks_exact(channels).zip(dy.chunks_exact(channels));
        for ((x, dy), dx) in rows.zip(dx.chunks_exact_mut(channels)) {
            for i in 0..channels {
                let inner = dy[i] * (1.0 + scale[i]) - plain[i] - (x[i] - mean[i]) * times[i];
                dx[i] = inner * inverse[i];
            }
        }
    }
}
