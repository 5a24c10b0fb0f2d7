//! Single kernels of a training step beside the highest rate of the core: a `Gitem/s` is a GFLOP/s.
//!
//! `taskset -c 1 cargo bench --workspace --bench kernels`: all on one core, as `stock_product` takes as many as it may. (With `--workspace`,
//! what `cargo test --workspace` built serves here too.)

#![allow(missing_docs)]

use divan::Bencher;
use divan::counter::ItemsCount;
use fedswarm_learning::rates::{Direction, Layer, Pass, highest, stock_product};

/// The layers of `HtCNN4s`, of CNN-1 and of the residual net that take most of a step.
const LAYERS: [Layer; 8] = [
    Layer::Convolution { kernel: 5, inputs: 1, outputs: 32, side: 28 },
    Layer::Convolution { kernel: 5, inputs: 32, outputs: 64, side: 12 },
    Layer::Convolution { kernel: 5, inputs: 3, outputs: 16, side: 32 },
    Layer::Convolution { kernel: 5, inputs: 16, outputs: 32, side: 14 },
    Layer::Convolution { kernel: 3, inputs: 16, outputs: 16, side: 30 },
    Layer::Convolution { kernel: 3, inputs: 64, outputs: 64, side: 10 },
    Layer::Dense { inputs: 4608, outputs: 128, images: 10 },
    Layer::Dense { inputs: 4608, outputs: 128, images: 128 },
];

fn main() {
    divan::main();
}

fn time(bencher: Bencher<'_, '_>, mut pass: Pass) {
    bencher.counter(ItemsCount::new(pass.operations())).bench_local(|| pass.run());
}

#[divan::bench]
fn registers_alone(bencher: Bencher<'_, '_>) {
    time(bencher, highest());
}

#[divan::bench(args = [256, 1024])]
fn stock_matrix_product(bencher: Bencher<'_, '_>, side: usize) {
    time(bencher, stock_product(side));
}

#[divan::bench(args = LAYERS)]
fn forward(bencher: Bencher<'_, '_>, layer: Layer) {
    time(bencher, layer.pass(Direction::Forward));
}

#[divan::bench(args = LAYERS)]
fn input_gradient(bencher: Bencher<'_, '_>, layer: Layer) {
    time(bencher, layer.pass(Direction::InputGradient));
}

#[divan::bench(args = LAYERS)]
fn weight_gradient(bencher: Bencher<'_, '_>, layer: Layer) {
    time(bencher, layer.pass(Direction::WeightGradient));
}
