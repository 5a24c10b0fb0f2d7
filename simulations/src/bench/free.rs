//! A member that trains at no cost: what remains is agreement and the network.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use fedswarm_learning::Error;
use fedswarm_learning::methods::{Evaluation, LocalUpdate, Member, NamedTensor};
use fedswarm_protocol::hash::Stream;

/// How often a member that waits at a closed gate looks whether its round was decided without it. Shorter, and a hundred that wait
/// take more of a processor than what is measured meanwhile.
const LOOK: Duration = Duration::from_secs(10);

/// Lets members train so many times, and no more: a swarm stands still where a bench wants to read its figures.
#[derive(Debug, Default)]
pub struct Gate {
    allowed: Mutex<u64>,
    opened: Condvar,
}

impl Gate {
    /// A closed one, for any number of members.
    #[must_use]
    pub fn closed() -> Arc<Self> {
        Arc::default()
    }

    /// Lets each member train so many times more.
    pub fn allow(&self, rounds: u64) {
        let mut allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        *allowed = allowed.saturating_add(rounds);
        self.opened.notify_all();
    }

    /// Waits until a member that has trained so often may train again; false if it was told to stop.
    fn pass(&self, trained: u64, cancel: &AtomicBool) -> bool {
        let mut allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        while *allowed <= trained {
            if cancel.load(Ordering::Relaxed) {
                return false;
            }
            // A cancellation does not wake anybody.
            allowed = self.opened.wait_timeout(allowed, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// A member whose updates are a few random numbers, and zeros.
#[derive(Debug)]
pub struct FreeMember {
    len: usize,
    trained: u64,
    stream: Stream,
    gate: Arc<Gate>,
}

/// Numbers of an update that differ between members and rounds. Blobs have names of their own by any one of them.
const RANDOM: usize = 64;

impl FreeMember {
    /// A member of a network that shares `len` numbers.
    #[must_use]
    pub fn new(len: usize, key: &[u8; 32], gate: Arc<Gate>) -> Self {
        Self { len, trained: 0, stream: Stream::new("free member", &[key]), gate }
    }
}

impl Member for FreeMember {
    fn install(&mut self, state: &[f32]) -> Result<(), Error> {
        let (expected, found) = (self.len, state.len());
        if expected == found { Ok(()) } else { Err(Error::Length { what: "state", expected, found }) }
    }

    fn train(&mut self, cancel: &AtomicBool) -> Result<LocalUpdate, Error> {
        if !self.gate.pass(self.trained, cancel) {
            return Err(Error::Cancelled);
        }
        self.trained += 1;
        let mut delta = vec![0.0; self.len];
        delta.iter_mut().take(RANDOM).for_each(|value| *value = self.stream.unit() as f32 - 0.5);
        Ok(LocalUpdate { delta, prototypes: Vec::new(), samples: 10, loss: 0.0, steps: 1 })
    }

    fn evaluate(&mut self) -> Result<Evaluation, Error> {
        Ok(Evaluation { total: 1, ..Evaluation::default() })
    }

    fn predict(&mut self, _: &[f32]) -> Result<Vec<Vec<f32>>, Error> {
        Ok(Vec::new())
    }

    fn parameters(&self) -> usize {
        self.len
    }

    fn export(&self) -> Result<Vec<NamedTensor>, Error> {
        Ok(Vec::new())
    }

    fn import(&mut self, _: &[NamedTensor]) -> Result<(), Error> {
        Ok(())
    }

    fn checkpoint(&self) -> Result<Vec<u8>, Error> {
        Ok(self.trained.to_le_bytes().to_vec())
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), Error> {
        let bytes = checkpoint.try_into().map_err(|_| Error::Checkpoint("8 bytes are expected".to_owned()))?;
        self.trained = u64::from_le_bytes(bytes);
        Ok(())
    }
}
