//! Fully connected layers of a small batch: each weight is read from memory once per pass.

use pulp::{Simd, WithSimd};

use super::tile::{Panel, add, column_blocks, load, outer, rows, slices, store, tiles};

/// Rows of the weight that stay in the first-level cache while all images pass over them. Too low and partial sums are
/// loaded and stored too often; too high and the block falls out of the cache.
const DEPTH: usize = 64;

/// Numbers of the longest vector of any machine.
pub(super) const LANES: usize = 16;

/// Images of an input gradient, rounded up so that no load is a partial one.
pub(super) const fn whole_vectors(images: usize) -> usize {
    images.next_multiple_of(LANES)
}

/// `y[image][outputs] = bias + x * w`, `w` row-major `[inputs][outputs]`.
pub(super) struct Forward<'a> {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) x: &'a [f32],
    pub(super) weight: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) y: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { inputs, outputs, x, weight, bias, y } = self;
        for row in y.chunks_exact_mut(outputs) {
            row.copy_from_slice(bias);
        }
        for (block, weight) in weight.chunks(DEPTH * outputs).enumerate() {
            let x = &x[block * DEPTH..];
            column_blocks!(S, outputs, |at, width| forward_block::<6, 8, 8>(
                simd, inputs, outputs, x, weight, y, at, width
            ));
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn forward_block<S: Simd, const P: usize, const V: usize, const T: bool>(
    simd: S,
    inputs: usize,
    outputs: usize,
    x: &[f32],
    weight: &[f32],
    y: &mut [f32],
    at: usize,
    width: usize,
) {
    let images = y.len() / outputs;
    tiles!(images, |image| forward_tile::<S, P, V, T>(simd, inputs, outputs, x, weight, y, at, width, image));
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn forward_tile<S: Simd, const P: usize, const V: usize, const T: bool>(
    simd: S,
    inputs: usize,
    outputs: usize,
    x: &[f32],
    weight: &[f32],
    y: &mut [f32],
    at: usize,
    width: usize,
    image: usize,
) {
    let depth = weight.len() / outputs;
    let left = slices::<P>(x, depth, |p| (image + p) * inputs);
    let zero = [[simd.splat_f32s(0.0); V]; P];
    let tile = rows::<S, P, V, T>(simd, zero, left, depth, Panel { values: weight, stride: outputs, at, width });
    for (row, values) in y[image * outputs..].chunks_exact_mut(outputs).zip(tile) {
        add::<S, V, T>(simd, &mut row[at..at + width], values);
    }
}

/// `dx[inputs][image] = w * dy`, turned: images run along the vectors, so the weight is read as it lies.
pub(super) struct InputGradient<'a> {
    pub(super) outputs: usize,
    /// Images, rounded up by [`whole_vectors`]; those beyond the batch are zero in `dy` and left out by the caller in `dx`.
    pub(super) images: usize,
    pub(super) weight: &'a [f32],
    /// `[outputs][image]`.
    pub(super) dy: &'a [f32],
    /// `[inputs][image]`.
    pub(super) dx: &'a mut [f32],
}

impl WithSimd for InputGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { outputs, images, weight, dy, dx } = self;
        // Rows of the weight that all column blocks share while they are in the cache.
        let blocks = weight.chunks(24 * outputs).zip(dx.chunks_mut(24 * images));
        for (weight, dx) in blocks {
            column_blocks!(S, images, |at, width| input_block::<6, 8, 8>(
                simd, outputs, images, weight, dy, dx, at, width
            ));
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn input_block<S: Simd, const P: usize, const V: usize, const T: bool>(
    simd: S,
    outputs: usize,
    images: usize,
    weight: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    at: usize,
    width: usize,
) {
    let inputs = weight.len() / outputs;
    tiles!(inputs, |input| input_tile::<S, P, V, T>(simd, outputs, images, weight, dy, dx, at, width, input));
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn input_tile<S: Simd, const P: usize, const V: usize, const T: bool>(
    simd: S,
    outputs: usize,
    images: usize,
    weight: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    at: usize,
    width: usize,
    input: usize,
) {
    let left = slices::<P>(weight, outputs, |p| (input + p) * outputs);
    let zero = [[simd.splat_f32s(0.0); V]; P];
    let tile = rows::<S, P, V, T>(simd, zero, left, outputs, Panel { values: dy, stride: images, at, width });
    for (row, values) in dx[input * images..].chunks_exact_mut(images).zip(tile) {
        store::<S, V, T>(simd, &mut row[at..at + width], values);
    }
}

/// `dw[inputs][outputs] = x * dy`, overwritten.
pub(super) struct WeightGradient<'a> {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) x: &'a [f32],
    /// `[image][outputs]`.
    pub(super) dy: &'a [f32],
    pub(super) dw: &'a mut [f32],
    /// At least images * [`DEPTH`] numbers.
    pub(super) scratch: &'a mut [f32],
}

impl WeightGradient<'_> {
    /// Numbers of scratch space for this many images.
    pub(super) const fn scratch(images: usize) -> usize {
        images * DEPTH
    }
}

impl WithSimd for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { inputs, outputs, x, dy, dw, scratch } = self;
        for (block, dw) in dw.chunks_mut(DEPTH * outputs).enumerate() {
            // A dense copy: rows of `x` lie far apart and would fight for the same few cache sets.
            let depth = dw.len() / outputs;
            let rows = scratch.chunks_exact_mut(depth).zip(x.chunks_exact(inputs));
            for (to, from) in rows {
                to.copy_from_slice(&from[block * DEPTH..][..depth]);
            }
            let x = &scratch[..dy.len() / outputs * depth];
            column_blocks!(S, outputs, |at, width| weight_block::<6, 8, 8>(simd, depth, outputs, x, dy, dw, at, width));
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn weight_block<S: Simd, const P: usize, const V: usize, const T: bool>(
    simd: S,
    depth: usize,
    outputs: usize,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    at: usize,
    width: usize,
) {
    tiles!(depth, |input| weight_tile::<S, P, V, T>(simd, depth, outputs, x, dy, dw, at, width, input));
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn weight_tile<S: Simd, const P: usize, const V: usize, const T: bool>(
    simd: S,
    depth: usize,
    outputs: usize,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    at: usize,
    width: usize,
    input: usize,
) {
    let mut tile = [[simd.splat_f32s(0.0); V]; P];
    for (x, dy) in x.chunks_exact(depth).zip(dy.chunks_exact(outputs)) {
        let right = load::<S, V, T>(simd, &dy[at..at + width]);
        outer(simd, &mut tile, &x[input..], right);
    }
    for (row, values) in dw[input * outputs..].chunks_exact_mut(outputs).zip(tile) {
        store::<S, V, T>(simd, &mut row[at..at + width], values);
    }
}
