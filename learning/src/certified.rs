//! The certified state of a network, without the network: what a single process agrees on with itself.
//!
//! Nodes merge the signed payloads of others; here the updates of all members are at hand. Both go through the protocol's merge, in
//! fixed point, so that both end in the same bits if the same members trained the same rounds.

use fedswarm_protocol::hash::{Digest, hash};
use fedswarm_protocol::keys::PublicKey;
use fedswarm_protocol::merge::Merge;
use fedswarm_protocol::payload::Payload;
use fedswarm_protocol::prototypes::ListName;
use fedswarm_protocol::record::state_hash;
use fedswarm_protocol::summary::{Derivation, State};
use fedswarm_protocol::tensor::{FixedVector, Schema};

use crate::Error;
use crate::methods::{LocalUpdate, Method, Task};

/// A method's certified state, round by round.
#[derive(Clone, Debug)]
pub struct Certified {
    derivation: Derivation,
    common: Schema,
    /// What the members are known by, in their order; those beyond have keys drawn from their number.
    members: Vec<PublicKey>,
    state: State,
    /// Rows that members were given, in the round in which they were last given one.
    rows: std::collections::BTreeMap<PublicKey, FixedVector>,
    list: ListName,
}

impl Certified {
    /// The state at genesis.
    ///
    /// # Errors
    /// As [`Method::schema`] and [`Method::prototypes`].
    pub fn genesis(method: &dyn Method, task: &Task, seed: &Digest) -> Result<Self, Error> {
        let (schema, prototypes) = (method.schema(task)?, method.prototypes(task)?);
        let derivation = Derivation { schema, prototypes, classes: task.classes, seed: *seed };
        let (common, state) = (derivation.common(), derivation.genesis());
        Ok(Self { derivation, common, members: Vec::new(), state, rows: <_>::default(), list: ListName::default() })
    }

    /// The same, of members with these keys: a network's founders, say.
    #[must_use]
    pub fn among(mut self, members: Vec<PublicKey>) -> Self {
        self.members = members;
        self
    }

    fn key(&self, member: usize) -> PublicKey {
        let drawn = || PublicKey(hash("member of a loop", &(member as u64).to_le_bytes()).0);
        self.members.get(member).copied().unwrap_or_else(drawn)
    }

    /// What all members install, unless each has a row of its own.
    ///
    /// # Errors
    /// None: the state has its schema's length.
    pub fn floats(&self) -> Result<Vec<f32>, Error> {
        Ok(self.common.dequantise(&self.state.common)?)
    }

    /// What the member with this number installs: [`Self::floats`], and behind it its own row, if there are rows.
    ///
    /// # Errors
    /// None: state and row have their schemas' lengths.
    pub fn floats_of(&self, member: usize) -> Result<Vec<f32>, Error> {
        let mut floats = self.floats()?;
        if let Some(schema) = self.derivation.row() {
            let key = self.key(member);
            let row = self.rows.get(&key).map_or_else(|| self.derivation.first_row(&key), FixedVector::clone);
            floats.extend(schema.dequantise(&row)?);
        }
        Ok(floats)
    }

    /// Numbers that a peer takes in after a round.
    #[must_use]
    pub fn len(&self) -> usize {
        self.derivation.own().len()
    }

    /// Whether the method shares nothing that is merged or derived.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A round in which all these members' updates were accepted, in the members' order.
    ///
    /// # Errors
    /// Updates that do not fit the method, or a merge that leaves its range.
    pub fn round(&mut self, updates: &[LocalUpdate]) -> Result<(), Error> {
        let mut merge = Merge::of(self.derivation.clone());
        for (author, update) in (0u16..).zip(updates) {
            let delta = self.derivation.schema.quantise(&update.delta)?;
            let mut prototypes = Vec::new();
            if let Some(spec) = &self.derivation.prototypes {
                let own = update.prototypes.iter().map(|p| (p.class, p.values.as_slice()));
                // A task has at most 2^16 classes.
                prototypes = spec.encode(own, self.derivation.classes as u16)?;
            }
            merge.add(author, &Payload { delta, prototypes: &prototypes }, update.samples)?;
        }
        let members: Vec<PublicKey> = (0..updates.len().max(self.members.len())).map(|i| self.key(i)).collect();
        let result = merge.finish(&self.state, &members)?;
        self.list = result.named(Digest::ZERO).prototypes;
        if let Some(schema) = self.derivation.row() {
            for key in members {
                if let Some(row) = result.state.fresh_row(&key) {
                    self.rows.insert(key, FixedVector::from_bytes(row, &schema)?);
                }
            }
        }
        self.state = result.state.settled();
        Ok(())
    }

    /// What a network's record with this state has as its state hash.
    #[must_use]
    pub fn hash(&self) -> Digest {
        state_hash(&self.state.root(), &self.list.root, &Digest::ZERO)
    }
}
