//! The corpus: valid messages of every kind, made from the code so that it can follow a change of format.

use std::fs;

use fedswarm_protocol::artefact::Contents;
use fedswarm_protocol::codec;
use fedswarm_protocol::envelope::Kind;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::membership::Committee;
use fedswarm_protocol::tensor::TensorSpec;

use crate::common::values::{CODECS, Draw, KINDS};
use crate::common::world::World;
use crate::decoders::{COORDINATES, PROTOTYPES, SHAPE, TARGETS, payload_schema};
use crate::harness::kept;

/// Random values beside the valid ones, for each body.
const DRAWN: u64 = 2;

fn bodies(kind: Kind) -> Vec<Vec<u8>> {
    let drawn = (0..DRAWN).map(|seed| Draw::new("corpus", seed).message(kind).encode().unwrap());
    std::iter::once(World::new(4).message(kind).1.encode().unwrap()).chain(drawn).collect()
}

fn manifests() -> Vec<Vec<u8>> {
    let mut large = World::new(64).manifest;
    large.schema.tensors.push(TensorSpec::new("c", &[64, 32, 3, 3], 288));
    large.genesis_root = fedswarm_protocol::blob::root(&large.schema.genesis(&large.genesis_seed).to_bytes());
    large.check().unwrap();
    let schema = codec::encode(&large.schema).unwrap();
    vec![World::new(4).manifest.to_bytes().unwrap(), large.to_bytes().unwrap(), schema]
}

fn payloads() -> Vec<Vec<u8>> {
    let schema = payload_schema();
    // Small enough to fit half precision in the tensor with the fewest whole bits.
    let mut delta = Draw::new("corpus", 0).vector(COORDINATES);
    delta.0.iter_mut().for_each(|q| *q >>= 7);
    CODECS.iter().map(|codec| codec.encode(&delta, &schema, &Digest::ZERO)).collect()
}

fn artefact(classes: &[u16]) -> Vec<u8> {
    let mut draw = Draw::new("corpus", classes.len() as u64);
    let mut floats = |count: usize, scale: f32| -> Vec<f32> {
        (0..count).map(|_| scale * (draw.below(2001) as f32 / 1000.0 - 1.0)).collect()
    };
    let (images, latents) = (floats(classes.len() * 9, 1.0), floats(classes.len() * 5, 3.0));
    Contents::from_floats(&SHAPE, classes, &images, &latents, &floats(7, 100.0)).unwrap().to_bytes()
}

fn prototypes(classes: &[u16]) -> Vec<u8> {
    let values = [0.25, -7.5, 1000.0];
    PROTOTYPES.encode(classes.iter().map(|class| (*class, values.as_slice())), 10).unwrap()
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    match target {
        "update" => bodies(Kind::Update),
        "receipt" => bodies(Kind::Receipt),
        "artefact" => bodies(Kind::Artefact),
        "artefact_contents" => vec![artefact(&[0, 1, 3]), artefact(&[2, 2])],
        "prototypes" => vec![prototypes(&[0, 3, 9]), prototypes(&[4])],
        "proposal" => bodies(Kind::Proposal),
        "vote" => bodies(Kind::Notarize),
        "status" => bodies(Kind::Status),
        "certificate" => bodies(Kind::Certificate),
        "committed" => bodies(Kind::Committed),
        "record" => vec![codec::encode(&World::new(4).record(1).0).unwrap()],
        "envelope" | "signed_envelope" => KINDS.iter().map(|kind| World::new(4).sealed(*kind)).collect(),
        "manifest_and_schema" => manifests(),
        "payloads" => payloads(),
        "operation" => {
            let world = World::new(4);
            let valid = [world.join(), world.approved_join(&[0, 1, 3]), world.evict_vote(&[0, 1, 2])];
            let drawn = (0..4).map(|seed| Draw::new("corpus", seed).operation());
            valid.into_iter().chain(drawn).map(|operation| codec::encode(&operation).unwrap()).collect()
        }
        "committee" => vec![codec::encode(&Committee::founding(&World::new(4).manifest)).unwrap()],
        "evidence_file" => vec![World::new(4).evidence().to_bytes().unwrap()],
        "digest_in_hex" => vec![Digest([0xa5; 32]).to_string().into_bytes()],
        other => panic!("no corpus for {other}"),
    }
}

#[test]
fn corpus_holds_what_the_present_code_says() {
    let write = std::env::var_os("FEDSWARM_WRITE_CORPUS").is_some();
    for target in TARGETS {
        let dir = kept(target).join("corpus");
        if write {
            fs::create_dir_all(&dir).unwrap();
        }
        for (i, bytes) in corpus(target).iter().enumerate() {
            let path = dir.join(format!("valid-{i:02}"));
            if write {
                fs::write(&path, bytes).unwrap();
            }
            assert!(
                fs::read(&path).is_ok_and(|kept| kept == *bytes),
                "{} is out of date: FEDSWARM_WRITE_CORPUS=1 cargo test --release -p fedswarm-protocol --test fuzz corpus",
                path.display()
            );
        }
    }
}
