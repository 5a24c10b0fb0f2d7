//! From a trained delta to bytes that others check, and back.

use fedswarm_learning::methods::LocalUpdate;
use fedswarm_protocol::blob;
use fedswarm_protocol::hash::{Digest, hash};
use fedswarm_protocol::manifest::Manifest;
use fedswarm_protocol::message::UpdateHeader;
use fedswarm_protocol::payload;

use crate::Error;

/// Why a payload is not what its header says.
pub type Mismatch = String;

/// Encodes what a round of training gave - its delta, and its prototypes if the network has any: the header to sign, and the
/// payload to serve.
///
/// # Errors
/// Numbers that are not finite or do not fit; prototypes of other classes or lengths than the manifest says.
pub fn make(manifest: &Manifest, base: Digest, update: &LocalUpdate) -> Result<(UpdateHeader, Vec<u8>), Error> {
    let schema = &manifest.schema;
    let exact = schema.quantise(&update.delta).map_err(fedswarm_learning::Error::from)?;
    // Rounding must differ from round to round and from author to author, so that it does not add up, and be the same in every
    // run in which the same is learnt. The base would not do: a record also names receipts, aggregator and view.
    let seed = hash("rounding of an update", &exact.to_bytes());
    let mut wire = manifest.codec.encode(&exact, schema, &seed);
    if let Some(spec) = manifest.prototypes {
        let prototypes = update.prototypes.iter().map(|p| (p.class, p.values.as_slice()));
        let section = spec.encode(prototypes, manifest.task.classes.len() as u16);
        wire.extend(section.map_err(|e| Error::Corrupt(e.to_string()))?);
    }
    let decoded = payload::decode(manifest, &wire).map_err(|e| Error::Corrupt(e.to_string()))?;
    let header = UpdateHeader {
        base,
        schema: schema.digest(),
        payload_root: blob::root(&decoded.to_bytes()),
        wire_root: blob::root(&wire),
        wire_len: wire.len() as u32,
        codec: manifest.codec,
        samples: update.samples,
        norm2_q: payload::norm2_q(&decoded.delta),
    };
    Ok((header, wire))
}

/// Checks a fetched payload against its header.
///
/// # Errors
/// What is wrong with it. The bytes are those that the author signed for, so it is the author's fault.
pub fn check(manifest: &Manifest, header: &UpdateHeader, wire: &[u8]) -> Result<(), Mismatch> {
    payload::check(header, manifest, wire).map(|_| ()).map_err(|fault| fault.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use fedswarm_learning::data::ImageShape;
    use fedswarm_learning::methods::{Task, method};
    use fedswarm_learning::transfer::Prototype;
    use fedswarm_protocol::keys::SecretKey;
    use fedswarm_protocol::manifest::{Founder, Timers};
    use fedswarm_protocol::prototypes::PrototypeSpec;
    use fedswarm_protocol::update::UpdateCodec;

    fn manifest(codec: UpdateCodec) -> Manifest {
        let plan = crate::founding::Plan {
            name: "test".into(),
            classes: vec!["a".into(), "b".into()],
            codec,
            genesis_seed: Digest([1; 32]),
            rounds: 1,
            min_inputs: 0,
            sponsor_cap: 2,
            admission: fedswarm_protocol::membership::Admission::Sponsor,
            timers: Timers::default(),
            generator: None,
        };
        let task = Task { input: ImageShape { channels: 1, height: 8, width: 8 }, classes: 2 };
        let founders = vec![Founder { key: SecretKey::from_bytes(&[1; 32]).public(), name: "a".into() }];
        crate::founding::found(plan, method("fedavg:model=mlp").unwrap().as_ref(), &task, founders).unwrap()
    }

    fn update(delta: Vec<f32>) -> LocalUpdate {
        LocalUpdate { delta, prototypes: Vec::new(), samples: 10, loss: 0.0, steps: 1 }
    }

    #[test]
    fn prototypes_travel_with_the_delta_under_every_codec() {
        for codec in [UpdateCodec::I32, UpdateCodec::F16, UpdateCodec::Int8] {
            let spec = PrototypeSpec { len: 2, scale_bits: 24, summary: None };
            let manifest = Manifest { prototypes: Some(spec), ..manifest(codec) };
            let mut update = update(vec![0.01; manifest.schema.len()]);
            let prototype = |class, values: [f32; 2]| Prototype { class, values: values.to_vec() };
            update.prototypes = vec![prototype(0, [0.5, -1.0]), prototype(1, [2.0, 0.0])];
            let (header, wire) = make(&manifest, Digest([2; 32]), &update).unwrap();
            assert_eq!(wire.len(), manifest.codec.encoded_len(&manifest.schema) + 2 * spec.entry_len());
            assert!(check(&manifest, &header, &wire).is_ok(), "{codec}");
            update.prototypes.reverse();
            assert!(make(&manifest, Digest([2; 32]), &update).is_err(), "{codec}: classes out of order");
            update.prototypes = vec![prototype(0, [f32::NAN, 0.0])];
            assert!(make(&manifest, Digest([2; 32]), &update).is_err(), "{codec}: diverged");
        }
    }

    #[test]
    fn every_codec_makes_payloads_that_pass_their_own_check_and_no_other() {
        for codec in [UpdateCodec::I32, UpdateCodec::F16, UpdateCodec::Int8] {
            let manifest = manifest(codec);
            let delta: Vec<f32> = (0..manifest.schema.len()).map(|i| (i as f32).sin() / 50.0).collect();
            let update = update(delta);
            let (header, wire) = make(&manifest, Digest([2; 32]), &update).unwrap();
            assert!(check(&manifest, &header, &wire).is_ok(), "{codec}");
            let (_, again) = make(&manifest, Digest([3; 32]), &update).unwrap();
            assert!(again == wire, "{codec}: who aggregated the round before has no say in what is sent");
            let mut other = wire.clone();
            other[5] ^= 1;
            assert!(check(&manifest, &header, &other).is_err(), "{codec}: other bytes");
            // An author that signs for these bytes but for another decoded payload, or norm.
            let lies = [
                UpdateHeader { payload_root: Digest([9; 32]), ..header.clone() },
                UpdateHeader { norm2_q: header.norm2_q + 1, ..header.clone() },
            ];
            for lie in lies {
                assert!(check(&manifest, &lie, &wire).is_err(), "{codec}: a lie in the header");
            }
        }
    }

    #[test]
    fn a_diverged_update_is_not_published() {
        let manifest = manifest(UpdateCodec::I32);
        let mut delta = vec![0.0; manifest.schema.len()];
        delta[3] = f32::NAN;
        let text = make(&manifest, Digest([2; 32]), &update(delta)).unwrap_err().to_string();
        assert!(text.contains("coordinate 3"), "{text}");
    }
}
