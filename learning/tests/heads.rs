//! The flagship's head on every method, so that heads and methods are not confused.
#![allow(clippy::unwrap_used)]

mod common;

use common::{TASK, member, train};
use fedswarm_learning::certified::Certified;
use fedswarm_learning::methods::{Heads, LocalUpdate, Member, MemberSetup, Method, NAMES, init_digest, method};
use fedswarm_learning::training::TrainConfig;
use fedswarm_protocol::summary::class_vectors;

/// The common setup at the rate of the experiments: `ArcFace`'s steps are long.
fn setup(model: &str) -> MemberSetup {
    let usual = common::setup(model);
    MemberSetup { train: TrainConfig { lr: 0.01, ..usual.train.clone() }, ..usual }
}

/// An architecture that members of the method can have.
fn architecture(method: &dyn Method) -> &'static str {
    if method.info().heterogeneous { "cnn1" } else { method.default_architectures(&TASK)[0] }
}

fn values(member: &dyn Member, part: &str) -> Vec<f32> {
    let of_part = member.export().unwrap().into_iter().filter(|t| t.name.split('.').next() == Some(part));
    of_part.flat_map(|t| t.values).collect()
}

#[test]
fn every_method_runs_with_the_flagships_head() {
    let frame = class_vectors(TASK.classes, &init_digest(11)).unwrap();
    for name in NAMES {
        let text = format!("{name}:head=etf");
        let chosen = method(&text).unwrap();
        let spelling = chosen.spelling();
        assert_eq!(method(&spelling).unwrap().spelling(), spelling);
        let usual = method(name).unwrap();
        assert_eq!(chosen.schema(&TASK).unwrap(), usual.schema(&TASK).unwrap(), "{name} sends the same");
        let published = |method: &dyn Method| {
            let spec = method.prototypes(&TASK).unwrap();
            spec.map(|spec| (spec.len, spec.scale_bits))
        };
        assert_eq!(published(chosen.as_ref()), published(usual.as_ref()), "{name} publishes the same");
        assert_eq!(spelling.contains("head=etf"), chosen.heads() == Heads::Either, "{spelling}");
        let mut certified = Certified::genesis(chosen.as_ref(), &TASK, &init_digest(11)).unwrap();
        let model = architecture(chosen.as_ref());
        let mut members = [member(&text, setup(model)), member(&text, setup(model))];
        let mut losses = Vec::new();
        for _ in 0..5 {
            let updates: Vec<LocalUpdate> = members
                .iter_mut()
                .enumerate()
                .map(|(i, member)| {
                    member.install(&certified.floats_of(i).unwrap()).unwrap();
                    train(member.as_mut())
                })
                .collect();
            certified.round(&updates).unwrap();
            losses.push(updates[0].loss);
        }
        for (i, member) in members.iter_mut().enumerate() {
            member.install(&certified.floats_of(i).unwrap()).unwrap();
            assert_eq!(values(member.as_ref(), "etf"), frame, "{name}: the class vectors are the network's");
            let seen = member.evaluate().unwrap();
            // A network that generates networks takes hundreds of steps.
            assert!(name == "pfedhn" || seen.correct * 2 > seen.total, "{name}: {} of {}", seen.correct, seen.total);
        }
        assert!(losses.iter().all(|loss| loss.is_finite()), "{name}: {losses:?}");
    }
}

/// Before there is anything in common the method is nothing but the head: what these train in their first round is bit for bit
/// what a peer trains alone.
#[test]
fn with_either_head_the_first_round_is_that_of_a_peer_alone() {
    for head in ["linear", "etf"] {
        let mut alone = member(&format!("local:head={head}"), setup("cnn1"));
        alone.install(&[]).unwrap();
        train(alone.as_mut());
        for (name, shared) in [
            ("fedavg:model=cnn1,", &["extractor", "head"][..]),
            ("lg-fedavg:", &["head"]),
            ("fedproto:", &[]),
            ("fedtgp:", &[]),
            ("feddistill:", &[]),
        ] {
            let text = format!("{name}head={head}");
            let mut peer = member(&text, setup("cnn1"));
            // What is merged as it is, and not rounded to what a network would send; what is derived as it is at the beginning.
            let certified = Certified::genesis(method(&text).unwrap().as_ref(), &TASK, &init_digest(11)).unwrap();
            let mut state = certified.floats().unwrap();
            for (value, own) in state.iter_mut().zip(shared.iter().flat_map(|part| values(peer.as_ref(), part))) {
                *value = own;
            }
            peer.install(&state).unwrap();
            train(peer.as_mut());
            for part in ["extractor", "head"] {
                assert_eq!(values(peer.as_ref(), part), values(alone.as_ref(), part), "{text}: {part}");
            }
        }
    }
}

#[test]
fn a_head_that_a_method_cannot_have_is_refused_and_its_own_is_not() {
    for (text, parts) in [
        ("moe-ktl:head=linear", vec!["method moe-ktl", "always etf", "class vectors"]),
        ("fedktl:head=linear", vec!["method fedktl", "always etf"]),
        ("fedavg:head=arc", vec!["head is \"arc\"", "linear or etf"]),
        ("mocha:head=arc", vec!["head is \"arc\"", "linear or etf"]),
    ] {
        let error = method(text).err().unwrap().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
    }
    for (text, spelling) in
        [("mocha:head=linear", "mocha"), ("fedktl:head=etf", "fedktl"), ("fedavg:head=linear", "fedavg")]
    {
        assert_eq!(method(text).unwrap().spelling(), spelling);
    }
}
