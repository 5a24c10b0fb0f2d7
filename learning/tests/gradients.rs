//! Gradients are those of the function that is computed: autodiff against finite differences.
#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, Tensor, TensorData};
use fedswarm_learning::architectures::{Architecture, Cnn, ResNet};
use fedswarm_learning::data::ImageShape;
use fedswarm_learning::parameters::{Parameters, Weights, count, initial};
use fedswarm_learning::training::cross_entropy;
use fedswarm_protocol::hash::Digest;

/// The features themselves serve as logits.
fn loss(architecture: &dyn Architecture, p: &Parameters, values: &[Tensor<1>], input: ImageShape) -> Tensor<1> {
    let device = Device::flex();
    let (n, classes) = (4, architecture.features());
    let pixels: Vec<f32> = (0..n * input.len()).map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0).collect();
    let images = Tensor::from_data(TensorData::new(pixels, [n, input.channels, input.height, input.width]), &device);
    let one_hot: Vec<f32> = (0..n * classes).map(|i| f32::from(i % classes == (i / classes) % classes)).collect();
    let targets = Tensor::from_data(TensorData::new(one_hot, [n, classes]), &device);
    let logits = architecture.forward(&mut Weights::new("test", p.specs(), values), images).unwrap();
    cross_entropy(logits, targets)
}

fn check(architecture: &dyn Architecture, input: ImageShape) {
    let device = Device::flex();
    let specs = architecture.parameters(input).unwrap();
    let flat = initial("test", &specs, &Digest([5; 32])).unwrap();
    let p = Parameters::from_flat(specs.clone(), &flat, &device).unwrap();
    let tracked = p.tracked();
    let grads = loss(architecture, &p, &tracked, input).backward();
    let grads: Vec<f32> =
        tracked.iter().flat_map(|t| t.grad(&grads).unwrap().try_into_vec_as::<f32>().unwrap()).collect();
    let at = |flat: &[f32]| -> f64 {
        let p = Parameters::from_flat(specs.clone(), flat, &device).unwrap();
        f64::from(loss(architecture, &p, p.values(), input).into_scalar::<f32>())
    };
    let (step, total) = (3e-4f32, count(&specs));
    let (mut dot, mut norm_a, mut norm_n) = (0.0, 0.0, 0.0);
    // One direction per stride of coordinates, each touching every layer: kinks of ReLU and pooling average out.
    for start in 0..24 {
        let mut direction = vec![0f32; total];
        for (i, d) in direction.iter_mut().enumerate() {
            *d = (((i * 2_654_435_761 + start * 40_503) >> 7) % 3) as f32 - 1.0;
        }
        let scale = (total as f32).sqrt();
        let moved = |sign: f32| {
            flat.iter().zip(&direction).map(|(x, d)| x + sign * step * d / scale * 10.0).collect::<Vec<_>>()
        };
        let numeric = (at(&moved(1.0)) - at(&moved(-1.0))) / f64::from(2.0 * step / scale * 10.0);
        let analytic: f64 = grads.iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
        dot += numeric * analytic;
        norm_a += analytic * analytic;
        norm_n += numeric * numeric;
    }
    let cosine = dot / (norm_a * norm_n).sqrt();
    let ratio = (norm_a / norm_n).sqrt();
    assert!(cosine > 0.999 && (ratio - 1.0).abs() < 0.02, "cosine {cosine}, ratio {ratio}");
}

#[test]
fn a_convolutional_networks_gradient_is_its_slope() {
    let cnn = Cnn::new("test", &[3, 4], &[6, 5]).unwrap();
    check(&cnn, ImageShape { channels: 2, height: 18, width: 17 });
}

#[test]
fn a_residual_networks_gradient_is_its_slope() {
    check(&ResNet::default(), ImageShape { channels: 1, height: 9, width: 8 });
}
