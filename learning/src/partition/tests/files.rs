use std::path::PathBuf;

use tempfile::TempDir;

use super::balanced;
use crate::data::Dataset;
use crate::partition::{Partition, PartitionError, PeerIndices, Scheme};

/// A partition file with this text, its folder, and eight images of two classes.
fn file(text: &str) -> (TempDir, PathBuf, Dataset) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("made.json");
    std::fs::write(&path, text).unwrap();
    (folder, path, balanced(2, 4))
}

fn refused(text: &str) -> PartitionError {
    let (_folder, path, data) = file(text);
    let error = Partition::load(&path, &data).unwrap_err();
    assert!(error.to_string().contains("made.json"), "the file is named: {error}");
    error
}

#[test]
fn a_file_gives_its_lists_in_order_and_keeps_its_cap_aside() {
    let hash = balanced(2, 4).labels_sha256();
    let (_folder, path, data) = file(&format!(
        r#"{{"dataset": "x", "labels_sha256": "{hash}", "num_clients": 2, "cap": {{"train": 1, "test": 5, "rule": "first"}}, "clients": {{
            "1": {{"train": [7], "test": []}},
            "0": {{"train": [5, 0, 2], "test": [1], "label_counts": {{"0": 2, "1": 2}}}}}}}}"#
    ));
    let partition = Partition::load(&path, &data).unwrap();
    let peers = vec![PeerIndices { train: vec![5, 0, 2], test: vec![1] }, PeerIndices { train: vec![7], test: vec![] }];
    assert_eq!(partition, Partition { peers, default_cap: Some((1, 5)) });
    let made = Partition::make(&data, &Scheme::File(path.clone()), 1, 0, 0).unwrap();
    assert_eq!(made.peers, partition.peers[..1]);
    let error = Partition::make(&data, &Scheme::File(path), 3, 0, 0).unwrap_err();
    assert!(error.to_string().contains("describes 2 clients"), "{error}");
}

#[test]
fn an_index_past_the_data_is_refused_with_client_position_and_range() {
    for index in ["8", "70000", "5000000000"] {
        let error = refused(&format!(r#"{{"clients": {{"0": {{"train": [1], "test": [0, {index}]}}}}}}"#));
        assert!(matches!(error, PartitionError::OutOfRange { client: 0, list: "test", position: 1, .. }));
        let text = error.to_string();
        assert!(text.contains(index) && text.contains("client 0, test[1]") && text.contains("0 to 7"), "{text}");
    }
}

#[test]
fn an_image_named_twice_by_a_client_is_refused() {
    let error = refused(r#"{"clients": {"0": {"train": [1, 2], "test": [0, 2]}}}"#);
    assert!(
        matches!(error, PartitionError::Duplicate { client: 0, list: "test", position: 1, index: 2, .. }),
        "{error}"
    );
}

#[test]
fn missing_clients_are_named() {
    let error = refused(r#"{"clients": {"0": {"train": [], "test": []}, "2": {"train": [], "test": []}}}"#);
    assert!(error.to_string().contains("client 1 is missing"), "{error}");
    let error = refused(r#"{"num_clients": 20, "clients": {"0": {"train": [], "test": []}}}"#);
    assert!(error.to_string().contains("num_clients is 20, but 1 clients"), "{error}");
    assert!(matches!(refused(r#"{"clients": {}}"#), PartitionError::Clients { .. }));
}

#[test]
fn a_file_for_other_labels_is_refused_as_such() {
    let error = refused(
        r#"{"dataset": "fashion-mnist", "labels_sha256": "8ab9", "clients": {"0": {"train": [], "test": []}}}"#,
    );
    let text = error.to_string();
    assert!(
        text.contains("made for other data") && text.contains("fashion-mnist") && text.contains("8 images"),
        "{text}"
    );
    let error = refused(r#"{"clients": {"0": {"train": [0], "test": [], "label_counts": {"0": 0, "1": 1}}}}"#);
    assert!(matches!(error, PartitionError::OtherData { .. }), "{error}");
}

#[test]
fn what_is_no_partition_file_is_refused() {
    for text in
        ["", "[]", "{}", r#"{"clients": {"0": {"train": [-1], "test": []}}}"#, r#"{"clients": {"0": {"train": []}}}"#]
    {
        assert!(matches!(refused(text), PartitionError::Malformed { .. }), "{text}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Partition::load("no/such.json".as_ref(), &balanced(2, 4)).unwrap_err();
    assert!(error.to_string().contains("no/such.json"), "{error}");
}
