//! Payloads and models: which node holds what.

use std::collections::BTreeMap;
use std::sync::Arc;

use fedswarm_protocol::hash::Digest;

/// Rounds for which blobs stay after the round that last used them, as in a real node.
const KEEP_ROUNDS: u64 = 3;

/// A blob's bytes; shared, and empty where training is a matter of time only.
pub type Blob = Arc<[u8]>;

/// One node's blobs. They are on disk, so they survive a crash.
#[derive(Clone, Debug, Default)]
pub struct Blobs(BTreeMap<Digest, (u64, Blob)>);

impl Blobs {
    /// Keeps a blob for a round and the next few.
    pub fn insert(&mut self, root: Digest, round: u64, blob: Blob) {
        let entry = self.0.entry(root).or_insert((round, blob));
        entry.0 = entry.0.max(round);
    }

    /// Keeps a blob that is here for this round and the next few, too.
    pub fn keep(&mut self, root: &Digest, round: u64) {
        if let Some(entry) = self.0.get_mut(root) {
            entry.0 = entry.0.max(round);
        }
    }

    /// The blob, if it is here.
    #[must_use]
    pub fn get(&self, root: &Digest) -> Option<&Blob> {
        self.0.get(root).map(|(_, blob)| blob)
    }

    /// True if it is here.
    #[must_use]
    pub fn holds(&self, root: &Digest) -> bool {
        self.0.contains_key(root)
    }

    /// Forgets what no round needs any more.
    pub fn prune(&mut self, round: u64) {
        let Some(limit) = round.checked_sub(KEEP_ROUNDS) else { return };
        self.0.retain(|_, (used, _)| *used >= limit);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
