//! Writing files so that nobody ever reads half of one.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;

/// Writes a file beside its place and moves it there: a reader, or whoever comes after a crash, sees the old file or the new
/// one, never half of one.
///
/// # Errors
/// What the system says; nothing half-written is left.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, File::options().write(true).create(true).truncate(true))
}

/// As [`write_atomically`], for secrets: nobody but the owner can read the file, not even while it is written.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_privately(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    write(path, bytes, &options)
}

fn write(path: &Path, bytes: &[u8], options: &OpenOptions) -> io::Result<()> {
    /// Two writers of one file, such as two fetches of equal payloads, must not share a partial file.
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".partial-{}-{}", std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed)));
    let partial = path.with_file_name(name);
    let write = || {
        let mut file = options.open(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    write().inspect_err(|_| {
        // The first error is the one to report.
        drop(fs::remove_file(&partial));
    })
}

/// Where something is that a file in this folder names: one of `names` is inside the program, all else is relative to the folder.
pub(crate) fn located(source: PathBuf, folder: &Path, names: &[&str]) -> PathBuf {
    let bundled = names.iter().any(|name| source.as_os_str() == *name);
    if bundled { source } else { folder.join(source) }
}

/// The same, named from the current folder: so that a file in any other may name it.
///
/// # Errors
/// [`Error::File`] if the current folder is gone.
pub fn absolute(source: &Path, names: &[&str]) -> Result<PathBuf, Error> {
    let here = std::env::current_dir().map_err(|e| Error::file(source, e))?;
    Ok(located(source.to_owned(), &here, names))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_failed_write_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::create_dir_all(taken.join("inside")).unwrap();
        write_atomically(&taken, b"x").unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let path = folder.path().join("file");
        write_atomically(&path, b"old").unwrap();
        write_atomically(&path, b"new").unwrap();
        assert_eq!(fs::read(path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
