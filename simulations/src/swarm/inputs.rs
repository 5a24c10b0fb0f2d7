//! The signed inputs of a run, for `fedswarm verify`: gathered while it runs, put into its folder once it is complete.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use fedswarm_node::archive::Archive;
use fedswarm_node::audit::layout;
use fedswarm_protocol::hash::Digest;

use crate::Error;

/// Signed inputs, payloads and models that a run keeps in bytes. Beyond it the oldest rounds are dropped, and `verify` checks
/// them by chain and certificate only. Too low and long runs cannot be recomputed; it bounds the size of a run's folder.
pub const MAX_INPUT_BYTES: u64 = 512 << 20;

/// How the folder's name begins in which inputs are gathered.
const UNFINISHED: &str = ".inputs-";

/// Inputs that are being gathered.
pub(super) struct Inputs {
    folder: tempfile::TempDir,
    archive: Arc<Archive>,
    limit: u64,
}

impl Inputs {
    /// Gathers in a hidden folder beside its later place, which goes if the run fails.
    pub(super) fn begin(out: &Path, limit: u64) -> Result<Self, Error> {
        fs::create_dir_all(out).map_err(Error::io("create", out))?;
        let folder = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(out).map_err(Error::io("create", out))?;
        let archive = Arc::new(Archive::new(folder.path().to_owned(), limit)?);
        Ok(Self { folder, archive, limit })
    }

    pub(super) fn archive(&self) -> Arc<Archive> {
        Arc::clone(&self.archive)
    }

    /// Moves what was gathered into the run's folder; a note if it is not everything.
    pub(super) fn end(self, rounds: u64, out: &Path) -> Result<Option<String>, Error> {
        let from = self.archive.finish(rounds)?;
        for folder in [layout::INPUTS, layout::BLOBS] {
            let (source, target) = (self.folder.path().join(folder), out.join(folder));
            fs::create_dir_all(&target).map_err(Error::io("create", &target))?;
            for entry in fs::read_dir(&source).map_err(Error::io("read", &source))? {
                let entry = entry.map_err(Error::io("read", &source))?;
                let to = target.join(entry.file_name());
                fs::rename(entry.path(), &to).map_err(Error::io("write", &to))?;
            }
        }
        let limit = self.limit >> 20;
        Ok((from > 1).then(|| {
            format!("rounds 1 to {}: signed inputs are not kept, all of them take more than {limit} MiB", from - 1)
        }))
    }
}

/// Removes what a process that was killed had gathered.
pub(super) fn clear_unfinished(out: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(out).map_err(Error::io("read", out))? {
        let entry = entry.map_err(Error::io("read", out))?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(UNFINISHED)) {
            fs::remove_dir_all(entry.path()).map_err(Error::io("remove", &entry.path()))?;
        }
    }
    Ok(())
}

/// Removes what an earlier run left in the folder: records of another run are no records of this one.
pub(super) fn clear(out: &Path) -> Result<(), Error> {
    type Ours = fn(&str) -> bool;
    let folders: [(&str, Ours); 3] = [
        (layout::RECORDS, |name| layout::round_of(name).is_some()),
        (layout::INPUTS, |name| name == layout::KEPT_FROM || name.starts_with("round-") && name.ends_with(".messages")),
        (layout::BLOBS, |name| Digest::from_hex(name).is_some()),
    ];
    for (folder, ours) in folders {
        let path = out.join(folder);
        if !path.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&path).map_err(Error::io("read", &path))? {
            let file = entry.map_err(Error::io("read", &path))?.path();
            if file.file_name().and_then(OsStr::to_str).is_some_and(ours) {
                fs::remove_file(&file).map_err(Error::io("replace", &file))?;
            }
        }
    }
    Ok(())
}
