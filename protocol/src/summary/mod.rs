//! What all derive from a round's certified prototypes: the part of the certified state that nobody sends.
//!
//! In the papers a server makes something of what its clients upload and sends that back. Here every voter makes it of the round's
//! certified list, as it makes the merge, and the result stands behind the merged tensors in the certified state. So it is certified
//! with them, a newcomer fetches it with them, an auditor derives it again, and no aggregator can choose it. All arithmetic is in
//! integers, or in double precision with the four basic operations and the square root, in one order: the same bits everywhere.
//!
//! ```text
//! certified state:   merged tensors (the manifest's schema) | derived tensors (this module)
//! in an update:      delta of the merged tensors            | the author's prototypes
//! ```

mod descent;
mod exact;
#[cfg(test)]
mod golden;
mod head;
mod means;
mod targets;

pub use descent::{Descent, MAX_EPOCHS};
use serde::{Deserialize, Serialize};
pub use targets::Apart;

use crate::prototypes::PrototypeSpec;
use crate::tensor::{FixedVector, Schema, TensorSpec};

/// What is derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Summary {
    /// The mean prototype of each class over its authors, each author counting once. A class of which a round has none keeps its
    /// last mean.
    Means,
    /// A linear head, trained on the prototypes from the head before.
    Head(Descent),
    /// Class prototypes, trained on the list's from those before to keep a margin between classes.
    Targets(Apart),
}

impl Summary {
    /// Whether its numbers make sense.
    #[must_use]
    pub const fn fits(&self) -> bool {
        match self {
            Self::Means => true,
            Self::Head(descent) => descent.fits(),
            Self::Targets(apart) => apart.descent.fits(),
        }
    }

    /// The derived tensors of a task with so many classes, in layout order.
    #[must_use]
    pub fn tensors(&self, prototypes: &PrototypeSpec, classes: usize) -> Vec<TensorSpec> {
        match self {
            Self::Means => means::tensors(prototypes, classes),
            Self::Head(_) => head::tensors(prototypes, classes),
            Self::Targets(_) => targets::tensors(prototypes, classes),
        }
    }

    /// The derived tensors after a round, of those before it and the certified list of the round.
    ///
    /// Whoever made the list has checked it ([`PrototypeSpec::check`]), and `before` is of [`Self::tensors`]' length.
    #[must_use]
    pub fn derive(&self, prototypes: &PrototypeSpec, classes: usize, before: &[i32], list: &[u8]) -> Vec<i32> {
        match self {
            Self::Means => means::derive(prototypes, classes, before, list),
            Self::Head(descent) => head::derive(descent, prototypes, classes, before, list),
            Self::Targets(apart) => targets::derive(apart, prototypes, classes, before, list),
        }
    }
}

/// The certified state's tensors: those that are merged, and behind them those that are derived.
#[must_use]
pub fn state_schema(merged: &Schema, prototypes: Option<&PrototypeSpec>, classes: usize) -> Schema {
    let derived = prototypes.and_then(|spec| Some(spec.summary?.tensors(spec, classes)));
    Schema { tensors: merged.tensors.iter().cloned().chain(derived.into_iter().flatten()).collect() }
}

/// The certified state after a round: what was merged, and what follows from the state before and the list.
#[must_use]
pub fn next_state(
    merged: FixedVector,
    prototypes: Option<&PrototypeSpec>,
    classes: usize,
    before: &[i32],
    list: &[u8],
) -> FixedVector {
    let FixedVector(mut state) = merged;
    if let Some((spec, summary)) = prototypes.and_then(|spec| Some((spec, spec.summary?))) {
        state.extend(summary.derive(spec, classes, before, list));
    }
    FixedVector(state)
}
