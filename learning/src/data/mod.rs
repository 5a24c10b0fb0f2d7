//! Labelled images: from files of several formats, or from the set that is compiled into the program.
//!
//! [`Dataset::load`] finds out which format a path holds. Pixels stay 8-bit until a peer's share is decoded once into
//! [`Split`]s, because all peers of a process share one [`Dataset`].

mod bundled;
mod cifar;
mod error;
mod fashion;
mod folder;
mod idx;
pub mod limits;
mod npz;
mod pictures;

use std::fmt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use self::error::DataError;
pub(crate) use self::npz::check_header as check_npz_header;
pub use self::pictures::load_images;

/// The shape of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ImageShape {
    /// 1 for grey, 3 for colour.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl ImageShape {
    /// Values per image: channels x height x width.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // A shape is no container: an image without pixels is refused at loading.
    pub const fn len(&self) -> usize {
        self.channels * self.height * self.width
    }
}

impl fmt::Display for ImageShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.channels, self.height, self.width)
    }
}

/// Labelled images as 8-bit pixels, shared by all peers of a process.
///
/// Made by [`Dataset::load`] and [`Dataset::bundled`], which guarantee: `pixels.len() == labels.len() * shape.len()`,
/// every label is below
/// `class_names.len()`, and `train_len <= labels.len()`.
#[derive(Clone, PartialEq, Eq)]
pub struct Dataset {
    /// A known set's name, else the name of the file or folder.
    pub name: String,
    /// The one shape of all images.
    pub shape: ImageShape,
    /// Names in the order of the label numbers; the numbers themselves where the source has no names.
    pub class_names: Vec<String>,
    /// All images one after the other, channel-major within an image: `[n, C, H, W]`.
    pub pixels: Vec<u8>,
    /// One label per image.
    pub labels: Vec<u16>,
    /// Images before this index came as "train", the rest as "test".
    pub train_len: usize,
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Megabytes of pixels help nobody in a log.
        f.debug_struct("Dataset")
            .field("name", &self.name)
            .field("shape", &self.shape)
            .field("class_names", &self.class_names)
            .field("len", &self.len())
            .field("train_len", &self.train_len)
            .finish_non_exhaustive()
    }
}

/// What the set inside the program is called where a path is expected.
pub const BUNDLED: &str = "bundled";

impl Dataset {
    /// Loads a data set and finds out its format by what lies at `path`:
    ///
    /// * a folder of IDX files, plain or gzipped (MNIST's format): `train-images-idx3-ubyte` and
    ///   `train-labels-idx1-ubyte`, then `t10k-...`;
    ///   either pair alone will do, and so will a pair without a prefix;
    /// * a folder of CIFAR-10 or CIFAR-100 in the binary version, or the folder above the official sub-folder (100:
    ///   the fine labels);
    /// * a folder with one folder of PNG or JPEG images per class, optionally below `train/` and `test/`;
    /// * an `.npz` file with `x_train`, `y_train`, `x_test`, `y_test`, or `images`, `labels`.
    ///
    /// # Errors
    /// [`DataError`] when nothing of this is there, or when it is damaged, inconsistent or beyond the bounds in
    /// [`limits`].
    pub fn load(path: &Path) -> Result<Self, DataError> {
        let meta = std::fs::metadata(path).map_err(DataError::io(path))?;
        if meta.is_file() {
            if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz")) {
                return npz::load(path);
            }
            return Err(DataError::Unrecognised {
                path: path.to_path_buf(),
                found: "a single file, not an .npz".into(),
            });
        }
        let entries = Entries::read(path)?;
        if let Some(pairs) = idx::find(&entries)? {
            return idx::load(path, &pairs);
        }
        if let Some(found) = cifar::find(&entries)? {
            return cifar::load(path, &found);
        }
        if !entries.folders.is_empty() {
            return folder::load(path, &entries);
        }
        Err(DataError::Unrecognised { path: path.to_path_buf(), found: entries.describe() })
    }

    /// The set that somebody names: [`BUNDLED`] for the one inside the program, any other from its path.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn open(source: &Path) -> Result<Self, DataError> {
        if source == Path::new(BUNDLED) { Self::bundled() } else { Self::load(source) }
    }

    /// The set inside the program: the 10,000 test images of Fashion-MNIST, so `train_len` is 0.
    ///
    /// # Errors
    /// None in a sound build; the embedded files pass through the same reader as any other.
    pub fn bundled() -> Result<Self, DataError> {
        bundled::load()
    }

    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// True without images; no loaded set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.class_names.len()
    }

    /// Decodes the named images, in that order.
    ///
    /// # Panics
    /// When an index is not below [`Dataset::len`]. A [`crate::partition::Partition`] checks its indices before it
    /// calls this.
    #[must_use]
    pub fn split(&self, indices: &[u32]) -> Split {
        let levels = normalised_levels();
        let size = self.shape.len();
        let mut images = Vec::with_capacity(indices.len() * size);
        let mut labels = Vec::with_capacity(indices.len());
        for &index in indices {
            let at = index as usize * size;
            images.extend(self.pixels[at..at + size].iter().map(|&p| levels[usize::from(p)]));
            labels.push(self.labels[index as usize]);
        }
        Split { images, labels }
    }

    /// SHA-256 of all labels in order, in hex: what partition files carry to say which data they were made for.
    ///
    /// One byte per label while there are at most 256 classes, else two, little-endian.
    #[must_use]
    pub fn labels_sha256(&self) -> String {
        let bytes: Vec<u8> = if self.classes() <= 256 {
            self.labels.iter().map(|&l| l as u8).collect()
        } else {
            self.labels.iter().flat_map(|l| l.to_le_bytes()).collect()
        };
        Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
    }
}

/// Images decoded and normalised once.
#[derive(Clone, PartialEq)]
pub struct Split {
    /// `(x/255 - 0.5)/0.5`, so -1 to 1; shape `[n, C, H, W]`, flat.
    pub images: Vec<f32>,
    /// One label per image.
    pub labels: Vec<u16>,
}

impl Split {
    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// True without images.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

impl fmt::Debug for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Split").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// What one peer owns.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerData {
    /// What it learns from.
    pub train: Split,
    /// What it is measured on.
    pub test: Split,
}

/// The 256 values that a pixel can take after normalisation, computed in `f32` in the order in which torchvision's
/// `ToTensor` and `Normalize((0.5,), (0.5,))` do, so that inputs equal the reference's to the last bit.
fn normalised_levels() -> [f32; 256] {
    std::array::from_fn(|x| (x as f32 / 255.0 - 0.5) / 0.5)
}

/// Images and labels of one half ("train" or "test") as a format's reader delivers them.
struct Part {
    origin: PathBuf,
    shape: ImageShape,
    pixels: Vec<u8>,
    labels: Vec<u16>,
}

/// Joins the halves; `class_names` of `None` means that the labels' numbers are their names.
fn join(
    name: String,
    class_names: Option<Vec<String>>,
    train: Vec<Part>,
    test: Vec<Part>,
) -> Result<Dataset, DataError> {
    let train_len = train.iter().map(|p| p.labels.len()).sum();
    let mut parts = train.into_iter().chain(test);
    let Some(first) = parts.next() else {
        return Err(DataError::Empty { path: PathBuf::from(name) });
    };
    let Part { origin, shape, mut pixels, mut labels } = first;
    for part in parts {
        if part.shape != shape {
            return Err(DataError::ShapeMismatch {
                path: part.origin,
                found: part.shape,
                reference: origin.display().to_string(),
                expected: shape,
            });
        }
        pixels.extend_from_slice(&part.pixels);
        labels.extend_from_slice(&part.labels);
    }
    let class_names =
        class_names.unwrap_or_else(|| (0..=labels.iter().copied().max().unwrap_or(0)).map(|c| c.to_string()).collect());
    let mut dataset = Dataset { name, shape, class_names, pixels, labels, train_len };
    fashion::name_if_known(&mut dataset);
    Ok(dataset)
}

/// The name of a set that has no other: its file's or folder's.
fn name_of(path: &Path) -> String {
    let full = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = if full.is_file() { full.file_stem() } else { full.file_name() };
    name.unwrap_or(full.as_os_str()).to_string_lossy().into_owned()
}

/// A folder's visible entries, sorted by name.
struct Entries {
    files: Vec<(String, PathBuf)>,
    folders: Vec<(String, PathBuf)>,
}

impl Entries {
    fn read(path: &Path) -> Result<Self, DataError> {
        let mut entries = Self { files: Vec::new(), folders: Vec::new() };
        for entry in std::fs::read_dir(path).map_err(DataError::io(path))? {
            let entry = entry.map_err(DataError::io(path))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let path = entry.path();
            // Follows links: data sets are often linked together from elsewhere.
            let meta = std::fs::metadata(&path).map_err(DataError::io(&path))?;
            if meta.is_dir() { entries.folders.push((name, path)) } else { entries.files.push((name, path)) }
        }
        entries.files.sort();
        entries.folders.sort();
        Ok(entries)
    }

    fn file(&self, name: &str) -> Option<&Path> {
        self.files.iter().find(|(n, _)| n == name).map(|(_, p)| p.as_path())
    }

    fn folder(&self, name: &str) -> Option<&Path> {
        self.folders.iter().find(|(n, _)| n == name).map(|(_, p)| p.as_path())
    }

    fn describe(&self) -> String {
        let names: Vec<&str> = self.files.iter().take(3).map(|(n, _)| n.as_str()).collect();
        match (self.files.len(), names.as_slice()) {
            (0, _) => "it is empty".into(),
            (n, names) => format!("found {n} files, such as {}", names.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests;
