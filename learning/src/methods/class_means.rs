//! Class means that all derive from the certified prototypes ([`fedswarm_protocol::summary::Summary::Means`]), as a member sees them.

use super::{MemberSetup, part};
use crate::Error;
use crate::parameters::ParamSpec;
use crate::training::{Part, Parts};
use burn::tensor::Tensor;

/// The part's name, as the protocol names the derived tensors.
const NAME: &str = "means";

/// The part that holds them; zeros before the first round.
pub(super) fn part_of(len: usize, setup: &MemberSetup) -> Result<Part, Error> {
    let classes = setup.task.classes;
    let specs = vec![ParamSpec::new("mean", &[classes, len], 0), ParamSpec::new("known", &[classes], 0)];
    let part = part(NAME, NAME, specs, false, setup, None)?;
    Ok(Part { derived: true, fixed: true, ..part })
}

/// `[classes, len]`, and `[classes]`: 1 for classes that have a mean, 0 for others.
pub(super) fn of(parts: &Parts<'_>) -> Result<(Tensor<2>, Tensor<1>), Error> {
    let mut weights = parts.part(NAME, "class means")?;
    Ok((weights.take::<2>()?, weights.take::<1>()?))
}

/// Of each image's class, given as one-hot rows: its mean `[n, len]`, and `[n, 1]`: 1 if it has one.
pub(super) fn of_images(parts: &Parts<'_>, targets: &Tensor<2>) -> Result<(Tensor<2>, Tensor<2>), Error> {
    let (means, known) = of(parts)?;
    Ok((targets.clone().matmul(means), targets.clone().matmul(known.unsqueeze_dim(1))))
}
