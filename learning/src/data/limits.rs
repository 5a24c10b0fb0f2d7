//! Bounds on what a file may declare, checked before anything is allocated for it.

use std::path::Path;

use super::{DataError, ImageShape};

/// Most images in one file or folder. Too low refuses large sets; indices are `u32`, so it may not pass 2^32.
pub const MAX_IMAGES: u64 = 20_000_000;
/// Largest height or width in pixels. Too low refuses photographs that nobody has scaled down yet.
pub const MAX_SIDE: u64 = 4096;
/// Most pixel bytes of one file or folder. Too low refuses large sets (`ImageNet` at 64 x 64 has 16 GB); all of it is
/// held in memory.
pub const MAX_PIXEL_BYTES: u64 = 16 << 30;
/// Most classes. Too low refuses fine-grained sets; labels are `u16`.
pub const MAX_CLASSES: u64 = 65_536;
/// Most bytes reserved on a header's word alone; beyond it, memory grows with the bytes that really arrive.
pub(super) const TRUSTED_RESERVE: u64 = 64 << 20;
/// Largest text file of class names, in bytes. Too low refuses sets with many long names.
pub(super) const MAX_NAMES_BYTES: u64 = 1 << 20;

/// The pixel bytes of `count` images of `shape`, if all of it is within bounds.
pub(super) fn pixel_bytes(path: &Path, count: u64, shape: [u64; 3]) -> Result<(u64, ImageShape), DataError> {
    let [channels, height, width] = shape;
    let too_large = |what, declared, limit| DataError::TooLarge { path: path.to_path_buf(), what, declared, limit };
    if count > MAX_IMAGES {
        return Err(too_large("images", count, MAX_IMAGES));
    }
    for side in [height, width] {
        if side > MAX_SIDE {
            return Err(too_large("pixels on a side", side, MAX_SIDE));
        }
    }
    // Cannot overflow: 2e7 * 4096 * 4096 * 3 is about 1e15.
    let bytes = count * channels * height * width;
    if bytes > MAX_PIXEL_BYTES {
        return Err(too_large("bytes of pixels", bytes, MAX_PIXEL_BYTES));
    }
    if bytes == 0 {
        return Err(DataError::Empty { path: path.to_path_buf() });
    }
    let shape = ImageShape { channels: channels as usize, height: height as usize, width: width as usize };
    Ok((bytes, shape))
}
