//! 2x2 maximum and `ReLU` in one pass, channels last, and the way back.

use pulp::{Simd, WithSimd};

/// Code of a pooled value that `ReLU` cut off: no pixel gets its gradient.
const CUT: u8 = 4;

/// `out[pixel][channel] = max(0, largest of 2x2)`; `codes` says which of the four it was, or [`CUT`].
///
/// Of equal values the first counts. NaN stays NaN, so that a diverged model is seen by its loss.
pub(super) struct PoolRelu<'a> {
    /// `[height][width][channels]`; an odd last row or column is left out.
    pub(super) y: &'a [f32],
    pub(super) width: usize,
    pub(super) channels: usize,
    pub(super) out: &'a mut [f32],
    pub(super) codes: &'a mut [u8],
}

impl WithSimd for PoolRelu<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { y, width, channels, out, codes } = self;
        let row = width * channels;
        let pooled = width / 2 * channels;
        let outs = out.chunks_exact_mut(pooled).zip(codes.chunks_exact_mut(pooled));
        for (rows, (out, codes)) in y.chunks_exact(2 * row).zip(outs) {
            let (top, bottom) = rows.split_at(row);
            let pixels = out.chunks_exact_mut(channels).zip(codes.chunks_exact_mut(channels));
            let windows = top.chunks_exact(2 * channels).zip(bottom.chunks_exact(2 * channels));
            for ((top, bottom), (out, codes)) in windows.zip(pixels) {
                pool_pixel(top, bottom, out, codes);
            }
        }
    }
}

#[inline(always)]
fn pool_pixel(top: &[f32], bottom: &[f32], out: &mut [f32], codes: &mut [u8]) {
    let n = out.len();
    let (a, b) = (&top[..n], &top[n..][..n]);
    let (c, d) = (&bottom[..n], &bottom[n..][..n]);
    let codes = &mut codes[..n];
    for i in 0..n {
        let (mut best, mut code) = (a[i], 0u8);
        for (value, at) in [(b[i], 1), (c[i], 2), (d[i], 3)] {
            let better = value > best || value.is_nan();
            best = if better { value } else { best };
            code = if better { at } else { code };
        }
        let cut = best <= 0.0;
        out[i] = if cut { 0.0 } else { best };
        codes[i] = if cut { CUT } else { code };
    }
}

/// Spreads the gradient of [`PoolRelu`]'s output over its input and adds it up per channel.
pub(super) struct Unpool<'a> {
    pub(super) dout: &'a [f32],
    pub(super) codes: &'a [u8],
    pub(super) width: usize,
    pub(super) channels: usize,
    /// Overwritten; what pooling left out must be zero before.
    pub(super) dy: &'a mut [f32],
    /// Added to.
    pub(super) dbias: &'a mut [f32],
}

impl WithSimd for Unpool<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { dout, codes, width, channels, dy, dbias } = self;
        let row = width * channels;
        let pooled = width / 2 * channels;
        let ins = dout.chunks_exact(pooled).zip(codes.chunks_exact(pooled));
        for (rows, (dout, codes)) in dy.chunks_exact_mut(2 * row).zip(ins) {
            let (top, bottom) = rows.split_at_mut(row);
            let pixels = dout.chunks_exact(channels).zip(codes.chunks_exact(channels));
            let windows = top.chunks_exact_mut(2 * channels).zip(bottom.chunks_exact_mut(2 * channels));
            for ((top, bottom), (dout, codes)) in windows.zip(pixels) {
                spread(top, bottom, dout, codes, dbias);
            }
        }
    }
}

#[inline(always)]
fn spread(top: &mut [f32], bottom: &mut [f32], dout: &[f32], codes: &[u8], dbias: &mut [f32]) {
    let n = dout.len();
    let (a, b) = top.split_at_mut(n);
    let (c, d) = bottom.split_at_mut(n);
    let (a, b, c, d) = (&mut a[..n], &mut b[..n], &mut c[..n], &mut d[..n]);
    let (codes, dbias) = (&codes[..n], &mut dbias[..n]);
    for i in 0..n {
        let (g, code) = (dout[i], codes[i]);
        a[i] = if code == 0 { g } else { 0.0 };
        b[i] = if code == 1 { g } else { 0.0 };
        c[i] = if code == 2 { g } else { 0.0 };
        d[i] = if code == 3 { g } else { 0.0 };
        dbias[i] += if code < CUT { g } else { 0.0 };
    }
}
