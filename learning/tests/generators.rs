//! The generators inside the program, and those of other programs.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};

use fedswarm_learning::generator::{BANDWIDTHS, BUNDLED, Generator, Native, Statistics, bundled, open};
use fedswarm_protocol::hash::Stream;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/generators").join(name)
}

fn golden(key: &str) -> Vec<f32> {
    let text = std::fs::read_to_string(fixture("golden.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

fn assert_near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() < 1e-5, "value {i}: {a}, NumPy has {b}");
    }
}

#[test]
fn the_layers_of_the_reference_give_what_numpy_gives() {
    let generator = Native::load_npz(&fixture("dense.npz")).unwrap();
    assert_eq!((generator.latent(), generator.image().to_string().as_str()), (6, "1x4x4"));
    assert_near(&generator.map(&golden("z")).unwrap(), &golden("mapped"));
    assert_near(&generator.synthesise(&golden("w")).unwrap(), &golden("dense"));
    let again = Native::from_bytes(&generator.to_bytes().unwrap()).unwrap();
    assert_eq!(again.id(), generator.id());
}

#[test]
fn the_bundled_generators_are_those_that_the_documentation_names() {
    let text = include_str!("../../docs/results/generators.md");
    for name in BUNDLED {
        let generator = bundled(name).unwrap();
        assert!(text.contains(&generator.id().to_string()), "{name} is {}", generator.id());
        assert!(text.contains(&generator.card().origin.command), "{name}: {}", generator.card().origin.command);
        assert_eq!(open(Path::new(name), None).unwrap().id(), generator.id());
    }
    let text = bundled("faces").unwrap_err().to_string();
    assert_eq!(text, "unknown generator \"faces\"; known: digits, fashion");
}

#[test]
fn the_bundled_generators_suit_the_kernel_and_draw_different_images() {
    for name in BUNDLED {
        let generator = bundled(name).unwrap();
        let s = Statistics::of(&generator, 500, &mut Stream::new("test", &[])).unwrap();
        assert!(s.mean < 0.2 && (0.7..1.3).contains(&s.variance[1]), "{name}: {s:?}");
        // Far from 0 and from 4, where the kernel tells nothing apart.
        assert!((0.3..3.0).contains(&s.kernel), "{name}: {s:?}");
        assert!(s.pixels[0] < -0.95 && s.pixels[1] > 0.9 && s.variety > 0.2, "{name}: {s:?}");
    }
}

/// A generator of two coordinates: `w` is given, an image is `w`.
struct Given(Vec<f32>);

impl Generator for Given {
    fn latent(&self) -> usize {
        2
    }
    fn image(&self) -> fedswarm_learning::data::ImageShape {
        fedswarm_learning::data::ImageShape { channels: 1, height: 1, width: 2 }
    }
    fn id(&self) -> fedswarm_protocol::hash::Digest {
        fedswarm_protocol::hash::Digest::ZERO
    }
    fn sample(&self, _: usize, _: &mut Stream) -> Result<Vec<f32>, fedswarm_learning::Error> {
        Ok(self.0.clone())
    }
    fn synthesise(&self, latents: &[f32]) -> Result<Vec<f32>, fedswarm_learning::Error> {
        Ok(latents.iter().map(|v| v / 10.0).collect())
    }
}

#[test]
fn statistics_are_those_computed_by_hand() {
    // Vectors (1, 0), (3, 4), (2, 2): distances squared 20 and 5; coordinates with means 2, 2 and variances 1, 4.
    let given = Given(vec![1.0, 0.0, 3.0, 4.0, 2.0, 2.0]);
    let s = Statistics::of(&given, 3, &mut Stream::new("test", &[])).unwrap();
    let kernel = |d: f64| BANDWIDTHS.iter().map(|b| (-d / (2.0 * b)).exp()).sum::<f64>();
    let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    near(s.mean, 2.0);
    [1.0, 2.5, 4.0].iter().zip(s.variance).for_each(|(expected, found)| near(found, *expected));
    near(s.squared_distance, 12.5);
    near(s.kernel, (kernel(20.0) + kernel(5.0)) / 2.0);
    near(s.pixels[0], 0.0);
    near(s.pixels[1], 0.4);
    near(s.variety, 0.0625);
}

#[test]
fn what_is_no_generator_is_refused_with_what_there_is() {
    for (path, words) in
        [("digit", "digits, fashion"), ("none.safetensors", "none.safetensors"), ("none.npz", "none.npz")]
    {
        let text = open(Path::new(path), None).unwrap_err().to_string();
        assert!(text.contains(words), "{text}");
    }
    #[cfg(not(feature = "onnx"))]
    assert!(open(Path::new("a.onnx"), None).unwrap_err().to_string().contains("--features onnx"));
}
