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
//!
//! Some methods derive something for each member alone - a row - from the round's updates themselves, which are then not merged, and
//! some go on from something that no member needs in order to train. Both are blobs of their own, which the state names ([`State`]).

mod attention;
mod derivation;
mod descent;
mod exact;
#[cfg(test)]
mod golden;
mod head;
mod means;
mod state;
mod targets;

pub use attention::Attention;
pub use derivation::{Author, Derivation, Round};
pub use descent::{Descent, MAX_EPOCHS};
use serde::{Deserialize, Serialize};
pub use state::{LoadError, State};
pub use targets::Apart;

use crate::prototypes::PrototypeSpec;
use crate::tensor::{Schema, TensorSpec};

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
    /// A model for each member, mixed of those that the round's authors sent: the nearer another's is, the more of it.
    Attention(Attention),
}

impl Summary {
    /// Whether its numbers make sense.
    #[must_use]
    pub const fn fits(&self) -> bool {
        match self {
            Self::Means => true,
            Self::Head(descent) => descent.fits(),
            Self::Targets(apart) => apart.descent.fits(),
            Self::Attention(attention) => attention.fits(),
        }
    }

    /// Whether prototypes of this length are what it reads; 0 where authors publish none.
    #[must_use]
    pub const fn reads(&self, len: u16) -> bool {
        match self {
            Self::Means | Self::Head(_) | Self::Targets(_) => len > 0,
            Self::Attention(_) => len == 0,
        }
    }

    /// Whether updates are deltas whose mean is merged into the state; otherwise they are whatever this reads, and none of it is
    /// in the state.
    #[must_use]
    pub const fn merges(&self) -> bool {
        match self {
            Self::Means | Self::Head(_) | Self::Targets(_) => true,
            Self::Attention(_) => false,
        }
    }

    /// Whether it reads the updates themselves. If not, they are forgotten one after the other as they are merged.
    #[must_use]
    pub const fn reads_updates(&self) -> bool {
        matches!(self, Self::Attention(_))
    }

    /// The derived tensors of a task with so many classes, in layout order.
    #[must_use]
    pub fn tensors(&self, prototypes: &PrototypeSpec, classes: usize) -> Vec<TensorSpec> {
        match self {
            Self::Means => means::tensors(prototypes, classes),
            Self::Head(_) => head::tensors(prototypes, classes),
            Self::Targets(_) => targets::tensors(prototypes, classes),
            Self::Attention(_) => Vec::new(),
        }
    }

    /// The tensors of one member's row, of updates of this schema; nothing if there are no rows.
    #[must_use]
    pub fn row(&self, updates: &Schema) -> Option<Schema> {
        match self {
            Self::Means | Self::Head(_) | Self::Targets(_) => None,
            Self::Attention(_) => Some(updates.clone()),
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
            Self::Attention(_) => Vec::new(),
        }
    }
}

/// The tensors that all members take in: those that are merged, and behind them those that are derived for all.
#[must_use]
pub fn state_schema(updates: &Schema, prototypes: Option<&PrototypeSpec>, classes: usize) -> Schema {
    let derived = prototypes.and_then(|spec| Some(spec.summary?.tensors(spec, classes)));
    let merges = prototypes.and_then(|spec| spec.summary).is_none_or(|summary| summary.merges());
    let merged = updates.tensors.iter().filter(|_| merges).cloned();
    Schema { tensors: merged.chain(derived.into_iter().flatten()).collect() }
}
