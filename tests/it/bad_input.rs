//! Bad input: exit code 2, an error that names what is wrong and what would be right, and nothing half-written.

use std::fs;
use std::path::Path;

use crate::command::{fedswarm, json, stderr};

/// Runs `simulate` with these arguments in an empty folder; it must refuse, with all of these words, and write nothing.
fn refused(prepare: impl Fn(&Path), args: &[&str], words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let before = list(folder.path());
    let output = fedswarm(folder.path(), &[&["simulate", "--no-local-baseline"], args].concat());
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{args:?}: no {word:?} in: {text}");
    }
    assert_eq!(list(folder.path()), before, "{args:?} left something behind");
}

fn list(folder: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    names
}

fn idx_images(count: u32) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 3];
    for extent in [count, 28, 28] {
        bytes.extend(extent.to_be_bytes());
    }
    bytes.resize(bytes.len() + count as usize * 784, 7);
    bytes
}

fn idx_labels(count: u32) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 1];
    bytes.extend(count.to_be_bytes());
    bytes.extend((0..count).map(|i| (i % 10) as u8));
    bytes
}

fn small_set(folder: &Path) {
    fs::create_dir(folder.join("set")).unwrap();
    fs::write(folder.join("set/t10k-images-idx3-ubyte"), idx_images(100)).unwrap();
    fs::write(folder.join("set/t10k-labels-idx1-ubyte"), idx_labels(100)).unwrap();
}

#[test]
fn missing_data_is_named() {
    refused(|_| {}, &["--data", "nowhere"], &["nowhere"]);
}

#[test]
fn a_truncated_idx_file_is_named_with_what_was_expected() {
    let cut = |folder: &Path| {
        small_set(folder);
        let path = folder.join("set/t10k-images-idx3-ubyte");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    };
    refused(cut, &["--data", "set"], &["t10k-images-idx3-ubyte", "cut short"]);
}

#[test]
fn an_index_outside_the_data_is_named_with_its_client_and_the_valid_range() {
    let partition = |folder: &Path| {
        let clients =
            r#"{"num_clients":2,"clients":{"0":{"train":[1,2],"test":[3]},"1":{"train":[70000],"test":[5]}}}"#;
        fs::write(folder.join("p.json"), clients).unwrap();
    };
    refused(partition, &["--partition", "p.json"], &["p.json", "70000", "9999"]);
}

#[test]
fn more_peers_than_images_is_refused_with_what_is_possible() {
    refused(small_set, &["--data", "set", "--nodes", "64", "--iid"], &["64", "100"]);
}

#[test]
fn an_unknown_method_and_a_misspelt_option_are_answered_with_the_known_ones() {
    refused(|_| {}, &["--method", "fedmagic"], &["fedmagic", "fedmoe"]);
    refused(|_| {}, &["--method", "fedmoe:mixx=convex"], &["mixx"]);
    refused(|_| {}, &["--models", "cnn99"], &["cnn99", "cnn1"]);
}

#[test]
fn a_misspelt_key_in_a_scenario_is_named_with_the_nearest_known_one() {
    let scenario = |folder: &Path| fs::write(folder.join("s.toml"), "rouns = 3\n").unwrap();
    refused(scenario, &["s.toml"], &["s.toml", "rouns", "rounds"]);
}

#[test]
fn values_that_cannot_work_are_refused_with_their_flag() {
    refused(|_| {}, &["--nodes", "0"], &["--nodes"]);
    refused(|_| {}, &["--rounds", "0"], &["--rounds"]);
    refused(|_| {}, &["--lr", "0"], &["--lr"]);
    refused(|_| {}, &["--transport", "pigeon"], &["pigeon", "tcp"]);
}

#[test]
fn a_port_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port());
    let output = fedswarm(folder.path(), &["bootstrap", "--listen", &address]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains(&address) && stderr(&output).contains("in use"), "{}", stderr(&output));
}

#[test]
fn errors_are_json_too_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let output = fedswarm(folder.path(), &["simulate", "--json", "--data", "nowhere"]);
    assert!(json(&output)["error"].as_str().unwrap().contains("nowhere"));
}
