//! A node's secret key in a file: 64 hexadecimal digits, readable by its owner only. Members and entry points keep theirs the
//! same way.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Why a key file is unusable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It cannot be read or made.
    #[error("key file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "key file {} is not 64 hexadecimal digits: {reason}; restore it from a backup, or delete it to get a new key \
         (members must then be given the new address)",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; never its content.
        reason: String,
    },
    /// Others can read it.
    #[error("key file {} can be read by others (mode {mode:o}); run chmod 600 on it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The system has no randomness to give.
    #[error("no randomness for a new key: {0}")]
    Entropy(String),
}

/// Reads the secret in `path`, or makes a new one there (mode 0600) if there is no such file.
///
/// # Errors
/// [`KeyError`], naming the file.
pub fn load_or_create(path: &Path) -> Result<[u8; 32], KeyError> {
    match fs::read(path) {
        Ok(bytes) => {
            let secret = parse(&bytes).map_err(|reason| KeyError::Malformed { path: path.into(), reason })?;
            check_mode(path)?;
            Ok(secret)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path),
        Err(source) => Err(KeyError::Io { path: path.into(), source }),
    }
}

#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), KeyError> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = fs::metadata(path).map_err(|source| KeyError::Io { path: path.into(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(KeyError::Exposed { path: path.into(), mode }) }
}

#[cfg(not(unix))]
fn check_mode(_: &Path) -> Result<(), KeyError> {
    Ok(())
}

/// A new secret from the system's entropy.
///
/// # Errors
/// [`KeyError::Entropy`].
pub fn generate() -> Result<[u8; 32], KeyError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|e| KeyError::Entropy(e.to_string()))?;
    Ok(secret)
}

fn parse(bytes: &[u8]) -> Result<[u8; 32], String> {
    let text = bytes.trim_ascii();
    if text.len() != 64 {
        return Err(format!("it has {} bytes", text.len()));
    }
    let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8);
    let mut secret = [0; 32];
    for (i, byte) in secret.iter_mut().enumerate() {
        let (Some(high), Some(low)) = (digit(text[2 * i]), digit(text[2 * i + 1])) else {
            return Err(format!("character {} or the next is no such digit", 2 * i + 1));
        };
        *byte = high << 4 | low;
    }
    Ok(secret)
}

fn create(path: &Path) -> Result<[u8; 32], KeyError> {
    let io_error = |source| KeyError::Io { path: path.into(), source };
    let secret = generate()?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(io_error)?;
    let text: String = secret.iter().map(|b| format!("{b:02x}")).collect();
    writeln!(file, "{text}").and_then(|()| file.sync_all()).map_err(io_error)?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_new_key_is_kept_and_is_its_owners_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let first = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap(), first);
        assert_ne!(load_or_create(&dir.path().join("other")).unwrap(), first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_malformed_key_file_is_named_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        for bad in ["", "abc", &"g".repeat(64), &"a".repeat(65)] {
            fs::write(&path, bad).unwrap();
            let error = load_or_create(&path).unwrap_err();
            assert!(matches!(error, KeyError::Malformed { .. }), "{error}");
            assert!(error.to_string().contains("key"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), bad);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        load_or_create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(load_or_create(&path).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn a_folder_that_is_missing_is_an_error_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let error = load_or_create(&dir.path().join("nowhere/key")).unwrap_err();
        assert!(error.to_string().contains("nowhere/key"), "{error}");
    }
}
