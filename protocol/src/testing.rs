//! The network of the tests: a manifest that passes every check, and the secret keys of its founders, the same every time.
//!
//! Unit tests and integration tests share this file: the tests of the wire and the model include it from `tests/common`.

use fedswarm_protocol::blob;
use fedswarm_protocol::hash::hash;
use fedswarm_protocol::keys::SecretKey;
use fedswarm_protocol::manifest::{Founder, Manifest, PROTOCOL_VERSION, TaskSpec, Timers};
use fedswarm_protocol::membership::Admission;
use fedswarm_protocol::tensor::{Schema, TensorSpec};
use fedswarm_protocol::update::UpdateCodec;

/// A network of this many founding voters that shares these tensors. Secret keys are in the order of the voters' places.
pub(crate) fn network(voters: u8, tensors: Vec<TensorSpec>) -> (Manifest, Vec<SecretKey>) {
    let schema = Schema { tensors };
    let seed = hash("test", b"genesis");
    let mut secrets: Vec<_> = (0..voters).map(|i| SecretKey::from_bytes(&[i + 1; 32])).collect();
    secrets.sort_by_key(SecretKey::public);
    let founders = secrets.iter().map(|s| Founder { key: s.public(), name: s.public().short() }).collect();
    let manifest = Manifest {
        version: PROTOCOL_VERSION,
        name: "test".into(),
        method: "fedmoe".into(),
        task: TaskSpec { channels: 1, height: 2, width: 2, classes: vec!["a".into(), "b".into()] },
        genesis_root: blob::root(&schema.genesis(&seed).to_bytes()),
        genesis_seed: seed,
        schema,
        codec: UpdateCodec::I32,
        founders,
        epoch_length: 4,
        max_weight: 1000,
        min_inputs: 0,
        sponsor_cap: 2,
        admission: Admission::Sponsor,
        rounds: 0,
        timers: Timers::default(),
        prototypes: None,
        generator: None,
    };
    assert_eq!(manifest.check(), Ok(()));
    (manifest, secrets)
}
