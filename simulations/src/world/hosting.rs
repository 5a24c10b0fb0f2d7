//! A generator that generates nothing worth looking at: what hosts of a world make of a record's prototypes.

use std::collections::BTreeSet;

use fedswarm_protocol::artefact::{ArtefactShape, Contents, GeneratorSpec};
use fedswarm_protocol::hash::{Digest, Stream};
use fedswarm_protocol::prototypes::PrototypeSpec;
use fedswarm_protocol::record::Record;
use fedswarm_protocol::round::ArtefactVerdict;

/// What prototypes are in a world with hosts.
pub const PROTOTYPES: PrototypeSpec = PrototypeSpec { len: 1, scale_bits: 24, summary: None };

/// Classes of a world's task; every update has prototypes of all of them.
pub const CLASSES: u16 = 2;

/// The generator of a world with hosts; any member may host it.
#[must_use]
pub fn generator() -> GeneratorSpec {
    GeneratorSpec { id: Digest([3; 32]), latent: 2, transformer: 1, per_class: 1, hosts: Vec::new(), wait_ms: 1_000 }
}

/// What a host makes of a record: the same whoever makes it.
#[must_use]
pub fn make(shape: &ArtefactShape, record: &Record) -> Contents {
    let mut stream = Stream::new("world artefact", &[record.protos_root.as_bytes(), &record.round.to_le_bytes()]);
    let n = usize::from(CLASSES);
    let mut draw = |count: usize, most: u64| -> Vec<i32> { (0..count).map(|_| stream.below(most) as i32).collect() };
    let mut latents = draw(n * shape.latent as usize, 1_000);
    // Far enough apart, whatever was drawn.
    latents.iter_mut().take(shape.latent as usize).for_each(|q| *q += 100_000);
    Contents {
        classes: (0..CLASSES).collect(),
        images: draw(n * shape.image as usize, 16_000).into_iter().map(|q| q as i16).collect(),
        latents,
        transformer: draw(shape.transformer as usize, 1 << 20),
    }
}

/// The checks that every voter makes.
#[must_use]
pub fn check(shape: &ArtefactShape, blob: &[u8]) -> ArtefactVerdict {
    let certified: BTreeSet<u16> = (0..CLASSES).collect();
    let sound = Contents::from_bytes(shape, blob).and_then(|contents| contents.check(&certified));
    if sound.is_ok() { ArtefactVerdict::Valid } else { ArtefactVerdict::Invalid }
}

/// The list of prototypes that inputs give: one of each class and author, drawn from its payload's root.
#[must_use]
pub fn list(inputs: impl Iterator<Item = (u16, Digest)>) -> Vec<u8> {
    let mut list = Vec::new();
    for (author, payload) in inputs {
        let of = |class: u16| {
            let value = i32::from(payload.0[usize::from(class)]);
            [class.to_le_bytes().as_slice(), &value.to_le_bytes()].concat()
        };
        PROTOTYPES.append(&mut list, author, &(0..CLASSES).flat_map(of).collect::<Vec<u8>>());
    }
    list
}
