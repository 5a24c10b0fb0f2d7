//! The network of a world: keys, manifest, rules.

use fedswarm_protocol::blob;
use fedswarm_protocol::hash::hash;
use fedswarm_protocol::keys::SecretKey;
use fedswarm_protocol::manifest::{Founder, Manifest, ManifestError, PROTOCOL_VERSION, TaskSpec, Timers};
use fedswarm_protocol::membership::Admission;
use fedswarm_protocol::tensor::{Schema, TensorSpec};
use fedswarm_protocol::update::UpdateCodec;

use super::grown::growing_rounds;
use super::hosting;
use super::options::Options;
use super::rng::Rng;

/// A key drawn by chance.
pub fn draw_key(rng: &mut Rng) -> SecretKey {
    let mut bytes = [0; 32];
    bytes.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&rng.bits().to_le_bytes()));
    SecretKey::from_bytes(&bytes)
}

/// A network whose members train nothing, and its manifest: the founders' keys in the order of their places, then those of
/// the other members, then those of strangers.
///
/// # Errors
/// Options that make no manifest, such as no members.
pub fn found(options: &Options) -> Result<(Vec<SecretKey>, Manifest), ManifestError> {
    let mut rng = Rng::new("keys", options.seed);
    let mut secrets: Vec<SecretKey> = (0..options.voters()).map(|_| draw_key(&mut rng)).collect();
    secrets.sort_by_key(SecretKey::public);
    let founders = secrets.iter().map(|s| Founder { key: s.public(), name: s.public().short() }).collect();
    let others = usize::from(options.members - options.voters()) + usize::from(options.strangers);
    secrets.extend((0..others).map(|_| draw_key(&mut rng)));
    let schema = Schema { tensors: vec![TensorSpec::new("w", &[4], 4)] };
    let genesis_seed = hash("virtual genesis", &options.seed.to_le_bytes());
    let waits = &options.timers;
    let manifest = Manifest {
        version: PROTOCOL_VERSION,
        name: "world".to_owned(),
        method: "none".to_owned(),
        task: TaskSpec { channels: 1, height: 1, width: 1, classes: vec!["a".to_owned(), "b".to_owned()] },
        genesis_root: blob::root(&schema.genesis(&genesis_seed).to_bytes()),
        genesis_seed,
        schema,
        codec: UpdateCodec::I32,
        founders,
        epoch_length: options.epoch_length,
        max_weight: 1_000,
        min_inputs: options.min_inputs,
        sponsor_cap: options.sponsor_cap(),
        admission: if options.vote { Admission::Vote } else { Admission::Sponsor },
        rounds: options.rounds + growing_rounds(options),
        timers: Timers {
            collect_ms: waits.collect_ms,
            round_ms: waits.round_ms,
            leader_ms: waits.leader_ms,
            resend_ms: waits.resend_ms,
        },
        prototypes: (!options.hosts.is_empty()).then_some(hosting::PROTOTYPES),
        generator: (!options.hosts.is_empty()).then(hosting::generator),
    };
    manifest.check()?;
    Ok((secrets, manifest))
}
