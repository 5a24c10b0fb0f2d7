//! The few matrix products that alignment needs, in `f64` on the host: its sizes are tens by hundreds, and sums in a fixed
//! order make equal inputs give equal bits.

/// `a [n, k]` times `b [k, m]`, plus `bias` in every row.
pub(super) fn affine(a: &[f64], b: &[f64], bias: &[f64]) -> Vec<f64> {
    let m = bias.len();
    let k = b.len() / m.max(1);
    let mut out = Vec::with_capacity(a.len() / k.max(1) * m);
    for row in a.chunks_exact(k) {
        let mut sums = bias.to_vec();
        for (x, line) in row.iter().zip(b.chunks_exact(m)) {
            add(&mut sums, line, *x);
        }
        out.extend(sums);
    }
    out
}

/// Adds `a^T [k, n]` times `b [n, m]` to `out [k, m]`.
pub(super) fn add_transposed(out: &mut [f64], a: &[f64], b: &[f64], k: usize) {
    let m = out.len() / k.max(1);
    for (row, line) in a.chunks_exact(k).zip(b.chunks_exact(m)) {
        for (x, sums) in row.iter().zip(out.chunks_exact_mut(m)) {
            add(sums, line, *x);
        }
    }
}

/// `a [n, m]` times `b^T`, with `b [k, m]`.
pub(super) fn times_transposed(a: &[f64], b: &[f64], m: usize) -> Vec<f64> {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(p, q)| p * q).sum();
    a.chunks_exact(m).flat_map(|row| b.chunks_exact(m).map(move |line| dot(row, line))).collect()
}

/// Adds the rows of `a` to `out`.
pub(super) fn add_rows(out: &mut [f64], a: &[f64]) {
    for row in a.chunks_exact(out.len()) {
        add(out, row, 1.0);
    }
}

/// `sums += factor * row`.
pub(super) fn add(sums: &mut [f64], row: &[f64], factor: f64) {
    sums.iter_mut().zip(row).for_each(|(s, x)| *s += factor * x);
}

pub(super) fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum()
}

pub(super) fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

pub(super) fn narrow(values: &[f64]) -> impl Iterator<Item = f32> + '_ {
    values.iter().map(|&x| x as f32)
}
