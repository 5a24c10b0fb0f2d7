//! Payloads and models by digest: in memory while rounds need them, and in files if the node has a folder.

use std::collections::HashMap;
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use fedswarm_network::{BlobId, BlobSource, CHUNK_BYTES, Partial, chunk_hashes};
use fedswarm_protocol::blob::chunk_hash;
use fedswarm_protocol::hash::Digest;

use crate::Error;
use crate::files::write_atomically;

/// Rounds for which blobs stay in memory after the round that last used them, and on disk for at least as long: the
/// receipt's promise to serve them. Too low and a member that is a little behind cannot fetch what it needs.
const KEEP_ROUNDS: u64 = 3;

/// Blobs from this size on are written as they come, so that a node that starts again fetches the rest only, and many may be on
/// their way at once. Smaller, and every payload is written twice.
const KEPT_FROM: u64 = IN_FILE_FROM as u64;

/// How long the beginning of a blob stays that nobody fetches on. By then the network has long certified its round.
const STALE: Duration = Duration::from_secs(3600);

/// What a file is called that holds the beginning of a blob: its name, and this.
const PART: &str = ".part";

/// Blobs from this size on are left in their files, where a node has any, and read when they are needed: what a node holds in
/// memory then does not grow with the number of payloads of a round. Smaller, and small ones are read again and again.
const IN_FILE_FROM: usize = CHUNK_BYTES;

/// One blob with what serving it needs.
#[derive(Debug)]
pub struct Blob {
    /// The bytes.
    pub bytes: Vec<u8>,
    hashes: Vec<Digest>,
}

/// Where the bytes of a blob are.
#[derive(Clone, Debug)]
pub enum Place {
    /// In memory.
    Here(Arc<Blob>),
    /// In this file, with the hashes of its chunks.
    File(PathBuf, Arc<[Digest]>),
}

impl Place {
    /// The blob; nothing if its file is gone or damaged. May read some 64 MiB.
    #[must_use]
    pub fn load(&self) -> Option<Arc<Blob>> {
        match self {
            Self::Here(blob) => Some(Arc::clone(blob)),
            Self::File(path, hashes) => {
                let bytes = fs::read(path).ok()?;
                let found = chunk_hashes(&bytes);
                (found[..] == hashes[..]).then(|| Arc::new(Blob { bytes, hashes: found }))
            }
        }
    }

    fn hashes(&self) -> &[Digest] {
        match self {
            Self::Here(blob) => &blob.hashes,
            Self::File(_, hashes) => hashes,
        }
    }

    fn chunk(&self, index: usize) -> Option<Vec<u8>> {
        match self {
            Self::Here(blob) => blob.bytes.chunks(CHUNK_BYTES).nth(index).map(<[u8]>::to_vec),
            Self::File(path, hashes) => {
                let hash = hashes.get(index)?;
                let mut file = fs::File::open(path).ok()?;
                file.seek(SeekFrom::Start((index * CHUNK_BYTES) as u64)).ok()?;
                let mut chunk = Vec::with_capacity(CHUNK_BYTES);
                file.take(CHUNK_BYTES as u64).read_to_end(&mut chunk).ok()?;
                // Whoever serves a wrong one is asked no more.
                (chunk_hash(&chunk) == *hash).then_some(chunk)
            }
        }
    }
}

/// Lets the nodes of one process share the memory of equal blobs; each still fetches and checks its own.
#[derive(Clone, Debug, Default)]
pub struct Interner(Arc<Mutex<HashMap<BlobId, Weak<Blob>>>>);

impl Interner {
    fn share(&self, id: BlobId, blob: Arc<Blob>) -> Arc<Blob> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = known.get(&id).and_then(Weak::upgrade) {
            return same;
        }
        known.retain(|_, blob| blob.strong_count() > 0);
        known.insert(id, Arc::downgrade(&blob));
        blob
    }
}

fn remove_stale_parts(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let part = entry.file_name().to_str().is_some_and(|name| name.ends_with(PART));
        let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        if part && age > STALE {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Held {
    blobs: HashMap<BlobId, Place>,
    /// Which round last used a blob, in memory or on disk.
    last_use: HashMap<BlobId, u64>,
}

impl Held {
    fn used(&mut self, id: BlobId, round: u64) {
        let last = self.last_use.entry(id).or_insert(round);
        *last = round.max(*last);
    }
}

/// The blobs of one node.
#[derive(Debug)]
pub struct Blobs {
    held: Mutex<Held>,
    interner: Interner,
    folder: Option<PathBuf>,
}

impl Blobs {
    /// Blobs in memory, and in `folder` if there is one.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn open(folder: Option<PathBuf>, interner: Interner) -> Result<Self, Error> {
        if let Some(folder) = &folder {
            fs::create_dir_all(folder).map_err(|e| Error::file(folder, e))?;
            remove_stale_parts(folder).map_err(|e| Error::file(folder, e))?;
        }
        Ok(Self { held: Mutex::default(), interner, folder })
    }

    /// Keeps a blob for a round and the next few.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn insert(&self, bytes: Vec<u8>, round: u64) -> Result<BlobId, Error> {
        let hashes = chunk_hashes(&bytes);
        let id = BlobId::of_chunks(bytes.len() as u64, &hashes);
        let place = match &self.folder {
            Some(folder) => {
                write_once(folder, &id, &bytes)?;
                if bytes.len() >= IN_FILE_FROM {
                    Place::File(path_of(folder, &id), hashes.into())
                } else {
                    Place::Here(self.interner.share(id, Arc::new(Blob { bytes, hashes })))
                }
            }
            None => Place::Here(self.interner.share(id, Arc::new(Blob { bytes, hashes }))),
        };
        let mut held = self.lock();
        held.blobs.insert(id, place);
        held.used(id, round);
        Ok(id)
    }

    /// A blob that is to be fetched, with what an earlier run has fetched of it. May read some 64 MiB.
    #[must_use]
    pub fn partial(&self, id: BlobId, len: u64) -> Partial {
        match &self.folder {
            Some(folder) if len >= KEPT_FROM => Partial::kept(id, len, &folder.join(format!("{}{PART}", id.0))),
            _ => Partial::new(id, len),
        }
    }

    /// How many are in memory, and their bytes.
    #[must_use]
    pub fn held(&self) -> (usize, u64) {
        let held = self.lock();
        let here = held.blobs.values().filter_map(|place| match place {
            Place::Here(blob) => Some(blob.bytes.len() as u64),
            Place::File(..) => None,
        });
        here.fold((0, 0), |(count, bytes), len| (count + 1, bytes + len))
    }

    /// Keeps a blob that is here for this round and the next few, too.
    pub fn keep(&self, id: &BlobId, round: u64) {
        if let Some(place) = self.place(id) {
            let mut held = self.lock();
            held.blobs.insert(*id, place);
            held.used(*id, round);
        }
    }

    /// After a restart: says which round a file belongs to, without reading it. Files that nobody adopts stay for ever.
    pub fn adopt(&self, id: BlobId, round: u64) {
        self.lock().used(id, round);
    }

    /// The blobs that have a file.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn files(&self) -> Result<Vec<BlobId>, Error> {
        let Some(folder) = &self.folder else { return Ok(Vec::new()) };
        let mut out = Vec::new();
        for entry in fs::read_dir(folder).map_err(|e| Error::file(folder, e))? {
            let name = entry.map_err(|e| Error::file(folder, e))?.file_name();
            out.extend(name.to_str().and_then(Digest::from_hex).map(BlobId));
        }
        Ok(out)
    }

    /// A blob, from memory or disk; nothing if it is not here, or if its file is damaged.
    #[must_use]
    pub fn get(&self, id: &BlobId) -> Option<Arc<Blob>> {
        self.place(id)?.load()
    }

    /// Where a blob is; nothing if it is not here, or if its file is damaged. May read some 64 MiB for one that no round of this
    /// run has used.
    #[must_use]
    pub fn place(&self, id: &BlobId) -> Option<Place> {
        if let Some(place) = self.lock().blobs.get(id) {
            return Some(place.clone());
        }
        let path = path_of(self.folder.as_ref()?, id);
        let bytes = fs::read(&path).ok()?;
        let hashes = chunk_hashes(&bytes);
        let named = BlobId::of_chunks(bytes.len() as u64, &hashes) == *id;
        named.then(|| {
            if bytes.len() >= IN_FILE_FROM {
                Place::File(path, hashes.into())
            } else {
                Place::Here(Arc::new(Blob { bytes, hashes }))
            }
        })
    }

    /// Forgets what no round needs any more: from memory what only rounds before the last few used, and the files of what
    /// no round from `files_from` on used.
    pub fn prune(&self, round: u64, files_from: u64) {
        let recent = round.saturating_sub(KEEP_ROUNDS);
        let files_from = files_from.min(recent);
        let mut held = self.lock();
        let Held { blobs, last_use } = &mut *held;
        blobs.retain(|id, _| last_use.get(id).is_some_and(|last| *last >= recent));
        let keep_from = if self.folder.is_some() { files_from } else { recent };
        last_use.retain(|id, last| {
            let keep = *last >= keep_from;
            if let (false, Some(folder)) = (keep, &self.folder) {
                // A file that is already gone is what is wanted.
                drop(fs::remove_file(path_of(folder, id)));
            }
            keep
        });
    }

    /// A panic elsewhere leaves the maps whole: nothing here stops half-way.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BlobSource for Blobs {
    fn chunk_hashes(&self, id: &BlobId) -> Option<Vec<Digest>> {
        self.place(id).map(|place| place.hashes().to_vec())
    }

    fn chunk(&self, id: &BlobId, index: u32) -> Option<Vec<u8>> {
        self.place(id)?.chunk(index as usize)
    }
}

fn path_of(folder: &Path, id: &BlobId) -> PathBuf {
    folder.join(id.to_string())
}

/// Writes a file under its digest, whole or not at all.
fn write_once(folder: &Path, id: &BlobId, bytes: &[u8]) -> Result<(), Error> {
    let path = path_of(folder, id);
    if path.exists() {
        return Ok(());
    }
    write_atomically(&path, bytes).map_err(|e| Error::file(path, e))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn old_blobs_go_and_those_used_again_stay() {
        let blobs = Blobs::open(None, Interner::default()).unwrap();
        let (a, b) = (blobs.insert(vec![1], 1).unwrap(), blobs.insert(vec![2], 1).unwrap());
        blobs.keep(&b, 4);
        blobs.prune(5, 5);
        assert!(blobs.get(&a).is_none());
        assert_eq!(blobs.get(&b).unwrap().bytes, [2]);
    }

    #[test]
    fn blobs_survive_a_restart_and_damaged_files_are_not_served() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Blobs::open(Some(folder.path().to_owned()), Interner::default()).unwrap();
        let id = open().insert(vec![7; 3], 1).unwrap();
        assert_eq!(open().get(&id).unwrap().bytes, [7; 3]);
        fs::write(folder.path().join(id.to_string()), [8; 3]).unwrap();
        assert!(open().get(&id).is_none());
    }

    #[test]
    fn files_stay_longer_than_memory_and_go_after_a_restart_too() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Blobs::open(Some(folder.path().to_owned()), Interner::default()).unwrap();
        let blobs = open();
        let (a, b) = (blobs.insert(vec![1], 1).unwrap(), blobs.insert(vec![2], 2).unwrap());
        blobs.prune(20, 1);
        assert!(blobs.lock().blobs.is_empty());
        assert_eq!(blobs.get(&a).unwrap().bytes, [1], "read from its file");
        let blobs = open();
        assert_eq!(blobs.files().unwrap().len(), 2);
        blobs.adopt(a, 1);
        blobs.adopt(b, 2);
        blobs.prune(21, 2);
        assert_eq!(blobs.files().unwrap(), [b]);
    }

    #[test]
    fn equal_blobs_may_be_written_at_the_same_time() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(Some(folder.path().to_owned()), Interner::default()).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for i in 0..50u8 {
                        blobs.insert(vec![i; 1000], 1).unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 50, "no partial files are left");
    }

    #[test]
    fn equal_blobs_of_two_nodes_share_memory() {
        let interner = Interner::default();
        let (a, b) = (Blobs::open(None, interner.clone()).unwrap(), Blobs::open(None, interner).unwrap());
        let id = a.insert(vec![1; 10], 1).unwrap();
        b.insert(vec![1; 10], 1).unwrap();
        assert!(Arc::ptr_eq(&a.get(&id).unwrap(), &b.get(&id).unwrap()));
    }
}
