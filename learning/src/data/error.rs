//! What can be wrong with a data set on disk.

use std::path::PathBuf;

use super::ImageShape;

/// Why a data set could not be loaded. Every variant names the file and says what would be right.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file or folder could not be read at all.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system (or the decompressor) said.
        source: std::io::Error,
    },
    /// Nothing in the folder looks like a data set.
    #[error(
        "{} holds no image set that fedswarm knows ({found}); expected IDX files (train-images-idx3-ubyte[.gz] with \
         train-labels-idx1-ubyte[.gz]), CIFAR binary batches (data_batch_1.bin, or train.bin), one folder of PNG or JPEG \
         images per class, or the path of an .npz file",
        path.display()
    )]
    Unrecognised {
        /// The path that was given.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// One half of a pair, or one of a series of files, is not there.
    #[error("{} lacks {missing}: {reason}", folder.display())]
    Missing {
        /// Where it was looked for.
        folder: PathBuf,
        /// The file or array that is missing.
        missing: String,
        /// Why it is needed.
        reason: String,
    },
    /// The first bytes are not those of the format.
    #[error("{} begins with 0x{found:08x}, expected 0x{expected:08x} ({what})", path.display())]
    BadMagic {
        /// The file.
        path: PathBuf,
        /// Its first four bytes, big-endian.
        found: u32,
        /// What they should be.
        expected: u32,
        /// What that number means.
        what: &'static str,
    },
    /// The file ends before its own header says that it does.
    #[error("{} is cut short: {found} bytes of {what}, expected {expected}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Which part of it.
        what: &'static str,
        /// Bytes there.
        found: u64,
        /// Bytes needed.
        expected: u64,
    },
    /// The file goes on after its own header says that it ends.
    #[error("{} holds more than the {expected} bytes of {what} that its header declares", path.display())]
    TrailingBytes {
        /// The file.
        path: PathBuf,
        /// Which part of it.
        what: &'static str,
        /// Bytes that the header declares.
        expected: u64,
    },
    /// A declared size is above a bound of this program.
    #[error("{} declares {declared} {what}, more than the {limit} that fedswarm accepts", path.display())]
    TooLarge {
        /// The file or folder.
        path: PathBuf,
        /// What is being counted.
        what: &'static str,
        /// What it declares.
        declared: u64,
        /// The bound, a constant of [`super::limits`].
        limit: u64,
    },
    /// As many images as labels are needed.
    #[error("{} holds {images} images but {} holds {labels} labels; they must be as many", images_in.display(), labels_in.display())]
    CountMismatch {
        /// Where the images are.
        images_in: PathBuf,
        /// How many there are.
        images: usize,
        /// Where the labels are.
        labels_in: PathBuf,
        /// How many there are.
        labels: usize,
    },
    /// Two parts of one data set have different image sizes.
    #[error("{} has images of {found}, but {reference} has {expected}; all images of a data set must have one size", path.display())]
    ShapeMismatch {
        /// The file that differs.
        path: PathBuf,
        /// Its shape.
        found: ImageShape,
        /// What set the expectation.
        reference: String,
        /// The shape of everything before it.
        expected: ImageShape,
    },
    /// A label is not one of the classes.
    #[error("{}: label {label} at position {position} is not a class; valid are 0 to {max}", path.display())]
    Label {
        /// The file.
        path: PathBuf,
        /// Counted from 0 in the file.
        position: usize,
        /// The label found.
        label: i64,
        /// The largest valid label.
        max: u16,
    },
    /// An image file could not be decoded.
    #[error("cannot decode {}: {source}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        source: image::ImageError,
    },
    /// An array of an `.npz` file is not usable.
    #[error("{}, array `{array}`: {reason}", path.display())]
    Array {
        /// The `.npz` file.
        path: PathBuf,
        /// The array's key.
        array: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// There is not a single image.
    #[error("{} holds no images", path.display())]
    Empty {
        /// The file or folder.
        path: PathBuf,
    },
}

impl DataError {
    /// A closure for `map_err` that remembers which file was being read.
    pub(super) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}
