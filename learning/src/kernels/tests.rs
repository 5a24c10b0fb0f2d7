#![allow(clippy::unwrap_used)]

use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData, activation, module};

use super::machine::{Level, force};
use super::{Activation, ConvPlan, NormPlan, add_relu, blend, branches, conv, dense, flatten, norm, scratch, serves};

/// Numbers in -1..1 that depend on the name alone (Knuth's linear congruential generator).
fn random<const D: usize>(name: &str, shape: [usize; D]) -> Tensor<D> {
    let mut state = name.bytes().fold(1u64, |s, b| s * 31 + u64::from(b));
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn tracked<const D: usize>(name: &str, shape: [usize; D]) -> Tensor<D> {
    random(name, shape).autodiff().require_grad()
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.try_into_vec_as::<f32>().unwrap()
}

#[track_caller]
fn assert_close(what: &str, found: Vec<f32>, expected: Vec<f32>) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1.0f32, |m, x| m.max(x.abs()));
    for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
        assert!((a - b).abs() <= 1e-5 * scale, "{what}[{i}]: {a}, not {b} (largest {scale})");
    }
}

/// Output and the three gradients of a layer, under a loss that weighs every output differently.
fn passes<const D: usize, const W: usize>(
    x: [usize; D],
    w: [usize; W],
    layer: impl Fn(Tensor<D>, Tensor<W>, Tensor<1>) -> Tensor<D>,
    outputs: usize,
) -> [Vec<f32>; 4] {
    let (x, w, b) = (tracked("x", x), tracked("w", w), tracked("b", [outputs]));
    let y = layer(x.clone(), w.clone(), b.clone());
    let weigh = random("dy", y.dims());
    let grads = (y.clone() * weigh.autodiff()).sum().backward();
    let (dx, dw, db) = (x.grad(&grads).unwrap(), w.grad(&grads).unwrap(), b.grad(&grads).unwrap());
    [values(y.inner()), values(dx), values(dw), values(db)]
}

fn compare(what: &str, found: [Vec<f32>; 4], expected: [Vec<f32>; 4]) {
    for ((name, a), b) in ["y", "dx", "dw", "db"].into_iter().zip(found).zip(expected) {
        assert_close(&format!("{what} {name}"), a, b);
    }
}

fn stock_conv(x: Tensor<4>, w: Tensor<4>, b: Tensor<1>, plan: ConvPlan) -> Tensor<4> {
    let options = ConvOptions::new([plan.stride; 2], [plan.padding; 2], [1; 2], 1);
    let y = module::conv2d(x, w, Some(b), options);
    if plan.pool_relu { activation::relu(module::max_pool2d(y, MaxPoolOptions::new([2, 2]))) } else { y }
}

/// Images, channels, height, width, outputs, kernel, stride, padding.
const CONVOLUTIONS: [[usize; 8]; 22] = [
    [2, 1, 28, 28, 32, 5, 1, 0],
    [2, 32, 12, 12, 64, 5, 1, 0],
    [1, 3, 32, 32, 16, 5, 1, 0],
    [3, 16, 14, 14, 32, 5, 1, 0],
    [2, 16, 14, 14, 16, 5, 1, 0],
    [2, 3, 16, 16, 16, 3, 1, 1],
    [2, 16, 9, 8, 32, 3, 2, 1],
    [2, 32, 8, 7, 64, 3, 1, 1],
    [2, 16, 9, 8, 32, 1, 2, 0],
    [1, 1, 1, 1, 1, 1, 1, 0],
    [1, 1, 3, 3, 1, 3, 1, 0],
    [1, 2, 5, 7, 3, 3, 2, 2],
    [3, 5, 7, 6, 17, 2, 1, 1],
    [2, 17, 6, 9, 33, 3, 3, 0],
    [2, 7, 11, 5, 80, 4, 2, 3],
    [1, 64, 4, 4, 48, 3, 1, 1],
    [2, 3, 10, 10, 4, 5, 4, 0],
    [5, 4, 6, 5, 100, 1, 1, 0],
    [2, 9, 13, 3, 65, 3, 1, 0],
    [1, 33, 5, 5, 31, 5, 1, 2],
    [2, 8, 4, 19, 9, 2, 2, 0],
    [4, 1, 9, 9, 15, 7, 1, 3],
];

#[test]
fn convolutions_and_their_gradients_are_those_of_the_stock_operation() {
    for [n, c, h, w, out, k, stride, padding] in CONVOLUTIONS {
        for pool_relu in [false, true] {
            let plan = ConvPlan { stride, padding, pool_relu };
            if pool_relu && (h.min(w) + 2 * padding - k) / stride < 1 {
                continue;
            }
            let (x, weight) = ([n, c, h, w], [out, c, k, k]);
            let expected = passes(x, weight, |x, w, b| stock_conv(x, w, b, plan), out);
            for level in Level::all() {
                force(level);
                let found = passes(x, weight, |x, w, b| conv(x, w, b, plan), out);
                compare(&format!("{x:?} {weight:?} {plan:?} {level:?}"), found, expected.clone());
            }
        }
    }
}

#[test]
fn layers_that_follow_each_other_have_the_stock_gradients() {
    let plan = ConvPlan { stride: 1, padding: 1, pool_relu: true };
    let second = random("second", [6, 5, 3, 3]).autodiff();
    let bias = random("second bias", [6]).autodiff();
    let found = passes(
        [3, 2, 11, 10],
        [5, 2, 3, 3],
        |x, w, b| {
            let y = conv(conv(x, w, b, plan), second.clone(), bias.clone(), plan);
            let [n, c, h, w] = y.dims();
            flatten(y).reshape([n, c, h, w])
        },
        5,
    );
    let expected = passes(
        [3, 2, 11, 10],
        [5, 2, 3, 3],
        |x, w, b| stock_conv(stock_conv(x, w, b, plan), second.clone(), bias.clone(), plan),
        5,
    );
    compare("two layers", found, expected);
}

#[test]
fn dense_layers_and_their_gradients_are_those_of_the_stock_operation() {
    for [n, inputs, outputs] in [
        [10, 300, 128],
        [10, 128, 10],
        [1, 1, 1],
        [7, 33, 17],
        [33, 100, 50],
        [128, 70, 129],
        [3, 65, 500],
        [17, 24, 80],
    ] {
        for activation in [Activation::None, Activation::Relu] {
            let stock = |x: Tensor<2>, w: Tensor<2>, b: Tensor<1>| {
                let y = x.matmul(w) + b.unsqueeze::<2>();
                if activation == Activation::Relu { activation::relu(y) } else { y }
            };
            let expected = passes([n, inputs], [inputs, outputs], stock, outputs);
            for level in Level::all() {
                force(level);
                let found = passes([n, inputs], [inputs, outputs], |x, w, b| dense(x, w, b, activation), outputs);
                compare(&format!("{n} {inputs} {outputs} {activation:?} {level:?}"), found, expected.clone());
            }
        }
    }
}

fn stock_norm(x: Tensor<4>, scale: Tensor<1>, shift: Tensor<1>, plan: NormPlan) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    let rows = x.reshape([n * plan.groups, c / plan.groups * h * w]);
    let centred = rows.clone() - rows.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).mean_dim(1);
    let y = (centred / (variance + plan.epsilon).sqrt()).reshape([n, c, h, w]);
    let y = y * (scale + 1.0).reshape([1, c, 1, 1]) + shift.reshape([1, c, 1, 1]);
    if plan.activation == Activation::Relu { activation::relu(y) } else { y }
}

#[test]
fn group_normalisations_and_their_gradients_are_those_of_the_stock_operations() {
    for (shape, groups) in
        [([3, 16, 9, 8], 8), ([2, 32, 7, 5], 4), ([4, 6, 3, 3], 3), ([2, 40, 2, 2], 1), ([1, 5, 1, 4], 1)]
    {
        for activation in [Activation::None, Activation::Relu] {
            let plan = NormPlan { groups, epsilon: 1e-5, activation };
            let [_, c, ..] = shape;
            let expected = passes(shape, [c], |x, w, b| stock_norm(x, w, b, plan), c);
            for level in Level::all() {
                force(level);
                let found = passes(shape, [c], |x, w, b| norm(x, w, b, plan), c);
                compare(&format!("{shape:?} {plan:?} {level:?}"), found, expected.clone());
            }
        }
    }
}

#[test]
fn a_cut_sum_hands_its_gradient_to_both_terms() {
    let shape = [2, 3, 5, 4];
    let both = |own: bool| {
        let (x, w) = (tracked("x", shape), tracked("w", shape));
        let y = if own { add_relu(x.clone(), w.clone()) } else { activation::relu(x.clone() + w.clone()) };
        let grads = (y.clone() * random("dy", shape).autodiff()).sum().backward();
        [values(y.inner()), values(x.grad(&grads).unwrap()), values(w.grad(&grads).unwrap())]
    };
    assert_eq!(both(true), both(false));
}

#[test]
fn the_gradients_of_two_branches_are_added() {
    let (shape, plan) = ([2, 3, 5, 4], ConvPlan { stride: 1, padding: 1, pool_relu: false });
    let both = |own: bool| {
        let (x, w, b) = (tracked("x", shape), tracked("w", [3, 3, 3, 3]), tracked("b", [3]));
        let [main, shortcut] = if own { branches(x.clone()) } else { [x.clone(), x.clone()] };
        let y = add_relu(conv(main, w, b, plan), shortcut);
        let grads = (y.clone() * random("dy", shape).autodiff()).sum().backward();
        [values(y.inner()), values(x.grad(&grads).unwrap())]
    };
    assert_eq!(both(true), both(false));
}

#[test]
fn after_the_first_a_step_of_a_residual_net_asks_for_no_memory_for_images() {
    use crate::architectures::architecture;
    use crate::data::ImageShape;
    use crate::parameters::{ParamSpec, Weights};
    let net = architecture("resnet").unwrap();
    let specs: Vec<ParamSpec> = net.parameters(ImageShape { channels: 3, height: 32, width: 32 }).unwrap();
    let weights: Vec<Tensor<1>> = specs.iter().map(|s| random(&s.name, [s.shape.iter().product()])).collect();
    let step = || {
        let tracked: Vec<Tensor<1>> = weights.iter().map(|w| w.clone().autodiff().require_grad()).collect();
        let images = random("images", [4, 3, 32, 32]).autodiff();
        let features = net.forward(&mut Weights::new("resnet", &specs, &tracked), images).unwrap();
        let mut grads = features.sum().backward();
        for (weight, tracked) in weights.iter().zip(tracked) {
            _ = blend(1.0, weight.clone(), -0.1, tracked.grad_remove(&mut grads).unwrap());
        }
    };
    step();
    step();
    let before = scratch::fresh();
    step();
    assert_eq!(scratch::fresh(), before);
}

#[test]
fn views_and_transposed_tensors_are_read_as_they_are_meant() {
    let plan = ConvPlan { stride: 1, padding: 0, pool_relu: false };
    let images = random("views", [6, 7, 8, 3]).permute([0, 3, 1, 2]).narrow(0, 2, 3);
    let (weight, bias) = (random("w", [4, 3, 3, 3]), random("b", [4]));
    let found = conv(images.clone(), weight.clone(), bias.clone(), plan);
    assert_close("conv", values(found), values(stock_conv(images.clone(), weight, bias, plan)));
    assert_eq!(values(flatten(images.clone())), values(images.reshape([3, 168])));
    let (x, w, b) =
        (random("x", [9, 6]).transpose().narrow(0, 1, 4), random("w2", [5, 9]).transpose(), random("b2", [5]));
    let expected = x.clone().matmul(w.clone()) + b.clone().unsqueeze::<2>();
    assert_close("dense", values(dense(x, w, b, Activation::None)), values(expected));
}

#[test]
fn of_equal_pixels_the_first_gets_the_gradient_and_of_cut_ones_none() {
    let x = Tensor::<4>::ones([1, 1, 2, 2], &Device::flex()).autodiff().require_grad();
    let plan = ConvPlan { stride: 1, padding: 0, pool_relu: true };
    for (weight, expected) in [(1.0, [1.0, 0.0, 0.0, 0.0]), (-1.0, [0.0; 4])] {
        let w = Tensor::<4>::full([1, 1, 1, 1], weight, &Device::flex()).autodiff();
        let b = Tensor::<1>::zeros([1], &Device::flex()).autodiff();
        let grads = conv(x.clone(), w, b, plan).sum().backward();
        assert_eq!(values(x.grad(&grads).unwrap()), expected);
    }
}

#[test]
fn what_is_not_a_number_stays_so() {
    let nan = |shape: [usize; 4]| Tensor::<4>::full(shape, f32::NAN, &Device::flex());
    let plan = ConvPlan { stride: 1, padding: 0, pool_relu: true };
    let y = conv(nan([1, 1, 4, 4]), random("w", [3, 1, 3, 3]), random("b", [3]), plan);
    assert!(values(y).iter().all(|y| y.is_nan()));
    let y = dense(random("x", [2, 3]) * f32::NAN, random("w", [3, 4]), random("b", [4]), Activation::Relu);
    assert!(values(y).iter().all(|y| y.is_nan()));
}

#[test]
fn a_step_is_taken_in_place_and_never_seen_by_other_owners() {
    for n in [1, 15, 16, 17, 100] {
        let (y, x) = (random("y", [n]), random("x", [n]));
        let (y_before, x_before) = (values(y.clone()), values(x.clone()));
        let expected: Vec<f32> = y_before.iter().zip(&x_before).map(|(y, x)| 0.5 * y - 2.0 * x).collect();
        for level in Level::all() {
            force(level);
            assert_close("blend", values(blend(0.5, y.clone(), -2.0, x.clone())), expected.clone());
        }
        assert_eq!((values(y), values(x)), (y_before, x_before));
    }
}

#[test]
fn threads_side_by_side_compute_the_same_bits() {
    let run = || {
        let plan = ConvPlan { stride: 1, padding: 0, pool_relu: true };
        (0..3).map(|_| passes([5, 3, 12, 12], [20, 3, 5, 5], |x, w, b| conv(x, w, b, plan), 20)).collect::<Vec<_>>()
    };
    let alone = run();
    let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(run)).collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), alone);
    }
}

#[test]
fn only_numbers_of_32_bits_on_the_cpu_are_served() {
    assert!(serves(&random("x", [2])) && serves(&random("x", [2]).autodiff()));
    assert!(!serves(&random("x", [2]).cast(burn::tensor::DType::F64)));
}
