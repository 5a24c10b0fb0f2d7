//! Between burn's tensors and flat slices: channels-last images, borders, transposes.

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Shape, TensorData};

use super::scratch::{Scratch, keep};

/// A tensor over these numbers, row-major.
pub(super) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// Channels-last numbers, shown as `[n, channels, height, width]`.
pub(super) fn from_channels_last(values: Vec<f32>, [n, c, h, w]: [usize; 4]) -> FlexTensor {
    let layout = Layout::contiguous(Shape::new([n, h, w, c])).permute(&[0, 3, 1, 2]);
    tensor(values, [n, h, w, c]).with_layout(layout)
}

/// Keeps the buffer of a tensor that nobody else holds for this thread's next steps.
pub(super) fn reclaim(x: FlexTensor) {
    if x.is_unique() {
        let len = x.bytes().len() / size_of::<f32>();
        // Without strides the buffer is handed out as it is.
        let flat = x.with_layout(Layout::contiguous(Shape::new([len])));
        if let Ok(buffer) = flat.into_data().try_into_vec::<f32>() {
            keep(buffer);
        }
    }
}

/// The sizes of a tensor that has this many; zeros where it has fewer, which no caller of burn's checked front can cause.
pub(super) fn dims<const D: usize>(x: &FlexTensor) -> [usize; D] {
    std::array::from_fn(|i| x.layout().shape().iter().nth(i).copied().unwrap_or(0))
}

/// The numbers of a dense tensor: as many as its shape says, from where they start.
pub(super) fn values(x: &FlexTensor) -> &[f32] {
    let start = x.layout().start_offset();
    &x.storage::<f32>()[start..start + x.layout().num_elements()]
}

/// [`values`], to write.
pub(super) fn values_mut(x: &mut FlexTensor) -> &mut [f32] {
    let (start, len) = (x.layout().start_offset(), x.layout().num_elements());
    &mut x.storage_mut::<f32>()[start..start + len]
}

/// Row-major, at no cost if it is so already.
pub(super) fn row_major(x: FlexTensor) -> FlexTensor {
    if x.is_contiguous() { x } else { x.to_contiguous() }
}

/// True if the strides are those of dense storage in this order of axes; axes of size one may have any.
fn lies<const D: usize>(x: &FlexTensor, order: [usize; D]) -> bool {
    let (shape, strides) = (dims::<D>(x), x.layout().strides());
    let mut expected = 1;
    strides.len() == D
        && order.iter().rev().all(|&axis| {
            let fits = shape[axis] == 1 || strides[axis] == expected as isize;
            expected *= shape[axis];
            fits
        })
}

/// Whether the storage of an image tensor is channels last.
pub(super) fn is_channels_last(x: &FlexTensor) -> bool {
    lies(x, [0, 2, 3, 1])
}

/// The same tensor with channels-last storage, at no cost if it has it already.
pub(super) fn channels_last(x: FlexTensor) -> FlexTensor {
    if is_channels_last(&x) {
        return x;
    }
    let shape @ [n, c, h, w] = dims::<4>(&x);
    let x = row_major(x);
    let mut out = Scratch::any(n * c * h * w).into_vec();
    for (to, from) in out.chunks_exact_mut(c * h * w).zip(values(&x).chunks_exact(c * h * w)) {
        transpose(from, h * w, to, c);
    }
    from_channels_last(out, shape)
}

/// `from[r][c]`, rows of `columns`, to `to[c][r]`, rows of `rows`.
pub(super) fn transpose(from: &[f32], columns: usize, to: &mut [f32], rows: usize) {
    /// Side of the blocks: 16 numbers are a cache line.
    const SIDE: usize = 16;
    for r in (0..rows).step_by(SIDE) {
        let height = SIDE.min(rows - r);
        for (c, to) in to.chunks_exact_mut(rows).enumerate().take(columns) {
            let from = from[r * columns + c..].iter().step_by(columns);
            for (to, from) in to[r..r + height].iter_mut().zip(from) {
                *to = *from;
            }
        }
    }
}

/// Copies an image into the middle of a larger one whose border stays as it is.
pub(super) fn pad(from: &[f32], width: usize, channels: usize, padding: usize, to: &mut [f32]) {
    let (row, wide) = (width * channels, (width + 2 * padding) * channels);
    for (to, from) in to.chunks_exact_mut(wide).skip(padding).zip(from.chunks_exact(row)) {
        to[padding * channels..][..row].copy_from_slice(from);
    }
}

/// The inverse of [`pad`]: the border is dropped.
pub(super) fn crop(from: &[f32], width: usize, channels: usize, padding: usize, to: &mut [f32]) {
    let (row, wide) = (width * channels, (width + 2 * padding) * channels);
    for (from, to) in from.chunks_exact(wide).skip(padding).zip(to.chunks_exact_mut(row)) {
        to.copy_from_slice(&from[padding * channels..][..row]);
    }
}
