use super::*;

/// A record: label bytes, then 1024 red, green and blue values.
fn record(labels: &[u8], rgb: [u8; 3]) -> Vec<u8> {
    labels.iter().copied().chain(rgb.iter().flat_map(|&v| [v; 1024])).collect()
}

#[test]
fn cifar_10_batches_are_joined_in_their_order() {
    let first = [record(&[3], [1, 2, 3]), record(&[9], [4, 5, 6])].concat();
    let files: [(&str, &[u8]); 3] = [
        ("test_batch.bin", &record(&[0], [10, 11, 12])),
        ("data_batch_2.bin", &record(&[1], [7, 8, 9])),
        ("data_batch_1.bin", &first),
    ];
    let data = Dataset::load(folder_of(&files).path()).unwrap();
    assert_eq!((data.labels.as_slice(), data.train_len), ([3, 9, 1, 0].as_slice(), 3));
    assert_eq!(data.shape, ImageShape { channels: 3, height: 32, width: 32 });
    assert_eq!((data.pixels[0], data.pixels[1024], data.pixels[2048], data.pixels[3072]), (1, 2, 3, 4));
    assert_eq!((data.name.as_str(), data.class_names[3].as_str()), ("cifar-10", "cat"));
}

#[test]
fn cifar_100_gives_fine_labels_from_the_official_sub_folder() {
    let names: Vec<String> = (0..100).map(|i| format!("kind{i}")).collect();
    let folder = folder_of(&[
        ("cifar-100-binary/train.bin", &record(&[4, 99], [1, 2, 3])),
        ("cifar-100-binary/test.bin", &record(&[19, 7], [4, 5, 6])),
        ("cifar-100-binary/fine_label_names.txt", names.join("\n").as_bytes()),
    ]);
    let data = Dataset::load(folder.path()).unwrap();
    assert_eq!((data.labels.as_slice(), data.train_len, data.classes()), ([99, 7].as_slice(), 1, 100));
    assert_eq!(data.class_names[99], "kind99");
}

#[test]
fn a_truncated_batch_is_refused_with_its_name() {
    let folder = folder_of(&[("data_batch_1.bin", &record(&[3], [1, 2, 3])[..3000])]);
    let error = refused(folder.path(), "data_batch_1.bin");
    assert!(matches!(error, DataError::Truncated { found: 3000, expected: 3073, .. }), "{error}");
}

#[test]
fn a_missing_batch_and_a_wrong_label_are_refused() {
    let folder = folder_of(&[("data_batch_2.bin", &record(&[3], [1, 2, 3]))]);
    assert!(matches!(refused(folder.path(), "data_batch_1.bin"), DataError::Missing { .. }));
    let folder = folder_of(&[("test_batch.bin", &[record(&[3], [1; 3]), record(&[10], [1; 3])].concat())]);
    let error = refused(folder.path(), "test_batch.bin");
    assert!(matches!(error, DataError::Label { position: 1, label: 10, max: 9, .. }), "{error}");
}

#[test]
fn a_list_of_too_few_names_is_refused() {
    let folder = folder_of(&[("test_batch.bin", &record(&[3], [1; 3])), ("batches.meta.txt", b"cat\ndog\n\n")]);
    assert!(refused(folder.path(), "batches.meta.txt").to_string().contains("found 2"));
}
