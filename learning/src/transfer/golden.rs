//! Values that NumPy computed: see `scripts/transfer_oracle.py`.
#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, Tensor, TensorData};
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::summary::class_vectors;
use serde::Deserialize;

use super::align::Aligner;
use super::mmd::mmd;
use super::transformer::Transformer;
use super::{arcface, class_directions};
use crate::parameters::to_vec;

const GOLDEN: &str = include_str!("golden.json");

#[derive(Deserialize)]
struct Golden {
    frames: Vec<Frame>,
    mmd: Mmd,
    alignment: Alignment,
    arcface: ArcFace,
    prototypes: Prototypes,
}

#[derive(Deserialize)]
struct Frame {
    classes: usize,
    common: u8,
    vectors: Vec<f64>,
}

#[derive(Deserialize)]
struct Mmd {
    a: Vec<f64>,
    b: Vec<f64>,
    width: usize,
    value: f64,
    gradient: Vec<f64>,
}

#[derive(Deserialize)]
struct Alignment {
    weights: Vec<f64>,
    centroids: Vec<f64>,
    prototypes: Vec<f64>,
    classes: Vec<usize>,
    latents: Vec<Vec<f64>>,
    lambda: f64,
    output: Vec<f64>,
    losses: Vec<f64>,
    trained: Vec<f64>,
    running: Vec<f64>,
    trained_centroids: Vec<f64>,
    evaluated: Vec<f64>,
    means: Vec<f64>,
}

#[derive(Deserialize)]
struct ArcFace {
    cosines: Vec<f32>,
    labels: Vec<usize>,
    loss: f64,
    inside: Vec<usize>,
    gradient: Vec<f64>,
}

#[derive(Deserialize)]
struct Prototypes {
    features: Vec<f32>,
    labels: Vec<u16>,
    classes: Vec<u16>,
    prototypes: Vec<f64>,
}

fn golden() -> Golden {
    serde_json::from_str(GOLDEN).unwrap()
}

/// Equal to 1e-5, relative for large values.
fn close(found: impl IntoIterator<Item = f64>, expected: &[f64], what: &str) {
    let found: Vec<f64> = found.into_iter().collect();
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{what} at {i}: {a}, NumPy has {b}");
    }
}

fn wide(values: Vec<f32>) -> impl Iterator<Item = f64> {
    values.into_iter().map(f64::from)
}

#[test]
fn class_vectors_are_those_of_householders_factorisation() {
    for Frame { classes, common, vectors } in golden().frames {
        close(wide(class_vectors(classes, &Digest([common; 32])).unwrap()), &vectors, "frame");
    }
}

#[test]
fn the_discrepancy_and_its_gradient_are_numpys() {
    let Mmd { a, b, width, value, gradient } = golden().mmd;
    let found = mmd(&a, &b, width);
    close([found.0], &[value], "value");
    close(found.1, &gradient, "gradient");
    assert!(mmd(&a, &a, width).0.abs() < 1e-12, "a sample does not differ from itself");
}

/// Three steps, so that both of Adam's means and the running statistics count.
#[test]
fn alignment_walks_where_numpy_walks() {
    let g = golden().alignment;
    let (classes, latent) = (4, 6);
    let mut flat: Vec<f32> = g.weights.iter().map(|&x| x as f32).collect();
    flat.extend([0.0; 4].into_iter().chain([1.0; 4]));
    let transformer = Transformer::from_flat(classes, latent, &flat).unwrap();
    close(transformer.clone().train(g.prototypes.clone()).output, &g.output, "output");
    let mut aligner = Aligner::new(transformer, g.centroids, latent, 0.01, g.lambda);
    for (step, (latents, loss)) in g.latents.iter().zip(&g.losses).enumerate() {
        let found = aligner.step(g.prototypes.clone(), &g.classes, latents);
        close([found], &[*loss], &format!("loss of step {step}"));
    }
    close(aligner.transformer.weights.iter().copied(), &g.trained, "weights");
    let flat = aligner.transformer.to_flat();
    close(wide(flat[flat.len() - 8..].to_vec()), &g.running, "running statistics");
    close(aligner.centroids.iter().copied(), &g.trained_centroids, "centroids");
    close(aligner.transformer.eval(&g.prototypes), &g.evaluated, "output in evaluation");
    aligner.centre(&g.prototypes, &g.classes);
    close(aligner.centroids.iter().copied(), &g.means, "class means");
}

#[test]
fn arcface_is_numpys_and_its_gradient_is_finite_at_both_ends() {
    let ArcFace { cosines, labels, loss, inside, gradient } = golden().arcface;
    let device = Device::flex();
    let n = labels.len();
    let mut targets = vec![0f32; n * 3];
    labels.iter().enumerate().for_each(|(i, y)| targets[3 * i + y] = 1.0);
    let targets = Tensor::<2>::from_data(TensorData::new(targets, [n, 3]), &device);
    let s = Tensor::<2>::from_data(TensorData::new(cosines, [n, 3]), &device).autodiff().require_grad();
    let found = arcface::loss(s.clone(), targets);
    close(wide(to_vec(found.clone().inner()).unwrap()), &[loss], "loss");
    let mut gradients = found.backward();
    let slope = to_vec(s.grad_remove(&mut gradients).unwrap()).unwrap();
    assert!(slope.iter().all(|g| g.is_finite()), "{slope:?}");
    let rows: Vec<f32> = inside.iter().flat_map(|i| slope[3 * i..3 * i + 3].to_vec()).collect();
    close(wide(rows), &gradient, "gradient");
}

#[test]
fn prototypes_are_numpys() {
    let Prototypes { features, labels, classes, prototypes } = golden().prototypes;
    let found = class_directions(&features, &labels, 4);
    assert_eq!(found.iter().map(|p| p.class).collect::<Vec<_>>(), classes);
    close(found.iter().flat_map(|p| wide(p.values.clone())), &prototypes, "prototypes");
}
