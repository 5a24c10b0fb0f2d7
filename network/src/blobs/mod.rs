//! Blobs: large byte strings, named by what is in them and moved in chunks of 1 MiB.

pub(crate) mod codec;
pub(crate) mod fetch;
mod memory;
mod part_file;
pub(crate) mod partial;

use fedswarm_protocol::blob::BlobId;
use fedswarm_protocol::hash::Digest;
pub use memory::MemoryBlobs;
pub use partial::Partial;

/// Where served blobs come from. Called on blocking threads, several at once; it may read from disk.
pub trait BlobSource: Send + Sync + 'static {
    /// The hashes of a blob's chunks, in order; `None` if the blob is not here.
    fn chunk_hashes(&self, id: &BlobId) -> Option<Vec<Digest>>;

    /// Chunk `index` of a blob; `None` if it is not here.
    fn chunk(&self, id: &BlobId, index: u32) -> Option<Vec<u8>>;
}
