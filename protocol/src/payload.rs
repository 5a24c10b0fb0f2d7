//! What travels behind an update's header - the encoded delta, and behind it the author's prototypes - and whether it is what
//! its author signed for.

use crate::blob;
use crate::hash::Digest;
use crate::manifest::Manifest;
use crate::message::UpdateHeader;
use crate::prototypes::PrototypeError;
use crate::tensor::FixedVector;
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
    /// Bytes behind the delta that are no prototypes.
    #[error(transparent)]
    Prototypes(#[from] PrototypeError),
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

/// Lengths that a payload of a network may have as it travels: the encoded delta, and any number of prototypes up to one of
/// each class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WireLen {
    delta: u64,
    entry: u64,
    classes: u64,
}

impl WireLen {
    /// Those that a manifest gives.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Self {
        Self {
            delta: manifest.codec.encoded_len(&manifest.schema) as u64,
            entry: manifest.prototypes.filter(|spec| spec.len > 0).map_or(0, |spec| spec.entry_len() as u64),
            classes: manifest.task.classes.len() as u64,
        }
    }

    /// The shortest: without prototypes.
    #[must_use]
    pub const fn least(&self) -> u32 {
        // A checked manifest allows no payload beyond the largest blob.
        self.delta as u32
    }

    /// The longest.
    #[must_use]
    pub const fn most(&self) -> u64 {
        self.delta.saturating_add(self.entry.saturating_mul(self.classes))
    }

    /// Whether a payload may be that long.
    #[must_use]
    pub const fn allows(&self, len: u32) -> bool {
        let len = len as u64;
        match len.checked_sub(self.delta) {
            Some(0) => true,
            Some(rest) => self.entry > 0 && rest % self.entry == 0 && len <= self.most(),
            None => false,
        }
    }
}

/// A payload, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    /// The delta, as all merge it.
    pub delta: FixedVector,
    /// The author's prototypes ([`crate::prototypes`]).
    pub prototypes: &'a [u8],
}

impl Payload<'_> {
    /// The canonical form that a header's `payload_root` is the root of.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.delta.to_bytes(), self.prototypes].concat()
    }
}

/// Takes a payload apart and checks its form.
///
/// # Errors
/// [`PayloadFault::Codec`] and [`PayloadFault::Prototypes`].
pub fn decode<'a>(manifest: &Manifest, wire: &'a [u8]) -> Result<Payload<'a>, PayloadFault> {
    let expected = manifest.codec.encoded_len(&manifest.schema);
    let Some((encoded, prototypes)) = wire.split_at_checked(expected) else {
        return Err(PayloadError::Length { expected, found: wire.len() }.into());
    };
    match manifest.prototypes {
        Some(spec) => spec.check(prototypes, manifest.task.classes.len() as u16)?,
        None if !prototypes.is_empty() => return Err(PayloadError::Length { expected, found: wire.len() }.into()),
        None => {}
    }
    Ok(Payload { delta: manifest.codec.decode(encoded, &manifest.schema)?, prototypes })
}

/// The norm that a header carries: squared, in fixed point with 24 fraction bits, saturating.
#[must_use]
pub fn norm2_q(delta: &FixedVector) -> u64 {
    u64::try_from(delta.norm2() >> 24).unwrap_or(u64::MAX)
}

/// Checks a payload against its header and takes it apart.
///
/// # Errors
/// [`PayloadFault`]. Unless the bytes are others than the header names, it is the author's.
pub fn check<'a>(header: &UpdateHeader, manifest: &Manifest, wire: &'a [u8]) -> Result<Payload<'a>, PayloadFault> {
    let found = blob::root(wire);
    if found != header.wire_root {
        return Err(PayloadFault::Wire { found });
    }
    let payload = decode(manifest, wire)?;
    // The exact codec's wire form is the canonical form: no second hash.
    let found = if manifest.codec == UpdateCodec::I32 { found } else { blob::root(&payload.to_bytes()) };
    if found != header.payload_root {
        return Err(PayloadFault::Decoded { found });
    }
    let found = norm2_q(&payload.delta);
    if found != header.norm2_q {
        return Err(PayloadFault::Norm { found });
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::prototypes::PrototypeSpec;
    use crate::tensor::TensorSpec;
    use crate::testing;

    const SPEC: PrototypeSpec = PrototypeSpec { len: 3, scale_bits: 24, summary: None };

    fn manifest(codec: UpdateCodec, prototypes: Option<PrototypeSpec>) -> Manifest {
        let (manifest, _) = testing::network(1, vec![TensorSpec::new("w", &[5], 4)]);
        Manifest { codec, prototypes, ..manifest }
    }

    /// A payload with prototypes of these classes, and a header that fits it.
    fn sample(manifest: &Manifest, classes: &[u16]) -> (UpdateHeader, Vec<u8>) {
        let delta = FixedVector(vec![1 << 20, -(1 << 21), 0, 77, 1 << 24]);
        let mut wire = manifest.codec.encode(&delta, &manifest.schema, &Digest::ZERO);
        if let Some(spec) = manifest.prototypes {
            let values = vec![0.5; usize::from(spec.len)];
            wire.extend(spec.encode(classes.iter().map(|c| (*c, values.as_slice())), 9).unwrap());
        }
        let delta = manifest.codec.decode(&wire[..manifest.codec.encoded_len(&manifest.schema)], &manifest.schema);
        let delta = delta.unwrap();
        let section = &wire[manifest.codec.encoded_len(&manifest.schema)..];
        let header = UpdateHeader {
            base: Digest::ZERO,
            schema: manifest.schema.digest(),
            payload_root: blob::root(&[&delta.to_bytes(), section].concat()),
            wire_root: blob::root(&wire),
            wire_len: wire.len() as u32,
            codec: manifest.codec,
            samples: 1,
            norm2_q: norm2_q(&delta),
        };
        (header, wire)
    }

    #[test]
    fn delta_and_prototypes_are_both_what_the_author_signed_for() {
        for codec in [UpdateCodec::I32, UpdateCodec::F16, UpdateCodec::Int8] {
            let manifest = manifest(codec, Some(SPEC));
            let (header, wire) = sample(&manifest, &[0, 1]);
            let payload = check(&header, &manifest, &wire).unwrap();
            assert_eq!(payload.prototypes.len(), 2 * SPEC.entry_len());
            // Another prototype with a wire root to match: only the payload root tells.
            let mut other = wire.clone();
            let last = other.len() - 2;
            other[last] ^= 1;
            let lie = UpdateHeader { wire_root: blob::root(&other), ..header.clone() };
            assert!(matches!(check(&lie, &manifest, &other), Err(PayloadFault::Decoded { .. })), "{codec}");
            assert!(matches!(check(&header, &manifest, &other), Err(PayloadFault::Wire { .. })), "{codec}");
        }
    }

    #[test]
    fn a_network_without_prototypes_has_payloads_of_one_length() {
        let plain = manifest(UpdateCodec::F16, None);
        let (header, wire) = sample(&plain, &[]);
        assert!(check(&header, &plain, &wire).is_ok());
        let lengths = WireLen::of(&plain);
        assert_eq!((lengths.least(), lengths.most()), (10, 10));
        assert!((0..100).all(|len| lengths.allows(len) == (len == 10)));
        let longer = [wire.as_slice(), &[0; 14]].concat();
        assert!(matches!(decode(&plain, &longer), Err(PayloadFault::Codec(PayloadError::Length { .. }))));
    }

    #[test]
    fn lengths_are_those_of_whole_prototypes_up_to_one_of_each_class() {
        let manifest = manifest(UpdateCodec::I32, Some(SPEC));
        let lengths = WireLen::of(&manifest);
        let allowed: Vec<u32> = (0..100).filter(|len| lengths.allows(*len)).collect();
        assert_eq!(allowed, [20, 34, 48], "two classes");
        for len in 0..100 {
            let decodes = decode(&manifest, &sample(&manifest, &[0, 1]).1.repeat(3)[..len]).is_ok();
            assert!(!decodes || lengths.allows(len as u32), "{len}");
        }
        assert!(matches!(decode(&manifest, &[0; 19]), Err(PayloadFault::Codec(_))));
        assert!(matches!(decode(&manifest, &[0; 21]), Err(PayloadFault::Prototypes(_))));
        assert!(decode(&manifest, &[0; 20]).is_ok(), "no prototypes at all");
    }
}
