//! The key file: 32 secret bytes in hexadecimal, readable by its owner only.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::keys::SecretKey;

use crate::Error;

/// A new key from the system's entropy.
///
/// # Errors
/// A system without entropy.
pub fn generate() -> Result<SecretKey, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| Error::Config(format!("no entropy for a new key: {e}")))?;
    Ok(SecretKey::from_bytes(&bytes))
}

/// Reads a key file.
///
/// # Errors
/// A file that is missing, readable by others, or not a key.
pub fn load(path: &Path) -> Result<SecretKey, Error> {
    let text = fs::read_to_string(path).map_err(|e| Error::file(path, e))?;
    let bytes = Digest::from_hex(text.trim())
        .ok_or_else(|| Error::file(path, "not a key file: expected 64 hexadecimal digits"))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(path).map_err(|e| Error::file(path, e))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(Error::file(
                path,
                format!("a key that others can read (mode {:o}); run chmod 600 on it", mode & 0o777),
            ));
        }
    }
    Ok(SecretKey::from_bytes(&bytes.0))
}

/// Reads a key file, or makes one if there is none.
///
/// # Errors
/// As [`load`]; a file that is there is never overwritten.
pub fn load_or_create(path: &Path) -> Result<SecretKey, Error> {
    if path.exists() {
        return load(path);
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|e| Error::file(parent, e))?;
    }
    let key = generate()?;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let write = || -> std::io::Result<()> {
        let mut file = options.open(path)?;
        writeln!(file, "{}", Digest(key.to_bytes()))?;
        file.sync_all()
    };
    write().map_err(|e| Error::file(path, e))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_key_is_made_once_and_then_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/node.key");
        let key = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap().public(), key.public());
    }

    #[test]
    fn rubbish_is_no_key_and_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        fs::write(&path, "hello").unwrap();
        assert!(load_or_create(&path).unwrap_err().to_string().contains("64 hexadecimal"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "hello");
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        load_or_create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("chmod 600"));
    }
}
