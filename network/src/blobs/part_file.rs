//! The file of a blob on its way: the hashes of all chunks, then room for all bytes. Which chunks are there is not written
//! down: a chunk is there if it has its hash.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use fedswarm_protocol::blob::{MAX_BLOB_BYTES, chunk_count, chunk_len};
use fedswarm_protocol::hash::Digest;

use crate::CHUNK_BYTES;

/// Written as chunks come. When it cannot be written, the blob goes on without.
#[derive(Debug)]
pub(super) struct PartFile {
    path: PathBuf,
    open: Option<File>,
}

impl PartFile {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    /// The hashes in a file for a blob of this length.
    pub(super) fn list(path: &Path, len: u64) -> Option<Vec<Digest>> {
        let count = chunk_count(len);
        let mut file = File::open(path).ok()?;
        if len > MAX_BLOB_BYTES || file.metadata().ok()?.len() != 32 * count + len {
            return None;
        }
        let mut hashes = vec![0; 32 * count as usize];
        file.read_exact(&mut hashes).ok()?;
        Some(hashes.as_chunks::<32>().0.iter().copied().map(Digest).collect())
    }

    /// The room of every chunk, whatever is in it; fewer if the file ends or cannot be read.
    pub(super) fn chunks(path: &Path, len: u64) -> impl Iterator<Item = Vec<u8>> {
        let count = chunk_count(len);
        let mut file = File::open(path).ok().filter(|mut file| file.seek(SeekFrom::Start(32 * count)).is_ok());
        (0..count as u32).map_while(move |index| {
            let mut chunk = vec![0; chunk_len(len, index)];
            file.as_mut()?.read_exact(&mut chunk).ok()?;
            Some(chunk)
        })
    }

    /// All that is in the room for a blob of this length; the caller knows that all of it was written.
    pub(super) fn bytes(&self, len: u64) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len as usize];
        let mut file = File::open(&self.path).ok()?;
        file.seek(SeekFrom::Start(32 * chunk_count(len))).ok()?;
        file.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    /// The blob begins anew: its hashes are known. False if nothing can be written.
    pub(super) fn begin(&mut self, list: &[Digest], len: u64) -> bool {
        let make = || -> io::Result<File> {
            let mut file = File::create(&self.path)?;
            list.iter().try_for_each(|hash| file.write_all(&hash.0))?;
            file.set_len(32 * list.len() as u64 + len)?;
            Ok(file)
        };
        self.done(make())
    }

    /// A chunk is here. False if it cannot be written.
    pub(super) fn write(&mut self, chunks: usize, index: u32, chunk: &[u8]) -> bool {
        let at = 32 * chunks as u64 + u64::from(index) * CHUNK_BYTES as u64;
        let mut write = || -> io::Result<File> {
            let mut file = match self.open.take() {
                Some(file) => file,
                None => File::options().write(true).open(&self.path)?,
            };
            file.seek(SeekFrom::Start(at))?;
            file.write_all(chunk)?;
            Ok(file)
        };
        let written = write();
        self.done(written)
    }

    fn done(&mut self, written: io::Result<File>) -> bool {
        match written {
            Ok(file) => self.open = Some(file),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "what is fetched is not kept for the next start");
                return false;
            }
        }
        true
    }

    pub(super) fn remove(self) {
        // Not there is what is wanted.
        drop(fs::remove_file(self.path));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use fedswarm_protocol::blob::{BlobId, chunk_hashes};

    use super::super::Partial;
    use super::*;

    fn blob() -> (Vec<u8>, BlobId) {
        let bytes: Vec<u8> = (0..5 * CHUNK_BYTES / 2).map(|i| (i / 7) as u8).collect();
        let id = BlobId::of(&bytes);
        (bytes, id)
    }

    #[test]
    fn what_was_fetched_before_a_kill_is_here_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part");
        let (bytes, id) = blob();
        let mut first = Partial::kept(id, bytes.len() as u64, &path);
        assert!(first.take_list(chunk_hashes(&bytes)));
        assert!(first.take_chunk(1, &bytes[CHUNK_BYTES..2 * CHUNK_BYTES]));
        drop(first);

        let mut again = Partial::kept(id, bytes.len() as u64, &path);
        assert_eq!(again.fetched(), CHUNK_BYTES as u64);
        assert!(again.take_chunk(2, &bytes[2 * CHUNK_BYTES..]));
        assert!(again.take_chunk(0, &bytes[..CHUNK_BYTES]));
        assert!(again.into_bytes().unwrap() == bytes);
        assert!(!path.exists(), "a whole blob needs its file no more");
    }

    #[test]
    fn a_file_that_was_changed_gives_nothing_that_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part");
        let (bytes, id) = blob();
        let mut first = Partial::kept(id, bytes.len() as u64, &path);
        first.take_list(chunk_hashes(&bytes));
        first.take_chunk(0, &bytes[..CHUNK_BYTES]);
        first.take_chunk(1, &bytes[CHUNK_BYTES..2 * CHUNK_BYTES]);
        let mut file = fs::read(&path).unwrap();
        file[96 + 10] ^= 1;
        fs::write(&path, &file).unwrap();
        assert_eq!(Partial::kept(id, bytes.len() as u64, &path).fetched(), CHUNK_BYTES as u64);
        // Hashes that do not give the blob's name, a file of another blob, one that was cut off.
        file[3] ^= 1;
        fs::write(&path, &file).unwrap();
        assert_eq!(Partial::kept(id, bytes.len() as u64, &path).fetched(), 0);
        assert_eq!(Partial::kept(BlobId::of(b"other"), 5, &path).fetched(), 0);
        fs::write(&path, &file[..1000]).unwrap();
        assert_eq!(Partial::kept(id, bytes.len() as u64, &path).fetched(), 0);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_no_reason_to_fail() {
        let (bytes, id) = blob();
        let mut blob = Partial::kept(id, bytes.len() as u64, Path::new("/nowhere/at/all/part"));
        assert!(blob.take_list(chunk_hashes(&bytes)));
        for (index, chunk) in (0..).zip(bytes.chunks(CHUNK_BYTES)) {
            assert!(blob.take_chunk(index, chunk));
        }
        assert!(blob.into_bytes().unwrap() == bytes);
    }
}
