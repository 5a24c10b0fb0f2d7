//! The kernels as operations of burn, with backward passes.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, backend_extension};

use super::image;
use super::layers::{
    ConvSaved, DenseSaved, NormSaved, conv_backward, conv_forward, dense_backward, dense_forward, flatten,
    norm_backward, norm_forward, unflatten,
};
use super::residual::{Meeting, add_relu_backward, add_relu_forward};

/// What a convolution does besides its product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConvPlan {
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    /// 2x2 maximum and `ReLU` behind it.
    pub(crate) pool_relu: bool,
}

/// What follows a fully connected layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    None,
    Relu,
}

/// A group normalisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct NormPlan {
    pub(crate) groups: usize,
    /// Added to a variance before its root is taken.
    pub(crate) epsilon: f32,
    pub(crate) activation: Activation,
}

/// The operations that only the CPU device has.
#[backend_extension(Flex, Autodiff)]
pub(super) trait TrainingOps: Backend {
    fn conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        plan: ConvPlan,
    ) -> FloatTensor<Self>;
    fn dense(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self>;
    fn flatten(x: FloatTensor<Self>) -> FloatTensor<Self>;
    fn norm(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        plan: NormPlan,
    ) -> FloatTensor<Self>;
    fn add_relu(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self>;
    fn branch(x: FloatTensor<Self>, meeting: Meeting) -> FloatTensor<Self>;
}

impl TrainingOps for Flex {
    fn conv(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, plan: ConvPlan) -> FlexTensor {
        conv_forward(x, weight, &bias, plan).0
    }

    fn dense(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, activation: Activation) -> FlexTensor {
        dense_forward(x, weight, &bias, activation).0
    }

    fn flatten(x: FlexTensor) -> FlexTensor {
        flatten(x)
    }

    fn norm(x: FlexTensor, scale: FlexTensor, shift: FlexTensor, plan: NormPlan) -> FlexTensor {
        norm_forward(x, scale, &shift, plan).0
    }

    fn add_relu(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        add_relu_forward(a, b)
    }

    fn branch(x: FlexTensor, _: Meeting) -> FlexTensor {
        x
    }
}

/// Hands gradients to the parents that want them.
fn register<const N: usize>(parents: [Option<NodeId>; N], found: [Option<FlexTensor>; N], grads: &mut Gradients) {
    for (parent, gradient) in parents.into_iter().zip(found) {
        if let (Some(parent), Some(gradient)) = (parent, gradient) {
            grads.register::<Flex>(parent, gradient);
        }
    }
}

#[derive(Debug)]
struct Conv;

impl Backward<Flex, 3> for Conv {
    type State = ConvSaved;

    fn backward(self, ops: Ops<ConvSaved, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = conv_backward(ops.state, dy, wanted);
        register(ops.parents.map(|p| p.map(|p| p.id)), found, grads);
    }
}

#[derive(Debug)]
struct Dense;

impl Backward<Flex, 3> for Dense {
    type State = DenseSaved;

    fn backward(self, ops: Ops<DenseSaved, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = dense_backward(ops.state, dy, wanted);
        register(ops.parents.map(|p| p.map(|p| p.id)), found, grads);
    }
}

#[derive(Debug)]
struct Flatten;

impl Backward<Flex, 1> for Flatten {
    type State = [usize; 4];

    fn backward(self, ops: Ops<[usize; 4], 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        if let [Some(parent)] = ops.parents {
            grads.register::<Flex>(parent.id, unflatten(dy, ops.state));
        }
    }
}

#[derive(Debug)]
struct Normalise;

impl Backward<Flex, 3> for Normalise {
    type State = NormSaved;

    fn backward(self, ops: Ops<NormSaved, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = norm_backward(ops.state, dy, wanted);
        register(ops.parents.map(|p| p.map(|p| p.id)), found, grads);
    }
}

#[derive(Debug)]
struct Join;

impl Backward<Flex, 2> for Join {
    type State = FlexTensor;

    fn backward(self, ops: Ops<FlexTensor, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        let both = add_relu_backward(ops.state, dy);
        register(ops.parents.map(|p| p.map(|p| p.id)), [Some(both.clone()), Some(both)], grads);
    }
}

#[derive(Debug)]
struct Branch;

impl Backward<Flex, 1> for Branch {
    type State = Meeting;

    fn backward(self, ops: Ops<Meeting, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        if let ([Some(parent)], Some(sum)) = (ops.parents, ops.state.come(dy)) {
            grads.register::<Flex>(parent.id, sum);
        }
    }
}

impl<C: CheckpointStrategy> TrainingOps for Autodiff<Flex, C> {
    fn conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        plan: ConvPlan,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let (y, saved) = conv_forward(x.into_primitive(), weight.into_primitive(), &bias.into_primitive(), plan);
        match Conv.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(saved, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn dense(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let (y, saved) = dense_forward(x.into_primitive(), weight.into_primitive(), &bias.into_primitive(), activation);
        match Dense.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(saved, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn flatten(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let x = x.into_primitive();
        let shape = image::dims(&x);
        match Flatten.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(shape, flatten(x)),
            OpsKind::UnTracked(prep) => prep.finish(flatten(x)),
        }
    }

    fn norm(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        plan: NormPlan,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), scale.node(), shift.node()];
        let (y, saved) = norm_forward(x.into_primitive(), scale.into_primitive(), &shift.into_primitive(), plan);
        match Normalise.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(saved, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn add_relu(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [a.node(), b.node()];
        let y = add_relu_forward(a.into_primitive(), b.into_primitive());
        match Join.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(y.clone(), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn branch(x: FloatTensor<Self>, meeting: Meeting) -> FloatTensor<Self> {
        match Branch.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(meeting, x.into_primitive()),
            OpsKind::UnTracked(prep) => prep.finish(x.into_primitive()),
        }
    }
}
