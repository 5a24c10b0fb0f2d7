//! Whether a payload is what its author signed for.

use crate::blob;
use crate::hash::Digest;
use crate::message::UpdateHeader;
use crate::tensor::{FixedVector, Schema};
use crate::update::{PayloadError, UpdateCodec};

/// Why a payload is not what its header says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadFault {
    /// Other bytes.
    #[error("not the bytes that the header names")]
    Wire {
        /// Their root.
        found: Digest,
    },
    /// Bytes that are no update.
    #[error(transparent)]
    Codec(#[from] PayloadError),
    /// It decodes to something else.
    #[error("it does not decode to what its author signed for")]
    Decoded {
        /// Root of what it decodes to.
        found: Digest,
    },
    /// Another norm.
    #[error("its norm is not the one in its header")]
    Norm {
        /// Its norm ([`norm2_q`]).
        found: u64,
    },
}

/// The norm that a header carries: squared, in fixed point with 24 fraction bits, saturating.
#[must_use]
pub fn norm2_q(delta: &FixedVector) -> u64 {
    u64::try_from(delta.norm2() >> 24).unwrap_or(u64::MAX)
}

/// Checks a payload against its header and decodes it.
///
/// # Errors
/// [`PayloadFault`]. Unless the bytes are others than the header names, it is the author's.
pub fn check(header: &UpdateHeader, schema: &Schema, wire: &[u8]) -> Result<FixedVector, PayloadFault> {
    let found = blob::root(wire);
    if found != header.wire_root {
        return Err(PayloadFault::Wire { found });
    }
    let decoded = header.codec.decode(wire, schema)?;
    // The exact codec's wire form is the canonical form: no second hash.
    let found = if header.codec == UpdateCodec::I32 { found } else { blob::root(&decoded.to_bytes()) };
    if found != header.payload_root {
        return Err(PayloadFault::Decoded { found });
    }
    let found = norm2_q(&decoded);
    if found != header.norm2_q {
        return Err(PayloadFault::Norm { found });
    }
    Ok(decoded)
}
