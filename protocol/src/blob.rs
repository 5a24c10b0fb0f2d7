//! Names of large byte strings: a root over fixed-size chunks, so that a fetched chunk can be checked before it is kept.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::hash::{Digest, hash};

/// Bytes in every chunk but the last.
pub const CHUNK_BYTES: usize = 1 << 20;

/// The largest blob anyone names, serves or fetches. Lower, and large models cannot be shared; higher, and a header with a
/// lying length costs its readers more memory.
pub const MAX_BLOB_BYTES: u64 = 64 << 20;

/// Chunks in the largest blob.
pub const MAX_CHUNKS: usize = (MAX_BLOB_BYTES / CHUNK_BYTES as u64) as usize;

/// The name of a blob: a root over its length and the hashes of its chunks.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlobId(pub Digest);

impl BlobId {
    /// The name of `bytes`. One pass over them; about a millisecond for two megabytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_chunks(bytes.len() as u64, &chunk_hashes(bytes))
    }

    /// The name of a blob of `len` bytes whose chunks hash to `hashes`, in order.
    #[must_use]
    pub fn of_chunks(len: u64, hashes: &[Digest]) -> Self {
        let mut message = Vec::with_capacity(8 + 32 * hashes.len());
        message.extend_from_slice(&len.to_le_bytes());
        for digest in hashes {
            message.extend_from_slice(digest.as_bytes());
        }
        Self(hash("blob root", &message))
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blob {}", self.0.short())
    }
}

/// The hash of one chunk, in a domain of its own.
#[must_use]
pub fn chunk_hash(chunk: &[u8]) -> Digest {
    hash("blob chunk", chunk)
}

/// The hashes of all chunks of `bytes`, in order; none for an empty blob.
#[must_use]
pub fn chunk_hashes(bytes: &[u8]) -> Vec<Digest> {
    bytes.chunks(CHUNK_BYTES).map(chunk_hash).collect()
}

/// How many chunks a blob of `len` bytes has.
#[must_use]
pub const fn chunk_count(len: u64) -> u64 {
    len.div_ceil(CHUNK_BYTES as u64)
}

/// How many bytes chunk `index` of a blob of `len` bytes has; 0 past the end.
#[must_use]
pub fn chunk_len(len: u64, index: u32) -> usize {
    let start = u64::from(index) * CHUNK_BYTES as u64;
    len.saturating_sub(start).min(CHUNK_BYTES as u64) as usize
}

/// The root of these bytes, as headers and records carry it.
#[must_use]
pub fn root(bytes: &[u8]) -> Digest {
    BlobId::of(bytes).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_binds_length_order_and_content() {
        let blob = vec![7u8; CHUNK_BYTES + 5];
        let hashes = chunk_hashes(&blob);
        let id = BlobId::of(&blob);
        assert_eq!(id, BlobId::of_chunks(blob.len() as u64, &hashes));
        assert_ne!(id, BlobId::of_chunks(blob.len() as u64 + 1, &hashes));
        assert_ne!(id, BlobId::of_chunks(blob.len() as u64, &[hashes[1], hashes[0]]));
        assert_ne!(id, BlobId::of(&blob[1..]));
    }

    #[test]
    fn chunks_cover_a_blob_exactly() {
        for len in [0u64, 1, CHUNK_BYTES as u64 - 1, CHUNK_BYTES as u64, CHUNK_BYTES as u64 + 1, MAX_BLOB_BYTES] {
            let count = chunk_count(len) as u32;
            let total: u64 = (0..count).map(|i| chunk_len(len, i) as u64).sum();
            assert_eq!(total, len);
            assert!((0..count).all(|i| chunk_len(len, i) > 0));
            assert_eq!(chunk_len(len, count), 0);
        }
    }

    #[test]
    fn a_chunk_is_never_taken_for_a_root() {
        assert_ne!(chunk_hash(b""), BlobId::of(b"").0);
    }
}
