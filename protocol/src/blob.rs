//! Names of large things: a blob is cut into chunks, and its root commits to its length and to every chunk, so that each
//! chunk can be checked on arrival, whoever sent it.

use serde::{Deserialize, Serialize};

use crate::hash::{Digest, hash};

/// Bytes of a chunk; the last one may be shorter.
pub const CHUNK_BYTES: usize = 1024 * 1024;

/// Largest blob. Too low and large extractors cannot be shared.
pub const MAX_BLOB_BYTES: u64 = 64 * 1024 * 1024;

/// The root of a blob.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlobId(pub Digest);

impl BlobId {
    /// The name of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_chunks(bytes.len() as u64, &chunk_hashes(bytes))
    }

    /// The name of a blob of `len` bytes whose chunks have these hashes.
    #[must_use]
    pub fn of_chunks(len: u64, hashes: &[Digest]) -> Self {
        let mut message = len.to_le_bytes().to_vec();
        message.extend(hashes.iter().flat_map(|h| h.0));
        Self(hash("blob", &message))
    }
}

impl std::fmt::Display for BlobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Debug for BlobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.short())
    }
}

/// Number of chunks of a blob of `len` bytes.
#[must_use]
pub const fn chunk_count(len: u64) -> u64 {
    len.div_ceil(CHUNK_BYTES as u64)
}

/// Hash of one chunk.
#[must_use]
pub fn chunk_hash(chunk: &[u8]) -> Digest {
    hash("chunk", chunk)
}

/// Hashes of all chunks, in order.
#[must_use]
pub fn chunk_hashes(bytes: &[u8]) -> Vec<Digest> {
    bytes.chunks(CHUNK_BYTES).map(chunk_hash).collect()
}

/// The root of these bytes; what headers and records carry.
#[must_use]
pub fn root(bytes: &[u8]) -> Digest {
    BlobId::of(bytes).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_and_chunks_are_both_committed_to() {
        let a = vec![0u8; CHUNK_BYTES + 1];
        assert_eq!(chunk_hashes(&a).len() as u64, chunk_count(a.len() as u64));
        assert_ne!(BlobId::of(&a), BlobId::of(&a[1..]));
        assert_eq!(BlobId::of(&a), BlobId::of_chunks(a.len() as u64, &chunk_hashes(&a)));
        assert_ne!(BlobId::of(&[]), BlobId::of(&[0]));
    }
}
