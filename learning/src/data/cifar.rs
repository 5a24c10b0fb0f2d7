//! CIFAR-10 and CIFAR-100 in the "binary version": fixed records of label bytes and a 32 x 32 colour image, planes in
//! red, green, blue order.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::limits::{MAX_NAMES_BYTES, TRUSTED_RESERVE, pixel_bytes};
use super::{DataError, Dataset, Entries, ImageShape, Part, join};

const SHAPE: ImageShape = ImageShape { channels: 3, height: 32, width: 32 };

/// CIFAR-10's classes in label order, for folders without `batches.meta.txt`.
const CIFAR10_NAMES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cifar10,
    Cifar100,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Cifar10 => "cifar-10",
            Self::Cifar100 => "cifar-100",
        }
    }

    const fn classes(self) -> u16 {
        match self {
            Self::Cifar10 => 10,
            Self::Cifar100 => 100,
        }
    }

    /// Label bytes before the pixels: the class, or the coarse class and then the fine one. The last one is the label.
    const fn label_bytes(self) -> usize {
        match self {
            Self::Cifar10 => 1,
            Self::Cifar100 => 2,
        }
    }

    const fn names_file(self) -> &'static str {
        match self {
            Self::Cifar10 => "batches.meta.txt",
            Self::Cifar100 => "fine_label_names.txt",
        }
    }
}

/// The files of one CIFAR set.
pub(super) struct Files {
    kind: Kind,
    train: Vec<PathBuf>,
    test: Vec<PathBuf>,
    names: Option<PathBuf>,
}

/// The CIFAR files of a folder or of its official sub-folder; `None` when there are none.
pub(super) fn find(entries: &Entries) -> Result<Option<Files>, DataError> {
    if let Some(files) = find_here(entries)? {
        return Ok(Some(files));
    }
    for below in ["cifar-10-batches-bin", "cifar-100-binary"] {
        if let Some(folder) = entries.folder(below) {
            return find_here(&Entries::read(folder)?);
        }
    }
    Ok(None)
}

fn find_here(entries: &Entries) -> Result<Option<Files>, DataError> {
    let path = |name: &str| entries.file(name).map(Path::to_path_buf);
    let mut batches: Vec<(usize, PathBuf)> = entries
        .files
        .iter()
        .filter_map(|(name, path)| {
            Some((name.strip_prefix("data_batch_")?.strip_suffix(".bin")?.parse().ok()?, path.clone()))
        })
        .collect();
    batches.sort();
    for (position, (number, path)) in batches.iter().enumerate() {
        if *number != position + 1 {
            return Err(DataError::Missing {
                folder: path.parent().unwrap_or(path).to_path_buf(),
                missing: format!("data_batch_{}.bin", position + 1),
                reason: format!("data_batch_{number}.bin is there, and batches are counted from 1 without gaps"),
            });
        }
    }
    let train10: Vec<PathBuf> = batches.into_iter().map(|(_, path)| path).collect();
    let test10: Vec<PathBuf> = path("test_batch.bin").into_iter().collect();
    let train100: Vec<PathBuf> = path("train.bin").into_iter().collect();
    let test100: Vec<PathBuf> = path("test.bin").into_iter().collect();
    let (kind, train, test) = if !(train10.is_empty() && test10.is_empty()) {
        (Kind::Cifar10, train10, test10)
    } else if !(train100.is_empty() && test100.is_empty()) {
        (Kind::Cifar100, train100, test100)
    } else {
        return Ok(None);
    };
    Ok(Some(Files { kind, train, test, names: path(kind.names_file()) }))
}

pub(super) fn load(folder: &Path, files: &Files) -> Result<Dataset, DataError> {
    let names = match &files.names {
        Some(path) => Some(read_names(path, files.kind)?),
        None if files.kind == Kind::Cifar10 => Some(CIFAR10_NAMES.map(String::from).to_vec()),
        None => Some((0..files.kind.classes()).map(|c| c.to_string()).collect()),
    };
    let read = |paths: &[PathBuf]| paths.iter().map(|p| read_batch(p, files.kind)).collect::<Result<Vec<Part>, _>>();
    let (train, test) = (read(&files.train)?, read(&files.test)?);
    if train.iter().chain(&test).all(|part| part.labels.is_empty()) {
        return Err(DataError::Empty { path: folder.to_path_buf() });
    }
    join(files.kind.name().into(), names, train, test)
}

fn read_batch(path: &Path, kind: Kind) -> Result<Part, DataError> {
    let record = (kind.label_bytes() + SHAPE.len()) as u64;
    let mut file = File::open(path).map_err(DataError::io(path))?;
    let size = file.metadata().map_err(DataError::io(path))?.len();
    if size == 0 || size % record != 0 {
        return Err(DataError::Truncated {
            path: path.to_path_buf(),
            what: if kind == Kind::Cifar10 { "records of 3073 bytes" } else { "records of 3074 bytes" },
            found: size,
            expected: (size / record + 1) * record,
        });
    }
    let count = size / record;
    let (bytes, _) = pixel_bytes(path, count, [3, 32, 32])?;
    let mut pixels = Vec::with_capacity(bytes.min(TRUSTED_RESERVE) as usize);
    let mut labels = Vec::with_capacity(count.min(TRUSTED_RESERVE) as usize);
    let mut buffer = vec![0; record as usize];
    for position in 0..count as usize {
        file.read_exact(&mut buffer).map_err(DataError::io(path))?;
        let (head, image) = buffer.split_at(kind.label_bytes());
        let label = head.last().copied().unwrap_or_default();
        if u16::from(label) >= kind.classes() {
            return Err(DataError::Label {
                path: path.to_path_buf(),
                position,
                label: label.into(),
                max: kind.classes() - 1,
            });
        }
        labels.push(label.into());
        pixels.extend_from_slice(image);
    }
    Ok(Part { origin: path.to_path_buf(), shape: SHAPE, pixels, labels })
}

fn read_names(path: &Path, kind: Kind) -> Result<Vec<String>, DataError> {
    let mut text = String::new();
    let file = File::open(path).map_err(DataError::io(path))?;
    file.take(MAX_NAMES_BYTES).read_to_string(&mut text).map_err(DataError::io(path))?;
    let names: Vec<String> = text.lines().map(str::trim).filter(|l| !l.is_empty()).map(String::from).collect();
    if names.len() != usize::from(kind.classes()) {
        return Err(DataError::Missing {
            folder: path.to_path_buf(),
            missing: format!("{} class names", kind.classes()),
            reason: format!("one name per line is expected, found {}", names.len()),
        });
    }
    Ok(names)
}
