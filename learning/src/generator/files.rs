//! Whole files: read within bounds, written at once.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use super::native::MAX_PARAMETERS;
use crate::Error;

/// Largest checkpoint: two networks like the largest generator, each with Adam's two means. Too low refuses to go on with
/// the training of a large one.
pub const MAX_CHECKPOINT_BYTES: u64 = 2 * 3 * 4 * MAX_PARAMETERS as u64;

/// Reads a checkpoint of training.
///
/// # Errors
/// [`Error::Generator`] with the file, if it is missing or too large.
pub fn read_checkpoint(path: &Path) -> Result<Vec<u8>, Error> {
    read_bounded(path, MAX_CHECKPOINT_BYTES)
}

/// Writes a file that appears whole or not at all: beside its place first, then moved there.
///
/// # Errors
/// [`Error::Generator`] with the file, if it cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let write = || {
        let mut out = fs::File::create(&partial)?;
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(&partial, path)
    };
    write().map_err(|e: std::io::Error| refuse(path, e))
}

/// Reads a whole file of at most `most` bytes.
pub(super) fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>, Error> {
    let source = fs::File::open(path).map_err(|e| refuse(path, e))?;
    let declared = source.metadata().map_err(|e| refuse(path, e))?.len();
    let mut bytes = Vec::new();
    if declared <= most {
        // What is read is bounded as well: a device has no length, and a file may grow.
        source.take(most + 1).read_to_end(&mut bytes).map_err(|e| refuse(path, e))?;
    }
    let found = declared.max(bytes.len() as u64);
    if found > most {
        return Err(refuse(path, format!("{found} bytes, at most {most} are read")));
    }
    Ok(bytes)
}

/// An error about a file.
pub(super) fn refuse(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::Generator(format!("{}: {reason}", path.display()))
}

/// What an error says, without this crate's prefix, to stand behind a file's name.
pub(super) fn inner(error: Error) -> String {
    match error {
        Error::Generator(reason) => reason,
        other => other.to_string(),
    }
}
