//! The register tiles under all matrix-like kernels: `P` rows times `V` vectors of columns.
//!
//! Every function is `inline(always)` and generic over pulp's [`Simd`], so that one text is compiled for AVX-512, AVX2 and
//! portable code and the choice is made once per call of a kernel, at run time.

use pulp::Simd;

/// `V` vectors from the start of `row`. With `TAIL` the row may be shorter; what is missing reads as zero.
#[inline(always)]
pub(super) fn load<S: Simd, const V: usize, const TAIL: bool>(simd: S, row: &[f32]) -> [S::f32s; V] {
    if TAIL {
        let mut out = [simd.splat_f32s(0.0); V];
        let mut rest = row;
        for v in &mut out {
            let (head, tail) = rest.split_at(rest.len().min(S::F32_LANES));
            *v = simd.partial_load_f32s(head);
            rest = tail;
        }
        out
    } else {
        let (vectors, _) = S::as_simd_f32s(&row[..V * S::F32_LANES]);
        let mut out = [simd.splat_f32s(0.0); V];
        out.copy_from_slice(&vectors[..V]);
        out
    }
}

/// The inverse of [`load`].
#[inline(always)]
pub(super) fn store<S: Simd, const V: usize, const TAIL: bool>(simd: S, row: &mut [f32], values: [S::f32s; V]) {
    if TAIL {
        let mut rest = row;
        for value in values {
            let (head, tail) = rest.split_at_mut(rest.len().min(S::F32_LANES));
            simd.partial_store_f32s(head, value);
            rest = tail;
        }
    } else {
        let (vectors, _) = S::as_mut_simd_f32s(&mut row[..V * S::F32_LANES]);
        vectors[..V].copy_from_slice(&values);
    }
}

/// Adds `values` to the start of `row`.
#[inline(always)]
pub(super) fn add<S: Simd, const V: usize, const TAIL: bool>(simd: S, row: &mut [f32], values: [S::f32s; V]) {
    let mut sum = load::<S, V, TAIL>(simd, row);
    for v in 0..V {
        sum[v] = simd.add_f32s(sum[v], values[v]);
    }
    store::<S, V, TAIL>(simd, row, sum);
}

/// `P` slices of `length` numbers, where `start` says.
#[inline(always)]
pub(super) fn slices<const P: usize>(x: &[f32], length: usize, start: impl Fn(usize) -> usize) -> [&[f32]; P] {
    let mut out: [&[f32]; P] = [&[]; P];
    for (p, slice) in out.iter_mut().enumerate() {
        *slice = &x[start(p)..][..length];
    }
    out
}

/// A panel: some columns of a row-major matrix.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a> {
    pub(super) values: &'a [f32],
    /// From one row to the next.
    pub(super) stride: usize,
    /// The first column.
    pub(super) at: usize,
    /// Number of columns, at most `V` vectors and exactly so without `TAIL`.
    pub(super) width: usize,
}

/// `tile[p][..] += sum over k < depth of rows[p][k] * panel[k][..]`.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // The column is walked, not the rows.
pub(super) fn rows<S: Simd, const P: usize, const V: usize, const TAIL: bool>(
    simd: S,
    mut tile: [[S::f32s; V]; P],
    rows: [&[f32]; P],
    depth: usize,
    panel: Panel<'_>,
) -> [[S::f32s; V]; P] {
    // Equal lengths, so that the one bound on `k` serves all rows. A plain loop: `map` is not always inlined.
    let mut left: [&[f32]; P] = [&[]; P];
    for p in 0..P {
        left[p] = &rows[p][..depth];
    }
    for k in 0..depth {
        let b = load::<S, V, TAIL>(simd, &panel.values[k * panel.stride + panel.at..][..panel.width]);
        for p in 0..P {
            let a = simd.splat_f32s(left[p][k]);
            for v in 0..V {
                tile[p][v] = simd.mul_add_e_f32s(a, b[v], tile[p][v]);
            }
        }
    }
    tile
}

/// `tile[p][..] += column[p] * row`: one step of an outer product.
#[inline(always)]
pub(super) fn outer<S: Simd, const P: usize, const V: usize>(
    simd: S,
    tile: &mut [[S::f32s; V]; P],
    column: &[f32],
    row: [S::f32s; V],
) {
    let column = &column[..P];
    for p in 0..P {
        let a = simd.splat_f32s(column[p]);
        for v in 0..V {
            tile[p][v] = simd.mul_add_e_f32s(a, row[v], tile[p][v]);
        }
    }
}

/// Calls `$body!(V, TAIL, at, width)` for column blocks that cover `0..$columns`, as wide as registers allow.
macro_rules! column_blocks {
    ($S:ident, $columns:expr, |$at:ident, $width:ident| $f:ident::<$V4P:literal, $V2P:literal, $V1P:literal>($($arg:expr),*)) => {{
        let (lanes, columns) = ($S::F32_LANES, $columns);
        let mut $at = 0;
        while $at < columns {
            let left = columns - $at;
            // Only AVX-512 has the 32 registers that four vectors per row need.
            let $width;
            if lanes == 16 && left >= 4 * lanes {
                $width = 4 * lanes;
                $f::<$S, $V4P, 4, false>($($arg),*);
            } else if left >= 2 * lanes {
                $width = 2 * lanes;
                if lanes == 16 { $f::<$S, $V2P, 2, false>($($arg),*) } else { $f::<$S, 4, 2, false>($($arg),*) }
            } else if left >= lanes {
                $width = lanes;
                $f::<$S, $V1P, 1, false>($($arg),*);
            } else {
                $width = left;
                $f::<$S, $V1P, 1, true>($($arg),*);
            }
            $at += $width;
        }
    }};
}

/// Calls `$f::<S, n, V, TAIL>(..)` for `$i` in `0..$count`, `n` at a time: `$P` while it fits, then 4, then 1.
macro_rules! tiles {
    ($count:expr, |$i:ident| $f:ident::<$S:ident, $P:ident, $V:ident, $T:ident>($($arg:expr),*)) => {{
        let count = $count;
        let mut $i = 0;
        while $i + $P <= count {
            $f::<$S, $P, $V, $T>($($arg),*);
            $i += $P;
        }
        while $i + 4 <= count {
            $f::<$S, 4, $V, $T>($($arg),*);
            $i += 4;
        }
        while $i < count {
            $f::<$S, 1, $V, $T>($($arg),*);
            $i += 1;
        }
    }};
}

pub(super) use {column_blocks, tiles};
