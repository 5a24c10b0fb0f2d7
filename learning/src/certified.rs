//! The certified state of a network, without the network: what a single process agrees on with itself.
//!
//! Nodes merge the signed payloads of others; here the updates of all members are at hand. Both go through the protocol's merge, in
//! fixed point, so that both end in the same bits if the same members trained the same rounds.

use fedswarm_protocol::blob;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::merge::WeightedMean;
use fedswarm_protocol::prototypes::{ListName, PrototypeSpec};
use fedswarm_protocol::record::state_hash;
use fedswarm_protocol::summary::{next_state, state_schema};
use fedswarm_protocol::tensor::{FixedVector, Schema};

use crate::Error;
use crate::methods::{LocalUpdate, Method, Task};

/// A method's certified state, round by round.
#[derive(Clone, Debug)]
pub struct Certified {
    merged: Schema,
    prototypes: Option<PrototypeSpec>,
    classes: usize,
    whole: Schema,
    state: FixedVector,
    list: ListName,
}

impl Certified {
    /// The state at genesis.
    ///
    /// # Errors
    /// As [`Method::schema`] and [`Method::prototypes`].
    pub fn genesis(method: &dyn Method, task: &Task, seed: &Digest) -> Result<Self, Error> {
        let (merged, prototypes, classes) = (method.schema(task)?, method.prototypes(task)?, task.classes);
        let whole = state_schema(&merged, prototypes.as_ref(), classes);
        let state = whole.genesis(seed);
        Ok(Self { merged, prototypes, classes, whole, state, list: ListName::default() })
    }

    /// What members install.
    ///
    /// # Errors
    /// None: the state has its schema's length.
    pub fn floats(&self) -> Result<Vec<f32>, Error> {
        Ok(self.whole.dequantise(&self.state)?)
    }

    /// Numbers that a peer takes in after a round.
    #[must_use]
    pub fn len(&self) -> usize {
        self.whole.len()
    }

    /// Whether the method shares nothing that is merged or derived.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty()
    }

    /// A round in which all these members' updates were accepted, in the members' order.
    ///
    /// # Errors
    /// Updates that do not fit the method, or a merge that leaves its range.
    pub fn round(&mut self, updates: &[LocalUpdate]) -> Result<(), Error> {
        let mut mean = WeightedMean::new(self.merged.len());
        let mut list = Vec::new();
        for (author, update) in (0u16..).zip(updates) {
            mean.add(&self.merged.quantise(&update.delta)?, update.samples)?;
            if let Some(spec) = &self.prototypes {
                let own = update.prototypes.iter().map(|p| (p.class, p.values.as_slice()));
                // A task has at most 2^16 classes.
                spec.append(&mut list, author, &spec.encode(own, self.classes as u16)?);
            }
        }
        let (before, derived) = self.state.0.split_at(self.merged.len());
        let merged = mean.finish(&FixedVector(before.to_vec()))?;
        self.state = next_state(merged, self.prototypes.as_ref(), self.classes, derived, &list);
        self.list = self.prototypes.map(|spec| spec.name(&list)).unwrap_or_default();
        Ok(())
    }

    /// What a network's record with this state has as its state hash.
    #[must_use]
    pub fn hash(&self) -> Digest {
        state_hash(&blob::root(&self.state.to_bytes()), &self.list.root, &Digest::ZERO)
    }
}
