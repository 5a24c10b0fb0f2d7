//! Single PNG or JPEG files, for labelling with a trained model.

use std::path::{Path, PathBuf};

use super::folder::decode;
use super::limits::{MAX_PIXEL_BYTES, pixel_bytes};
use super::{DataError, ImageShape, normalised_levels};

/// Loads images of exactly this shape, normalised to -1..1, flat `[n, C, H, W]`. A model of one channel reads colour as
/// brightness; one of three reads grey as equal channels.
///
/// # Errors
/// [`DataError`] naming the file: unreadable, of another size, or too much in all.
pub fn load_images(paths: &[PathBuf], shape: ImageShape) -> Result<Vec<f32>, DataError> {
    let levels = normalised_levels();
    let mut out = Vec::new();
    for path in paths {
        let pixels = load(path, shape)?;
        let declared = (out.len() + pixels.len()) as u64;
        if declared > MAX_PIXEL_BYTES {
            return Err(DataError::TooLarge { path: path.clone(), what: "pixels", declared, limit: MAX_PIXEL_BYTES });
        }
        out.extend(pixels.into_iter().map(|x| levels[usize::from(x)]));
    }
    Ok(out)
}

fn load(path: &Path, shape: ImageShape) -> Result<Vec<u8>, DataError> {
    let image = decode(path)?;
    let (height, width) = (image.height() as usize, image.width() as usize);
    pixel_bytes(path, 1, [3, height as u64, width as u64])?;
    if (height, width) != (shape.height, shape.width) {
        return Err(DataError::ShapeMismatch {
            path: path.to_path_buf(),
            found: ImageShape { height, width, ..shape },
            reference: "the model".into(),
            expected: shape,
        });
    }
    if shape.channels == 1 {
        return Ok(image.to_luma8().into_raw());
    }
    let rgb = image.to_rgb8();
    Ok((0..3).flat_map(|channel| rgb.pixels().map(move |p| p.0[channel])).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SHAPE: ImageShape = ImageShape { channels: 1, height: 2, width: 3 };

    #[test]
    fn a_grey_image_is_read_row_by_row_and_normalised() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        image::GrayImage::from_raw(3, 2, vec![0, 51, 102, 153, 204, 255]).unwrap().save(&path).unwrap();
        let pixels = load_images(&[path], SHAPE).unwrap();
        for (found, expected) in pixels.iter().zip([-1.0, -0.6, -0.2, 0.2, 0.6, 1.0]) {
            assert!((found - expected).abs() < 1e-6, "{pixels:?}");
        }
    }

    #[test]
    fn an_image_of_another_size_is_refused_with_both_sizes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big.png");
        image::GrayImage::new(4, 4).save(&path).unwrap();
        let text = load_images(&[path], SHAPE).unwrap_err().to_string();
        assert!(text.contains("big.png") && text.contains("1x4x4") && text.contains("1x2x3"), "{text}");
    }
}
