//! Blobs in memory: for nodes that keep nothing, for simulations and tests.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fedswarm_protocol::blob::{BlobId, CHUNK_BYTES, chunk_hashes};
use fedswarm_protocol::hash::Digest;

use super::BlobSource;

/// Keeps blobs up to a total size; the oldest go first.
#[derive(Debug)]
pub struct MemoryBlobs {
    max_bytes: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    blobs: HashMap<BlobId, Held>,
    order: VecDeque<BlobId>,
    bytes: usize,
}

#[derive(Debug)]
struct Held {
    hashes: Vec<Digest>,
    bytes: Arc<[u8]>,
}

impl MemoryBlobs {
    /// Room for `max_bytes` in total.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, inner: Mutex::default() }
    }

    /// Keeps a blob and gives its name; `None` if it alone is larger than all the room there is. Makes room by forgetting the
    /// oldest blobs.
    pub fn insert(&self, bytes: impl Into<Arc<[u8]>>) -> Option<BlobId> {
        let bytes = bytes.into();
        if bytes.len() > self.max_bytes {
            return None;
        }
        let hashes = chunk_hashes(&bytes);
        let id = BlobId::of_chunks(bytes.len() as u64, &hashes);
        let mut inner = self.lock();
        if inner.blobs.contains_key(&id) {
            return Some(id);
        }
        while inner.bytes + bytes.len() > self.max_bytes {
            let Some(oldest) = inner.order.pop_front() else { break };
            if let Some(held) = inner.blobs.remove(&oldest) {
                inner.bytes -= held.bytes.len();
            }
        }
        inner.bytes += bytes.len();
        inner.order.push_back(id);
        inner.blobs.insert(id, Held { hashes, bytes });
        Some(id)
    }

    /// A blob, if it is still here.
    #[must_use]
    pub fn get(&self, id: &BlobId) -> Option<Arc<[u8]>> {
        self.lock().blobs.get(id).map(|held| Arc::clone(&held.bytes))
    }

    /// Forgets a blob.
    pub fn remove(&self, id: &BlobId) {
        let mut inner = self.lock();
        if let Some(held) = inner.blobs.remove(id) {
            inner.bytes -= held.bytes.len();
            inner.order.retain(|other| other != id);
        }
    }

    /// A panic elsewhere leaves the maps whole: nothing here stops half-way.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BlobSource for MemoryBlobs {
    fn chunk_hashes(&self, id: &BlobId) -> Option<Vec<Digest>> {
        self.lock().blobs.get(id).map(|held| held.hashes.clone())
    }

    fn chunk(&self, id: &BlobId, index: u32) -> Option<Vec<u8>> {
        let bytes = self.get(id)?;
        bytes.chunks(CHUNK_BYTES).nth(index as usize).map(<[u8]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_oldest_blob_makes_room() {
        let blobs = MemoryBlobs::new(10);
        let first = blobs.insert(vec![1; 6]).unwrap();
        let second = blobs.insert(vec![2; 4]).unwrap();
        let third = blobs.insert(vec![3; 5]).unwrap();
        assert!(blobs.get(&first).is_none());
        assert_eq!(&*blobs.get(&second).unwrap(), &[2; 4]);
        assert_eq!(&*blobs.get(&third).unwrap(), &[3; 5]);
        assert!(blobs.insert(vec![4; 11]).is_none());
        assert!(blobs.get(&third).is_some(), "a blob that cannot fit must not push others out");
    }

    #[test]
    fn a_blob_is_held_once() {
        let blobs = MemoryBlobs::new(10);
        let id = blobs.insert(vec![1; 6]).unwrap();
        assert_eq!(blobs.insert(vec![1; 6]), Some(id));
        blobs.remove(&id);
        assert!(blobs.chunk(&id, 0).is_none());
        assert!(blobs.insert(vec![2; 10]).is_some());
    }
}
