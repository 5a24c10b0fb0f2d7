//! The inner loops: merge, payload codecs, envelopes, training steps.
//!
//! `cargo bench --bench inner` runs all, `cargo bench --bench inner -- merge` some.

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use fedswarm_learning::architectures::architecture;
use fedswarm_learning::data::{ImageShape, PeerData, Split};
use fedswarm_learning::device::DeviceKind;
use fedswarm_learning::methods::{MemberSetup, Task, init_digest, method};
use fedswarm_learning::training::TrainConfig;
use fedswarm_protocol::envelope::{Kind, Slot, Verifier, seal};
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::keys::SecretKey;
use fedswarm_protocol::membership::Committee;
use fedswarm_protocol::merge::WeightedMean;
use fedswarm_protocol::message::Message;
use fedswarm_protocol::tensor::{FixedVector, Schema, TensorSpec};
use fedswarm_protocol::update::UpdateCodec;

/// Parameters of the shared extractor for 28x28 images.
const SHARED: u32 = 183_296;

fn main() {
    divan::main();
}

fn vector(seed: u8) -> (Schema, FixedVector) {
    let schema = Schema { tensors: vec![TensorSpec::new("w", &[SHARED], 64)] };
    let values = schema.genesis(&Digest([seed; 32]));
    (schema, values)
}

/// The merge of 20 updates; bytes are those of the inputs.
#[divan::bench]
fn merge_of_20(bencher: Bencher<'_, '_>) {
    let inputs: Vec<_> = (0..20).map(|i| vector(i).1).collect();
    let base = vector(99).1;
    bencher.counter(BytesCount::new(20usize * SHARED as usize * 4)).bench_local(|| {
        let mut sum = WeightedMean::new(base.0.len());
        for input in &inputs {
            sum.add(black_box(input), 100).unwrap();
        }
        sum.finish(&base).unwrap()
    });
}

/// Copying the same inputs: what memory allows.
#[divan::bench]
fn merge_of_20_as_a_plain_sum_of_f32(bencher: Bencher<'_, '_>) {
    let inputs: Vec<Vec<f32>> = (0..20).map(|i| vector(i).1.0.iter().map(|q| *q as f32).collect()).collect();
    bencher.counter(BytesCount::new(20usize * SHARED as usize * 4)).bench_local(|| {
        let mut sum = vec![0f32; SHARED as usize];
        for input in &inputs {
            for (s, x) in sum.iter_mut().zip(black_box(input)) {
                *s += 100.0 * x;
            }
        }
        sum
    });
}

#[divan::bench(args = ["i32", "f16", "int8"])]
fn encode(bencher: Bencher<'_, '_>, codec: &str) {
    let codec: UpdateCodec = codec.parse().unwrap();
    let (schema, values) = vector(1);
    bencher
        .counter(BytesCount::new(SHARED as usize * 4))
        .bench_local(|| codec.encode(black_box(&values), &schema, &Digest([2; 32])));
}

#[divan::bench(args = ["i32", "f16", "int8"])]
fn decode(bencher: Bencher<'_, '_>, codec: &str) {
    let codec: UpdateCodec = codec.parse().unwrap();
    let (schema, values) = vector(1);
    let wire = codec.encode(&values, &schema, &Digest([2; 32]));
    bencher
        .counter(BytesCount::new(SHARED as usize * 4))
        .bench_local(|| codec.decode(black_box(&wire), &schema).unwrap());
}

#[divan::bench]
fn blob_root(bencher: Bencher<'_, '_>) {
    let bytes = vector(1).1.to_bytes();
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| fedswarm_protocol::blob::root(black_box(&bytes)));
}

fn envelope() -> (Verifier, Vec<u8>) {
    let key = SecretKey::from_bytes(&[1; 32]);
    let verifier = Verifier::new(Digest([3; 32]), Arc::new(Committee::of_keys(0, [key.public()])));
    let slot = Slot { kind: Kind::Notarize, epoch: 0, round: 1, view: 0 };
    let bytes = seal(&key, verifier.network(), &slot, 0, &Message::Vote(Digest([4; 32]))).unwrap();
    (verifier, bytes)
}

#[divan::bench]
fn envelope_verify(bencher: Bencher<'_, '_>) {
    let (verifier, bytes) = envelope();
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| verifier.open(black_box(&bytes)).unwrap());
}

#[divan::bench]
fn envelope_seal(bencher: Bencher<'_, '_>) {
    let key = SecretKey::from_bytes(&[1; 32]);
    let slot = Slot { kind: Kind::Notarize, epoch: 0, round: 1, view: 0 };
    let vote = Message::Vote(Digest([4; 32]));
    bencher
        .counter(ItemsCount::new(1usize))
        .bench_local(|| seal(&key, &Digest([3; 32]), &slot, 0, black_box(&vote)).unwrap());
}

/// One epoch of a member, ten steps; items are steps.
fn steps(bencher: Bencher<'_, '_>, name: &str, model: &str, batch: usize) {
    let images = 10 * batch;
    let split = Split {
        images: (0..images * 784).map(|i| ((i % 251) as f32) / 125.5 - 1.0).collect(),
        labels: (0..images).map(|i| (i % 10) as u16).collect(),
    };
    let setup = MemberSetup {
        task: Task { input: ImageShape { channels: 1, height: 28, width: 28 }, classes: 10 },
        architecture: architecture(model).unwrap(),
        data: Arc::new(PeerData { train: split.clone(), test: split }),
        train: TrainConfig { batch, ..TrainConfig::default() },
        seed: 1,
        init_seed: 1,
        common: init_digest(1),
        device: DeviceKind::Flex,
    };
    let mut member = method(name).unwrap().member(setup).unwrap();
    let never = AtomicBool::new(false);
    bencher.counter(ItemsCount::new(10usize)).bench_local(move || member.train(&never).unwrap());
}

const MODELS: [&str; 6] = ["cnn1", "cnn2", "cnn1-fc128", "cnn2-fc128", "fedavg-cnn", "resnet"];

#[divan::bench(args = MODELS, sample_count = 10, sample_size = 1)]
fn ten_steps_local_batch_10(bencher: Bencher<'_, '_>, model: &str) {
    steps(bencher, "local", model, 10);
}

#[divan::bench(args = MODELS, sample_count = 10, sample_size = 1)]
fn ten_steps_local_batch_32(bencher: Bencher<'_, '_>, model: &str) {
    steps(bencher, "local", model, 32);
}

#[divan::bench(args = ["cnn1", "cnn2", "cnn1-fc128", "cnn2-fc128"], sample_count = 10, sample_size = 1)]
fn ten_steps_fedmoe_batch_10(bencher: Bencher<'_, '_>, model: &str) {
    steps(bencher, "fedmoe", model, 10);
}
