//! IDX files, MNIST's format: big-endian header, then raw bytes; plain or gzipped.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::limits::{MAX_IMAGES, TRUSTED_RESERVE, pixel_bytes};
use super::{DataError, Dataset, Entries, Part, join, name_of};

/// Two zero bytes, 8 for unsigned bytes, then the number of dimensions.
const IMAGES_MAGIC: u32 = 0x0000_0803;
const LABELS_MAGIC: u32 = 0x0000_0801;

/// What may stand before `images-idx3-ubyte`, and whether those images count as "train".
const PREFIXES: [(&str, bool); 4] = [("train-", true), ("", true), ("t10k-", false), ("test-", false)];

/// One file of images and the file of their labels.
pub(super) struct Pair {
    train: bool,
    images: PathBuf,
    labels: PathBuf,
}

/// The IDX pairs of a folder, train first; `None` when there is not a single IDX file.
pub(super) fn find(entries: &Entries) -> Result<Option<Vec<Pair>>, DataError> {
    let mut pairs = Vec::new();
    for (prefix, train) in PREFIXES {
        match (locate(entries, prefix, "images", 3), locate(entries, prefix, "labels", 1)) {
            (Some(images), Some(labels)) => {
                pairs.push(Pair { train, images: images.to_path_buf(), labels: labels.to_path_buf() });
            }
            (None, None) => {}
            (Some(images), None) => return Err(half(images, format!("{prefix}labels-idx1-ubyte[.gz]"))),
            (None, Some(labels)) => return Err(half(labels, format!("{prefix}images-idx3-ubyte[.gz]"))),
        }
    }
    Ok((!pairs.is_empty()).then_some(pairs))
}

fn locate<'a>(entries: &'a Entries, prefix: &str, what: &str, dims: u8) -> Option<&'a Path> {
    // Both the original name and the one that unpacking tools on Windows make of it are about.
    ["-", "."]
        .iter()
        .flat_map(|dot| ["", ".gz"].map(|end| format!("{prefix}{what}{dot}idx{dims}-ubyte{end}")))
        .find_map(|n| entries.file(&n))
}

fn half(present: &Path, missing: String) -> DataError {
    DataError::Missing {
        folder: present.parent().unwrap_or(present).to_path_buf(),
        missing,
        reason: format!("it belongs to {}", present.file_name().unwrap_or_default().to_string_lossy()),
    }
}

pub(super) fn load(folder: &Path, pairs: &[Pair]) -> Result<Dataset, DataError> {
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for pair in pairs {
        let open = |path: &Path| File::open(path).map(BufReader::new).map_err(DataError::io(path));
        let part = read_pair(open(&pair.images)?, &pair.images, open(&pair.labels)?, &pair.labels)?;
        if pair.train { train.push(part) } else { test.push(part) }
    }
    join(name_of(folder), None, train, test)
}

/// Reads images and their labels; the paths are for errors only.
pub(super) fn read_pair(
    images: impl BufRead,
    images_path: &Path,
    labels: impl BufRead,
    labels_path: &Path,
) -> Result<Part, DataError> {
    let mut file = Idx::open(images, images_path, IMAGES_MAGIC, "an IDX file of bytes in 3 dimensions: images")?;
    let [count, height, width] = [file.word()?, file.word()?, file.word()?].map(u64::from);
    let (bytes, shape) = pixel_bytes(images_path, count, [1, height, width])?;
    let pixels = file.body(bytes, "pixels")?;

    let mut file = Idx::open(labels, labels_path, LABELS_MAGIC, "an IDX file of bytes in 1 dimension: labels")?;
    let declared = u64::from(file.word()?);
    if declared > MAX_IMAGES {
        return Err(DataError::TooLarge {
            path: labels_path.to_path_buf(),
            what: "labels",
            declared,
            limit: MAX_IMAGES,
        });
    }
    if declared != count {
        return Err(DataError::CountMismatch {
            images_in: images_path.to_path_buf(),
            images: count as usize,
            labels_in: labels_path.to_path_buf(),
            labels: declared as usize,
        });
    }
    let labels = file.body(declared, "labels")?.into_iter().map(u16::from).collect();
    Ok(Part { origin: images_path.to_path_buf(), shape, pixels, labels })
}

/// One IDX file being read.
struct Idx<'a> {
    reader: Box<dyn Read + 'a>,
    path: &'a Path,
}

impl<'a> Idx<'a> {
    fn open(mut reader: impl BufRead + 'a, path: &'a Path, magic: u32, what: &'static str) -> Result<Self, DataError> {
        // By content: a downloaded `.gz` is often unpacked, or packed, behind its name's back.
        let zipped = reader.fill_buf().map_err(DataError::io(path))?.starts_with(&[0x1f, 0x8b]);
        let reader: Box<dyn Read + 'a> = if zipped { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) };
        let mut file = Self { reader, path };
        let found = file.word()?;
        if found != magic {
            return Err(DataError::BadMagic { path: path.to_path_buf(), found, expected: magic, what });
        }
        Ok(file)
    }

    /// The next big-endian header word.
    fn word(&mut self) -> Result<u32, DataError> {
        let mut word = [0; 4];
        for (have, byte) in word.iter_mut().enumerate() {
            match self.reader.read_exact(std::slice::from_mut(byte)) {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
                    return Err(self.truncated("header word", have as u64, 4));
                }
                Err(e) => return Err(DataError::io(self.path)(e)),
            }
        }
        Ok(u32::from_be_bytes(word))
    }

    /// The rest of the file, which must be exactly `declared` bytes: a gzip bomb inflates to one byte more and no
    /// further.
    fn body(self, declared: u64, what: &'static str) -> Result<Vec<u8>, DataError> {
        let mut body = Vec::with_capacity(declared.min(TRUSTED_RESERVE) as usize + 1);
        let Self { reader, path } = self;
        match reader.take(declared + 1).read_to_end(&mut body) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => {}
            Err(e) => return Err(DataError::io(path)(e)),
        }
        let found = body.len() as u64;
        let path = path.to_path_buf();
        match found.cmp(&declared) {
            std::cmp::Ordering::Less => Err(DataError::Truncated { path, what, found, expected: declared }),
            std::cmp::Ordering::Greater => Err(DataError::TrailingBytes { path, what, expected: declared }),
            std::cmp::Ordering::Equal => Ok(body),
        }
    }

    fn truncated(&self, what: &'static str, found: u64, expected: u64) -> DataError {
        DataError::Truncated { path: self.path.to_path_buf(), what, found, expected }
    }
}
