//! What is trained on a list, against PyTorch's autograd (`scripts/summary_oracle.py`).
#![allow(clippy::unwrap_used)]

use super::{Apart, Descent, Head, Loss, Summary};
use crate::hash::Digest;
use crate::prototypes::PrototypeSpec;

const CLASSES: usize = 3;
const LEN: u16 = 4;
const SEED: Digest = Digest([7; 32]);

/// Both sides compute in double precision, in other orders: after rounding to 2^-24 the last unit may differ.
const TOLERANCE: i32 = 1;

const HEAD: [i32; 15] = [
    16815381, -7070654, 16469672, -1497434, -10037664, 7865082, -3247566, 8530135, -4758281, 5859475, 7052857,
    -8193740, 5793664, -3250784, 6370016,
];

const TARGETS: [i32; 64] = [
    910168, -13499963, 6161901, -9212527, 10714337, -4411575, 14552279, 1019192, -13933282, 5419289, -9656555, 9696016,
    -5184279, 14680064, -142753, -14465088, 4534171, -9961472, 9490943, -5324063, 13624089, -524288, -15300791,
    4339857, -10774147, 8912896, -5667095, 13480881, -1357949, -15728640, 3840063, -11266352, 8217489, -6433534,
    12941949, -1631860, -16252928, 3145728, -11534336, 7864320, -6483914, 13110887, -1683072, -16677075, 2760102,
    -11837779, 7513465, -7299085, 12099004, -2366846, 16939543, 1818813, 14857731, -4526674, 21284338, 1270975,
    14695818, -4399911, 21029336, 1303128, 7957210, 4397065, 17614623, -12541639,
];

/// Multiples of 1/32 in -1..1.
fn drawn(count: usize, salt: usize) -> Vec<i32> {
    (0..count).map(|i| (((37 * i + 11 * salt) % 65) as i32 - 32) << 19).collect()
}

/// Author a has all classes but a mod 4, if that is one.
fn list(spec: &PrototypeSpec) -> Vec<u8> {
    let mut list = Vec::new();
    for author in 0..4u16 {
        let own = (0..CLASSES as u16).filter(|class| *class != author % 4);
        let values = own.map(|class| (class, drawn(usize::from(LEN), usize::from(7 * author + 3 * class + 1))));
        let floats: Vec<(u16, Vec<f32>)> = values.map(|(class, values)| (class, spec.dequantise(&values))).collect();
        let section = spec.encode(floats.iter().map(|(class, values)| (*class, values.as_slice())), CLASSES as u16);
        spec.append(&mut list, author, &section.unwrap());
    }
    list
}

const fn head(descent: Descent) -> Head {
    Head { descent, loss: Loss::CrossEntropy }
}

fn check(summary: Summary, salt: usize, golden: &[i32]) {
    let spec = PrototypeSpec { len: LEN, scale_bits: 24, summary: Some(summary) };
    let count: usize = summary.tensors(&spec, CLASSES).iter().map(crate::tensor::TensorSpec::len).sum();
    let found = summary.derive(&spec, (CLASSES, &SEED), &drawn(count, salt), &list(&spec));
    assert_eq!(found.len(), count);
    for (i, (found, golden)) in found.iter().zip(golden).enumerate() {
        assert!((found - golden).abs() <= TOLERANCE, "{i}: {found} {golden}");
    }
}

#[test]
fn a_head_is_what_autograd_makes_of_it() {
    check(Summary::Head(head(Descent::new(0.5, 5, 100))), 5, &HEAD);
}

#[test]
fn targets_are_what_autograd_makes_of_them() {
    let descent = Descent::new(0.25, 4, 100);
    check(Summary::Targets(Apart { descent, most_margin: 100 }), 9, &TARGETS);
}

/// The bits, which must be the same on every machine: a change here is a change of the protocol.
#[test]
fn what_is_learnt_in_small_batches_is_pinned() {
    let pinned = [
        (Summary::Means, "0baa37dc"),
        (Summary::Head(head(Descent::new(0.01, 3, 2))), "846277e9"),
        (Summary::Head(Head { loss: Loss::ArcFace, ..head(Descent::new(0.01, 3, 2)) }), "a8f134a1"),
        (Summary::Targets(Apart { descent: Descent::new(0.01, 3, 2), most_margin: 1 }), "1d32a38d"),
    ];
    for (summary, digest) in pinned {
        let spec = PrototypeSpec { len: LEN, scale_bits: 24, summary: Some(summary) };
        let count: usize = summary.tensors(&spec, CLASSES).iter().map(crate::tensor::TensorSpec::len).sum();
        let after = crate::tensor::FixedVector(summary.derive(&spec, (CLASSES, &SEED), &drawn(count, 2), &list(&spec)));
        assert_eq!(crate::hash::hash("test", &after.to_bytes()).short(), digest, "{summary:?}");
    }
}
