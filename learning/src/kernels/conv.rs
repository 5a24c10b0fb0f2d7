//! Convolution of one image, channels last, without im2col.
//!
//! With channels last the pixels under one row of a kernel are one contiguous run of `kernel * inputs` numbers. So a
//! convolution is, per kernel row, a matrix product whose left rows overlap in the image itself: nothing is copied, and
//! forward, input gradient and weight gradient all read the image in place.

use pulp::{Simd, WithSimd};

use super::tile::{Panel, add, column_blocks, load, outer, rows, slices, store, tiles};

/// Sizes of a convolution with a square kernel over one image that already has its border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Height with border.
    pub(super) height: usize,
    /// Width with border.
    pub(super) width: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
}

impl Geometry {
    pub(super) const fn out_height(&self) -> usize {
        (self.height - self.kernel) / self.stride + 1
    }

    pub(super) const fn out_width(&self) -> usize {
        (self.width - self.kernel) / self.stride + 1
    }

    /// Output pixels.
    pub(super) const fn positions(&self) -> usize {
        self.out_height() * self.out_width()
    }

    /// Numbers under one row of the kernel.
    pub(super) const fn run(&self) -> usize {
        self.kernel * self.inputs
    }

    /// Numbers in a row of the image.
    const fn row(&self) -> usize {
        self.width * self.inputs
    }

    /// Where the window of an output pixel starts.
    #[inline(always)]
    const fn window(&self, position: usize) -> usize {
        let (y, x) = (position / self.out_width(), position % self.out_width());
        (y * self.width + x) * self.stride * self.inputs
    }
}

/// Outputs that are packed together: a cache line.
const LINE: usize = 16;

/// `[outputs][inputs][kernel][kernel]` to `[kernel][kernel][inputs][outputs]`.
pub(super) fn pack(g: &Geometry, weight: &[f32], packed: &mut [f32]) {
    let (area, taps) = (g.kernel * g.kernel, g.inputs * g.kernel * g.kernel);
    for (block, weight) in weight.chunks(LINE * taps).enumerate() {
        let lines = weight.len() / taps;
        for tap in 0..taps {
            let (i, k) = (tap / area, tap % area);
            let line = &mut packed[(k * g.inputs + i) * g.outputs + block * LINE..][..lines];
            for (o, to) in line.iter_mut().enumerate() {
                *to = weight[o * taps + tap];
            }
        }
    }
}

/// The inverse of [`pack`].
pub(super) fn unpack(g: &Geometry, packed: &[f32], weight: &mut [f32]) {
    let (area, taps) = (g.kernel * g.kernel, g.inputs * g.kernel * g.kernel);
    for (block, weight) in weight.chunks_mut(LINE * taps).enumerate() {
        let lines = weight.len() / taps;
        for tap in 0..taps {
            let (i, k) = (tap / area, tap % area);
            let line = &packed[(k * g.inputs + i) * g.outputs + block * LINE..][..lines];
            for (o, from) in line.iter().enumerate() {
                weight[o * taps + tap] = *from;
            }
        }
    }
}

/// `[outputs][inputs][kernel][kernel]` to `[kernel][outputs][kernel][inputs]`.
pub(super) fn pack_turned(g: &Geometry, weight: &[f32], packed: &mut [f32]) {
    let area = g.kernel * g.kernel;
    for (r, row) in packed.chunks_exact_mut(g.run()).enumerate() {
        let (ky, o) = (r / g.outputs, r % g.outputs);
        for (kx, pixel) in row.chunks_exact_mut(g.inputs).enumerate() {
            let from = &weight[o * g.inputs * area + ky * g.kernel + kx..];
            for (to, from) in pixel.iter_mut().zip(from.iter().step_by(area)) {
                *to = *from;
            }
        }
    }
}

/// `y[position][outputs] = bias + x * w`.
pub(super) struct Forward<'a> {
    pub(super) g: Geometry,
    pub(super) x: &'a [f32],
    /// As [`pack`] leaves it.
    pub(super) weight: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) y: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { g, x, weight, bias, y } = self;
        column_blocks!(S, g.outputs, |at, width| forward_block::<6, 8, 8>(simd, g, x, weight, bias, y, at, width));
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn forward_block<S: Simd, const P: usize, const V: usize, const T: bool>(
    simd: S,
    g: Geometry,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    y: &mut [f32],
    at: usize,
    width: usize,
) {
    tiles!(g.positions(), |position| forward_tile::<S, P, V, T>(simd, g, x, weight, bias, y, at, width, position));
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn forward_tile<S: Simd, const P: usize, const V: usize, const T: bool>(
    simd: S,
    g: Geometry,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    y: &mut [f32],
    at: usize,
    width: usize,
    position: usize,
) {
    let mut tile = [load::<S, V, T>(simd, &bias[at..at + width]); P];
    let mut windows = [0; P];
    for (p, window) in windows.iter_mut().enumerate() {
        *window = g.window(position + p);
    }
    let (run, block) = (g.run(), g.run() * g.outputs);
    for (ky, values) in weight.chunks_exact(block).enumerate() {
        let left = slices::<P>(x, run, |p| windows[p] + ky * g.row());
        tile = rows::<S, P, V, T>(simd, tile, left, run, Panel { values, stride: g.outputs, at, width });
    }
    for (row, values) in y[position * g.outputs..].chunks_exact_mut(g.outputs).zip(tile) {
        store::<S, V, T>(simd, &mut row[at..at + width], values);
    }
}

/// `dx += dy * w`, scattered to where the windows lie.
pub(super) struct InputGradient<'a> {
    pub(super) g: Geometry,
    pub(super) dy: &'a [f32],
    /// As [`pack_turned`] leaves it.
    pub(super) weight: &'a [f32],
    pub(super) dx: &'a mut [f32],
}

impl WithSimd for InputGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { g, dy, weight, dx } = self;
        for (ky, weight) in weight.chunks_exact(g.run() * g.outputs).enumerate() {
            column_blocks!(S, g.run(), |at, width| input_block::<6, 8, 8>(simd, g, dy, weight, dx, ky, at, width));
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn input_block<S: Simd, const P: usize, const V: usize, const T: bool>(
    simd: S,
    g: Geometry,
    dy: &[f32],
    weight: &[f32],
    dx: &mut [f32],
    ky: usize,
    at: usize,
    width: usize,
) {
    tiles!(g.positions(), |position| input_tile::<S, P, V, T>(simd, g, dy, weight, dx, ky, at, width, position));
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn input_tile<S: Simd, const P: usize, const V: usize, const T: bool>(
    simd: S,
    g: Geometry,
    dy: &[f32],
    weight: &[f32],
    dx: &mut [f32],
    ky: usize,
    at: usize,
    width: usize,
    position: usize,
) {
    let left = slices::<P>(dy, g.outputs, |p| (position + p) * g.outputs);
    let zero = [[simd.splat_f32s(0.0); V]; P];
    let panel = Panel { values: weight, stride: g.run(), at, width };
    let tile = rows::<S, P, V, T>(simd, zero, left, g.outputs, panel);
    for (p, values) in tile.into_iter().enumerate() {
        let start = g.window(position + p) + ky * g.row() + at;
        add::<S, V, T>(simd, &mut dx[start..start + width], values);
    }
}

/// `dw += x * dy`, in the layout of [`pack`].
pub(super) struct WeightGradient<'a> {
    pub(super) g: Geometry,
    pub(super) x: &'a [f32],
    pub(super) dy: &'a [f32],
    pub(super) dw: &'a mut [f32],
}

impl WithSimd for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { g, x, dy, dw } = self;
        column_blocks!(S, g.outputs, |at, width| weight_block::<6, 8, 8>(simd, g, x, dy, dw, at, width));
    }
}

#[inline(always)]
fn weight_block<S: Simd, const P: usize, const V: usize, const T: bool>(
    simd: S,
    g: Geometry,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    at: usize,
    width: usize,
) {
    let run = g.run();
    for (ky, dw) in dw.chunks_exact_mut(run * g.outputs).enumerate() {
        tiles!(run, |tap| weight_tile::<S, P, V, T>(simd, g, x, dy, dw, at, width, ky, tap));
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn weight_tile<S: Simd, const P: usize, const V: usize, const T: bool>(
    simd: S,
    g: Geometry,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    at: usize,
    width: usize,
    ky: usize,
    tap: usize,
) {
    let mut tile = [[simd.splat_f32s(0.0); V]; P];
    let step = g.stride * g.inputs;
    for (y, dy) in dy.chunks_exact(g.out_width() * g.outputs).enumerate() {
        let x = &x[(y * g.stride + ky) * g.row() + tap..];
        for (i, dy) in dy.chunks_exact(g.outputs).enumerate() {
            let right = load::<S, V, T>(simd, &dy[at..at + width]);
            outer(simd, &mut tile, &x[i * step..][..P], right);
        }
    }
    for (row, values) in dw[tap * g.outputs..].chunks_exact_mut(g.outputs).zip(tile) {
        add::<S, V, T>(simd, &mut row[at..at + width], values);
    }
}
