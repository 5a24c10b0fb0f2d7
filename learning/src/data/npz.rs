//! `NumPy`'s `.npz`: `x_train`, `y_train`, `x_test`, `y_test` as Keras names them, or `images` and `labels`.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use npyz::npz::{NpzArchive, file_name_from_array_name};
use npyz::{DType, Deserialize, NpyFile, Order, TypeChar};

use super::limits::{MAX_CLASSES, TRUSTED_RESERVE, pixel_bytes};
use super::{DataError, Dataset, ImageShape, Part, join, name_of};

/// Longest header of an array: what version 1 of the format can express. Too low refuses arrays of very large structures,
/// which are no images.
const MAX_HEADER_BYTES: u32 = 1 << 16;

type Archive = NpzArchive<BufReader<File>>;

pub(super) fn load(path: &Path) -> Result<Dataset, DataError> {
    let mut archive = NpzArchive::open(path).map_err(DataError::io(path))?;
    let names: Vec<String> = archive.array_names().map(String::from).collect();
    let has = |name: &str| names.iter().any(|n| n == name);
    let pairs: &[(bool, &str, &str)] = if has("x_train") || has("x_test") {
        &[(true, "x_train", "y_train"), (false, "x_test", "y_test")]
    } else {
        &[(true, "images", "labels")]
    };
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for &(is_train, images, labels) in pairs {
        match (has(images), has(labels)) {
            (true, true) => {
                let part = read_part(&mut archive, path, images, labels)?;
                if is_train { train.push(part) } else { test.push(part) }
            }
            (false, false) => {}
            (true, false) => return Err(missing(path, labels, &names)),
            (false, true) => return Err(missing(path, images, &names)),
        }
    }
    if train.is_empty() && test.is_empty() {
        return Err(missing(path, "x_train, y_train (or images, labels)", &names));
    }
    join(name_of(path), None, train, test)
}

fn missing(path: &Path, array: &str, names: &[String]) -> DataError {
    DataError::Missing {
        folder: path.to_path_buf(),
        missing: array.into(),
        reason: format!("its arrays are [{}]", names.iter().take(8).map(String::as_str).collect::<Vec<_>>().join(", ")),
    }
}

fn read_part(archive: &mut Archive, path: &Path, images: &str, labels: &str) -> Result<Part, DataError> {
    let (shape, count, pixels) = Array::open(archive, path, images, |array, file| array.images(file))?;
    let labels = Array::open(archive, path, labels, |array, file| array.labels(file, count))?;
    Ok(Part { origin: path.to_path_buf(), shape, pixels, labels })
}

/// Refuses an array that announces a longer header than [`MAX_HEADER_BYTES`]: `npyz` would allocate it unread.
pub(crate) fn check_header(archive: &mut Archive, name: &str) -> io::Result<()> {
    let Ok(mut file) = archive.zip_archive().by_name(&file_name_from_array_name(name)) else { return Ok(()) };
    // "\x93NUMPY", the version, and from version 2 on a length of four bytes; whatever is shorter, `npyz` refuses.
    let mut start = [0; 12];
    if file.read_exact(&mut start).is_err() || start[6] < 2 {
        return Ok(());
    }
    let len = u32::from_le_bytes([start[8], start[9], start[10], start[11]]);
    if len <= MAX_HEADER_BYTES {
        return Ok(());
    }
    Err(io::Error::other(format!("its header has {len} bytes, at most {MAX_HEADER_BYTES} are read")))
}

/// How the axes of an image array lie.
#[derive(Clone, Copy)]
enum Layout {
    ChannelsFirst,
    ChannelsLast,
}

/// The array being read: where it is, for errors.
struct Array<'a> {
    path: &'a Path,
    name: &'a str,
}

impl<'a> Array<'a> {
    fn open<T>(
        archive: &mut Archive,
        path: &'a Path,
        name: &'a str,
        read: impl FnOnce(Self, NpyFile<Box<dyn Read + '_>>) -> Result<T, DataError>,
    ) -> Result<T, DataError> {
        let array = Self { path, name };
        let unreadable = |e: io::Error| Self { path, name }.error(format!("cannot be read: {e}"));
        check_header(archive, name).map_err(unreadable)?;
        let file = archive.by_name(name).map_err(unreadable)?.ok_or_else(|| array.error("is not there".into()))?;
        let header = file.header().clone();
        if header.uses_pickled_array() {
            return Err(array.error("holds Python objects; save a plain array of uint8".into()));
        }
        if header.order() == Order::Fortran && header.shape().len() > 1 {
            return Err(array.error("is in Fortran order; save np.ascontiguousarray of it".into()));
        }
        read(array, NpyFile::with_header(header, Box::new(file.into_inner())))
    }

    fn images(&self, file: NpyFile<Box<dyn Read + '_>>) -> Result<(ImageShape, usize, Vec<u8>), DataError> {
        let (count, chw, layout) = self.layout(file.shape())?;
        let (bytes, shape) = pixel_bytes(self.path, count, chw)?;
        let raw = match self.kind(&file)? {
            (TypeChar::Uint, Some(1)) => {
                let mut raw = Vec::with_capacity(bytes.min(TRUSTED_RESERVE) as usize);
                file.into_inner()
                    .take(bytes)
                    .read_to_end(&mut raw)
                    .map_err(|e| self.error(format!("cannot be read: {e}")))?;
                self.complete(raw, bytes)?
            }
            (TypeChar::Float, Some(4)) => self.values::<f32, u8>(file, bytes, |at, v| self.level(at, v.into()))?,
            (TypeChar::Float, Some(8)) => self.values::<f64, u8>(file, bytes, |at, v| self.level(at, v))?,
            _ => {
                return Err(self.error(format!(
                    "has type {}; images are uint8, or float32 or float64 from 0 to 1",
                    file.dtype().descr()
                )));
            }
        };
        let pixels = match layout {
            Layout::ChannelsLast if shape.channels > 1 => planes(&raw, shape),
            _ => raw,
        };
        Ok((shape, count as usize, pixels))
    }

    /// Number of images and [C, H, W] from an array's shape.
    fn layout(&self, shape: &[u64]) -> Result<(u64, [u64; 3], Layout), DataError> {
        let channels = |c: u64| c == 1 || c == 3;
        match *shape {
            [n, h, w] => Ok((n, [1, h, w], Layout::ChannelsFirst)),
            // Last first: that is how Keras saves them, and no real image is 1 or 3 pixels wide.
            [n, h, w, c] if channels(c) => Ok((n, [c, h, w], Layout::ChannelsLast)),
            [n, c, h, w] if channels(c) => Ok((n, [c, h, w], Layout::ChannelsFirst)),
            _ => Err(self.error(format!(
                "has shape {shape:?}; images are [n, height, width], or with 1 or 3 channels [n, height, width, c] or [n, c, height, width]"
            ))),
        }
    }

    fn labels(&self, file: NpyFile<Box<dyn Read + '_>>, images: usize) -> Result<Vec<u16>, DataError> {
        let ([count] | [count, 1]) = *file.shape() else {
            return Err(self.error(format!("has shape {:?}; labels are [n] or [n, 1]", file.shape())));
        };
        if count != images as u64 {
            return Err(DataError::CountMismatch {
                images_in: self.path.to_path_buf(),
                images,
                labels_in: self.path.join(self.name),
                labels: usize::try_from(count).unwrap_or(usize::MAX),
            });
        }
        let narrow = |at, label| self.label(at, label);
        match self.kind(&file)? {
            (TypeChar::Uint, Some(1)) => self.values::<u8, u16>(file, count, |_, v| Ok(v.into())),
            (TypeChar::Uint, Some(2)) => self.values::<u16, u16>(file, count, |_, v| Ok(v)),
            (TypeChar::Uint, Some(4)) => self.values::<u32, u16>(file, count, |at, v| narrow(at, v.into())),
            (TypeChar::Uint, Some(8)) => {
                self.values::<u64, u16>(file, count, |at, v| narrow(at, i64::try_from(v).unwrap_or(i64::MAX)))
            }
            (TypeChar::Int, Some(1)) => self.values::<i8, u16>(file, count, |at, v| narrow(at, v.into())),
            (TypeChar::Int, Some(2)) => self.values::<i16, u16>(file, count, |at, v| narrow(at, v.into())),
            (TypeChar::Int, Some(4)) => self.values::<i32, u16>(file, count, |at, v| narrow(at, v.into())),
            (TypeChar::Int, Some(8)) => self.values::<i64, u16>(file, count, narrow),
            _ => Err(self.error(format!("has type {}; labels are integers", file.dtype().descr()))),
        }
    }

    /// Type letter and bytes per value of a plain array.
    fn kind(&self, file: &NpyFile<Box<dyn Read + '_>>) -> Result<(TypeChar, Option<usize>), DataError> {
        match file.dtype() {
            DType::Plain(ty) => Ok((ty.type_char(), ty.num_bytes())),
            other => Err(self.error(format!("has the structured type {}; a plain array is expected", other.descr()))),
        }
    }

    fn values<T: Deserialize, U>(
        &self,
        file: NpyFile<Box<dyn Read + '_>>,
        count: u64,
        mut convert: impl FnMut(usize, T) -> Result<U, DataError>,
    ) -> Result<Vec<U>, DataError> {
        let reader = file.data::<T>().map_err(|e| self.error(e.to_string()))?;
        let mut out = Vec::with_capacity(count.min(TRUSTED_RESERVE) as usize);
        for (at, value) in reader.enumerate() {
            let value = value.map_err(|e| self.error(format!("ends or breaks at value {at} of {count}: {e}")))?;
            out.push(convert(at, value)?);
        }
        self.complete(out, count)
    }

    fn complete<T>(&self, values: Vec<T>, expected: u64) -> Result<Vec<T>, DataError> {
        if values.len() as u64 == expected {
            return Ok(values);
        }
        Err(self.error(format!("is cut short: {} values, its shape needs {expected}", values.len())))
    }

    fn level(&self, at: usize, value: f64) -> Result<u8, DataError> {
        if (0.0..=1.0).contains(&value) {
            return Ok((value * 255.0).round() as u8);
        }
        Err(self.error(format!("has {value} at flat position {at}; float images go from 0 to 1 (or save uint8)")))
    }

    fn label(&self, position: usize, label: i64) -> Result<u16, DataError> {
        u16::try_from(label).map_err(|_| DataError::Label {
            path: self.path.join(self.name),
            position,
            label,
            max: (MAX_CLASSES - 1) as u16,
        })
    }

    fn error(&self, reason: String) -> DataError {
        DataError::Array { path: self.path.to_path_buf(), array: self.name.into(), reason }
    }
}

/// [n, H, W, C] to [n, C, H, W].
fn planes(raw: &[u8], shape: ImageShape) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    for image in raw.chunks_exact(shape.len()) {
        for channel in 0..shape.channels {
            out.extend(image.iter().skip(channel).step_by(shape.channels));
        }
    }
    out
}
