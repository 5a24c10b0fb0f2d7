//! How many requests may be open with one peer: the part that libp2p leaves to its user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Error, NodeId};

/// A semaphore for each peer. Peers that hold no permit and wait for none are forgotten.
#[derive(Debug)]
pub(crate) struct Gates {
    per_peer: usize,
    peers: Mutex<HashMap<NodeId, Arc<Semaphore>>>,
}

/// How many peers' semaphores are kept before idle ones are swept out.
const SWEEP_AT: usize = 2 * crate::MAX_MEMBERS;

impl Gates {
    pub(crate) fn new(per_peer: usize) -> Self {
        Self { per_peer, peers: Mutex::default() }
    }

    /// Waits until fewer than the limit are open with `peer`. Dropping the permit opens the gate for the next one.
    pub(crate) async fn pass(&self, peer: NodeId) -> Result<OwnedSemaphorePermit, Error> {
        let gate = {
            let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
            if peers.len() >= SWEEP_AT {
                peers.retain(|_, gate| Arc::strong_count(gate) > 1);
            }
            Arc::clone(peers.entry(peer).or_insert_with(|| Arc::new(Semaphore::new(self.per_peer))))
        };
        gate.acquire_owned().await.map_err(|_| Error::Closed)
    }
}
