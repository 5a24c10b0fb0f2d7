//! Layers over batches: which kernels run on which buffers.

use std::sync::Arc;

use burn::backend::flex::FlexTensor;

use super::conv::{self, Geometry};
use super::dense;
use super::image::{
    channels_last, crop, dims, from_channels_last, is_channels_last, pad, reclaim, row_major, tensor, transpose, values,
};
use super::machine::run;
use super::norm::{Norm, NormGradient};
use super::ops::{Activation, ConvPlan, NormPlan};
use super::pointwise::Mask;
use super::pool::{PoolRelu, Unpool};
use super::scratch::Scratch;

/// What the backward pass of a convolution needs.
#[derive(Clone, Debug)]
pub(super) struct ConvSaved {
    x: FlexTensor,
    /// Whether the storage of `x` was made here.
    turned: bool,
    weight: FlexTensor,
    /// Of [`PoolRelu`]; empty without.
    codes: Arc<Vec<u8>>,
    plan: ConvPlan,
}

/// Sizes of a batch's convolution.
struct Batch {
    n: usize,
    /// Of the image without its border.
    height: usize,
    width: usize,
    padding: usize,
    g: Geometry,
}

impl Batch {
    fn new(x: &FlexTensor, weight: &FlexTensor, plan: ConvPlan) -> Self {
        let [n, inputs, height, width] = dims(x);
        let [outputs, _, kernel, _] = dims(weight);
        let g = Geometry {
            height: height + 2 * plan.padding,
            width: width + 2 * plan.padding,
            inputs,
            outputs,
            kernel,
            stride: plan.stride,
        };
        Self { n, height, width, padding: plan.padding, g }
    }

    fn image(&self) -> usize {
        self.height * self.width * self.g.inputs
    }

    fn padded(&self) -> usize {
        self.g.height * self.g.width * self.g.inputs
    }

    fn out(&self) -> usize {
        self.g.positions() * self.g.outputs
    }

    fn weights(&self) -> usize {
        self.g.kernel * self.g.run() * self.g.outputs
    }

    /// The image with its border, in `border` if it needs one.
    fn framed<'a>(&self, image: &'a [f32], border: &'a mut Scratch) -> &'a [f32] {
        if self.padding == 0 {
            return image;
        }
        pad(image, self.width, self.g.inputs, self.padding, border);
        border
    }

    fn border(&self) -> Scratch {
        Scratch::zeros(if self.padding == 0 { 0 } else { self.padded() })
    }

    /// Shape of the output, after pooling if there is any.
    fn shape(&self, pooled: bool) -> [usize; 4] {
        let by = if pooled { 2 } else { 1 };
        [self.n, self.g.outputs, self.g.out_height() / by, self.g.out_width() / by]
    }
}

pub(super) fn conv_forward(
    x: FlexTensor,
    weight: FlexTensor,
    bias: &FlexTensor,
    plan: ConvPlan,
) -> (FlexTensor, ConvSaved) {
    let batch = Batch::new(&x, &weight, plan);
    let turned = !is_channels_last(&x);
    let (x, weight) = (channels_last(x), row_major(weight));
    let g = batch.g;
    let mut packed = Scratch::any(batch.weights());
    conv::pack(&g, values(&weight), &mut packed);
    let shape = batch.shape(plan.pool_relu);
    let mut out = Scratch::any(shape.iter().product()).into_vec();
    let mut codes = Vec::new();
    let mut border = batch.border();
    let images = values(&x).chunks_exact(batch.image());
    let bias = values(bias);
    if plan.pool_relu {
        codes = vec![0; out.len()];
        let pooled = shape[1..].iter().product();
        let mut y = Scratch::any(batch.out());
        let outs = out.chunks_exact_mut(pooled).zip(codes.chunks_exact_mut(pooled));
        for (image, (out, codes)) in images.zip(outs) {
            let x = batch.framed(image, &mut border);
            run(conv::Forward { g, x, weight: &packed, bias, y: &mut y });
            run(PoolRelu { y: &y, width: g.out_width(), channels: g.outputs, out, codes });
        }
    } else {
        for (image, y) in images.zip(out.chunks_exact_mut(batch.out())) {
            let x = batch.framed(image, &mut border);
            run(conv::Forward { g, x, weight: &packed, bias, y });
        }
    }
    (from_channels_last(out, shape), ConvSaved { x, turned, weight, codes: Arc::new(codes), plan })
}

/// Gradients of input, weight and bias, those that are wanted.
pub(super) fn conv_backward(saved: ConvSaved, dout: FlexTensor, wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
    let ConvSaved { x, turned: made, weight, codes, plan } = saved;
    let batch = Batch::new(&x, &weight, plan);
    let g = batch.g;
    let dout = channels_last(dout);
    let image = batch.image();
    let mut turned = Scratch::any(if wanted[0] { batch.weights() } else { 0 });
    if wanted[0] {
        conv::pack_turned(&g, values(&weight), &mut turned);
    }
    let mut dw = Scratch::zeros(batch.weights());
    let mut dbias = vec![0.0; g.outputs];
    let mut partial = Scratch::any(g.outputs);
    let mut dx = Scratch::zeros(if wanted[0] { batch.n * image } else { 0 }).into_vec();
    let (mut border, mut frame) = (batch.border(), batch.border());
    let mut spread = Scratch::zeros(if plan.pool_relu { batch.out() } else { 0 });
    let per_image = batch.shape(plan.pool_relu)[1..].iter().product::<usize>();
    for i in 0..batch.n {
        let dout = &values(&dout)[i * per_image..][..per_image];
        // Image by image: what one needs fits the second-level cache. Sums per image keep rounding small.
        partial.fill(0.0);
        let dy: &[f32] = if plan.pool_relu {
            let codes = &codes[i * per_image..][..per_image];
            let (width, channels) = (g.out_width(), g.outputs);
            run(Unpool { dout, codes, width, channels, dy: &mut spread, dbias: &mut partial });
            &spread
        } else {
            for row in dout.chunks_exact(g.outputs) {
                partial.iter_mut().zip(row).for_each(|(sum, d)| *sum += d);
            }
            dout
        };
        dbias.iter_mut().zip(partial.iter()).for_each(|(sum, d)| *sum += d);
        if wanted[1] {
            let x = batch.framed(&values(&x)[i * image..][..image], &mut border);
            run(conv::WeightGradient { g, x, dy, dw: &mut dw });
        }
        if wanted[0] {
            let dx = &mut dx[i * image..][..image];
            if batch.padding == 0 {
                run(conv::InputGradient { g, dy, weight: &turned, dx });
            } else {
                frame.fill(0.0);
                run(conv::InputGradient { g, dy, weight: &turned, dx: &mut frame });
                crop(&frame, batch.width, g.inputs, batch.padding, dx);
            }
        }
    }
    let dw = wanted[1].then(|| {
        let mut weight = Scratch::any(batch.weights()).into_vec();
        conv::unpack(&g, &dw, &mut weight);
        tensor(weight, [g.outputs, g.inputs, g.kernel, g.kernel])
    });
    let dx = wanted[0].then(|| from_channels_last(dx, [batch.n, g.inputs, batch.height, batch.width]));
    reclaim(dout);
    if wanted[0] || made {
        // Made by a layer of ours; what comes from elsewhere would only fill the pool.
        reclaim(x);
    }
    [dx, dw, wanted[2].then(|| tensor(dbias, [g.outputs]))]
}

/// What the backward pass of a fully connected layer needs.
#[derive(Clone, Debug)]
pub(super) struct DenseSaved {
    x: FlexTensor,
    weight: FlexTensor,
    /// Where it is not positive, `ReLU` lets no gradient through; none without `ReLU`.
    y: Option<FlexTensor>,
}

pub(super) fn dense_forward(
    x: FlexTensor,
    weight: FlexTensor,
    bias: &FlexTensor,
    activation: Activation,
) -> (FlexTensor, DenseSaved) {
    let (x, weight) = (row_major(x), row_major(weight));
    let ([n, _], [inputs, outputs]) = (dims(&x), dims(&weight));
    let mut y = Scratch::any(n * outputs).into_vec();
    run(dense::Forward { inputs, outputs, x: values(&x), weight: values(&weight), bias: values(bias), y: &mut y });
    if activation == Activation::Relu {
        // NaN stays NaN.
        y.iter_mut().for_each(|y| *y = if *y <= 0.0 { 0.0 } else { *y });
    }
    let y = tensor(y, [n, outputs]);
    let saved = (activation == Activation::Relu).then(|| y.clone());
    (y, DenseSaved { x, weight, y: saved })
}

/// Gradients of input, weight and bias, those that are wanted.
pub(super) fn dense_backward(saved: DenseSaved, dy: FlexTensor, wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
    let DenseSaved { x, weight, y } = saved;
    let ([n, _], [inputs, outputs]) = (dims(&x), dims(&weight));
    let given = row_major(dy);
    let mut dy = Scratch::any(n * outputs);
    match &y {
        Some(y) => run(Mask { y: values(y), dy: values(&given), out: &mut dy }),
        None => dy.copy_from_slice(values(&given)),
    }
    let dx = wanted[0].then(|| {
        let images = dense::whole_vectors(n);
        let mut turned = Scratch::zeros(outputs * images);
        for (image, row) in dy.chunks_exact(outputs).enumerate() {
            row.iter().zip(turned[image..].iter_mut().step_by(images)).for_each(|(from, to)| *to = *from);
        }
        let mut dx = Scratch::any(inputs * images);
        let weight = values(&weight);
        run(dense::InputGradient { outputs, images, weight, dy: &turned, dx: &mut dx });
        let mut out = Scratch::any(n * inputs).into_vec();
        for (block, rows) in dx.chunks(dense::LANES * images).enumerate() {
            let width = rows.len() / images;
            for (image, out) in out.chunks_exact_mut(inputs).enumerate() {
                let column = rows[image..].iter().step_by(images);
                out[block * dense::LANES..][..width].iter_mut().zip(column).for_each(|(to, from)| *to = *from);
            }
        }
        tensor(out, [n, inputs])
    });
    let dw = wanted[1].then(|| {
        let mut dw = Scratch::any(inputs * outputs).into_vec();
        let mut scratch = Scratch::any(dense::WeightGradient::scratch(n));
        let x = values(&x);
        run(dense::WeightGradient { inputs, outputs, x, dy: &dy, dw: &mut dw, scratch: &mut scratch });
        tensor(dw, [inputs, outputs])
    });
    let dbias = wanted[2].then(|| {
        let mut sum = vec![0.0; outputs];
        for row in dy.chunks_exact(outputs) {
            sum.iter_mut().zip(row).for_each(|(sum, d)| *sum += d);
        }
        tensor(sum, [outputs])
    });
    if wanted[0] {
        // As in a convolution.
        [Some(x), y].into_iter().flatten().for_each(reclaim);
    }
    [dx, dw, dbias]
}

/// `[n, c, h, w]` to row-major `[n, c * h * w]`.
pub(super) fn flatten(x: FlexTensor) -> FlexTensor {
    let [n, c, h, w] = dims(&x);
    let x = channels_last(x);
    let mut out = Scratch::any(n * c * h * w).into_vec();
    for (to, from) in out.chunks_exact_mut(c * h * w).zip(values(&x).chunks_exact(c * h * w)) {
        transpose(from, c, to, h * w);
    }
    tensor(out, [n, c * h * w])
}

/// The gradient of [`flatten`].
pub(super) fn unflatten(dy: FlexTensor, shape: [usize; 4]) -> FlexTensor {
    let [n, c, h, w] = shape;
    let dy = row_major(dy);
    let mut out = Scratch::any(n * c * h * w).into_vec();
    for (to, from) in out.chunks_exact_mut(c * h * w).zip(values(&dy).chunks_exact(c * h * w)) {
        transpose(from, h * w, to, c);
    }
    from_channels_last(out, shape)
}

/// What the backward pass of a group normalisation needs.
#[derive(Clone, Debug)]
pub(super) struct NormSaved {
    x: FlexTensor,
    scale: FlexTensor,
    /// Mean and inverse deviation, `[n][2][channels]`.
    statistics: Arc<Vec<f32>>,
    /// As in [`DenseSaved`].
    y: Option<FlexTensor>,
    groups: usize,
}

pub(super) fn norm_forward(
    x: FlexTensor,
    scale: FlexTensor,
    shift: &FlexTensor,
    plan: NormPlan,
) -> (FlexTensor, NormSaved) {
    let shape @ [n, c, h, w] = dims(&x);
    let x = channels_last(x);
    let NormPlan { groups, epsilon, activation } = plan;
    let relu = activation == Activation::Relu;
    let mut statistics = vec![0.0; n * 2 * c];
    let mut y = Scratch::any(n * c * h * w).into_vec();
    let outs = y.chunks_exact_mut(c * h * w).zip(statistics.chunks_exact_mut(2 * c));
    for (x, (y, statistics)) in values(&x).chunks_exact(c * h * w).zip(outs) {
        let (mean, inverse) = statistics.split_at_mut(c);
        run(Norm { groups, epsilon, relu, x, scale: values(&scale), shift: values(shift), mean, inverse, y });
    }
    let y = from_channels_last(y, shape);
    let cut = relu.then(|| y.clone());
    (y, NormSaved { x, scale, statistics: Arc::new(statistics), y: cut, groups })
}

/// Gradients of input, scale and shift, those that are wanted.
pub(super) fn norm_backward(saved: NormSaved, dy: FlexTensor, wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
    let NormSaved { x, scale, statistics, y, groups } = saved;
    let shape @ [n, c, h, w] = dims(&x);
    let dy = channels_last(dy);
    let size = c * h * w;
    let mut dx = Scratch::any(n * size).into_vec();
    let (mut dscale, mut dshift) = (vec![0.0; c], vec![0.0; c]);
    let (mut one_scale, mut one_shift) = (Scratch::any(c), Scratch::any(c));
    let (mut scratch, mut masked) = (Scratch::any(2 * c), Scratch::any(size));
    for (i, (dx, statistics)) in dx.chunks_exact_mut(size).zip(statistics.chunks_exact(2 * c)).enumerate() {
        let (mean, inverse) = statistics.split_at(c);
        let mut dy = &values(&dy)[i * size..][..size];
        if let Some(y) = &y {
            run(Mask { y: &values(y)[i * size..][..size], dy, out: &mut masked });
            dy = &masked;
        }
        run(NormGradient {
            groups,
            x: &values(&x)[i * size..][..size],
            dy,
            scale: values(&scale),
            mean,
            inverse,
            dx,
            dscale: &mut one_scale,
            dshift: &mut one_shift,
            scratch: &mut scratch,
        });
        dscale.iter_mut().zip(one_scale.iter()).for_each(|(sum, d)| *sum += d);
        dshift.iter_mut().zip(one_shift.iter()).for_each(|(sum, d)| *sum += d);
    }
    reclaim(dy);
    if wanted[0] {
        [Some(x), y].into_iter().flatten().for_each(reclaim);
    }
    [
        wanted[0].then(|| from_channels_last(dx, shape)),
        wanted[1].then(|| tensor(dscale, [c])),
        wanted[2].then(|| tensor(dshift, [c])),
    ]
}
