//! What sets the methods apart.
#![allow(clippy::unwrap_used)]

mod common;

use common::{bits, member, setup, train};
use fedswarm_learning::methods::{NAMES, init_digest, method};

/// The values of a mixture's shared part, flat in schema order.
fn shared(member: &dyn fedswarm_learning::methods::Member) -> Vec<f32> {
    member.export().unwrap().into_iter().filter(|t| t.name.starts_with("shared.")).flat_map(|t| t.values).collect()
}

#[test]
fn fedmoe_without_merging_is_moe_local_bit_for_bit() {
    let mut alone = member("moe-local", setup("cnn1"));
    let mut peer = member("fedmoe", setup("cnn1"));
    let schema = method("fedmoe").unwrap().schema(&common::TASK).unwrap();
    peer.install(&schema.dequantise(&schema.genesis(&init_digest(11))).unwrap()).unwrap();
    for _ in 0..3 {
        assert!(train(alone.as_mut()).delta.is_empty(), "moe-local shares nothing");
        assert!(!train(peer.as_mut()).delta.is_empty());
        let own = shared(peer.as_ref());
        peer.install(&own).unwrap();
        assert_eq!(bits(alone.as_ref()), bits(peer.as_ref()));
    }
    assert_eq!(alone.evaluate().unwrap(), peer.evaluate().unwrap());
}

#[test]
fn merging_changes_what_a_peer_knows() {
    let (mut a, mut b) = (member("fedmoe", setup("cnn1")), member("fedmoe", setup("cnn1")));
    train(a.as_mut());
    train(b.as_mut());
    b.install(&vec![0.0; shared(b.as_ref()).len()]).unwrap();
    assert_ne!(a.evaluate().unwrap().loss, b.evaluate().unwrap().loss);
}

#[test]
fn the_gates_weight_is_reported_and_lies_between_zero_and_one() {
    for mix in ["convex", "doubled", "residual"] {
        let mut m = member(&format!("fedmoe:mix={mix}"), setup("cnn1"));
        train(m.as_mut());
        let seen = m.evaluate().unwrap();
        let gate = seen.gate.unwrap();
        assert!(gate > 0.0 && gate < 1.0, "{mix}: {gate}");
        assert!(seen.shared_only.is_some() && seen.local_only.is_some());
    }
    assert_eq!(member("local", setup("cnn1")).evaluate().unwrap().gate, None);
}

#[test]
fn a_part_with_rate_zero_stays() {
    let mut m = member("fedmoe:gate_lr=0,shared_lr=0", setup("cnn1"));
    let before = m.export().unwrap();
    let update = train(m.as_mut());
    assert!(update.delta.iter().all(|d| *d == 0.0));
    for (old, new) in before.iter().zip(m.export().unwrap()) {
        let frozen = old.name.starts_with("gate.") || old.name.starts_with("shared.");
        assert_eq!(old.values == new.values, frozen, "{}", old.name);
    }
}

#[test]
fn names_and_options_are_spelt_as_they_are_read() {
    for name in NAMES {
        assert_eq!(method(name).unwrap().info().name, name);
    }
    for text in ["local", "fedavg", "fedavg:model=cnn1", "fedmoe:mix=doubled,gate_lr=0.05,shared=cnn2"] {
        assert_eq!(method(text).unwrap().spelling(), text);
    }
}

#[test]
fn wrong_names_and_options_are_answered_with_the_right_ones() {
    for (text, parts) in [
        ("fedsgd", vec!["unknown method \"fedsgd\"", "local, fedavg, fedmoe, moe-local"]),
        ("fedmoe:mix=sum", vec!["mix is \"sum\"", "convex, doubled or residual"]),
        ("fedmoe:rate=1", vec!["unknown option \"rate\"", "gate_lr"]),
        ("fedmoe:gate_lr=-1", vec!["gate_lr", "at least 0"]),
        ("fedmoe:mix", vec!["\"mix\" is not of the form key=value"]),
        ("fedmoe:mix=convex,mix=convex", vec!["given twice"]),
        ("local:mix=convex", vec!["unknown option \"mix\"", "it has none"]),
        ("fedavg:model=vgg", vec!["unknown architecture \"vgg\"", "fedavg-cnn"]),
    ] {
        let error = method(text).err().unwrap().to_string();
        for part in parts {
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}

#[test]
fn architectures_that_do_not_go_together_are_refused_with_a_way_out() {
    let text = method("fedmoe").unwrap().member(setup("fedavg-cnn")).err().unwrap().to_string();
    assert!(
        text.contains("cnn2 has 128") && text.contains("fedavg-cnn has 512") && text.contains("shared=NAME"),
        "{text}"
    );
    let text = method("fedavg").unwrap().member(setup("cnn1")).err().unwrap().to_string();
    assert!(text.contains("fedavg-cnn") && text.contains("cnn1") && text.contains("model=NAME"), "{text}");
}

#[test]
fn default_architectures_fit_their_method_at_every_size() {
    use fedswarm_learning::architectures::architecture;
    use fedswarm_learning::data::{ImageShape, PeerData};
    for (channels, side) in [(1, 8), (2, 20), (3, 32)] {
        let input = ImageShape { channels, height: side, width: side };
        for name in NAMES {
            let method = method(name).unwrap();
            let task = fedswarm_learning::methods::Task { input, classes: 4 };
            for model in method.default_architectures(&task) {
                let mut setup = setup("mlp");
                setup.task = task;
                setup.architecture = architecture(model).unwrap();
                setup.data = std::sync::Arc::new(PeerData { train: empty(), test: empty() });
                assert!(method.member(setup).is_ok(), "{name} {model} {input}");
            }
        }
    }
}

fn empty() -> fedswarm_learning::data::Split {
    fedswarm_learning::data::Split { images: Vec::new(), labels: Vec::new() }
}
