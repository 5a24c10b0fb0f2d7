//! ONNX generators, held to what NumPy computes: `scripts/generator_fixtures.py` makes the files and the values.

#![cfg(feature = "onnx")]
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

use fedswarm_learning::generator::{Generator, Onnx, gaussian};
use fedswarm_protocol::hash::Stream;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/generators").join(name)
}

fn golden(key: &str) -> Vec<f32> {
    let text = fs::read_to_string(fixture("golden.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

fn assert_near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() < 1e-5, "value {i}: {a}, NumPy has {b}");
    }
}

fn refused(synthesis: &Path, mapping: Option<&Path>) -> String {
    Onnx::load(synthesis, mapping).unwrap_err().to_string()
}

#[test]
fn images_are_those_of_numpy_also_where_the_batch_is_fixed() {
    let (w, images) = (golden("w"), golden("images"));
    for name in ["synthesis.onnx", "fixed.onnx"] {
        let generator = Onnx::load(&fixture(name), None).unwrap();
        assert_eq!((generator.latent(), generator.image().to_string().as_str()), (6, "1x6x8"));
        // 19 vectors are no whole number of batches of 16 or 2.
        assert_near(&generator.synthesise(&w).unwrap(), &images);
    }
}

#[test]
fn two_graphs_are_a_mapping_and_a_synthesis() {
    let both = Onnx::load(&fixture("synthesis.onnx"), Some(&fixture("mapping.onnx"))).unwrap();
    let alone = Onnx::load(&fixture("synthesis.onnx"), None).unwrap();
    assert_eq!(alone.sample(4, &mut Stream::new("t", &[])).unwrap(), gaussian(&mut Stream::new("t", &[]), 24));
    let sample = both.sample(4, &mut Stream::new("t", &[])).unwrap();
    assert_eq!(sample.len(), 24);
    assert_eq!(sample, both.sample(4, &mut Stream::new("t", &[])).unwrap());
    assert_ne!(both.id(), alone.id());
    // Of the mapping's own values: noise that is known.
    let mapping_as_synthesis = refused(&fixture("mapping.onnx"), None);
    assert!(
        mapping_as_synthesis.contains("mapping.onnx") && mapping_as_synthesis.contains("[6]"),
        "{mapping_as_synthesis}"
    );
    let crossed = refused(&fixture("synthesis.onnx"), Some(&fixture("synthesis.onnx")));
    assert!(crossed.contains("takes [6]"), "{crossed}");
}

#[test]
fn the_mapping_is_numpy_s() {
    let both = Onnx::load(&fixture("synthesis.onnx"), Some(&fixture("mapping.onnx"))).unwrap();
    assert_near(&both.map(&golden("z")).unwrap(), &golden("mapped"));
}

#[test]
fn the_identity_is_that_of_the_files() {
    let id = |name: &str| Onnx::load(&fixture(name), None).unwrap().id();
    assert_eq!(id("synthesis.onnx"), id("synthesis.onnx"));
    assert_ne!(id("synthesis.onnx"), id("fixed.onnx"));
}

#[test]
fn damaged_and_missing_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(fixture("synthesis.onnx")).unwrap();
    for (name, contents) in
        [("cut.onnx", &bytes[..bytes.len() / 2]), ("empty.onnx", &[]), ("text.onnx", b"not a graph")]
    {
        let path = folder.path().join(name);
        fs::write(&path, contents).unwrap();
        let text = refused(&path, None);
        assert!(text.contains(name), "{text}");
    }
    assert!(refused(Path::new("nowhere.onnx"), None).contains("nowhere.onnx"));
}

#[test]
fn latents_that_are_no_whole_vectors_are_refused() {
    let generator = Onnx::load(&fixture("synthesis.onnx"), None).unwrap();
    let text = generator.synthesise(&[0.0; 7]).unwrap_err().to_string();
    assert_eq!(text, "latent vectors: expected 12 values, found 7");
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.onnx");
    fs::File::create(&path).unwrap().set_len(fedswarm_learning::generator::onnx::MAX_FILE_BYTES + 1).unwrap();
    assert!(refused(&path, None).contains("at most"));
}
