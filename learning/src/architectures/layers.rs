//! Layers, as functions that take their weights from a [`Weights`] view.

use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Tensor, activation, module};

use crate::Error;
use crate::kernels::{self, Activation, ConvPlan, NormPlan};
use crate::parameters::Weights;

/// Added to a variance before its root is taken (PyTorch's default).
pub const NORM_EPSILON: f64 = 1e-5;

/// A fully connected layer: takes weight `[inputs, outputs]` and bias.
///
/// # Errors
/// [`Error::Architecture`] if the next parameters are not of that form.
pub fn linear(w: &mut Weights<'_>, x: Tensor<2>) -> Result<Tensor<2>, Error> {
    dense(w, x, Activation::None)
}

/// [`linear`], then [`relu`].
///
/// # Errors
/// As [`linear`].
pub fn linear_relu(w: &mut Weights<'_>, x: Tensor<2>) -> Result<Tensor<2>, Error> {
    dense(w, x, Activation::Relu)
}

fn dense(w: &mut Weights<'_>, x: Tensor<2>, activation: Activation) -> Result<Tensor<2>, Error> {
    let weight = w.take::<2>()?;
    let bias = w.take::<1>()?;
    let ([_, width], [inputs, outputs], [biases]) = (x.dims(), weight.dims(), bias.dims());
    if width != inputs || biases != outputs {
        let reason = format!("a layer of {inputs} inputs, {outputs} outputs, {biases} biases gets {width} inputs");
        return Err(w.refusal(reason));
    }
    if kernels::serves(&x) && kernels::serves(&weight) && kernels::serves(&bias) {
        return Ok(kernels::dense(x, weight, bias, activation));
    }
    let y = x.matmul(weight) + bias.unsqueeze::<2>();
    Ok(if activation == Activation::Relu { relu(y) } else { y })
}

/// A convolution with a square kernel: takes weight `[out, in, k, k]` and bias.
///
/// # Errors
/// [`Error::Architecture`] if the next parameters are not of that form or the image is too small.
pub fn conv(w: &mut Weights<'_>, x: Tensor<4>, stride: usize, padding: usize) -> Result<Tensor<4>, Error> {
    convolve(w, x, ConvPlan { stride, padding, pool_relu: false })
}

/// [`conv`], [`max_pool`] and [`relu`], in one pass where the device allows.
///
/// # Errors
/// As [`conv`].
pub fn conv_pool_relu(w: &mut Weights<'_>, x: Tensor<4>, stride: usize, padding: usize) -> Result<Tensor<4>, Error> {
    convolve(w, x, ConvPlan { stride, padding, pool_relu: true })
}

fn convolve(w: &mut Weights<'_>, x: Tensor<4>, plan: ConvPlan) -> Result<Tensor<4>, Error> {
    let weight = w.take::<4>()?;
    let bias = w.take::<1>()?;
    let ([_, channels, height, width], [outputs, inputs, kernel, across], [biases]) =
        (x.dims(), weight.dims(), bias.dims());
    let side = height.min(width) + 2 * plan.padding;
    let least = if plan.pool_relu { kernel + plan.stride } else { kernel };
    if channels != inputs || kernel != across || biases != outputs || side < least || plan.stride == 0 || kernel == 0 {
        let reason = format!(
            "a convolution with weight {:?}, {biases} biases and {plan:?} does not fit {channels} channels of {height}x{width}",
            weight.dims()
        );
        return Err(w.refusal(reason));
    }
    if kernels::serves(&x) && kernels::serves(&weight) && kernels::serves(&bias) {
        return Ok(kernels::conv(x, weight, bias, plan));
    }
    let options = ConvOptions::new([plan.stride; 2], [plan.padding; 2], [1; 2], 1);
    let y = module::conv2d(x, weight, Some(bias), options);
    // ReLU and maximum may change places; after pooling there is a quarter to do.
    Ok(if plan.pool_relu { relu(max_pool(y)) } else { y })
}

/// Layer normalisation of rows: takes scale (as its offset from one) and shift.
///
/// # Errors
/// [`Error::Architecture`] if the next parameters are not of that form.
pub fn layer_norm(w: &mut Weights<'_>, x: Tensor<2>) -> Result<Tensor<2>, Error> {
    let scale = w.take::<1>()? + 1.0;
    let shift = w.take::<1>()?;
    Ok(standardise(x) * scale.unsqueeze::<2>() + shift.unsqueeze::<2>())
}

/// Group normalisation of channels: takes scale (as its offset from one) and shift per channel. Unlike batch
/// normalisation it has no running statistics, so there is nothing that a merge could forget.
///
/// # Errors
/// [`Error::Architecture`] if the next parameters are not of that form or the channels do not make `groups` equal groups.
pub fn group_norm(w: &mut Weights<'_>, x: Tensor<4>, groups: usize) -> Result<Tensor<4>, Error> {
    normalise(w, x, groups, Activation::None)
}

/// [`group_norm`], then [`relu`].
///
/// # Errors
/// As [`group_norm`].
pub fn group_norm_relu(w: &mut Weights<'_>, x: Tensor<4>, groups: usize) -> Result<Tensor<4>, Error> {
    normalise(w, x, groups, Activation::Relu)
}

fn normalise(w: &mut Weights<'_>, x: Tensor<4>, groups: usize, activation: Activation) -> Result<Tensor<4>, Error> {
    let [n, c, height, width] = x.dims();
    let (scale, shift) = (w.take::<1>()?, w.take::<1>()?);
    if scale.dims() != [c] || shift.dims() != [c] || groups == 0 || c % groups != 0 {
        let reason = format!(
            "a normalisation of {groups} groups with {:?} scales and {:?} shifts does not fit {c} channels",
            scale.dims(),
            shift.dims()
        );
        return Err(w.refusal(reason));
    }
    if kernels::serves(&x) && kernels::serves(&scale) && kernels::serves(&shift) {
        return Ok(kernels::norm(x, scale, shift, NormPlan { groups, epsilon: NORM_EPSILON as f32, activation }));
    }
    let rows = standardise(x.reshape([n * groups, c / groups * height * width]));
    let y = rows.reshape([n, c, height, width]) * (scale + 1.0).reshape([1, c, 1, 1]) + shift.reshape([1, c, 1, 1]);
    Ok(if activation == Activation::Relu { relu(y) } else { y })
}

/// One image for two branches, both of which must reach the loss: where a residual block begins.
#[must_use]
pub fn branches(x: Tensor<4>) -> [Tensor<4>; 2] {
    if kernels::serves(&x) { kernels::branches(x) } else { [x.clone(), x] }
}

/// `max(a + b, 0)` of equal shapes: where a residual block ends.
#[must_use]
pub fn add_relu(a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
    if a.dims() == b.dims() && kernels::serves(&a) && kernels::serves(&b) {
        return kernels::add_relu(a, b);
    }
    relu(a + b)
}

/// Rows of mean 0 and variance 1.
fn standardise(x: Tensor<2>) -> Tensor<2> {
    let centred = x.clone() - x.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).mean_dim(1);
    centred / (variance + NORM_EPSILON).sqrt()
}

/// `max(x, 0)`.
#[must_use]
pub fn relu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::relu(x)
}

/// The maximum of each 2x2 window.
#[must_use]
pub fn max_pool(x: Tensor<4>) -> Tensor<4> {
    module::max_pool2d(x, MaxPoolOptions::new([2, 2]))
}

/// `[n, c, h, w]` to `[n, c * h * w]`.
#[must_use]
pub fn flatten(x: Tensor<4>) -> Tensor<2> {
    if kernels::serves(&x) {
        return kernels::flatten(x);
    }
    let [n, c, height, width] = x.dims();
    x.reshape([n, c * height * width])
}
