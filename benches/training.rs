//! Training steps on one thread, all architectures that the comparison with PyTorch names.
//!
//! `cargo bench --bench training`, or with a model's name for some. For a profile:
//! `perf record -g target/release/deps/training-* --bench --exact training::step_batch_10::cnn2`.

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use divan::Bencher;
use divan::counter::ItemsCount;
use fedswarm_learning::architectures::architecture;
use fedswarm_learning::data::{ImageShape, PeerData, Split};
use fedswarm_learning::device::DeviceKind;
use fedswarm_learning::methods::{MemberSetup, Task, init_digest, method};
use fedswarm_learning::training::TrainConfig;

const MODELS: [&str; 10] =
    ["cnn1", "cnn2", "cnn1-fc128", "cnn2-fc128", "cnn-1", "cnn-2", "cnn-3", "cnn-4", "cnn-5", "resnet"];

/// Steps per sample: the median is that of so many.
const STEPS: usize = 4;

fn main() {
    divan::main();
}

fn steps(bencher: Bencher<'_, '_>, model: &str, batch: usize) {
    // The families are used on Fashion-MNIST and on CIFAR.
    let large = model.starts_with("cnn-") || model == "resnet";
    let (channels, side) = if large { (3, 32) } else { (1, 28) };
    let input = ImageShape { channels, height: side, width: side };
    let images = STEPS * batch;
    let split = Split {
        images: (0..images * input.len()).map(|i| ((i * 7 % 251) as f32) / 125.5 - 1.0).collect(),
        labels: (0..images).map(|i| (i % 10) as u16).collect(),
    };
    let setup = MemberSetup {
        task: Task { input, classes: 10 },
        architecture: architecture(model).unwrap(),
        data: Arc::new(PeerData { train: split.clone(), test: split }),
        train: TrainConfig { batch, ..TrainConfig::default() },
        seed: 1,
        init_seed: 1,
        common: init_digest(1),
        device: DeviceKind::Flex,
    };
    let mut member = method("local").unwrap().member(setup).unwrap();
    let never = AtomicBool::new(false);
    bencher.counter(ItemsCount::new(STEPS)).bench_local(move || member.train(&never).unwrap());
}

#[divan::bench(args = MODELS, sample_count = 15, sample_size = 1)]
fn step_batch_10(bencher: Bencher<'_, '_>, model: &str) {
    steps(bencher, model, 10);
}

#[divan::bench(args = MODELS, sample_count = 9, sample_size = 1)]
fn step_batch_32(bencher: Bencher<'_, '_>, model: &str) {
    steps(bencher, model, 32);
}

#[divan::bench(args = MODELS, sample_count = 5, sample_size = 1)]
fn step_batch_128(bencher: Bencher<'_, '_>, model: &str) {
    steps(bencher, model, 128);
}
