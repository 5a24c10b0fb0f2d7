//! A member's images on its device, and the order in which it sees them.

use burn::tensor::{Device, Int, Tensor, TensorData};
use fedswarm_protocol::hash::Stream;

use crate::Error;
use crate::data::{ImageShape, Split};

/// Images and one-hot labels, uploaded once.
#[derive(Debug)]
pub(super) struct Resident {
    pub(super) images: Tensor<4>,
    pub(super) targets: Tensor<2>,
    len: usize,
}

impl Resident {
    /// Uploads a split; nothing if it is empty.
    pub(super) fn upload(
        split: &Split,
        input: ImageShape,
        classes: usize,
        device: &Device,
    ) -> Result<Option<Self>, Error> {
        let len = split.labels.len();
        if split.images.len() != len * input.len() {
            return Err(Error::Length { what: "pixels", expected: len * input.len(), found: split.images.len() });
        }
        if len == 0 {
            return Ok(None);
        }
        let mut targets = vec![0f32; len * classes];
        for (row, &label) in targets.chunks_exact_mut(classes).zip(&split.labels) {
            let Some(cell) = row.get_mut(usize::from(label)) else {
                return Err(Error::Setup(format!("label {label} found where there are {classes} classes")));
            };
            *cell = 1.0;
        }
        let images = images(&split.images, input, device);
        let targets = Tensor::from_data(TensorData::new(targets, [len, classes]), device);
        Ok(Some(Self { images, targets, len }))
    }

    /// The batch of these rows.
    pub(super) fn select(&self, rows: &[i32], device: &Device) -> (Tensor<4>, Tensor<2>) {
        let index = index(rows, device);
        (self.images.clone().select(0, index.clone()), self.targets.clone().select(0, index))
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

/// Row numbers as a tensor.
pub(super) fn index(rows: &[i32], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(rows.to_vec(), [rows.len()]), device)
}

/// Flat pixels as a tensor; the caller has checked that their number is a multiple of the image's.
pub(super) fn images(pixels: &[f32], input: ImageShape, device: &Device) -> Tensor<4> {
    let n = pixels.len() / input.len();
    Tensor::from_data(TensorData::new(pixels.to_vec(), [n, input.channels, input.height, input.width]), device)
}

/// The rows of an epoch, in order. It depends on the seed and the epoch's number alone, so the number is all that a
/// checkpoint must keep.
pub(super) fn order(len: usize, shuffle: bool, seed: u64, epoch: u64) -> Vec<i32> {
    // A peer's data is bounded by its memory; beyond 2^31 images the tail would not be seen.
    let mut rows: Vec<i32> = (0..i32::try_from(len).unwrap_or(i32::MAX)).collect();
    if shuffle {
        Stream::new("data order", &[&seed.to_le_bytes(), &epoch.to_le_bytes()]).shuffle(&mut rows);
    }
    rows
}
