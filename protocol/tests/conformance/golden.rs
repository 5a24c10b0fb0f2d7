//! Golden vectors from `scripts/golden_oracle.py`, which shares no code with this crate.

use std::sync::Arc;

use fedswarm_protocol::artefact::{ArtefactRef, ArtefactShape, Contents, artefact_root, generator_seed, host_rank};
use fedswarm_protocol::blob;
use fedswarm_protocol::certificate::Certificate;
use fedswarm_protocol::codec;
use fedswarm_protocol::election;
use fedswarm_protocol::envelope::{Kind, Slot, Verifier, seal, signed_bytes};
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::keys::{Ed25519, PublicKey, SecretKey, Signature};
use fedswarm_protocol::membership::{Ballot, Committee, EvictVote, Invite, Join, Operation, Role};
use fedswarm_protocol::merge::WeightedMean;
use fedswarm_protocol::message::{Artefact, Message, Receipt, Status, UpdateHeader};
use fedswarm_protocol::prototypes::PrototypeSpec;
use fedswarm_protocol::record::{Record, RecordKind, Rule, list_root};
use fedswarm_protocol::tensor::{FixedVector, Schema, TensorSpec};
use fedswarm_protocol::update::UpdateCodec;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    merges: Vec<MergeCase>,
    payloads: Vec<PayloadCase>,
    blobs: Vec<BlobCase>,
    genesis: Vec<GenesisCase>,
    elections: Vec<ElectionCase>,
    encodings: Encodings,
    artefacts: Vec<ArtefactCase>,
    prototypes: PrototypesCase,
}

#[derive(Deserialize)]
struct ArtefactCase {
    /// Classes, pairs of a class, and values of an image, a latent vector and the transformer.
    shape: [u32; 5],
    classes: Vec<u16>,
    images: Vec<f32>,
    latents: Vec<f32>,
    transformer: Vec<f32>,
    blob: String,
    root: String,
    /// Classes with prototypes.
    certified: Vec<u16>,
    acceptable: bool,
}

/// A class, and its prototype.
type OfClass = (u16, Vec<f32>);

#[derive(Deserialize)]
struct PrototypesCase {
    /// Of each author, by place: its classes and their values.
    authors: Vec<(u16, Vec<OfClass>)>,
    sections: Vec<String>,
    list: String,
    root: String,
}

#[derive(Deserialize)]
struct MergeCase {
    inputs: Vec<Vec<i32>>,
    weights: Vec<u32>,
    base: Vec<i32>,
    /// Nothing where the result leaves its range.
    merged: Option<Vec<i32>>,
    root: Option<String>,
}

#[derive(Deserialize)]
struct PayloadCase {
    codec: String,
    scale_bits: u8,
    coordinates: u32,
    bytes: String,
    /// What the bytes encode, where an encoder wrote them.
    encodes: Option<Vec<i32>>,
    seed: Option<String>,
    /// Nothing where the bytes are to be refused.
    payload_root: Option<String>,
    first: Option<Vec<i32>>,
    wire_root: String,
}

#[derive(Deserialize)]
struct BlobCase {
    len: usize,
    root: String,
}

#[derive(Deserialize)]
struct GenesisCase {
    seed: String,
    tensors: Vec<TensorSpec>,
    first: Vec<i32>,
    root: String,
}

#[derive(Deserialize)]
struct ElectionCase {
    seed: String,
    voters: u16,
    order: Vec<u16>,
}

#[derive(Deserialize)]
struct Encodings {
    record: String,
    record_hash: String,
    update: String,
    receipt: String,
    receipt_root: String,
    artefact: String,
    artefact_root: String,
    host_rank: String,
    generator_seed: String,
    status: String,
    certificate: String,
    signed_bytes: String,
    statement: String,
    join: String,
    approval_signed: String,
    evict_vote: String,
    evict_vote_signed: String,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden.json")).unwrap()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

#[test]
fn merges_are_those_of_exact_arithmetic() {
    let golden = golden();
    assert_eq!(golden.merges.len(), 64);
    assert!(golden.merges.iter().any(|case| case.merged.is_none()));
    for (i, case) in golden.merges.iter().enumerate() {
        let mut mean = WeightedMean::new(case.base.len());
        for (input, weight) in case.inputs.iter().zip(&case.weights) {
            mean.add(&FixedVector(input.clone()), *weight).unwrap();
        }
        let merged = mean.finish(&FixedVector(case.base.clone())).ok();
        assert_eq!(merged.as_ref().map(|m| &m.0), case.merged.as_ref(), "merge {i}");
        let root = merged.map(|m| blob::root(&m.to_bytes()).to_string());
        assert_eq!(root, case.root, "merge {i}");
    }
}

#[test]
fn payloads_encode_and_decode_to_those_of_numpy() {
    let golden = golden();
    for (i, case) in golden.payloads.iter().enumerate() {
        let codec: UpdateCodec = case.codec.parse().unwrap();
        let tensor = TensorSpec { scale_bits: case.scale_bits, ..TensorSpec::new("w", &[case.coordinates], 1) };
        let schema = Schema { tensors: vec![tensor] };
        let bytes = from_hex(&case.bytes);
        assert_eq!(blob::root(&bytes).to_string(), case.wire_root);
        if let Some(values) = &case.encodes {
            let seed = case.seed.as_ref().map_or(Digest::ZERO, |hex| Digest::from_hex(hex).unwrap());
            assert_eq!(codec.encode(&FixedVector(values.clone()), &schema, &seed), bytes, "{codec} {i}");
        }
        let decoded = codec.decode(&bytes, &schema).ok();
        let first = decoded.as_ref().map(|d| d.0.iter().copied().take(4).collect());
        assert_eq!(first, case.first, "{codec} {i}");
        assert_eq!(decoded.map(|d| blob::root(&d.to_bytes()).to_string()), case.payload_root, "{codec} {i}");
    }
    for name in ["int8", "f16"] {
        let refused = |c: &&PayloadCase| c.codec == name && c.payload_root.is_none();
        assert!(golden.payloads.iter().any(|c| refused(&c)), "no {name} payload is refused");
    }
}

#[test]
fn roots_of_blobs_are_those_of_the_oracle() {
    for case in golden().blobs {
        let bytes: Vec<u8> = (0..case.len).map(|i| (i * 31 + i / 251) as u8).collect();
        assert_eq!(blob::root(&bytes).to_string(), case.root, "{} bytes", case.len);
    }
}

#[test]
fn genesis_and_elections_are_those_of_the_oracle() {
    let golden = golden();
    for case in golden.genesis {
        let values = Schema { tensors: case.tensors }.genesis(&Digest::from_hex(&case.seed).unwrap());
        assert_eq!(values.0[..4], case.first);
        assert_eq!(blob::root(&values.to_bytes()).to_string(), case.root);
    }
    for case in golden.elections {
        assert_eq!(election::order(&Digest::from_hex(&case.seed).unwrap(), (0..case.voters).collect()), case.order);
    }
}

#[test]
fn the_record_is_encoded_field_by_field() {
    let mut next = 0;
    let mut root = || {
        next += 1;
        Digest([next; 32])
    };
    let record = Record {
        version: 1,
        network: root(),
        epoch: 5,
        round: 23,
        quorum: 6,
        parent: root(),
        origin_view: 2,
        proposer: 3,
        kind: RecordKind::Empty,
        rule: Rule::Mean,
        members_root: root(),
        receipts_root: root(),
        inputs_root: root(),
        inputs: 4,
        prototypes: 1234,
        model_root: root(),
        protos_root: root(),
        state_root: root(),
        artefact_root: root(),
        ops_root: root(),
        next_members_root: root(),
        seed: root(),
        seed_following: root(),
        seed_fold: root(),
        skipped_leaders: 0b101,
        misses: vec![0, 2, 1],
        closes_epoch: true,
    };
    let want = golden().encodings;
    assert_eq!(to_hex(&codec::encode(&record).unwrap()), want.record);
    assert_eq!(record.hash().unwrap().to_string(), want.record_hash);
}

#[test]
fn artefacts_are_encoded_and_judged_as_by_the_oracle() {
    let cases = golden().artefacts;
    assert!(cases.iter().any(|case| case.acceptable) && cases.iter().any(|case| !case.acceptable));
    for (i, case) in cases.iter().enumerate() {
        let [classes, per_class, image, latent, transformer] = case.shape;
        let (classes, per_class) = (classes as u16, per_class as u16);
        let shape = ArtefactShape { classes, per_class, image, latent, transformer };
        let made =
            Contents::from_floats(&shape, &case.classes, &case.images, &case.latents, &case.transformer).unwrap();
        let blob = made.to_bytes();
        assert_eq!(to_hex(&blob), case.blob, "artefact {i}");
        assert_eq!(blob::root(&blob).to_string(), case.root, "artefact {i}");
        let read = Contents::from_bytes(&shape, &blob).unwrap();
        assert_eq!(read, made, "artefact {i}");
        assert_eq!(read.check(&case.certified.iter().copied().collect()).is_ok(), case.acceptable, "artefact {i}");
    }
}

#[test]
fn prototypes_are_encoded_and_listed_as_by_the_oracle() {
    let case = golden().prototypes;
    let spec = PrototypeSpec { len: 3, scale_bits: 20, summary: None };
    let mut list = Vec::new();
    for ((author, prototypes), want) in case.authors.iter().zip(&case.sections) {
        let section = spec.encode(prototypes.iter().map(|(class, values)| (*class, values.as_slice())), 10).unwrap();
        assert_eq!(to_hex(&section), *want, "author {author}");
        spec.append(&mut list, *author, &section);
    }
    assert_eq!(to_hex(&list), case.list);
    assert_eq!(spec.name(&list).root.to_string(), case.root);
}

#[test]
fn messages_are_encoded_field_by_field() {
    let want = golden().encodings;
    let encoded = |bytes: Result<Vec<u8>, codec::CodecError>| to_hex(&bytes.unwrap());
    let d = |k| Digest([k; 32]);
    let update = UpdateHeader {
        base: d(1),
        schema: d(2),
        payload_root: d(3),
        wire_root: d(4),
        wire_len: 16,
        codec: UpdateCodec::Int8,
        samples: 100,
        norm2_q: 7,
    };
    assert_eq!(encoded(codec::encode(&update)), want.update);
    let reference =
        ArtefactRef { job_round: 16, host: PublicKey([5; 32]), statement: d(6), blob_root: d(7), blob_len: 70_000 };
    let receipt = Receipt { items: vec![(0, d(1)), (3, d(2))], artefacts: vec![reference] };
    assert_eq!(encoded(codec::encode(&receipt)), want.receipt);
    assert_eq!(artefact_root(Some(&reference)).to_string(), want.artefact_root);
    let artefact = Artefact { protos_root: d(1), generator: d(2), previous: d(3), blob_root: d(4), blob_len: 70_000 };
    assert_eq!(encoded(codec::encode(&artefact)), want.artefact);
    assert_eq!(host_rank(&d(1), &PublicKey([2; 32])).to_string(), want.host_rank);
    assert_eq!(generator_seed(&d(1), 17).to_string(), want.generator_seed);
    assert_eq!(list_root("receipts", &receipt.items).to_string(), want.receipt_root);
    let status = Status {
        finalized: 9,
        record: d(1),
        epoch: 6,
        view: 2,
        gap: 1,
        updates: [3, 7, 8, 9],
        receipts: 4,
        votes: 5,
        proposal: true,
        wanted: vec![(2, d(3))],
    };
    assert_eq!(encoded(codec::encode(&status)), want.status);
    let votes = vec![(1, Signature([1; 64])), (2, Signature([2; 64]))];
    let certificate = Certificate { kind: Kind::Finalize, epoch: 1, round: 2, view: 3, record: d(4), votes };
    assert_eq!(encoded(codec::encode(&certificate)), want.certificate);

    let slot = Slot { kind: Kind::Update, epoch: 1, round: 17, view: 0 };
    let body = codec::encode(&update).unwrap();
    assert_eq!(to_hex(&signed_bytes(&d(5), &slot, &body)), want.signed_bytes);
    let key = SecretKey::from_bytes(&[1; 32]);
    let sealed = seal(&key, &d(5), &slot, 2, &Message::Update(update)).unwrap();
    let verifier = Verifier::new(d(5), Arc::new(Committee::of_keys(1, [key.public(); 3])));
    assert_eq!(verifier.open(&sealed).unwrap().statement().to_string(), want.statement);
}

#[test]
fn votes_are_encoded_and_signed_as_the_oracle_says() {
    let want = golden().encodings;
    let (key, signature) = (|k| PublicKey([k; 32]), |k| Signature([k; 64]));
    let ballot = Ballot { voter: key(6), until: 40, signature: signature(7) };
    let invite =
        Invite { sponsor: key(1), ticket: key(2), role: Role::Contributor, expires: 50, signature: signature(3) };
    let join = Join {
        invite,
        key: key(4),
        name: "ana".into(),
        ticket_signature: signature(5),
        signature: signature(8),
        approvals: vec![ballot],
    };
    assert_eq!(to_hex(&codec::encode(&Operation::Join(Box::new(join.clone()))).unwrap()), want.join);
    let vote = EvictVote { key: key(4), since: 9, votes: vec![ballot] };
    assert_eq!(to_hex(&codec::encode(&Operation::EvictVote(vote)).unwrap()), want.evict_vote);

    let (network, voter) = (Digest([5; 32]), SecretKey::from_bytes(&[1; 32]));
    let signs = |ballot: &Ballot, said: &str| voter.public().verifies(&from_hex(said), &ballot.signature);
    assert!(signs(&join.approve(&network, &voter, 40), &want.approval_signed));
    let vote = EvictVote::new(&network, key(4), 9, &voter, 40);
    assert!(signs(&vote.votes[0], &want.evict_vote_signed));
    assert!(Operation::EvictVote(vote).holds(&network, &Ed25519));
}
