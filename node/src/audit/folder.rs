//! Reading what a run or a node has left behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fedswarm_protocol::blob::MAX_BLOB_BYTES;
use fedswarm_protocol::bundle::MAX_BUNDLE_BYTES;
use fedswarm_protocol::codec::MAX_STRUCT_BYTES;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::manifest::Manifest;

use super::layout;
use crate::stored_chain::StoredChain;
use crate::{Error, founding};

/// Records and signed inputs.
enum Chain {
    /// One file per round, as a simulation writes them.
    Files,
    /// A stopped node's store.
    Store(StoredChain),
}

/// A folder that can be audited.
pub(super) struct Folder {
    path: PathBuf,
    pub(super) manifest: Manifest,
    chain: Chain,
}

impl Folder {
    /// Finds out whose folder it is: a simulation's, or a node's.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        if !path.is_dir() {
            return Err(Error::file(path, "no such folder; expected the results of `simulate` or a node's folder"));
        }
        let manifest = path.join(layout::MANIFEST);
        if !manifest.exists() {
            let text =
                format!("no {}; expected the results of `fedswarm simulate` or the folder of a node", layout::MANIFEST);
            return Err(Error::file(path, text));
        }
        let manifest = founding::load(&manifest)?;
        let store = path.join(layout::STORE);
        let chain = if store.exists() { Chain::Store(StoredChain::open(&store)?) } else { Chain::Files };
        Ok(Self { path: path.to_owned(), manifest, chain })
    }

    /// A simulation writes every record; a node that was away has those that it needed.
    pub(super) const fn must_be_whole(&self) -> bool {
        matches!(self.chain, Chain::Files)
    }

    /// Rounds that have a record, ascending.
    pub(super) fn rounds(&self) -> Result<Vec<u64>, Error> {
        let rounds = match &self.chain {
            Chain::Store(store) => store.rounds()?,
            Chain::Files => {
                let names = names(&self.path.join(layout::RECORDS))?;
                names.iter().filter_map(|name| layout::round_of(name)).collect()
            }
        };
        // Names of files come in any order.
        Ok(rounds.into_iter().collect::<BTreeSet<u64>>().into_iter().collect())
    }

    pub(super) fn record(&self, round: u64) -> Result<Option<Vec<u8>>, Error> {
        match &self.chain {
            Chain::Store(store) => store.record(round),
            Chain::Files => self.read(&layout::record_file(round), MAX_STRUCT_BYTES as u64),
        }
    }

    pub(super) fn inputs(&self, round: u64) -> Result<Option<Vec<u8>>, Error> {
        match &self.chain {
            Chain::Store(store) => store.inputs(round),
            Chain::Files => self.read(&layout::inputs_file(round), MAX_BUNDLE_BYTES as u64),
        }
    }

    /// A payload or model; its bytes are not checked.
    pub(super) fn blob(&self, root: &Digest) -> Result<Option<Vec<u8>>, Error> {
        self.read(&layout::blob_file(root), MAX_BLOB_BYTES)
    }

    /// Digests that have a file.
    pub(super) fn blobs(&self) -> Result<BTreeSet<Digest>, Error> {
        let folder = self.path.join(layout::BLOBS);
        if !folder.exists() {
            return Ok(BTreeSet::new());
        }
        Ok(names(&folder)?.iter().filter_map(|name| Digest::from_hex(name)).collect())
    }

    /// The first round from which on inputs are kept without a gap: what a simulation says. Nothing is promised if there is
    /// no such file; its text if it is not a number.
    pub(super) fn kept_from(&self) -> Result<Option<Result<u64, String>>, Error> {
        let file = Path::new(layout::INPUTS).join(layout::KEPT_FROM);
        let Some(bytes) = self.read(&file, 32)? else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        Ok(Some(text.parse().map_err(|_| text)))
    }

    /// The file that a round's record is in.
    pub(super) fn record_file(&self, round: u64) -> PathBuf {
        if self.must_be_whole() { layout::record_file(round) } else { layout::STORE.into() }
    }

    /// The file that a round's signed inputs are in.
    pub(super) fn inputs_file(&self, round: u64) -> PathBuf {
        if self.must_be_whole() { layout::inputs_file(round) } else { layout::STORE.into() }
    }

    /// A file, if it is there. One that is too long is cut off one byte later than allowed, so that its reader refuses it.
    fn read(&self, file: &Path, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        use std::io::Read as _;
        let path = self.path.join(file);
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file(path, error)),
        };
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| Error::file(path, e))?;
        Ok(Some(bytes))
    }
}

fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file(folder, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        // A name that is no text is not one of ours.
        names.extend(entry.map_err(|e| Error::file(folder, e))?.file_name().into_string());
    }
    Ok(names)
}
