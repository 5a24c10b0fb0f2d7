//! From a trained delta to bytes that others check, and back.

use fedswarm_protocol::blob::{self, BlobId};
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::manifest::Manifest;
use fedswarm_protocol::message::UpdateHeader;
use fedswarm_protocol::tensor::FixedVector;

use crate::Error;

/// Why a payload is not what its header says.
pub type Mismatch = String;

/// Encodes a delta: the header to sign, and the payload to serve.
///
/// # Errors
/// A delta with numbers that are not finite or do not fit.
pub fn make(manifest: &Manifest, base: Digest, delta: &[f32], samples: u32) -> Result<(UpdateHeader, Vec<u8>), Error> {
    let schema = &manifest.schema;
    let exact = schema.quantise(delta).map_err(fedswarm_learning::Error::from)?;
    // The base makes the rounding differ from round to round, so that it does not add up.
    let wire = manifest.codec.encode(&exact, schema, &base);
    let decoded = manifest.codec.decode(&wire, schema).map_err(|e| Error::Corrupt(e.to_string()))?;
    let header = UpdateHeader {
        base,
        schema: schema.digest(),
        payload_root: blob::root(&decoded.to_bytes()),
        wire_root: blob::root(&wire),
        wire_len: wire.len() as u32,
        codec: manifest.codec,
        samples,
        norm2_q: norm2_q(&decoded),
    };
    Ok((header, wire))
}

/// Checks a fetched payload against its header and decodes it.
///
/// # Errors
/// What is wrong with it. The bytes are those that the author signed for, so it is the author's fault.
pub fn check(manifest: &Manifest, header: &UpdateHeader, wire: &[u8]) -> Result<FixedVector, Mismatch> {
    if BlobId::of(wire).0 != header.wire_root {
        return Err("not the bytes that the header names".to_owned());
    }
    let decoded = header.codec.decode(wire, &manifest.schema).map_err(|e| e.to_string())?;
    if blob::root(&decoded.to_bytes()) != header.payload_root {
        return Err("it does not decode to what its author signed for".to_owned());
    }
    if norm2_q(&decoded) != header.norm2_q {
        return Err("its norm is not the one in its header".to_owned());
    }
    Ok(decoded)
}

fn norm2_q(delta: &FixedVector) -> u64 {
    u64::try_from(delta.norm2() >> 24).unwrap_or(u64::MAX)
}
