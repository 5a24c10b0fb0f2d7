//! The node's key: one for the protocol's signatures and for libp2p.

use std::path::Path;

use fedswarm_network::key_file::{self, KeyError};
use fedswarm_protocol::keys::SecretKey;

/// A new key from the system's entropy.
///
/// # Errors
/// A system without entropy.
pub fn generate() -> Result<SecretKey, KeyError> {
    Ok(SecretKey::from_bytes(&key_file::generate()?))
}

/// Thirty-two bytes that nobody else has.
pub(crate) fn entropy() -> Result<[u8; 32], KeyError> {
    key_file::generate()
}

/// Reads a key file, or makes one if there is none.
///
/// # Errors
/// [`KeyError`] with the file; one that is there is never overwritten.
pub fn load_or_create(path: &Path) -> Result<SecretKey, KeyError> {
    Ok(SecretKey::from_bytes(&key_file::load_or_create(path)?))
}
