//! Every decoder of this crate.

use std::sync::LazyLock;

use fedswarm_protocol::artefact::{ArtefactShape, Contents};
use fedswarm_protocol::certificate::Certificate;
use fedswarm_protocol::codec;
use fedswarm_protocol::envelope::{MAX_COMMITTED_BYTES, NOBODY, Verifier, seal};
use fedswarm_protocol::evidence::{EvidenceFile, MAX_EVIDENCE_BYTES};
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::manifest::{MAX_MANIFEST_BYTES, Manifest};
use fedswarm_protocol::membership::{Committee, Operation};
use fedswarm_protocol::message::{Artefact, Committed, Proposal, Receipt, Status, UpdateHeader};
use fedswarm_protocol::prototypes::PrototypeSpec;
use fedswarm_protocol::record::Record;
use fedswarm_protocol::tensor::{FixedVector, Schema, TensorSpec};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::common::values::CODECS;
use crate::common::world::World;
use crate::harness::{files, iterations, kept, mutate, within};

/// Mutants for each target in a plain `cargo test`; `FEDSWARM_FUZZ_ITERATIONS` takes its place.
const ITERATIONS: u64 = 20_000;

/// What a hostile length makes serde reserve before the bytes run out, at each level of nesting.
const RESERVE: u64 = 1 << 20;

/// What decoding a body may allocate: one hostile length, what came
/// before it (a value takes up to four times its bytes), and the canonical form to compare with.
pub(crate) const BODY_LIMIT: u64 = RESERVE + 8 * MAX_COMMITTED_BYTES as u64;

/// What opening a message may allocate: its body, its copy, and what checking it needs.
pub(crate) const ENVELOPE_LIMIT: u64 = BODY_LIMIT + MAX_COMMITTED_BYTES as u64;

/// What decoding a manifest may allocate: its lists nest two deep.
pub(crate) const MANIFEST_LIMIT: u64 = 2 * RESERVE + 4 * MAX_MANIFEST_BYTES as u64;

/// Coordinates above which a mutant's genesis is not computed here, to save time.
pub(crate) const GENESIS_COORDINATES: usize = 1 << 20;

/// What checking a manifest may allocate beside it: the genesis state and its bytes.
pub(crate) const GENESIS_LIMIT: u64 = 8 * GENESIS_COORDINATES as u64;

/// What decoding a payload may allocate: floats and integers of each coordinate, and some for the error.
pub(crate) const PAYLOAD_LIMIT: u64 = 8 * COORDINATES as u64 + 1024;

/// What reading an evidence file may allocate: it has no lists.
pub(crate) const EVIDENCE_LIMIT: u64 = 8 * MAX_EVIDENCE_BYTES as u64;

/// Coordinates of the schema that payloads are decoded with.
pub(crate) const COORDINATES: usize = 600;

/// The schema that payloads are decoded with: two scales, and a block of int8 that both share.
pub(crate) fn payload_schema() -> Schema {
    let a = TensorSpec { scale_bits: 30, ..TensorSpec::new("a", &[300], 9) };
    let b = TensorSpec { scale_bits: 8, ..TensorSpec::new("b", &[300], 0) };
    Schema { tensors: vec![a, b] }
}

static WORLD: LazyLock<World> = LazyLock::new(|| World::new(4));
static SCHEMA: LazyLock<Schema> = LazyLock::new(payload_schema);

/// A structure: what is accepted encodes to the same bytes.
fn structure<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let decoded = within(BODY_LIMIT, || codec::decode::<T>(bytes, MAX_COMMITTED_BYTES));
    if let Ok(value) = decoded {
        assert_eq!(codec::encode(&value).unwrap(), bytes);
    }
}

/// A whole message: what is opened is what its author would seal.
fn open(bytes: &[u8]) {
    let world = &*WORLD;
    let peeked = within(0, || Verifier::peek(bytes));
    let _ = within(ENVELOPE_LIMIT, || Verifier::anonymous_status(bytes));
    let Ok(message) = within(ENVELOPE_LIMIT, || world.verifier.open(bytes)) else { return };
    assert_eq!(peeked, Some((*message.slot(), message.author())));
    assert_eq!(message.bytes(), bytes);
    // Whoever passes on a message that proves itself is nobody.
    let key = world.secrets.get(usize::from(message.author())).unwrap_or(&world.secrets[0]);
    let sealed = seal(key, &world.network(), message.slot(), message.author(), message.message()).unwrap();
    assert_eq!(sealed, bytes);
}

/// The same with a signature that holds, so that mutants of the body get past it.
fn open_signed(bytes: &[u8]) {
    const BODY: usize = 83;
    let Some((slot, _)) = Verifier::peek(bytes) else { return };
    let world = &*WORLD;
    let said = fedswarm_protocol::envelope::signed_bytes(&world.network(), &slot, &bytes[BODY..]);
    let mut signed = bytes.to_vec();
    let proves_itself = slot.kind.proves_itself();
    signed[17..19].copy_from_slice(&if proves_itself { NOBODY } else { 1 }.to_le_bytes());
    let signature = if proves_itself { [0; 64] } else { world.secrets[1].sign(&said).0 };
    signed[19..BODY].copy_from_slice(&signature);
    open(&signed);
}

fn manifest(bytes: &[u8]) {
    if let Ok(schema) = within(MANIFEST_LIMIT, || codec::decode::<Schema>(bytes, MAX_MANIFEST_BYTES)) {
        assert_eq!(codec::encode(&schema).unwrap(), bytes);
        let _ = within(4096, || schema.check());
    }
    if let Ok(manifest) = within(MANIFEST_LIMIT, || codec::decode::<Manifest>(bytes, MAX_MANIFEST_BYTES)) {
        assert_eq!(manifest.to_bytes().unwrap(), bytes);
        if manifest.derivation().common().len() <= GENESIS_COORDINATES {
            let read = within(MANIFEST_LIMIT + GENESIS_LIMIT, || Manifest::from_bytes(bytes));
            assert_eq!(read.is_ok(), manifest.check().is_ok());
        }
    }
}

/// Payloads of all codecs: what is accepted has the one length, is in range, and exact codecs give the same bytes back.
fn payload(bytes: &[u8]) {
    let schema = &*SCHEMA;
    for codec in CODECS {
        let Ok(decoded) = within(PAYLOAD_LIMIT, || codec.decode(bytes, schema)) else { continue };
        assert_eq!(bytes.len(), codec.encoded_len(schema));
        assert_eq!(decoded.0.len(), COORDINATES);
        decoded.check_range().unwrap();
        let canonical = decoded.to_bytes();
        assert_eq!(FixedVector::from_bytes(&canonical, schema).unwrap(), decoded);
        if codec == fedswarm_protocol::update::UpdateCodec::I32 {
            assert_eq!(canonical, bytes);
        }
    }
}

/// What artefacts look like here.
pub(crate) const SHAPE: ArtefactShape = ArtefactShape { classes: 4, per_class: 2, image: 9, latent: 5, transformer: 7 };

/// What reading an artefact may allocate: its values once more, and some for the check and the error.
pub(crate) const ARTEFACT_LIMIT: u64 = 2048;

/// The blob of an artefact: what is accepted is spelt in one way, in range, and of classes in order.
fn artefact_blob(bytes: &[u8]) {
    let Ok(contents) = within(ARTEFACT_LIMIT, || Contents::from_bytes(&SHAPE, bytes)) else { return };
    assert_eq!(contents.to_bytes(), bytes);
    assert!(contents.classes.is_sorted() && contents.classes.iter().all(|class| *class < SHAPE.classes));
    let floats = [contents.float_images(), contents.float_latents(), contents.float_transformer()].concat();
    assert!(floats.iter().all(|x| x.abs() <= 1024.0));
    assert!(contents.float_images().iter().all(|x| x.abs() <= 1.0));
    let _ = within(ARTEFACT_LIMIT, || contents.check(&(0..SHAPE.classes).collect()));
    let n = contents.classes.len();
    let again =
        Contents::from_floats(&SHAPE, &contents.classes, &floats[..n * 9], &floats[n * 9..n * 14], &floats[n * 14..]);
    // Latent values of more than 24 bits lose some as floats.
    assert!(again.is_ok_and(|again| again.images == contents.images));
}

/// Prototypes as a payload carries them.
pub(crate) const PROTOTYPES: PrototypeSpec = PrototypeSpec { len: 3, scale_bits: 20, summary: None };

fn section(bytes: &[u8]) {
    if within(256, || PROTOTYPES.check(bytes, 10)).is_err() {
        return;
    }
    let mut list = Vec::new();
    PROTOTYPES.append(&mut list, 7, bytes);
    let read: Vec<_> = PROTOTYPES.read(&list).map(|(author, p)| (author, p.class)).collect();
    assert!(read.is_sorted_by(|a, b| a < b) && read.len() * PROTOTYPES.entry_len() == bytes.len());
}

/// A proof of equivocation, as it is kept in a file.
fn evidence(bytes: &[u8]) {
    if let Ok(file) = within(EVIDENCE_LIMIT, || EvidenceFile::from_bytes(bytes)) {
        assert_eq!(file.to_bytes().unwrap(), bytes);
    }
}

fn hex(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(digest) = Digest::from_hex(text) {
        assert_eq!(digest.to_string(), text.to_lowercase());
    }
}

/// A target by its name: the corpus under bolero, which is also how a coverage-guided fuzzer gets in, then mutants.
macro_rules! targets {
    ($($name:ident => $target:expr;)*) => {
        /// Names of all targets; each has a corpus.
        pub(crate) const TARGETS: &[&str] = &[$(stringify!($name)),*];

        $(#[test]
        fn $name() {
            let target: fn(&[u8]) = $target;
            bolero::check!().with_iterations(0).for_each(|bytes: &[u8]| target(bytes));
            let corpus = files(&kept(stringify!($name)).join("corpus"));
            mutate(stringify!($name), iterations(ITERATIONS), &corpus, target);
        })*
    };
}

targets! {
    update => structure::<UpdateHeader>;
    receipt => structure::<Receipt>;
    artefact => structure::<Artefact>;
    artefact_contents => artefact_blob;
    prototypes => section;
    proposal => structure::<Box<Proposal>>;
    vote => structure::<Digest>;
    status => structure::<Status>;
    certificate => structure::<Certificate>;
    committed => structure::<Box<Committed>>;
    operation => structure::<Operation>;
    committee => structure::<Committee>;
    evidence_file => evidence;
    record => structure::<Record>;
    envelope => open;
    signed_envelope => open_signed;
    manifest_and_schema => manifest;
    payloads => payload;
    digest_in_hex => hex;
}

#[test]
fn the_counter_sees_an_allocation_that_is_too_large() {
    let greedy = || within(1000, || Vec::<u8>::with_capacity(1001));
    assert!(std::panic::catch_unwind(greedy).is_err());
}
