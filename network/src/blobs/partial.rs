//! What is here of a blob so far.

use std::path::Path;

use fedswarm_protocol::blob::{BlobId, chunk_count, chunk_hash, chunk_len};
use fedswarm_protocol::hash::Digest;

use super::part_file::PartFile;
use crate::CHUNK_BYTES;

/// A blob on its way: whatever of it was checked stays when its holders go, and the next attempt asks for the rest; with a file,
/// also the next start. With a file its bytes are there and not in memory, so that many may be on their way at once.
#[derive(Debug)]
pub struct Partial {
    id: BlobId,
    len: u64,
    /// Hashes of its chunks, once they are known to give its name.
    list: Option<Vec<Digest>>,
    /// Which chunks are here.
    here: Vec<bool>,
    /// Empty as long as there is a file.
    bytes: Vec<u8>,
    file: Option<PartFile>,
}

impl Partial {
    /// Nothing yet of blob `id`, of `len` bytes.
    #[must_use]
    pub const fn new(id: BlobId, len: u64) -> Self {
        Self { id, len, list: None, here: Vec::new(), bytes: Vec::new(), file: None }
    }

    /// Blob `id`, of `len` bytes, as far as it is in a file that an earlier attempt wrote; what comes is written there, too, and
    /// the file goes when the blob is whole. Every chunk in it is checked again. Reads the file: not for async tasks.
    #[must_use]
    pub fn kept(id: BlobId, len: u64, path: &Path) -> Self {
        let mut blob = Self::new(id, len);
        let list = PartFile::list(path, len).filter(|list| blob.is_named_by(list));
        if let Some(list) = list {
            let good = |(chunk, hash): (Vec<u8>, &Digest)| chunk_hash(&chunk) == *hash;
            blob.here = PartFile::chunks(path, len).zip(&list).map(good).collect();
            blob.here.resize(list.len(), false);
            blob.list = Some(list);
        }
        blob.file = Some(PartFile::new(path.to_owned()));
        blob
    }

    /// Bytes that are here.
    #[must_use]
    pub fn fetched(&self) -> u64 {
        let here = (0..).zip(&self.here).filter(|(_, here)| **here);
        here.map(|(index, _)| chunk_len(self.len, index) as u64).sum()
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> BlobId {
        self.id
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The blob, once all of it is here. Reads its file, if it has one: not for async tasks.
    #[must_use]
    pub fn into_bytes(self) -> Option<Vec<u8>> {
        if !self.is_whole() {
            return None;
        }
        let Some(file) = self.file else { return Some(self.bytes) };
        let bytes = file.bytes(self.len);
        file.remove();
        bytes
    }

    fn is_named_by(&self, list: &[Digest]) -> bool {
        list.len() as u64 == chunk_count(self.len) && BlobId::of_chunks(self.len, list) == self.id
    }

    pub(super) fn is_whole(&self) -> bool {
        match self.len {
            0 => BlobId::of(&[]) == self.id,
            _ => self.list.is_some() && self.here.iter().all(|here| *here),
        }
    }

    /// Which chunks are here; nothing as long as their hashes are unknown.
    pub(super) fn chunks(&self) -> Option<&[bool]> {
        self.list.is_some().then_some(&self.here)
    }

    /// Takes the list of hashes, if it gives the blob's name.
    pub(super) fn take_list(&mut self, list: Vec<Digest>) -> bool {
        if !self.is_named_by(&list) {
            return false;
        }
        self.here = vec![false; list.len()];
        if let Some(file) = &mut self.file
            && !file.begin(&list, self.len)
        {
            self.file = None;
        }
        if self.file.is_none() {
            self.bytes = vec![0; self.len as usize];
        }
        self.list = Some(list);
        true
    }

    /// Takes a chunk, if it is what the list says.
    pub(super) fn take_chunk(&mut self, index: u32, chunk: &[u8]) -> bool {
        // The only chunk of a blob is its own list.
        if self.list.is_none() && (index != 0 || !self.take_list(vec![chunk_hash(chunk)])) {
            return false;
        }
        let expected = self.list.as_ref().and_then(|list| list.get(index as usize));
        if chunk.len() != chunk_len(self.len, index) || expected != Some(&chunk_hash(chunk)) {
            return false;
        }
        if let Some(file) = &mut self.file {
            if file.write(self.here.len(), index, chunk) {
                self.here[index as usize] = true;
                return true;
            }
            // A disk that is full: on in memory, from what can still be read of it.
            let kept = file.bytes(self.len);
            self.file = None;
            if kept.is_none() {
                self.here.fill(false);
            }
            self.bytes = kept.unwrap_or_else(|| vec![0; self.len as usize]);
        }
        let start = index as usize * CHUNK_BYTES;
        self.bytes[start..start + chunk.len()].copy_from_slice(chunk);
        self.here[index as usize] = true;
        true
    }
}
