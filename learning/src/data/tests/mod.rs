#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::{DataError, Dataset, ImageShape};

mod cifar;
mod folder;
mod idx;
mod npz;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A fresh folder with these files.
fn folder_of(files: &[(&str, &[u8])]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, bytes) in files {
        write(folder.path(), name, bytes);
    }
    folder
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Loading must fail with an error that names `named`.
fn refused(path: &Path, named: &str) -> DataError {
    let error = Dataset::load(path).unwrap_err();
    assert!(error.to_string().contains(named), "`{named}` is named: {error}");
    error
}

#[test]
fn the_bundled_set_is_fashion_mnists_test_half() {
    let data = Dataset::bundled().unwrap();
    assert_eq!((data.len(), data.train_len, data.classes()), (10_000, 0, 10));
    assert_eq!(data.shape, ImageShape { channels: 1, height: 28, width: 28 });
    assert_eq!(data.shape.to_string(), "1x28x28");
    assert_eq!(data.pixels.len(), 10_000 * data.shape.len());
    assert_eq!((data.name.as_str(), data.class_names[9].as_str()), ("fashion-mnist", "Ankle boot"));
    for class in 0..10 {
        assert_eq!(data.labels.iter().filter(|l| **l == class).count(), 1000);
    }
}

#[test]
fn a_split_is_normalised_to_one_below_and_above_zero_in_index_order() {
    let data = Dataset {
        name: "x".into(),
        shape: ImageShape { channels: 1, height: 1, width: 2 },
        class_names: vec!["a".into(), "b".into()],
        pixels: vec![0, 255, 128, 51],
        labels: vec![0, 1],
        train_len: 1,
    };
    let split = data.split(&[1, 0, 1]);
    let (grey, dark) = ((128.0f32 / 255.0 - 0.5) / 0.5, (51.0f32 / 255.0 - 0.5) / 0.5);
    assert_eq!(split.images, [grey, dark, -1.0, 1.0, grey, dark]);
    assert_eq!(split.labels, [1, 0, 1]);
    assert_eq!((split.len(), split.is_empty()), (3, false));
}

#[test]
fn what_holds_no_images_is_refused_with_what_would_do() {
    let folder = folder_of(&[("notes.txt", b"hello")]);
    let text = refused(folder.path(), "notes.txt").to_string();
    for format in ["train-images-idx3-ubyte", "data_batch_1.bin", "PNG or JPEG", ".npz"] {
        assert!(text.contains(format), "{text}");
    }
    assert!(matches!(refused(&folder.path().join("notes.txt"), "notes.txt"), DataError::Unrecognised { .. }));
    assert!(matches!(refused(&folder.path().join("nothing"), "nothing"), DataError::Io { .. }));
    assert!(refused(TempDir::new().unwrap().path(), "it is empty").to_string().contains("expected IDX"));
}
