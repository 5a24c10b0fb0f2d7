//! The bytes of a checkpoint.

use fedswarm_protocol::hash::{Digest, hash};

use super::Part;
use crate::Error;

/// What a checkpoint must agree with: method, options, names and shapes.
pub(super) fn fingerprint(spelling: &str, parts: &[Part]) -> Digest {
    let mut text = format!("{spelling}\n");
    for part in parts {
        for spec in part.parameters.specs() {
            text.push_str(&format!("{}.{} {:?}\n", part.name, spec.name, spec.shape));
        }
    }
    hash("checkpoint", text.as_bytes())
}

pub(super) fn put(out: &mut Vec<u8>, values: &[f32]) {
    out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
}

/// The next bytes; nothing is allocated for what is not there.
pub(super) fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], Error> {
    let Some((head, tail)) = rest.split_at_checked(len) else {
        return Err(Error::Checkpoint(format!("{} bytes too short", len - rest.len())));
    };
    *rest = tail;
    Ok(head)
}

pub(super) fn floats(rest: &mut &[u8], count: usize) -> Result<Vec<f32>, Error> {
    let bytes = take(rest, count.saturating_mul(4))?;
    Ok(bytes.chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect())
}

/// An unsigned number of eight bytes, the lowest first.
pub(super) fn number(rest: &mut &[u8]) -> Result<u64, Error> {
    Ok(take(rest, 8)?.iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b)))
}
