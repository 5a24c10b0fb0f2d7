//! One byte, or one bit, of something valid is changed: it is refused, or it means the same.

use fedswarm_protocol::blob;
use fedswarm_protocol::certificate::Certificate;
use fedswarm_protocol::codec;
use fedswarm_protocol::envelope::{Kind, Slot, Verifier};
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::keys::Ed25519;
use fedswarm_protocol::manifest::Manifest;
use fedswarm_protocol::membership::Operation;
use fedswarm_protocol::message::UpdateHeader;
use fedswarm_protocol::record::Record;
use fedswarm_protocol::tensor::Schema;
use fedswarm_protocol::update::UpdateCodec;

use crate::common::values::{CODECS, Draw, KINDS};
use crate::common::world::World;

/// All mutants of all subjects together.
const MUTANTS: usize = 100_000;

/// What a mutant turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Refused,
    Same,
    /// It was taken for something else.
    Different,
}

/// What becomes of bytes.
type Judge = Box<dyn Fn(&[u8]) -> Fate>;

/// Something valid, and what becomes of bytes that stand in its place.
struct Subject {
    name: String,
    bytes: Vec<u8>,
    judge: Judge,
    /// Share of the mutants; less where a signature is checked each time.
    weight: usize,
    /// Mutants that may mean the same.
    same_allowed: bool,
}

fn fate<T: PartialEq>(found: Option<T>, valid: &T) -> Fate {
    match found {
        None => Fate::Refused,
        Some(found) if found == *valid => Fate::Same,
        Some(_) => Fate::Different,
    }
}

fn message(kind: Kind, voters: u8) -> Subject {
    let world = World::new(voters);
    let bytes = world.sealed(kind);
    let verifier = world.verifier;
    let valid = verifier.open(&bytes).unwrap();
    let judge = move |mutant: &[u8]| {
        let meaning = |v: &Verifier, bytes: &[u8]| {
            let opened = v.open(bytes).ok()?;
            // Whoever forwards a message that proves itself is not part of what it says.
            let author = (!kind.proves_itself()).then(|| opened.author());
            Some((*opened.slot(), author, opened.message().clone()))
        };
        let author = (!kind.proves_itself()).then(|| valid.author());
        fate(meaning(&verifier, mutant), &(*valid.slot(), author, valid.message().clone()))
    };
    let name = format!("{} of {voters}", kind.name());
    Subject { name, bytes, judge: Box::new(judge), weight: 2, same_allowed: kind.proves_itself() }
}

/// A bare certificate, as a folder of records keeps it.
fn certificate(kind: Kind) -> Subject {
    let world = World::new(7);
    let record = if kind == Kind::Nullify { Digest::ZERO } else { Digest([7; 32]) };
    let valid = world.certificate(kind, 1, 5, 2, record);
    let bytes = codec::encode(&valid).unwrap();
    let judge = move |mutant: &[u8]| {
        let found = codec::decode::<Certificate>(mutant, codec::MAX_STRUCT_BYTES).ok();
        let voters: Vec<_> = world.manifest.founders.iter().map(|f| f.key).collect();
        fate(found.filter(|c| c.is_valid(&world.network(), &voters)), &valid)
    };
    Subject {
        name: format!("{} certificate", kind.name()),
        bytes,
        judge: Box::new(judge),
        weight: 2,
        same_allowed: false,
    }
}

/// An operation with the votes of a quorum, as a record carries it. Its digest is not its name, so that a mutant must not hold.
fn voted(name: &str, operation: impl Fn(&World) -> Operation) -> Subject {
    let world = World::new(4);
    let valid = operation(&world);
    let bytes = codec::encode(&valid).unwrap();
    let judge = move |mutant: &[u8]| {
        let found = codec::decode::<Operation>(mutant, codec::MAX_STRUCT_BYTES).ok();
        fate(found.filter(|op| op.holds(&world.network(), &Ed25519)), &valid)
    };
    Subject { name: name.into(), bytes, judge: Box::new(judge), weight: 2, same_allowed: false }
}

/// A record is known by its hash.
fn record() -> Subject {
    let (valid, _) = World::new(4).record(9);
    let bytes = codec::encode(&valid).unwrap();
    let hash = valid.hash().unwrap();
    let judge = move |mutant: &[u8]| {
        let found = codec::decode::<Record>(mutant, codec::MAX_STRUCT_BYTES).ok();
        fate(found.filter(|r| r.hash().as_ref() == Ok(&hash)), &valid)
    };
    Subject { name: "record".into(), bytes, judge: Box::new(judge), weight: 6, same_allowed: false }
}

/// A manifest is known by the network's id.
fn manifest() -> Subject {
    let world = World::new(4);
    let (valid, network) = (world.manifest.clone(), world.network());
    let bytes = valid.to_bytes().unwrap();
    let judge = move |mutant: &[u8]| {
        let found = Manifest::from_bytes(mutant).ok();
        fate(found.filter(|m| m.network_id().as_ref() == Ok(&network)), &valid)
    };
    Subject { name: "manifest".into(), bytes, judge: Box::new(judge), weight: 6, same_allowed: false }
}

/// What a peer checks of a payload before it merges it: length, root as it travels, decoding, root of what it decodes to.
fn payload_checks(header: &UpdateHeader, bytes: &[u8], schema: &Schema) -> Option<Vec<u8>> {
    let here = header.wire_len as usize == bytes.len() && header.wire_root == blob::root(bytes);
    let canonical = header.codec.decode(bytes, schema).ok()?.to_bytes();
    (here && header.payload_root == blob::root(&canonical)).then_some(canonical)
}

fn payload_and_header(codec: UpdateCodec) -> [Subject; 2] {
    let mut draw = Draw::new("payload", codec as u64);
    let schema = draw.small_schema();
    // Small enough for half precision at any scale.
    let mut delta = draw.vector(schema.len());
    delta.0.iter_mut().for_each(|q| *q >>= 16);
    let bytes = codec.encode(&delta, &schema, &draw.digest());
    let canonical = codec.decode(&bytes, &schema).unwrap().to_bytes();
    let header = UpdateHeader {
        schema: schema.digest(),
        payload_root: blob::root(&canonical),
        wire_root: blob::root(&bytes),
        wire_len: bytes.len() as u32,
        codec,
        ..World::new(4).header(1)
    };
    assert_eq!(payload_checks(&header, &bytes, &schema).as_ref(), Some(&canonical));
    let judge = move |mutant: &[u8]| fate(payload_checks(&header, mutant, &schema), &canonical);
    let payload =
        Subject { name: format!("{codec} payload"), bytes, judge: Box::new(judge), weight: 12, same_allowed: false };

    // The header inside the author's message: nothing of it can change under the signature.
    let world = World::new(4);
    let slot = Slot { kind: Kind::Update, epoch: 0, round: 1, view: 0 };
    let update = UpdateHeader { codec, ..world.header(1) };
    let bytes = world.seal(&slot, 1, &fedswarm_protocol::message::Message::Update(update));
    let verifier = world.verifier;
    let valid = verifier.open(&bytes).unwrap();
    let judge = move |mutant: &[u8]| fate(verifier.open(mutant).ok(), &valid);
    let header =
        Subject { name: format!("{codec} header"), bytes, judge: Box::new(judge), weight: 1, same_allowed: false };
    [payload, header]
}

#[test]
fn a_hundred_thousand_mutants_are_refused_or_mean_the_same() {
    let mut subjects: Vec<Subject> = KINDS.iter().map(|kind| message(*kind, 4)).collect();
    subjects.push(message(Kind::Committed, 64));
    subjects.extend([Kind::Notarize, Kind::Nullify, Kind::Finalize].map(certificate));
    subjects.push(voted("a join with approvals", |world| world.approved_join(&[0, 1, 2])));
    subjects.push(voted("an eviction by vote", |world| world.evict_vote(&[0, 1, 2])));
    subjects.extend([record(), manifest()]);
    subjects.extend(CODECS.iter().flat_map(|codec| payload_and_header(*codec)));
    for subject in &subjects {
        assert_eq!((subject.judge)(&subject.bytes), Fate::Same, "{} itself", subject.name);
    }

    let shares: Vec<usize> = subjects.iter().enumerate().flat_map(|(i, s)| std::iter::repeat_n(i, s.weight)).collect();
    let mut counts = [0usize; 2];
    for i in 0..MUTANTS {
        let subject = &subjects[shares[i % shares.len()]];
        let mut draw = Draw::new("mutant", i as u64);
        let mut mutant = subject.bytes.clone();
        let at = draw.below(mutant.len());
        // Never zero, so that the mutant is one; half of them single bits.
        mutant[at] ^= if draw.coin() { 1 << draw.below(8) } else { 1 + draw.below(255) as u8 };
        let fate = (subject.judge)(&mutant);
        let fine = fate == Fate::Refused || (fate == Fate::Same && subject.same_allowed);
        assert!(fine, "{}: mutant {i}, byte {at} of {}: {fate:?}", subject.name, mutant.len());
        counts[usize::from(fate == Fate::Same)] += 1;
    }
    assert_eq!(counts[0] + counts[1], MUTANTS);
    assert!(counts[1] < MUTANTS / 100, "{counts:?}: only the forwarder's index may change");
}
