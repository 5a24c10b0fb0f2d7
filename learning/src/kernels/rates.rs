//! Single kernels, to be timed: what `benches/kernels.rs` runs beside the core's highest rate.
//!
//! A step is as fast as its layers' matrix-like kernels, which `architectures` reaches only through whole layers. Here each is run over
//! one image, or one batch of a dense layer, from the caches; the numbers are made up and the results thrown away.

use std::fmt;
use std::hint::black_box;

use burn::tensor::{Device, Distribution, Tensor};
use pulp::{Simd, WithSimd};

use super::conv::{self, Geometry};
use super::dense;
use super::machine::run;

/// Steps of [`highest`]: enough that the call does not count.
const STEPS: usize = 10_000;

/// A layer whose cost is a matrix product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Over one image, stride 1.
    Convolution {
        /// Height and width of the kernel.
        kernel: usize,
        /// Channels of the image.
        inputs: usize,
        /// Channels of the result.
        outputs: usize,
        /// Height and width of the image, its border included.
        side: usize,
    },
    /// Over a batch.
    Dense {
        /// Numbers of each image.
        inputs: usize,
        /// Numbers of each result.
        outputs: usize,
        /// Images of the batch.
        images: usize,
    },
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Convolution { kernel, inputs, outputs, side } => {
                write!(f, "{kernel}x{kernel}, {inputs} to {outputs}, {side}x{side}")
            }
            Self::Dense { inputs, outputs, images } => write!(f, "dense {inputs} to {outputs}, batch {images}"),
        }
    }
}

/// Which way through a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From input to output.
    Forward,
    /// The gradient by the input.
    InputGradient,
    /// The gradient by the weight.
    WeightGradient,
}

/// Work that can be done again and again.
pub struct Pass {
    operations: u64,
    work: Box<dyn FnMut()>,
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("operations", &self.operations).finish_non_exhaustive()
    }
}

impl Pass {
    fn new(operations: usize, work: impl FnMut() + 'static) -> Self {
        Self { operations: operations as u64, work: Box::new(work) }
    }

    /// Multiplications and additions of one run. Lanes and rows that a kernel fills with nothing are not counted.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// Does it once, on this thread.
    pub fn run(&mut self) {
        (self.work)();
    }
}

/// Numbers between -1 and 1.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i * 7 % 251) as f32 / 125.5 - 1.0).collect()
}

impl Layer {
    /// One pass of this layer.
    #[must_use]
    pub fn pass(self, direction: Direction) -> Pass {
        match self {
            Self::Convolution { kernel, inputs, outputs, side } => {
                let g = Geometry { height: side, width: side, inputs, outputs, kernel, stride: 1 };
                convolution(g, direction)
            }
            Self::Dense { inputs, outputs, images } => fully_connected(inputs, outputs, images, direction),
        }
    }
}

fn convolution(g: Geometry, direction: Direction) -> Pass {
    let weights = g.kernel * g.run() * g.outputs;
    let operations = 2 * g.positions() * weights;
    let x = numbers(g.height * g.width * g.inputs);
    let (weight, dy) = (numbers(weights), numbers(g.positions() * g.outputs));
    match direction {
        Direction::Forward => {
            let (bias, mut y) = (numbers(g.outputs), dy);
            Pass::new(operations, move || run(conv::Forward { g, x: &x, weight: &weight, bias: &bias, y: &mut y }))
        }
        Direction::InputGradient => {
            let mut dx = x;
            Pass::new(operations, move || run(conv::InputGradient { g, dy: &dy, weight: &weight, dx: &mut dx }))
        }
        Direction::WeightGradient => {
            let mut dw = weight;
            Pass::new(operations, move || run(conv::WeightGradient { g, x: &x, dy: &dy, dw: &mut dw }))
        }
    }
}

fn fully_connected(inputs: usize, outputs: usize, images: usize, direction: Direction) -> Pass {
    let operations = 2 * inputs * outputs * images;
    let (x, weight) = (numbers(inputs * images), numbers(inputs * outputs));
    match direction {
        Direction::Forward => {
            let (bias, mut y) = (numbers(outputs), numbers(outputs * images));
            Pass::new(operations, move || {
                run(dense::Forward { inputs, outputs, x: &x, weight: &weight, bias: &bias, y: &mut y });
            })
        }
        Direction::InputGradient => {
            let images = dense::whole_vectors(images);
            let (dy, mut dx) = (numbers(outputs * images), numbers(inputs * images));
            Pass::new(operations, move || {
                run(dense::InputGradient { outputs, images, weight: &weight, dy: &dy, dx: &mut dx });
            })
        }
        Direction::WeightGradient => {
            let (dy, mut dw) = (numbers(outputs * images), weight);
            let mut scratch = numbers(dense::WeightGradient::scratch(images));
            Pass::new(operations, move || {
                let scratch = &mut scratch;
                run(dense::WeightGradient { inputs, outputs, x: &x, dy: &dy, dw: &mut dw, scratch });
            })
        }
    }
}

/// Multiply-adds of registers alone, as many at a time as a tile has: no core does more in a kernel.
#[must_use]
pub fn highest() -> Pass {
    Pass::new(2 * STEPS * run(Registers { steps: 0 }), || {
        black_box(run(Registers { steps: black_box(STEPS) }));
    })
}

/// The product of two square matrices by burn's own operation.
#[must_use]
pub fn stock_product(side: usize) -> Pass {
    let device = Device::flex();
    let [a, b]: [Tensor<2>; 2] =
        std::array::from_fn(|_| Tensor::random([side, side], Distribution::Uniform(-1.0, 1.0), &device));
    Pass::new(2 * side * side * side, move || {
        black_box(a.clone().matmul(b.clone()));
    })
}

/// Multiply-adds of a full set of registers, so many times; says how many numbers each time goes over.
struct Registers {
    steps: usize,
}

impl WithSimd for Registers {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        // As in a tile: only AVX-512 has 32 registers.
        if S::F32_LANES == 16 { chains::<S, 24>(simd, self.steps) } else { chains::<S, 12>(simd, self.steps) }
    }
}

#[inline(always)]
fn chains<S: Simd, const N: usize>(simd: S, steps: usize) -> usize {
    let (factor, summand) = (simd.splat_f32s(black_box(0.5)), simd.splat_f32s(black_box(1.0)));
    let mut sums = [summand; N];
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = simd.mul_add_e_f32s(*sum, factor, summand);
        }
    }
    let mut total = summand;
    for sum in sums {
        total = simd.add_f32s(total, sum);
    }
    black_box(simd.reduce_sum_f32s(total));
    N * S::F32_LANES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_those_of_the_products_behind_a_layer() {
        let layer = Layer::Convolution { kernel: 5, inputs: 32, outputs: 64, side: 12 };
        for direction in [Direction::Forward, Direction::InputGradient, Direction::WeightGradient] {
            let mut pass = layer.pass(direction);
            pass.run();
            // 8 x 8 places, 64 outputs, 5 x 5 x 32 inputs each.
            assert_eq!(pass.operations(), 2 * 64 * 64 * 800, "{direction:?}");
        }
        let layer = Layer::Dense { inputs: 100, outputs: 10, images: 3 };
        for direction in [Direction::Forward, Direction::InputGradient, Direction::WeightGradient] {
            let mut pass = layer.pass(direction);
            pass.run();
            assert_eq!(pass.operations(), 2 * 3 * 1000, "{direction:?}");
        }
        assert_eq!(layer.to_string(), "dense 100 to 10, batch 3");
    }
}
