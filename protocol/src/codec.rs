//! The one place where structures become bytes and back.
//!
//! bincode with its `legacy` configuration: fixed-width little-endian integers and 64-bit lengths, so that a value has
//! exactly one encoding. Decoding is bounded, refuses trailing bytes, and re-encodes to check that it read the canonical form.

use serde::{Serialize, de::DeserializeOwned};

use crate::membership::{Committee, MAX_COMMITTEE_BYTES};

/// Largest structure that [`decode`] reads. Too low and proposals of large networks do not fit; it bounds what a hostile
/// length can allocate.
pub const MAX_STRUCT_BYTES: usize = 256 * 1024;

/// Why bytes are not the structure they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// More bytes than the limit of this kind.
    #[error("{found} bytes, at most {limit} are allowed")]
    TooLong {
        /// What came.
        found: usize,
        /// The bound.
        limit: usize,
    },
    /// Not an encoding of this structure.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Bytes after the end of the structure.
    #[error("{0} bytes after the end")]
    Trailing(usize),
    /// A second spelling of a value that has a canonical one.
    #[error("not the canonical encoding")]
    NotCanonical,
}

/// Encodes a structure.
///
/// # Errors
/// [`CodecError::Malformed`] if a value cannot be represented, which no type of this crate provokes.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    bincode::serde::encode_to_vec(value, bincode::config::legacy()).map_err(|e| CodecError::Malformed(e.to_string()))
}

/// Decodes a structure of at most `limit` bytes (and never more than [`MAX_STRUCT_BYTES`]).
///
/// # Errors
/// [`CodecError`], saying what is wrong.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, CodecError> {
    decode_within::<T, MAX_STRUCT_BYTES>(bytes, limit)
}

/// Decodes a list of members from a disk of one's own: nothing that comes from others is as large.
///
/// # Errors
/// [`CodecError`], saying what is wrong.
pub fn decode_committee(bytes: &[u8]) -> Result<Committee, CodecError> {
    decode_within::<Committee, MAX_COMMITTEE_BYTES>(bytes, MAX_COMMITTEE_BYTES)
}

fn decode_within<T: Serialize + DeserializeOwned, const MOST: usize>(
    bytes: &[u8],
    limit: usize,
) -> Result<T, CodecError> {
    let limit = limit.min(MOST);
    if bytes.len() > limit {
        return Err(CodecError::TooLong { found: bytes.len(), limit });
    }
    let config = bincode::config::legacy().with_limit::<MOST>();
    let (value, used) =
        bincode::serde::decode_from_slice::<T, _>(bytes, config).map_err(|e| CodecError::Malformed(e.to_string()))?;
    if used != bytes.len() {
        return Err(CodecError::Trailing(bytes.len() - used));
    }
    if encode(&value)? != bytes {
        return Err(CodecError::NotCanonical);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn trailing_bytes_are_refused() {
        let mut bytes = encode(&(1u32, vec![2u8])).unwrap();
        assert_eq!(decode::<(u32, Vec<u8>)>(&bytes, 100).unwrap(), (1, vec![2]));
        bytes.push(0);
        assert_eq!(decode::<(u32, Vec<u8>)>(&bytes, 100), Err(CodecError::Trailing(1)));
    }

    #[test]
    fn a_hostile_length_allocates_nothing() {
        let bytes = u64::MAX.to_le_bytes();
        assert!(matches!(decode::<Vec<u8>>(&bytes, 100), Err(CodecError::Malformed(_))));
        let bytes = (1u64 << 30).to_le_bytes();
        assert!(matches!(decode::<Vec<u64>>(&bytes, 100), Err(CodecError::Malformed(_))));
    }

    #[test]
    fn the_largest_network_is_read_from_a_disk_and_from_nowhere_else() {
        use crate::keys::PublicKey;
        use crate::membership::MAX_MEMBERS;
        let key = |i: usize| {
            let mut key = [7; 32];
            key[..8].copy_from_slice(&(i as u64).to_be_bytes());
            PublicKey(key)
        };
        let mut committee = Committee::of_keys(3, (0..MAX_MEMBERS).map(key));
        committee.members.iter_mut().for_each(|member| member.name = "n".repeat(64));
        committee.spent = (0..MAX_MEMBERS).map(|i| (key(i), 9)).collect();
        committee.evicted = (0..crate::membership::MAX_EVICTED).map(key).collect();
        let bytes = encode(&committee).unwrap();
        assert_eq!(decode_committee(&bytes).unwrap(), committee);
        assert!(matches!(decode::<Committee>(&bytes, usize::MAX), Err(CodecError::TooLong { .. })));
    }

    #[test]
    fn the_limit_comes_before_the_decoder() {
        assert_eq!(decode::<u64>(&[0; 8], 7), Err(CodecError::TooLong { found: 8, limit: 7 }));
    }

    #[test]
    fn a_bool_that_is_not_zero_or_one_is_refused() {
        assert!(decode::<bool>(&[2], 1).is_err());
    }
}
