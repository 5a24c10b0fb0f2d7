//! A folder of class-named folders of PNG or JPEG images, optionally below `train/` and `test/`.

use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageReader, Limits};

use super::limits::{MAX_CLASSES, MAX_IMAGES, MAX_PIXEL_BYTES, MAX_SIDE, pixel_bytes};
use super::{DataError, Dataset, Entries, ImageShape, Part, join, name_of};

/// An image file and its class.
struct Item {
    path: PathBuf,
    class: usize,
}

pub(super) fn load(path: &Path, entries: &Entries) -> Result<Dataset, DataError> {
    // "test" alone may be a class of that name; "train" beside it says what both are.
    let (train, test) = match (entries.folder("train"), entries.folder("test")) {
        (Some(train), test) => (Entries::read(train)?, test.map(Entries::read).transpose()?),
        (None, _) => (Entries { files: Vec::new(), folders: entries.folders.clone() }, None),
    };
    let halves: Vec<&Entries> = std::iter::once(&train).chain(&test).collect();
    let mut names: Vec<String> = halves.iter().flat_map(|h| h.folders.iter().map(|(name, _)| name.clone())).collect();
    names.sort();
    names.dedup();
    if names.len() as u64 > MAX_CLASSES {
        return Err(DataError::TooLarge {
            path: path.to_path_buf(),
            what: "classes",
            declared: names.len() as u64,
            limit: MAX_CLASSES,
        });
    }
    let train = list(&train, &names)?;
    let test = test.map(|half| list(&half, &names)).transpose()?.unwrap_or_default();
    if train.is_empty() && test.is_empty() {
        return Err(DataError::Unrecognised {
            path: path.to_path_buf(),
            found: "folders without PNG or JPEG images".into(),
        });
    }

    let mut reader = Reader::default();
    for item in train.iter().chain(&test) {
        reader.add(&item.path)?;
    }
    let (shape, mut pixels) = reader.finish(path)?;
    let labels = |items: &[Item]| items.iter().map(|i| i.class as u16).collect::<Vec<u16>>();
    let test_pixels = pixels.split_off(train.len() * shape.len());
    let part = |pixels, items: &[Item]| Part { origin: path.to_path_buf(), shape, pixels, labels: labels(items) };
    join(name_of(path), Some(names), vec![part(pixels, &train)], vec![part(test_pixels, &test)])
}

/// The images of one half: classes by name, within a class by file name, so that indices mean the same on every
/// machine.
fn list(half: &Entries, names: &[String]) -> Result<Vec<Item>, DataError> {
    let mut items = Vec::new();
    for (name, folder) in &half.folders {
        let class = names.partition_point(|n| n < name);
        let before = items.len();
        for (_, path) in Entries::read(folder)?.files {
            let known =
                path.extension().is_some_and(|e| ["png", "jpg", "jpeg"].iter().any(|k| e.eq_ignore_ascii_case(k)));
            if known {
                items.push(Item { path, class });
            }
        }
        if items.len() == before {
            return Err(DataError::Missing {
                folder: folder.clone(),
                missing: "images".into(),
                reason: "every folder is a class and needs at least one .png, .jpg or .jpeg file".into(),
            });
        }
        if items.len() as u64 > MAX_IMAGES {
            let declared = items.len() as u64;
            return Err(DataError::TooLarge { path: folder.clone(), what: "images", declared, limit: MAX_IMAGES });
        }
    }
    Ok(items)
}

/// Decodes images of one size; grey until the first image with colour.
#[derive(Default)]
struct Reader {
    /// Height and width, and the file that set them.
    size: Option<(u32, u32, PathBuf)>,
    colour: bool,
    pixels: Vec<u8>,
}

impl Reader {
    fn add(&mut self, path: &Path) -> Result<(), DataError> {
        let image = decode(path)?;
        let (height, width) = (image.height(), image.width());
        match &self.size {
            None => {
                pixel_bytes(path, 1, [3, height.into(), width.into()])?;
                self.size = Some((height, width, path.to_path_buf()));
            }
            Some((h, w, first)) if (*h, *w) != (height, width) => {
                let shape = |height: u32, width: u32| ImageShape {
                    channels: if image.color().has_color() { 3 } else { 1 },
                    height: height as usize,
                    width: width as usize,
                };
                return Err(DataError::ShapeMismatch {
                    path: path.to_path_buf(),
                    found: shape(height, width),
                    reference: first.display().to_string(),
                    expected: shape(*h, *w),
                });
            }
            Some(_) => {}
        }
        let plane = height as usize * width as usize;
        if image.color().has_color() && !self.colour {
            // Rare, and once: the images so far become colour images of equal planes.
            self.pixels = self.pixels.chunks_exact(plane).flat_map(|grey| [grey, grey, grey].concat()).collect();
            self.colour = true;
        }
        let more = plane as u64 * if self.colour { 3 } else { 1 };
        let declared = self.pixels.len() as u64 + more;
        if declared > MAX_PIXEL_BYTES {
            return Err(DataError::TooLarge {
                path: path.to_path_buf(),
                what: "bytes of pixels",
                declared,
                limit: MAX_PIXEL_BYTES,
            });
        }
        if self.colour {
            let rgb = image.to_rgb8();
            for channel in 0..3 {
                self.pixels.extend(rgb.pixels().map(|p| p.0[channel]));
            }
        } else {
            self.pixels.extend_from_slice(image.to_luma8().as_raw());
        }
        Ok(())
    }

    fn finish(self, folder: &Path) -> Result<(ImageShape, Vec<u8>), DataError> {
        let (height, width, _) = self.size.ok_or_else(|| DataError::Empty { path: folder.to_path_buf() })?;
        let channels = if self.colour { 3 } else { 1 };
        Ok((ImageShape { channels, height: height as usize, width: width as usize }, self.pixels))
    }
}

pub(super) fn decode(path: &Path) -> Result<DynamicImage, DataError> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE as u32);
    limits.max_image_height = Some(MAX_SIDE as u32);
    let mut reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format).map_err(DataError::io(path))?;
    reader.limits(limits);
    reader.decode().map_err(|source| DataError::Image { path: path.to_path_buf(), source })
}
