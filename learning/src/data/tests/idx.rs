use super::*;

fn images(count: u32, height: u32, width: u32, pixels: &[u8]) -> Vec<u8> {
    [0x0803, count, height, width].iter().flat_map(|w: &u32| w.to_be_bytes()).chain(pixels.iter().copied()).collect()
}

fn labels(labels: &[u8]) -> Vec<u8> {
    [0x0801, labels.len() as u32].iter().flat_map(|w| w.to_be_bytes()).chain(labels.iter().copied()).collect()
}

#[test]
fn train_comes_before_test_plain_or_gzipped() {
    let folder = folder_of(&[
        ("t10k-images-idx3-ubyte", &images(1, 1, 2, &[5, 6])),
        ("t10k-labels-idx1-ubyte", &labels(&[1])),
        ("train-images-idx3-ubyte.gz", &gzip(&images(2, 1, 2, &[1, 2, 3, 4]))),
        ("train-labels-idx1-ubyte.gz", &gzip(&labels(&[2, 0]))),
        ("README.md", b"ignored"),
    ]);
    let data = Dataset::load(folder.path()).unwrap();
    assert_eq!(data.pixels, [1, 2, 3, 4, 5, 6]);
    assert_eq!((data.labels.as_slice(), data.train_len, data.classes()), ([2, 0, 1].as_slice(), 2, 3));
    assert_eq!(data.shape, ImageShape { channels: 1, height: 1, width: 2 });
    assert_eq!(data.class_names, ["0", "1", "2"]);
}

#[test]
fn one_pair_alone_will_do() {
    for (prefix, train_len) in [("", 1), ("train-", 1), ("t10k-", 0)] {
        let folder = folder_of(&[
            (&format!("{prefix}images-idx3-ubyte"), &images(1, 2, 1, &[7, 8])),
            (&format!("{prefix}labels-idx1-ubyte"), &labels(&[0])),
        ]);
        assert_eq!(Dataset::load(folder.path()).unwrap().train_len, train_len, "prefix `{prefix}`");
    }
}

/// A folder with these two files' bytes under the bare names.
fn pair(images: &[u8], labels: &[u8]) -> TempDir {
    folder_of(&[("images-idx3-ubyte.gz", images), ("labels-idx1-ubyte", labels)])
}

#[test]
fn truncated_idx_is_refused_with_its_name() {
    let whole = images(2, 1, 2, &[1, 2, 3, 4]);
    for (cut, found, expected) in [(19, 3, 4), (16, 0, 4), (13, 1, 4), (2, 2, 4)] {
        for bytes in [whole[..cut].to_vec(), gzip(&whole[..cut])] {
            let folder = pair(&bytes, &labels(&[0, 1]));
            let error = refused(folder.path(), "images-idx3-ubyte.gz");
            assert!(
                matches!(error, DataError::Truncated { found: f, expected: e, .. } if (f, e) == (found, expected)),
                "cut at {cut}: {error}"
            );
        }
    }
    let folder = pair(&whole, &labels(&[0, 1])[..9]);
    assert!(matches!(refused(folder.path(), "labels-idx1-ubyte"), DataError::Truncated { found: 1, expected: 2, .. }));
}

#[test]
fn a_cut_gzip_stream_is_refused_as_truncated() {
    let packed = gzip(&images(1, 28, 28, &(0..784).map(|i| (i * i % 251) as u8).collect::<Vec<_>>()));
    let folder = pair(&packed[..packed.len() / 2], &labels(&[0]));
    let error = refused(folder.path(), "images-idx3-ubyte.gz");
    assert!(matches!(error, DataError::Truncated { expected: 784, .. }), "{error}");
}

#[test]
fn a_gzip_bomb_stops_at_its_declared_length() {
    let mut bytes = images(1, 1, 2, &[1, 2]);
    bytes.resize(64 << 20, 0);
    let folder = pair(&gzip(&bytes), &labels(&[0]));
    let error = refused(folder.path(), "images-idx3-ubyte.gz");
    assert!(matches!(error, DataError::TrailingBytes { expected: 2, .. }), "{error}");
}

#[test]
fn sizes_beyond_the_bounds_are_refused_before_any_allocation() {
    for (count, height, width, what) in
        [(u32::MAX, 1, 1, "images"), (1, 5000, 1, "pixels on a side"), (20_000_000, 4096, 4096, "bytes of pixels")]
    {
        let folder = pair(&images(count, height, width, &[]), &labels(&[]));
        let error = refused(folder.path(), what);
        assert!(matches!(error, DataError::TooLarge { .. }), "{error}");
    }
}

#[test]
fn counts_that_differ_are_refused_with_both_files() {
    let folder = pair(&images(2, 1, 1, &[1, 2]), &labels(&[0, 1, 2]));
    let error = refused(folder.path(), "labels-idx1-ubyte");
    assert!(matches!(error, DataError::CountMismatch { images: 2, labels: 3, .. }), "{error}");
    assert!(error.to_string().contains("images-idx3-ubyte.gz"));
}

#[test]
fn another_kind_of_file_under_the_name_is_refused_by_its_magic() {
    let folder = pair(&labels(&[0, 1]), &labels(&[0, 1]));
    let error = refused(folder.path(), "expected 0x00000803");
    assert!(matches!(error, DataError::BadMagic { found: 0x0801, .. }), "{error}");
}

#[test]
fn half_a_pair_is_refused_with_what_is_missing() {
    let folder = folder_of(&[("train-images-idx3-ubyte", &images(1, 1, 1, &[1]))]);
    let error = refused(folder.path(), "lacks train-labels-idx1-ubyte[.gz]");
    assert!(matches!(error, DataError::Missing { .. }), "{error}");
}

#[test]
fn halves_of_different_size_are_refused() {
    let folder = folder_of(&[
        ("train-images-idx3-ubyte", &images(1, 1, 2, &[1, 2])),
        ("train-labels-idx1-ubyte", &labels(&[0])),
        ("t10k-images-idx3-ubyte", &images(1, 2, 1, &[1, 2])),
        ("t10k-labels-idx1-ubyte", &labels(&[0])),
    ]);
    let error = refused(folder.path(), "t10k-images-idx3-ubyte has images of 1x2x1");
    assert!(matches!(error, DataError::ShapeMismatch { .. }), "{error}");
}

#[test]
fn a_file_without_images_is_refused() {
    let folder = pair(&images(0, 28, 28, &[]), &labels(&[]));
    assert!(matches!(refused(folder.path(), "images-idx3-ubyte.gz"), DataError::Empty { .. }));
}
