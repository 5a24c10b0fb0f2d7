//! Layers, as functions that take their weights from a [`Weights`] view.

use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Tensor, activation, module};

use crate::Error;
use crate::parameters::Weights;

/// Added to a variance before its root is taken (PyTorch's default).
pub const NORM_EPSILON: f64 = 1e-5;

/// A fully connected layer: takes weight `[inputs, outputs]` and bias.
///
/// # Errors
/// [`Error::Architecture`] if the next parameters are not of that form.
pub fn linear(w: &mut Weights<'_>, x: Tensor<2>) -> Result<Tensor<2>, Error> {
    let weight = w.take::<2>()?;
    let bias = w.take::<1>()?;
    Ok(x.matmul(weight) + bias.unsqueeze::<2>())
}

/// A convolution with a square kernel: takes weight `[out, in, k, k]` and bias.
///
/// # Errors
/// [`Error::Architecture`] if the next parameters are not of that form.
pub fn conv(w: &mut Weights<'_>, x: Tensor<4>, stride: usize, padding: usize) -> Result<Tensor<4>, Error> {
    let weight = w.take::<4>()?;
    let bias = w.take::<1>()?;
    let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1);
    Ok(module::conv2d(x, weight, Some(bias), options))
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
/// [`Error::Architecture`] if the next parameters are not of that form.
pub fn group_norm(w: &mut Weights<'_>, x: Tensor<4>, groups: usize) -> Result<Tensor<4>, Error> {
    let [n, c, height, width] = x.dims();
    let scale = (w.take::<1>()? + 1.0).reshape([1, c, 1, 1]);
    let shift = w.take::<1>()?.reshape([1, c, 1, 1]);
    let rows = standardise(x.reshape([n * groups, c / groups * height * width]));
    Ok(rows.reshape([n, c, height, width]) * scale + shift)
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
    let [n, c, height, width] = x.dims();
    x.reshape([n, c * height * width])
}
