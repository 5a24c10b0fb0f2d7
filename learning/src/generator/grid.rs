//! Images side by side in one PNG.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, GrayImage, Luma, Rgb, RgbImage};

use super::files::refuse;
use crate::Error;
use crate::data::ImageShape;

/// Pixels between images.
const GAP: usize = 2;

/// Writes images, flat `[n, channels, height, width]` in -1..1, as rows of `columns`, each pixel `zoom` times as large.
///
/// # Errors
/// [`Error::Length`] if `images` is no whole number of them or there is none, [`Error::Generator`] if the file cannot be
/// written.
pub fn save_grid(path: &Path, images: &[f32], shape: ImageShape, columns: usize, zoom: usize) -> Result<(), Error> {
    let size = shape.len();
    let n = images.len() / size;
    if n == 0 || !images.len().is_multiple_of(size) {
        let expected = n.max(1) * size;
        return Err(Error::Length { what: "pixels of images", expected, found: images.len() });
    }
    let (columns, zoom) = (columns.clamp(1, n), zoom.max(1));
    let [cell_height, cell_width] = [shape.height * zoom + GAP, shape.width * zoom + GAP];
    let extent = |pixels: usize| {
        u32::try_from(pixels).map_err(|_| refuse(path, format!("{pixels} pixels are too many on a side")))
    };
    let (width, height) = (extent(columns * cell_width + GAP)?, extent(n.div_ceil(columns) * cell_height + GAP)?);
    // The value of a channel at a place of the grid; between images it is white.
    let value = |x: u32, y: u32, channel: usize| {
        let (x, y) = ((x as usize).checked_sub(GAP)?, (y as usize).checked_sub(GAP)?);
        let index = y / cell_height * columns + x / cell_width;
        let (row, column) = (y % cell_height / zoom, x % cell_width / zoom);
        if row >= shape.height || column >= shape.width {
            return None;
        }
        let at = index * size + (channel * shape.height + row) * shape.width + column;
        images.get(at).map(|v| ((v.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8)
    };
    let at = |x, y, channel| value(x, y, channel).unwrap_or(u8::MAX);
    let picture = if shape.channels == 3 {
        DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, |x, y| Rgb([0, 1, 2].map(|c| at(x, y, c)))))
    } else {
        DynamicImage::ImageLuma8(GrayImage::from_fn(width, height, |x, y| Luma([at(x, y, 0)])))
    };
    picture.save(path).map_err(|e| refuse(path, e))
}

/// One image, flat `[channels, height, width]` in -1..1, as the bytes of a PNG.
///
/// # Errors
/// [`Error::Length`] if it is not one image of this shape, [`Error::Generator`] if it cannot be packed.
pub fn png(image: &[f32], shape: ImageShape) -> Result<Vec<u8>, Error> {
    if image.len() != shape.len() {
        return Err(Error::Length { what: "pixels of an image", expected: shape.len(), found: image.len() });
    }
    let broken = |e: &dyn std::fmt::Display| Error::Generator(format!("a picture of {shape}: {e}"));
    let extent = |pixels: usize| u32::try_from(pixels).map_err(|e| broken(&e));
    let (width, height) = (extent(shape.width)?, extent(shape.height)?);
    let at = |x: u32, y: u32, channel: usize| {
        let value = image[(channel * shape.height + y as usize) * shape.width + x as usize];
        ((value.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8
    };
    let picture = if shape.channels == 3 {
        DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, |x, y| Rgb([0, 1, 2].map(|c| at(x, y, c)))))
    } else {
        DynamicImage::ImageLuma8(GrayImage::from_fn(width, height, |x, y| Luma([at(x, y, 0)])))
    };
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).map_err(|e| broken(&e))?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_grid_has_every_image_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grid.png");
        let shape = ImageShape { channels: 1, height: 1, width: 2 };
        save_grid(&path, &[-1.0, 1.0, 0.0, 9.0, -1.0, -1.0], shape, 2, 1).unwrap();
        let grid = image::open(&path).unwrap().to_luma8();
        assert_eq!(grid.dimensions(), (2 * 4 + 2, 2 * 3 + 2));
        let at = |x, y| grid.get_pixel(x, y).0[0];
        assert_eq!([at(2, 2), at(3, 2), at(6, 2), at(7, 2), at(2, 5), at(3, 5)], [0, 255, 128, 255, 0, 0]);
        assert_eq!(at(6, 5), 255, "there is no fourth image");
    }

    #[test]
    fn half_an_image_is_refused() {
        let shape = ImageShape { channels: 1, height: 1, width: 2 };
        assert!(matches!(save_grid(Path::new("none"), &[0.0; 3], shape, 1, 1), Err(Error::Length { .. })));
    }
}
