//! What a run left behind in the nodes' folders.

use std::collections::{BTreeMap, BTreeSet};

use fedswarm_protocol::envelope::{Kind, Verifier};
use fedswarm_protocol::hash::Digest;

use crate::journal::Seen;

/// What a run left behind, the same on all nodes.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// State hashes of the nodes' last rounds.
    pub(crate) states: BTreeSet<Digest>,
    /// Record hash and number of inputs by round.
    pub(crate) rounds: BTreeMap<u64, (Digest, u16)>,
    /// Epoch by round.
    pub(crate) epochs: BTreeMap<u64, u32>,
    /// Signed inputs by round, as any node kept them.
    pub(crate) inputs: BTreeMap<u64, Vec<Vec<u8>>>,
    pub(crate) seen: Vec<Seen>,
}

impl Outcome {
    /// Those whose updates are among the inputs of the round, as far as anybody kept them: their places in its epoch.
    pub(crate) fn authors(&self, round: u64) -> BTreeSet<u16> {
        let inputs = self.inputs.get(&round).map(Vec::as_slice).unwrap_or_default();
        inputs.iter().filter_map(|bytes| Verifier::peek(bytes)).map(|(_, author)| author).collect()
    }

    /// Whether this signed update is among the inputs of the round.
    pub(crate) fn has_update(&self, round: u64, update: &[u8]) -> bool {
        self.inputs.get(&round).is_some_and(|inputs| inputs.iter().any(|input| input == update))
    }
}

/// The update among signed statements.
pub(crate) fn update_of(statements: &[Vec<u8>]) -> Option<&Vec<u8>> {
    statements.iter().find(|bytes| Verifier::peek(bytes).is_some_and(|(slot, _)| slot.kind == Kind::Update))
}
